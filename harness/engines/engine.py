"""What the session must know of a server to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MODULE", "Engine", "Start"]

MODULE = ("-P", "-m")
"""Python's options to run one of our modules: not from the working directory, where the user may have a `server.py` too."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a server is started with."""

    host: str
    port: int
    boot: int
    rows: Path  # where its task rows go
    scenario: str  # JSON for AFTERLOAD_SCENARIO


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of server."""

    name: str
    command: Callable[[Start], list[str]]
    env: Callable[[Start], Mapping[str, str]]
    drain_s: float  # how long it lets accepted tasks finish after SIGTERM
    ready_by_page: bool  # the gauge page says when it is ready; otherwise an accepted connection does
