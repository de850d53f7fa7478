"""A scenario with its world and its server, over real sockets and files, beside the test that looks at them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from harness.rows import read_rows
from scenarios.kinds import TaskKind
from scenarios.rows import Rows
from scenarios.scenario import Check, Scenario
from server import FastrAPI, running
from tests.scenarios.conftest import Started, started

PATIENCE_S = 15.0


class Served:
    """What a test sees of it. `run` is laid out like a run directory."""

    def __init__(self, scenario: Scenario, world: Started, close_world: Callable[[], None]) -> None:
        self.scenario = scenario
        self.settings = world.settings
        self.run = world.run
        self.addresses = world.addresses
        self.close_world = close_world
        self.client = httpx.Client(trust_env=False, timeout=PATIENCE_S)

    @property
    def folder(self) -> Path:
        return self.run / "world"

    def effects(self) -> list[int]:
        """Operations whose effect has arrived, in that order."""
        return [int(op) for op in read_rows(self.run / "effects-1.rows").rows["op"]]

    def check(self) -> Check:
        return self.scenario.check(Rows(self.run), self.settings, self.folder)


def op(number: int) -> str:
    """An operation id as a client makes it."""
    return f"{0x5EED0000_00000000 + number:016x}"


def figures(check: Check) -> dict[str, float | None]:
    return {figure.id: figure.value for figure in check.figures}


def until(look: Callable[[], Any], what: str) -> Any:
    """What `look` returns as soon as it is truthy."""
    end = time.monotonic() + PATIENCE_S
    while not (seen := look()):
        assert time.monotonic() < end, f"waited {PATIENCE_S} s in vain until {what}"
        time.sleep(0.01)
    return seen


@contextlib.contextmanager
def in_world(scenario: Scenario, run: Path, **given: str) -> Iterator[Served]:
    """The world of a scenario; closed at the end, as after the server's end, or by `close_world`."""
    with contextlib.ExitStack() as world:
        there = world.enter_context(started(scenario, run, given))
        served = Served(scenario, there, world.close)
        yield served
    served.client.close()


@contextlib.contextmanager
def serving(
    scenario: Scenario, run: Path, *, kind: TaskKind = TaskKind.SYNC, api: type[FastAPI] = FastrAPI, pool: int = 4, **given: str
) -> Iterator[Served]:
    """The world and the app, served. At the end all tasks are done, then the world is closed."""
    with in_world(scenario, run, **given) as served:
        app = scenario.app(api, kind, served.addresses, served.settings)
        with running(app, pool=pool, rows=run / "tasks-1.rows") as server:
            served.client.base_url = httpx.URL(server.url)
            yield served
