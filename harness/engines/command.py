"""Any command: somebody's own app, in their own environment and directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.engines.engine import Engine, Start, probe_env
from harness.errors import UsageError
from harness.plan import HOST_PLACEHOLDER, PORT_PLACEHOLDER, Plan

__all__ = ["command"]


def command(plan: Plan) -> Engine:
    """The plan's command, with its port and host filled in. Raises UsageError if there is no such program or directory."""
    cwd = Path(plan.cwd or ".").absolute()
    if not cwd.is_dir():
        raise UsageError(f"cwd is {plan.cwd!r}, and there is no such directory")
    program = plan.command[0]
    found = os.access(cwd / program, os.X_OK) if os.sep in program else shutil.which(program) is not None
    if not found:
        where = f"in {cwd}" if os.sep in program else "in PATH"
        hint = "activate the environment of your app first, or give the program's whole path, e.g., .venv/bin/uvicorn"
        raise UsageError(f"the command {program!r} was not found {where}", hint)

    def filled_in(start: Start) -> list[str]:
        return [part.replace(PORT_PLACEHOLDER, str(start.port)).replace(HOST_PLACEHOLDER, start.host) for part in plan.command]

    return Engine(
        name="command",
        command=filled_in,
        env=lambda start: probe_env(start, start.pool or plan.pool, " ".join(plan.command)),
        drain_s=plan.drain_s,
        ready_path=plan.ready,
        ready_s=plan.ready_s,
        cwd=cwd,
        is_own=False,
    )
