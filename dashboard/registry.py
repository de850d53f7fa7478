"""Every class of the screen that has keys: for the user's keymap, the help, and the tests that look at each of them."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Final

from textual.binding import Binding
from textual.screen import Screen

from dashboard.keymap import bindings_by_id

__all__ = ["all_bindings", "screens"]

_SCREENS: Final = {
    "Start": ("dashboard.screens.start", "StartScreen"),
    "Live": ("dashboard.screens.live", "LiveScreen"),
    "Tasks": ("dashboard.screens.tasks", "TasksScreen"),
    "Compare": ("dashboard.screens.compare", "CompareScreen"),
    "History": ("dashboard.screens.history", "HistoryScreen"),
    "Help": ("dashboard.screens.help", "HelpScreen"),
}


@cache
def screens() -> dict[str, type[Screen[object]]]:
    """The screens by the names that people know them by."""
    return {title: getattr(importlib.import_module(module), name) for title, (module, name) in _SCREENS.items()}


@cache
def all_bindings() -> dict[str, Binding]:
    """All bindings with an id, of the app and of each screen."""
    app = importlib.import_module("dashboard.app").Dashboard
    return bindings_by_id([app, *screens().values()])
