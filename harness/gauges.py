"""Samples of the gauges, taken from outside: also while the server is blocked, and there after it is dead."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

from harness.loads import Loads
from harness.pages import BootPages, waiting_and_running
from harness.rows import Gauge, Kind, RowWriter
from harness.servers import ServerUnderTest

__all__ = ["EVERY_NS", "GaugeSampler", "Readings"]

EVERY_NS = 50_000_000

_THERE_IS = (Gauge.POOL_SIZE, Gauge.POOL_BUSY, Gauge.POOL_WAITING)
_COUNTED = (Gauge.ACCEPTED, Gauge.STARTED, Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED)
_TREE_EVERY_NS = 1_000_000_000
_MOST_FOUND = 8
"""So often in that time processes are looked for because there are new ones."""


class GaugeSampler:
    """Writes a gauge row every 50 ms, if it is called at least that often."""

    def __init__(self, path: Path) -> None:
        self._rows = RowWriter(path, Kind.GAUGES)
        self._next_ns = 0
        self._server: psutil.Process | None = None
        self._tree: list[psutil.Process] = []
        self._next_tree_ns = 0
        self._n_found = 0
        self._cpu_s: dict[int, float] = {}  # of each process of the server, also of those that have ended
        self.rss_bytes = 0
        """Memory of the server's processes at the last sample."""

    def sample(self, boot: int, pages: BootPages | None, server: psutil.Process | None, load_cpu_ns: int) -> bool:
        """Takes a sample if it is time to. True: it did."""
        now = time.monotonic_ns()
        if now < self._next_ns:
            return False
        # From now, not from when it was due: after a wait there is nothing to catch up with.
        self._next_ns = now + EVERY_NS
        gauges, lag_ns = [0] * (len(_THERE_IS) + len(_COUNTED) + 1), 0
        if pages is not None:
            pages.refresh()
            gauges = [pages.now(gauge) for gauge in _THERE_IS] + [pages.total(gauge) for gauge in _COUNTED]
            gauges.append(pages.now(Gauge.REQUESTS_IN_FLIGHT))
            lag_ns = pages.loop_lag_ns(now)
        cpu_ns, rss = self._use_of(server, now, set(pages.living()) if pages is not None else set())
        self.rss_bytes = rss
        self._rows.append((now, boot, *gauges, lag_ns, cpu_ns, rss, load_cpu_ns, 0))
        return True

    def close(self) -> None:
        """Closes the file."""
        self._rows.close()

    def _use_of(self, server: psutil.Process | None, now_ns: int, writers: set[int]) -> tuple[int, int]:
        """CPU time that the server's processes have used, and their memory now. `writers`: those that have begun to write rows.

        Looking through all processes costs too much to be done each time. Whom the kernel names as a child of theirs, and who
        begins to write rows, is found at once: one that is found late would seem to have used all its time in a moment. What one
        has used stays in the sum when it has ended.
        """
        if server is None:
            return 0, 0
        if server != self._server:
            self._server, self._tree = server, [server]
            self._cpu_s.clear()
            self._next_tree_ns = now_ns
        if now_ns >= self._next_tree_ns:
            self._next_tree_ns, self._n_found = now_ns + _TREE_EVERY_NS, 0
            is_due = True
        else:
            # A server that starts programs all the time would have all processes looked through at each sample.
            is_due = self._n_found < _MOST_FOUND and not (writers | _children_of(self._tree)) <= self._cpu_s.keys()
            self._n_found += is_due
        if is_due:
            with contextlib.suppress(psutil.Error):
                self._tree = [server, *server.children(recursive=True)]
        rss = 0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu_s[process.pid] = times.user + times.system
                rss += process.memory_info().rss
        return int(sum(self._cpu_s.values()) * 1e9), rss


def _children_of(processes: list[psutil.Process]) -> set[int]:
    """Whom their first threads have started (proc(5), /proc/PID/task/TID/children); nobody where the kernel does not tell."""
    found: set[int] = set()
    for process in processes:
        with contextlib.suppress(OSError):
            found |= set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    return found


class Readings:
    """What a fault may wait for, as it is now: gauges of `harness.faults.GAUGES`."""

    def __init__(self, server: ServerUnderTest, sampler: GaugeSampler, loads: Loads) -> None:
        self._server = server
        self._sampler = sampler
        self._loads = loads

    def __call__(self, gauge: str) -> float | None:
        """The value; None if the server is down, or nobody tells."""
        server, pages = self._server, self._server.pages
        if not server.is_up:
            return None
        match gauge:
            case "sent":
                return self._loads.total(Gauge.ACCEPTED)
            case "answered":
                return self._loads.total(Gauge.STARTED)
            case "rss":
                return self._sampler.rss_bytes or None
        if not pages.any:
            return None
        match gauge:
            case "backlog":
                return waiting_and_running(pages.now)[0]
            case "busy":
                return waiting_and_running(pages.now)[1]
            case "waiting":
                return pages.now(Gauge.POOL_WAITING)
            case "in-flight":
                return pages.now(Gauge.REQUESTS_IN_FLIGHT)
            case "loop-lag":
                return pages.loop_lag_ns(time.monotonic_ns()) / 1e9
        counted = {"accepted": Gauge.ACCEPTED, "finished": Gauge.FINISHED, "failed": Gauge.FAILED}[gauge]
        return server.counted_before[counted] + pages.total(counted)
