"""The apps under test, each written as one would write it for FastAPI, with nothing in it of who tests it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from scenarios.kinds import TaskKind
from scenarios.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["app_of"]


def app_of(scenario: str) -> Callable[[type[FastAPI], TaskKind, Mapping[str, str], Settings], FastAPI]:
    """What makes the app of one of our scenarios; its module is imported by the first call.

    Whoever asks what a scenario is, sends, or leaves behind has no use for FastAPI, which takes longer to import than all else.
    """

    def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
        made: FastAPI = import_module(f"{__name__}.{scenario}").app(api, kind, world, settings)
        return made

    return app
