"""Worlds beside the test, and whole runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scenarios import Rows, Scenario, Settings
from server import EffectRows
from tests.run.conftest import Done, afterload, folder  # noqa: F401  # fixtures

Afterload = Callable[..., Done]


@dataclass(frozen=True)
class Started:
    """A world that runs, and where it writes."""

    addresses: dict[str, str]
    settings: Settings
    folder: Path
    run: Path

    @property
    def rows(self) -> Rows:
        return Rows(self.run)


@contextmanager
def started(scenario: Scenario, run: Path, given: dict[str, str] | None = None) -> Iterator[Started]:
    """The scenario's world on an event loop of its own, as in a run; closed at the end."""
    own = run / "world"
    own.mkdir(parents=True)
    settings = scenario.resolve(given or {})
    rows = EffectRows(run / "effects-1.rows", scenario.name)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    world = None
    try:
        world = do(scenario.world(rows, settings, own))
        yield Started(world.addresses(), settings, own, run)
    finally:
        if world is not None:
            do(world.close())
        rows.close()
        # Executor threads first: a look that is under way writes rows.
        do(loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def together(afterload: Afterload, folder: Path) -> Callable[..., dict[str, dict[str, Any]]]:  # noqa: F811
    """Several runs at the same time, each told by its name; the summary of each. Alone, they would mostly wait."""

    def call(*common: object, each: dict[str, tuple[object, ...]]) -> dict[str, dict[str, Any]]:
        def run(name: str) -> dict[str, Any]:
            done = afterload("run", *common, *each[name], "--out", f"run-{name}", "--json", "-", timeout_s=100)
            assert done.out, done.err
            return {**done.json, "status": done.status, "text": done.err, "run": folder / f"run-{name}"}

        with ThreadPoolExecutor(len(each)) as pool:
            return dict(zip(each, pool.map(run, each), strict=True))

    return call


def broken_invariants(summary: dict[str, Any]) -> list[dict[str, Any]]:
    assert len(summary["invariants"]) >= 10
    return [invariant for invariant in summary["invariants"] if not invariant["holds"]]


def figure(summary: dict[str, Any], name: str) -> float:
    (found,) = [each["value"] for each in summary["scenario"]["figures"] if each["id"] == name]
    return found
