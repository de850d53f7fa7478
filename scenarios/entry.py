"""What a server is started with: functions that make the app which the environment describes.

`AFTERLOAD_SCENARIO` holds JSON:
`{"name": "email", "tasks": "sync", "world": {"smtp": "127.0.0.1:2525"}, "settings_ms": {"delay": 100}}`.
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel

from scenarios.registry import find
from scenarios.scenario import TaskKind
from server import FastrAPI

__all__ = ["bundled", "plain"]


class Entry(BaseModel):
    """What the environment says."""

    name: str
    tasks: TaskKind
    world: dict[str, str]
    settings_ms: dict[str, float]


def bundled() -> FastAPI:
    """The app on the bundled server's class."""
    return _make(FastrAPI)


def plain() -> FastAPI:
    """The very same app on plain FastAPI, for any ASGI server."""
    return _make(FastAPI)


def _make(api: type[FastAPI]) -> FastAPI:
    entry = Entry.model_validate_json(os.environ["AFTERLOAD_SCENARIO"])
    return find(entry.name).app(api, entry.tasks, entry.world, entry.settings_ms)
