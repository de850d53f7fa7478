"""What a server is started with: functions that make the app which the environment describes.

`AFTERLOAD_SCENARIO` holds JSON:
`{"name": "email", "tasks": "sync", "world": {"smtp": "127.0.0.1:2525"}, "settings": {"delay": "100ms"}, "seed": 1}`.
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel

from scenarios.kinds import TaskKind
from scenarios.registry import find
from server import FastrAPI

__all__ = ["bundled", "plain"]


class Entry(BaseModel):
    """What the environment says."""

    name: str  # of a scenario, or the path of a file that holds one
    tasks: TaskKind
    world: dict[str, str]
    settings: dict[str, str] = {}
    seed: int = 1


def bundled() -> FastAPI:
    """The app on the bundled server's class."""
    return _make(FastrAPI)


def plain() -> FastAPI:
    """The very same app on plain FastAPI, for any ASGI server."""
    return _make(FastAPI)


def _make(api: type[FastAPI]) -> FastAPI:
    entry = Entry.model_validate_json(os.environ["AFTERLOAD_SCENARIO"])
    scenario = find(entry.name)
    return scenario.app(api, entry.tasks, entry.world, scenario.resolve(entry.settings, entry.seed))
