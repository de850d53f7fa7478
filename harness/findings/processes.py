"""Findings about the server's processes: memory that grows, and work that is spread unevenly over workers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.findings.stretch import Stretch
from harness.findings.trend import trend_of
from harness.wording import bytes_of, counted

__all__ = ["of_processes"]

_LEAST_PENDING: Final = 1000
_LEAST_BYTES: Final = 20_000_000
_EXPLAINED: Final = 0.8
_STRAIGHT: Final = 0.9
_PER_TASK: Final = 4096
"""A leak of less for each task cannot be told from an allocator that is not in a hurry."""

_UNEVEN: Final = 2.0
_FEWEST: Final = 200


def of_processes(facts: Facts) -> Iterator[FoundOut]:
    """Of memory and of workers."""
    found = [memory for stretch in facts.stretches if (memory := _memory(facts, stretch))]
    yield from sorted(found, key=lambda each: -each.evidence["grown_bytes"])[:1]
    yield from _uneven(facts)


def _memory(facts: Facts, stretch: Stretch) -> FoundOut | None:
    gauges = facts.evidence.gauges
    if gauges is None:
        return None
    start_ns = facts.evidence.load_start_ns
    rows = gauges.rows
    # The first third is left out: a server that has just begun fills its caches.
    from_ns = start_ns + int((stretch.from_s + stretch.seconds / 3) * 1e9)
    rows = rows[
        (rows["boot"] == stretch.boot) & (rows["t_ns"] >= from_ns) & (rows["t_ns"] <= start_ns + int(stretch.until_s * 1e9))
    ]
    rss = rows["server_rss_bytes"].astype(np.float64)
    rows, rss = rows[rss > 0], rss[rss > 0]
    if len(rss) < 20:
        return None
    trend, seconds = trend_of(rss), float(rows["t_ns"][-1] - rows["t_ns"][0]) / 1e9
    grown = trend.per_step * (len(rss) - 1)
    if not trend.rises or grown < _LEAST_BYTES:
        return None
    ended = sum(rows[name].astype(np.float64) for name in ("finished", "failed", "dropped"))
    pending = rows["accepted"].astype(np.float64) - ended
    n_ended = float(ended[-1] - ended[0])
    numbers = {"boot": stretch.boot, "grown_bytes": round(grown), "seconds": round(seconds, 3), "tasks_ended": round(n_ended)}
    if np.ptp(pending) >= _LEAST_PENDING:
        fit = np.polyfit(pending, rss, 1)
        explained = float(np.corrcoef(pending, rss)[0, 1]) ** 2
        if explained >= _EXPLAINED and fit[0] > 0:
            most = float(pending.max())
            return FoundOut(
                "memory-grows",
                "warning",
                f"Each pending task takes about {bytes_of(float(fit[0]))} of the server's memory: {most:,.0f} of them,"
                f" {bytes_of(float(fit[0]) * most)}.",
                {**numbers, "bytes_per_pending": round(float(fit[0])), "r_squared": round(explained, 4)},
                "Give tasks ids and not objects, or limit how many may be pending: at this growth memory ends before patience"
                " does.",
            )
    if n_ended <= 0 or grown / n_ended < _PER_TASK or not _goes_on(rss):
        return None
    return FoundOut(
        "memory-leaks",
        "warning",
        f"The server's memory grew by {bytes_of(grown)} in {seconds:.0f} s, {bytes_of(grown / n_ended)} for each task that"
        " ended, and"
        f" not because more was pending. Like this it takes {bytes_of(grown / seconds * 3600)} more every hour.",
        numbers,
        "Do tasks append to something that lives on (a list in a module, a cache without a limit)? tracemalloc tells where it was"
        " allocated.",
    )


def _goes_on(rss: NDArray[np.float64]) -> bool:
    """A straight line up to the end. What an allocator keeps after a peak, or a cache that fills up, levels off."""
    x = np.arange(len(rss), dtype=np.float64)
    half = len(rss) // 2
    early, late = (float(np.polyfit(x[part], rss[part], 1)[0]) for part in (slice(None, half), slice(half, None)))
    return float(np.corrcoef(x, rss)[0, 1]) ** 2 >= _STRAIGHT and late >= early / 2 > 0


def _uneven(facts: Facts) -> Iterator[FoundOut]:
    """Of one boot, processes that were there all the time and had very different numbers of tasks."""
    for boot in facts.evidence.boots:
        gone = {*boot.dead_workers, *(pid for pid, _ in boot.worker_deaths)}
        files = [file for file in facts.evidence.tasks.get(boot.boot, ()) if file.pid not in gone]
        stretch = next((each for each in facts.stretches if each.boot == boot.boot), None)
        if len(files) < 2 or stretch is None:
            continue
        middle_ns = facts.evidence.load_start_ns + int((stretch.from_s + stretch.until_s) / 2 * 1e9)
        there = [file for file in files if file.created_ns < middle_ns and not 0 < file.closed_ns < middle_ns]
        n = sorted((len(file.rows) for file in there), reverse=True)
        if len(n) < 2 or sum(n) < _FEWEST or n[0] < _UNEVEN * max(n[-1], 1):
            continue
        yield FoundOut(
            "workers-uneven",
            "critical" if stretch.falls_behind else "warning",
            f"The work is spread unevenly over {len(n)} processes: the busiest had {counted(n[0], 'task')}, the idlest"
            f" {n[-1]:,}. The threads of the others do not help the busiest one.",
            {"boot": boot.boot, "tasks": n},
            "A connection stays with the process that took it, and this load needed few of them. Many clients even it out by"
            " themselves (--users N); few, such as one proxy or service in front, do not, unless they spread requests and not"
            " connections.",
        )
        return
