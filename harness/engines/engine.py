"""What the session must know of a server to run it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.modules import MODULE

__all__ = ["MODULE", "PROBE", "Engine", "Start", "probe_env"]

PROBE = Path(__file__).resolve().parents[1] / "probe"
"""The folder that is put in front of a server's PYTHONPATH."""

_LABEL_BYTES = 64


@dataclass(frozen=True, slots=True)
class Start:
    """What a server is started with."""

    host: str
    port: int
    boot: int
    rows: Path  # where its task rows go
    scenario: str  # JSON for AFTERLOAD_SCENARIO
    pool: int | None = None  # threads for def tasks, if that was changed since the run began; else as planned


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of server."""

    name: str
    command: Callable[[Start], list[str]]
    env: Callable[[Start], Mapping[str, str]]
    drain_s: float  # how long it may finish what it accepted after SIGTERM
    ready_by: Literal["page", "connection"] = "connection"  # its gauge page says when it is ready; or it answers a request
    processes: int = 1  # that must be ready, where pages say it
    ready_path: str | None = None  # answered with 2xx when it is ready; None: anything that is an answer will do
    ready_s: float = 30.0  # how long a start may take
    keeps_deadline: bool = False  # it knows `drain_s` and ends by then; otherwise it is killed at that time, as by Kubernetes
    cwd: Path | None = None
    is_own: bool = True  # started by our Python, with nothing of the user's


def probe_env(start: Start, pool: int | None, label: str) -> dict[str, str]:
    """The variables that bring the probe into a server's processes, and nothing else."""
    before = os.environ.get("PYTHONPATH")
    env = {
        "PYTHONPATH": str(PROBE) if not before else f"{PROBE}{os.pathsep}{before}",
        "AFTERLOAD_PROBE_ROWS": str(start.rows),
        "AFTERLOAD_PROBE_BOOT": str(start.boot),
        "AFTERLOAD_PROBE_LABEL": label.encode()[:_LABEL_BYTES].decode("utf-8", "ignore"),
    }
    if pool is not None:
        env["AFTERLOAD_PROBE_POOL"] = str(pool)
    return env
