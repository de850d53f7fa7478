"""What else the machine does while a run goes on: samples of the processors' time, the run's own share of it, and stolen time.

From /proc alone, so Linux alone; where a part of it is missing, its column stays zero. What the samples mean is in
harness/noise.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from harness.rows import Kind, RowWriter

__all__ = ["EVERY_NS", "MachineSampler"]

EVERY_NS = 500_000_000
"""The kernel counts in ticks of 10 ms: of a shorter interval on few processors each would be several per cent."""

_MOST_COST = 200
"""A sample is at most one part in so many of what is measured: with very many processes they are taken more seldom."""

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PPID, _TIMES = 1, slice(11, 15)  # in /proc/PID/stat, after the name: utime, stime, and those of children that were waited for
_STALLED = re.compile(r"^some .*total=(\d+)", re.MULTILINE)


class MachineSampler:
    """Writes a row every half second, if it is called at least that often.

    `root` is the process whose descendants make up the run. It adopts orphans, so nobody can leave the tree by losing a parent.
    """

    def __init__(self, path: Path, root: int | None = None) -> None:
        self._rows = RowWriter(path, Kind.MACHINE, segment_rows=1024)
        self._root = os.getpid() if root is None else root
        self._cpus = os.sched_getaffinity(0)
        self._next_ns = 0

    def sample(self) -> bool:
        """Takes a sample if it is time to. True: it did."""
        now = time.monotonic_ns()
        if now < self._next_ns:
            return False
        # Its own processor time: how long it takes on a busy machine must not keep it from seeing that the machine is busy.
        begun = time.thread_time_ns()
        with contextlib.suppress(OSError):
            busy, idle, steal, runnable = self._processors()
            row = (now, busy, idle, steal, self._own_ns(), _stalled_ns(), runnable, len(self._cpus))
            self._rows.append(row)
        self._next_ns = now + max(EVERY_NS, _MOST_COST * (time.thread_time_ns() - begun))
        return True

    def close(self) -> None:
        """Closes the file."""
        self._rows.close()

    def _processors(self) -> tuple[int, int, int, int]:
        """Busy, idle and stolen ns of the processors that the run may use, since the machine started; and who wants to run."""
        busy = idle = steal = runnable = 0
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            name, *numbers = line.split()
            if name == "procs_running":
                runnable = int(numbers[0])
            elif name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in self._cpus:
                user, nice, system, idling, waiting, irq, softirq, stolen = map(int, numbers[:8])
                busy += user + nice + system + irq + softirq
                idle += idling + waiting
                steal += stolen
        return busy * _NS_PER_TICK, idle * _NS_PER_TICK, steal * _NS_PER_TICK, runnable

    def _own_ns(self) -> int:
        """CPU time of the run: of its processes, and of those that have ended and were waited for."""
        parents: dict[int, int] = {}
        used: dict[int, int] = {}
        for pid, fields in _processes():
            parents[pid] = int(fields[_PPID])
            used[pid] = sum(map(int, fields[_TIMES]))
        ticks = 0
        for pid, own in used.items():
            above = pid
            # Nobody is their own ancestor, but the table is not read in one instant.
            for _ in range(len(parents)):
                if above == self._root or above not in parents:
                    break
                above = parents[above]
            ticks += own if above == self._root else 0
        return ticks * _NS_PER_TICK


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # One that has ended meanwhile is in its parent's account, or will be.
            with contextlib.suppress(OSError):
                yield int(folder.name), (folder / "stat").read_bytes().rpartition(b")")[2].split()


def _stalled_ns() -> int:
    """How long somebody has waited for a processor although they could have run; 0 where the kernel does not count it."""
    with contextlib.suppress(OSError):
        found = _STALLED.search(Path("/proc/pressure/cpu").read_text(encoding="ascii"))
        return int(found[1]) * 1000 if found else 0
    return 0
