"""A worker process of a supervisor: what it is handed, and how it knows that it is one."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from server._config import ServerConfig

__all__ = ["VARIABLE", "Worker"]

VARIABLE: Final = "AFTERLOAD_WORKER"
"""The environment variable by which a supervisor tells its worker what it is."""

READY: Final = b"R"


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of several that answer on one port."""

    number: int  # of all workers that the supervisor has started, from 1
    listener: int  # descriptor of the listening socket, opened by the supervisor
    ready: int  # descriptor of the pipe on which it says that it serves
    supervisor: int  # pid

    def to_environment(self) -> dict[str, str]:
        """What its environment has to hold."""
        return {VARIABLE: f"{self.number} {self.listener} {self.ready} {self.supervisor}"}

    @classmethod
    def is_this_process(cls) -> bool:
        """Whether a supervisor started this very process, and it has not begun to serve."""
        return cls._read() is not None

    @classmethod
    def of_this_process(cls) -> Worker | None:
        """What this process is as a worker, once; None for the second asker, and in a process that no supervisor started."""
        worker = cls._read()
        os.environ.pop(VARIABLE, None)
        if worker is not None:
            # Programs that the app starts are no workers and inherit nothing of this.
            os.set_inheritable(worker.listener, False)
            os.set_inheritable(worker.ready, False)
        return worker

    @classmethod
    def _read(cls) -> Worker | None:
        text = os.environ.get(VARIABLE)
        if text is None:
            return None
        worker = cls(*map(int, text.split()))
        # A program that a worker's module started at its import inherits the variable, but is nobody's worker.
        return worker if worker.supervisor == os.getppid() else None

    def settings(self, config: ServerConfig) -> ServerConfig:
        """What it serves with: row files are each worker's own."""
        return replace(config, rows=self.rows(config.rows)) if config.rows else config

    def rows(self, path: Path) -> Path:
        """Its own row file: `tasks.rows` becomes `tasks-1.rows`. A worker started instead of a dead one has a new number."""
        return path.with_name(f"{path.stem}-{self.number}{path.suffix}")

    def say_ready(self) -> None:
        """Tells the supervisor that it serves."""
        with contextlib.suppress(BrokenPipeError):  # the supervisor is gone, and so will be this process
            os.write(self.ready, READY)
        os.close(self.ready)
