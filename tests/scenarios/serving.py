"""A scenario with its world and its server, over real sockets and files, beside the test that looks at them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from harness.rows import read_rows
from scenarios.kinds import TaskKind
from scenarios.rows import Rows
from scenarios.scenario import Check, Scenario, World
from scenarios.settings import Settings
from server import EffectRows, FastrAPI, running

PATIENCE_S = 15.0


class Served:
    """What a test sees of it. `run` is laid out like a run directory."""

    def __init__(self, scenario: Scenario, settings: Settings, run: Path) -> None:
        self.scenario = scenario
        self.settings = settings
        self.run = run
        self.client = httpx.Client(trust_env=False, timeout=PATIENCE_S)
        self.addresses: dict[str, str] = {}
        self.close_world: Callable[[], None]

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
    """The world of a scenario, on a loop of its own as in its process; closed at the end, as after the server's end."""
    settings = scenario.resolve(given)
    served = Served(scenario, settings, run)
    served.folder.mkdir(parents=True)
    rows = EffectRows(run / "effects-1.rows", scenario.name)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="world")
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_S)

    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        world: World = do(scenario.world(rows, settings, served.folder))
        served.addresses = world.addresses()
        with contextlib.ExitStack() as at_the_end:
            at_the_end.callback(lambda: do(world.close()))
            served.close_world = at_the_end.close
            yield served
    finally:
        rows.close()
        served.client.close()
        do(end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


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
