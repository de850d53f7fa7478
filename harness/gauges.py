"""Samples of the gauges, taken from outside: also while the server is blocked, and there after it is dead."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

from harness.rows import Gauge, Kind, LivePage, RowWriter

__all__ = ["EVERY_NS", "GaugeSampler"]

EVERY_NS = 50_000_000

_COPIED = (
    Gauge.POOL_SIZE,
    Gauge.POOL_BUSY,
    Gauge.POOL_WAITING,
    Gauge.ACCEPTED,
    Gauge.STARTED,
    Gauge.FINISHED,
    Gauge.FAILED,
    Gauge.DROPPED,
    Gauge.REQUESTS_IN_FLIGHT,
)


class GaugeSampler:
    """Writes a gauge row every 50 ms, if it is called at least that often."""

    def __init__(self, path: Path) -> None:
        self._rows = RowWriter(path, Kind.GAUGES)
        self._next_ns = 0

    def sample(self, boot: int, page: LivePage | None, server: psutil.Process | None, load_cpu_ns: int) -> bool:
        """Takes a sample if it is time to. True: it did."""
        now = time.monotonic_ns()
        if now < self._next_ns:
            return False
        # From now, not from when it was due: after a wait there is nothing to catch up with.
        self._next_ns = now + EVERY_NS
        gauges = [page.gauge(gauge) if page is not None else 0 for gauge in _COPIED]
        cpu_ns = rss = 0
        if server is not None:
            with contextlib.suppress(psutil.Error):
                times = server.cpu_times()
                cpu_ns = int((times.user + times.system) * 1e9)
                rss = server.memory_info().rss
        self._rows.append((now, boot, *gauges, _loop_lag_ns(page, now), cpu_ns, rss, load_cpu_ns, 0))
        return True

    def close(self) -> None:
        """Closes the file."""
        self._rows.close()


def _loop_lag_ns(page: LivePage | None, now_ns: int) -> int:
    # How late the next beat of the event loop already is.
    if page is None or not (beat := page.gauge(Gauge.LOOP_BEAT)):
        return 0
    return max(0, now_ns - beat - page.gauge(Gauge.LOOP_BEAT_PERIOD))
