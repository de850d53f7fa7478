"""Who used a server and when: tasks by function, and their flow over time. Pure functions on arrays, in one pass over the rows.

All task rows of a server count here, also those without an operation: they take threads too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import chunks
from harness.model import Evidence
from harness.rows import DropReason, RowFile, Rows, TaskKind

__all__ = ["Flow", "FunctionUse", "Tail", "Usage", "usage_of"]

BIN_NS: Final = 100_000_000
MOST_BINS: Final = 600
TAIL: Final = 0.1
"""The slowest tasks that are looked at apart: at most this share."""

_PER_OCTAVE: Final = 4
_BUCKETS: Final = 64 * _PER_OCTAVE


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """The tasks of one function, over all boots."""

    name: str
    on_loop: bool  # `async def` or spawned; else a thread of the pool ran it
    accepted: int
    started: int
    ended: int  # finished or failed
    failed: int
    run_s: float  # of those that ended, added up
    longest_s: float


@dataclass(frozen=True, slots=True)
class Flow:
    """Tasks of one boot, in threads or on the event loop, per equal bin since load start. What comes after the load is left out.

    What waits and what runs are exact means over each bin, not samples: arrivals that are evenly spread would be sampled at the
    same place between two of them again and again.
    """

    boot: int
    on_loop: bool
    bin_s: float
    accepted: NDArray[np.int64]  # shape (n_bins,); the first bin also holds what came before the load
    started: NDArray[np.int64]
    left: NDArray[np.int64]  # put aside without having been started: skipped, discarded
    ended: NDArray[np.int64]
    backlog: NDArray[np.float64]  # accepted and not started
    busy: NDArray[np.float64]  # started and not ended
    run_s: NDArray[np.float64]  # of the tasks that were started in the bin, added up; for what never ended, until its boot did
    wait_s: NDArray[np.float64]  # started - accepted of the tasks that were started in the bin, added up


@dataclass(frozen=True, slots=True)
class Tail:
    """The slowest tasks that threads ran: all of `from_s` or more."""

    tasks: int
    from_s: float
    longest_s: float
    share_of_tasks: float  # of all that ended; at most TAIL
    share_of_time: float  # of the time that threads were held by tasks that ended


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a whole run."""

    functions: tuple[FunctionUse, ...]  # the one that ran longest in all comes first
    flows: tuple[Flow, ...]  # only where there were such tasks
    tail: Tail | None  # None: no task ended in a thread, or too many took equally long


def usage_of(evidence: Evidence) -> Usage:
    """One pass: about 100 ns for each task row."""
    load_ns = max(evidence.load_end_ns - evidence.load_start_ns, 1)
    bin_ns = max(BIN_NS, math.ceil(load_ns / MOST_BINS))
    n_bins = math.ceil(load_ns / bin_ns)
    functions: dict[tuple[str, bool], _Sums] = {}
    flows: list[Flow] = []
    spread = _Spread(np.zeros(_BUCKETS, np.int64), np.zeros(_BUCKETS))
    for boot, files in sorted(evidence.tasks.items()):
        counted = _Bins(evidence.load_start_ns, bin_ns, n_bins)
        for file in files:
            sums = _Sums.of(len(file.names) + 1)
            dead_ns = evidence.death_ns(boot, file.pid, file.created_ns) or evidence.load_end_ns
            for rows in chunks(file):
                _count(rows, counted, sums, spread, dead_ns)
            _merge(functions, file, sums)
        flows += counted.flows(boot)
    found = [sums.use(name, on_loop=on_loop) for (name, on_loop), sums in functions.items()]
    found.sort(key=lambda each: (-each.run_s, each.name))
    longest_s = max((each.longest_s for each in found if not each.on_loop), default=0.0)
    return Usage(tuple(found), tuple(flows), spread.tail(longest_s))


_EVENTS: Final = ("accepted", "started", "left", "ended")
_SUMS: Final = ("run", "wait")


class _Bins:
    """Counts of one boot: two rows, threads and loop, of n_bins + 1 columns; the last one is for what came after the load."""

    def __init__(self, start_ns: int, bin_ns: int, n_bins: int) -> None:
        self._start_ns = start_ns
        self._bin_ns = bin_ns
        self._n_bins = n_bins
        self._counts = {name: np.zeros((2, n_bins + 1)) for name in _EVENTS}
        self._rests = {name: np.zeros((2, n_bins + 1)) for name in _EVENTS}  # from each event to the end of its bin, in ns
        self._sums = {name: np.zeros((2, n_bins + 1)) for name in _SUMS}

    def add(self, name: str, at_ns: NDArray[np.int64], on_loop: NDArray[np.bool_], **sums: NDArray[np.int64]) -> None:
        """Events, and what is to be added up in their bins."""
        place = np.clip((at_ns - self._start_ns) // self._bin_ns, 0, self._n_bins)
        rest = np.minimum((place + 1) * self._bin_ns - (at_ns - self._start_ns), self._bin_ns)
        place += on_loop * (self._n_bins + 1)
        for whole, weights in (
            (self._counts[name], None),
            (self._rests[name], rest),
            *((self._sums[s], w) for s, w in sums.items()),
        ):
            whole += np.bincount(place, weights, 2 * (self._n_bins + 1)).reshape(2, -1)

    def _mean(self, row: int, more: str, *less: str) -> NDArray[np.float64]:
        """Of what began by one kind of event and ended by others: how much there was of it, averaged over each bin."""
        change = self._counts[more][row] - sum(self._counts[name][row] for name in less)
        inside = self._rests[more][row] - sum(self._rests[name][row] for name in less)
        before = np.cumsum(change) - change
        return np.asarray((before + inside / self._bin_ns)[: self._n_bins])

    def flows(self, boot: int) -> list[Flow]:
        found = []
        for row, on_loop in enumerate((False, True)):
            if not self._counts["accepted"][row].any():
                continue
            inside = slice(0, self._n_bins)
            found.append(
                Flow(
                    boot=boot,
                    on_loop=on_loop,
                    bin_s=self._bin_ns / 1e9,
                    accepted=self._counts["accepted"][row, inside].astype(np.int64),
                    started=self._counts["started"][row, inside].astype(np.int64),
                    left=self._counts["left"][row, inside].astype(np.int64),
                    ended=self._counts["ended"][row, inside].astype(np.int64),
                    backlog=self._mean(row, "accepted", "started", "left"),
                    busy=self._mean(row, "started", "ended"),
                    run_s=self._sums["run"][row, inside] / 1e9,
                    wait_s=self._sums["wait"][row, inside] / 1e9,
                )
            )
        return found


@dataclass(slots=True)
class _Sums:
    """By function: arrays of shape (2, n_functions), threads and loop."""

    accepted: NDArray[np.int64]
    started: NDArray[np.int64]
    ended: NDArray[np.int64]
    failed: NDArray[np.int64]
    run_ns: NDArray[np.float64]
    longest_ns: NDArray[np.int64]

    @classmethod
    def of(cls, n_functions: int) -> _Sums:
        accepted, started, ended, failed, longest_ns = (np.zeros(2 * n_functions, np.int64) for _ in range(5))
        return cls(accepted, started, ended, failed, np.zeros(2 * n_functions), longest_ns)

    def use(self, name: str, *, on_loop: bool) -> FunctionUse:
        return FunctionUse(
            name=name,
            on_loop=on_loop,
            accepted=int(self.accepted.sum()),
            started=int(self.started.sum()),
            ended=int(self.ended.sum()),
            failed=int(self.failed.sum()),
            run_s=float(self.run_ns.sum()) / 1e9,
            longest_s=int(self.longest_ns.max(initial=0)) / 1e9,
        )


@dataclass(slots=True)
class _Spread:
    """How long tasks held their threads: counts and sums by the logarithm of the time."""

    n: NDArray[np.int64]
    run_ns: NDArray[np.float64]

    def add(self, run_ns: NDArray[np.int64]) -> None:
        bucket = (np.log2(np.maximum(run_ns, 1)) * _PER_OCTAVE).astype(np.int64)
        self.n += np.bincount(bucket, minlength=_BUCKETS)
        self.run_ns += np.bincount(bucket, run_ns, _BUCKETS)

    def tail(self, longest_s: float) -> Tail | None:
        total = int(self.n.sum())
        at_least = np.cumsum(self.n[::-1])[::-1]  # tasks in this bucket or above
        few = np.flatnonzero(at_least <= TAIL * total)
        first = int(few[0]) if len(few) else _BUCKETS
        if not total or first == _BUCKETS or not at_least[first]:
            return None
        return Tail(
            tasks=int(at_least[first]),
            from_s=2 ** (first / _PER_OCTAVE) / 1e9,
            longest_s=longest_s,
            share_of_tasks=float(at_least[first]) / total,
            share_of_time=float(self.run_ns[first:].sum() / self.run_ns.sum()),
        )


def _count(rows: Rows, bins: _Bins, sums: _Sums, spread: _Spread, dead_ns: int) -> None:
    n_functions = len(sums.accepted) // 2
    on_loop = rows["kind"] != TaskKind.DEF
    function = np.minimum(rows["func"], n_functions - 1).astype(np.int64) + on_loop * n_functions
    accepted, started = rows["accepted_ns"].astype(np.int64), rows["started_ns"].astype(np.int64)
    finished, failed = rows["finished_ns"].astype(np.int64), rows["failed_ns"].astype(np.int64)
    ended = np.where(finished != 0, finished, failed)
    is_started, is_dropped = started != 0, rows["dropped_ns"] != 0
    # What was put aside while it ran has left its thread too. Abandoned is said of a task that still runs.
    is_put_aside = is_started & (ended == 0) & is_dropped & (rows["reason"] != DropReason.ABANDONED)
    if is_put_aside.any():
        bins.add("ended", rows["dropped_ns"][is_put_aside].astype(np.int64), on_loop[is_put_aside])
    # What its process left behind when it died waits and runs no more.
    is_dead = (ended == 0) & ~is_dropped
    for name, chosen in (("left", is_dead & ~is_started), ("ended", is_dead & is_started)):
        if chosen.any():
            at = np.maximum(np.where(is_started, started, accepted)[chosen], dead_ns)
            bins.add(name, at, on_loop[chosen])
    is_left = is_dropped & ~is_started
    bins.add("accepted", accepted, on_loop)
    sums.accepted += np.bincount(function, minlength=2 * n_functions)
    if is_left.any():
        bins.add("left", rows["dropped_ns"][is_left].astype(np.int64), on_loop[is_left])
    if not is_started.all():
        accepted, started, ended, failed = (each[is_started] for each in (accepted, started, ended, failed))
        function, on_loop = function[is_started], on_loop[is_started]
    until = np.where(ended != 0, ended, max(dead_ns, 0))
    bins.add("started", started, on_loop, wait=started - accepted, run=np.maximum(until - started, 0))
    sums.started += np.bincount(function, minlength=2 * n_functions)
    is_ended = ended != 0
    if not is_ended.all():
        started, ended, failed = started[is_ended], ended[is_ended], failed[is_ended]
        function, on_loop = function[is_ended], on_loop[is_ended]
    run = ended - started
    spread.add(run if not on_loop.any() else run[~on_loop])
    bins.add("ended", ended, on_loop)
    sums.ended += np.bincount(function, minlength=2 * n_functions)
    sums.failed += np.bincount(function, failed != 0, 2 * n_functions).astype(np.int64)
    sums.run_ns += np.bincount(function, run, 2 * n_functions)
    np.maximum.at(sums.longest_ns, function, run)


def _merge(functions: dict[tuple[str, bool], _Sums], file: RowFile, sums: _Sums) -> None:
    """Adds the sums of one file to those of the run: each process numbers its functions by itself."""
    n_functions = len(sums.accepted) // 2
    names: Sequence[str] = (*file.names, "")
    for place in np.flatnonzero(sums.accepted).tolist():
        name, on_loop = names[place % n_functions], place >= n_functions
        whole = functions.setdefault((name, on_loop), _Sums.of(1))
        for field in ("accepted", "started", "ended", "failed", "run_ns"):
            getattr(whole, field)[0] += getattr(sums, field)[place]
        whole.longest_ns[0] = max(whole.longest_ns[0], sums.longest_ns[place])
