"""The fault `hog`: busy processes beside the server."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import psutil

from harness.disturbances.disturbance import DidNotLand, Disturbance, Receipt
from harness.processes import Child
from harness.processes import hog as script
from harness.rundir import RunDir

__all__ = ["Hog"]

_FOR_SURE_S: Final = 3600.0
_BUSY_S: Final = 0.1
"""CPU time that only one that calculates has used: starting takes about 0.02 s."""


class Hog(Disturbance):
    """Processes that calculate. What they have used of the CPU is the proof."""

    about_server = False
    lands_within_s = 10.0

    def __init__(self, rundir: RunDir, number: int, processes: int, length_s: float | None) -> None:
        """`number`: of the fault. `processes`: 0 for one a core."""
        self._rundir = rundir
        self._number = number
        self._n = processes or os.cpu_count() or 1
        self._limit_s = (length_s if length_s is not None else _FOR_SURE_S) + self.lands_within_s + self.ends_within_s
        self._children: list[Child] = []
        self._used_s: dict[int, float] = {}

    def begin(self) -> str:
        """Starts them, each with an end of its own should everybody forget it."""
        for position in range(self._n):
            name = f"hog-{self._number}-{position}"
            command = [sys.executable, "-I", "-S", str(Path(script.__file__)), str(self._limit_s)]
            self._children.append(Child(name, command, self._rundir.log(name), run_id=self._rundir.run_id))
        return f"{self._n} busy processes"

    def landed(self) -> Receipt | None:
        """All calculate."""
        for child in self._children:
            if child.poll() is not None:
                raise DidNotLand(f"{child.name} ended with status {child.exit.status if child.exit else '?'}")
        self._look()
        if len(self._used_s) < self._n or min(self._used_s.values()) < _BUSY_S:
            return None
        return {"pids": [child.pid for child in self._children]}

    def end(self) -> None:
        """Ends them."""
        self._look()
        for child in self._children:
            child.signal(signal.SIGKILL)

    def ended(self) -> Receipt | None:
        """All are dead; how much CPU time each had used."""
        if any(child.poll() is None for child in self._children):
            return None
        return {"cpu_s": {str(pid): round(used_s, 2) for pid, used_s in self._used_s.items()}}

    def _look(self) -> None:
        for child in self._children:
            # Asked of a process that has ended already, it was said before.
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(child.pid).cpu_times()
                self._used_s[child.pid] = max(self._used_s.get(child.pid, 0.0), times.user + times.system)
