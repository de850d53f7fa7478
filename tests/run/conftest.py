"""Runs for the tests: the real command line or the real session, and proof that nothing is left of them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.engines import Engine, Start
from harness.plan import Plan
from harness.processes.group import MARK
from harness.progress import Progress
from harness.session import Outcome, describe_scenario, run

ROOT = Path(__file__).resolve().parents[2]
LIARS = Path(__file__).with_name("liars")
APPS = Path(__file__).with_name("apps")


@dataclass(frozen=True)
class Done:
    """A finished command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def left_over(folder: Path) -> list[str]:
    """Processes that belong to a run in `folder`: by their mark, or by having a file of it open."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            if mark and process.cwd() == str(folder):
                found.append(f"{process.pid} {mark} {' '.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0, what: str = "it") -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory in which a run must leave no process."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    wait_until(lambda: not left_over(tmp_path), what=f"the end of all processes ({left_over(tmp_path)})")


@pytest.fixture
def afterload(folder: Path) -> Callable[..., Done]:
    def call(*args: object, timeout_s: float = 60.0, env: dict[str, str] | None = None) -> Done:
        command = [sys.executable, "-m", "harness", *map(str, args)]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False, env={**os.environ, **(env or {})}
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def session(folder: Path) -> Callable[..., Outcome]:
    def call(engine: Callable[[Plan], Engine] | None = None, **values: Any) -> Outcome:
        return started(folder, engine, **values)

    return call


def started(folder: Path, engine: Callable[[Plan], Engine] | None = None, **values: Any) -> Outcome:
    """A short run of the email scenario, in this process."""
    plan = Plan.of({"scenario": "email", "pool": 4, "rate": 40.0, "for_s": 2.0, "warm_up_s": 0.2, **values}, "test")
    scenario = describe_scenario("email", plan.tasks, plan.settings, plan.seed)
    progress = Progress(io.StringIO())
    return run(plan, scenario, out=folder / "run", progress=progress, engine=engine(plan) if engine else None)


def liar(lie: str) -> Callable[[Plan], Engine]:
    """The pure-Python server of liars/server.py."""

    def engine(plan: Plan) -> Engine:
        def command(start: Start) -> list[str]:
            options = {
                "lie": lie,
                "host": start.host,
                "port": start.port,
                "boot": start.boot,
                "rows": start.rows,
                "pool": plan.pool,
            }
            return [
                sys.executable,
                str(LIARS / "server.py"),
                *(part for key, value in options.items() for part in (f"--{key}", str(value))),
            ]

        return Engine(
            lie,
            command,
            lambda start: {"AFTERLOAD_SCENARIO": start.scenario, "PYTHONPATH": str(ROOT)},
            0.0,
            ready_by="page",
            keeps_deadline=True,
        )

    return engine
