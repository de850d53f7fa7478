"""Other ASGI servers, with a scenario's app on plain FastAPI and the probe as witness."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from harness.engines.engine import MODULE, Engine, Start, probe_env
from harness.errors import UsageError
from harness.plan import Plan

__all__ = ["granian", "uvicorn"]

_ROOT = Path(__file__).resolve().parents[2]
"""Both servers put a folder in front of Python's path; it must be ours and not the working directory."""


def uvicorn(plan: Plan) -> Engine:
    """`python -m uvicorn`, as its documentation has it, without the line per request."""

    def command(start: Start) -> list[str]:
        options = {"host": start.host, "port": start.port, "workers": plan.workers, "loop": plan.loop or "auto"}
        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        app = ["scenarios.entry:plain", "--factory", "--app-dir", str(_ROOT), "--no-access-log"]
        return [sys.executable, *MODULE, "uvicorn", *app, *given]

    return _engine(plan, "uvicorn", command)


def granian(plan: Plan) -> Engine:
    """`python -m granian`, likewise."""

    def command(start: Start) -> list[str]:
        options = {"host": start.host, "port": start.port, "workers": plan.workers, "loop": plan.loop or "auto"}
        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        # By its path: a module's name would be looked up in the working directory first.
        app = [f"{_ROOT / 'scenarios' / 'entry.py'}:plain", "--factory", "--working-dir", str(_ROOT), "--interface", "asgi"]
        return [sys.executable, *MODULE, "granian", *app, *given]

    return _engine(plan, "granian", command)


def _engine(plan: Plan, name: str, command: Callable[[Start], list[str]]) -> Engine:
    if importlib.util.find_spec(name) is None:
        hint = "install it beside afterload: pip install 'afterload[granian]'" if name == "granian" else f"pip install {name}"
        raise UsageError(f"engine {name!r} needs {name}, which is not installed in afterload's environment", hint)
    return Engine(
        name=name,
        command=command,
        env=lambda start: {
            **probe_env(start, start.pool or plan.pool, f"{plan.scenario} {plan.tasks}"),
            "AFTERLOAD_SCENARIO": start.scenario,
        },
        drain_s=plan.drain_s,
        ready_path="/openapi.json",
        ready_s=plan.ready_s,
    )
