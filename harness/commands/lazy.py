"""Commands that are imported when they are wanted: what one of them needs, the others do not wait for."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Iterator, Mapping, MutableMapping

import click

__all__ = ["Commands"]


class Commands(MutableMapping[str, click.Command]):
    """Names are known, the commands themselves are imported from `package.module:name` when they are asked for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._loaded: dict[str, click.Command] = {}

    @property
    def places(self) -> dict[str, str]:
        """Where each of them is."""
        return dict(self._places)

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            self._loaded[name] = _imported(self._places[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command
        self._places[name] = ""

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        # As a mapping has it, asking would import.
        return name in self._places


def _imported(place: str) -> click.Command:
    """Meanwhile a Ctrl-C ends the program without a word and without a traceback."""
    module, _, name = place.partition(":")
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    is_guarded = is_main and before is signal.default_int_handler
    if is_guarded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        found = getattr(importlib.import_module(module), name)
    finally:
        if is_guarded:
            signal.signal(signal.SIGINT, before)
    assert isinstance(found, click.Command)
    return found
