"""What a run looked like over time: backlog, busy threads, outages, recovery, drain. Pure: no clock, no files, no processes.

Backlog and busy are exact step functions of the rows, not samples: each task adds one while it waits, or runs, in a half-open
interval [start, end). All task rows of a server count here, also those without an operation: they take threads too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.grouping import NEVER_NS, chunks
from harness.model import Boot, Evidence
from harness.recovery import Recovery, first_answer_ns, recoveries
from harness.rows import DropReason, Gauge, Rows, TaskKind
from harness.rowscan import left_in
from harness.spans import NONE_NS, TaskSpans, task_spans
from harness.statistics import quantiles_ms
from harness.steps import Instants, Steps

__all__ = [
    "Outage",
    "Pool",
    "Steps",
    "Timeline",
    "backlog_steps",
    "busy_steps",
    "end_ns",
    "outages",
    "pool_of",
    "pool_sizes",
    "recovery_s",
    "sampled_saturation_ns",
    "sizes_over_time",
    "timeline",
]

SHARE: Final = 0.95
"""The quantile of responses and to-done times that is shown over time."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The thread pool for `def` tasks, over all boots. Where endpoints take threads of it too, these count as well."""

    size: int  # of the last boot that said it; 0: unknown
    busy_max: int
    saturated_s: float  # every thread of the boot's pool was busy
    lived_s: float  # boots with a pool, from ready (or spawned) to the end of the timeline or their own


@dataclass(frozen=True, slots=True)
class Outage:
    """From the signal of a fault until the next boot was ready."""

    boot: int
    from_ns: int
    until_ns: int | None  # None: no later boot became ready


@dataclass(frozen=True, slots=True)
class Timeline:
    """The run in `n_bins` equal bins [edge, next edge)."""

    edges_ns: Instants  # shape (n_bins + 1,), from load start to the last thing that happened
    backlog_max: NDArray[np.int64]  # within the bin
    backlog_end: NDArray[np.int64]  # at the bin's right edge
    busy_max: NDArray[np.int64]  # all tasks
    busy_end: NDArray[np.int64]
    response_p95_ms: NDArray[np.float64]  # of operations due in the bin; inf: unanswered, NaN: none due
    done_p95_ms: NDArray[np.float64]  # of tasks done or lost whose operation was due in the bin; inf: lost, NaN: none
    arrivals: NDArray[np.int64]  # operations due
    completions: NDArray[np.int64]  # tasks finished
    backlog_peak: int  # exact, over the whole run
    busy_peak: int
    drain_s: (
        float | None
    )  # from the last due request to the end of the last task, finished or failed; None: none ended, or not all
    recoveries: tuple[Recovery, ...]  # of each fault


def timeline(
    evidence: Evidence,
    account: Account,
    n_bins: int = 60,
    spans: TaskSpans | None = None,
    steps: tuple[Steps, Steps] | None = None,
) -> Timeline:
    """The run over time. Raises ValueError if n_bins < 1."""
    if n_bins < 1:
        msg = f"n_bins must be at least 1, not {n_bins}"
        raise ValueError(msg)
    ops = account.tables.ops
    spans = spans or task_spans(account.tables)
    is_finished = spans.done_ns != NONE_NS
    task_due, task_done = spans.due_ns[is_finished], spans.done_ns[is_finished]
    finished = np.sort(task_due + task_done)
    edges = np.linspace(0, end_ns(evidence, account) - evidence.load_start_ns, n_bins + 1).astype(np.int64)
    edges += evidence.load_start_ns
    backlog, busy = steps or (backlog_steps(evidence), busy_steps(evidence))
    recovered = recoveries(evidence, ops, backlog)
    answered = ~ops.refused
    # Work that was given up, or went with its process, after the load was never done: there is no time by which it was.
    later = (
        file
        for boot, files in evidence.tasks.items()
        for file in files
        if (evidence.death_ns(boot, file.pid, file.created_ns) or NEVER_NS) >= evidence.load_end_ns
    )
    is_done = not account.awaiting and not sum(left_in(later))
    # A task that raises after a minute holds a deploy up for as long as one that returns.
    last_end_ns = int(account.tables.tasks.ended_ns.max(initial=0))
    drain_ns = max(last_end_ns - evidence.load_end_ns, 0) if last_end_ns and is_done else None
    return Timeline(
        edges_ns=edges,
        backlog_max=backlog.highest_in(edges),
        backlog_end=backlog.at(edges[1:]),
        busy_max=busy.highest_in(edges),
        busy_end=busy.at(edges[1:]),
        response_p95_ms=_p95_by_bin(ops.due_ns[answered], spans.response_ns[answered], edges),
        done_p95_ms=_p95_by_bin(task_due, task_done, edges, spans.due_ns[spans.is_left]),
        arrivals=_per_bin(np.sort(ops.due_ns), edges),
        completions=_per_bin(finished, edges),
        backlog_peak=backlog.highest(),
        busy_peak=busy.highest(),
        drain_s=None if drain_ns is None else drain_ns / 1e9,
        recoveries=recovered,
    )


def backlog_steps(evidence: Evidence) -> Steps:
    """Tasks accepted and neither started nor dropped, until the death of their process."""

    def waiting(rows: Rows, reaped_ns: int) -> tuple[Instants, Instants]:
        left = np.full(len(rows), reaped_ns, np.int64)
        for name in ("dropped_ns", "failed_ns", "finished_ns", "started_ns"):
            left = np.where(rows[name] != 0, np.minimum(left, rows[name].astype(np.int64)), left)
        return rows["accepted_ns"].astype(np.int64), left

    return _steps(evidence, evidence.tasks.keys(), waiting)


def busy_steps(evidence: Evidence, boots: Collection[int] | None = None, *, only_def: bool = False) -> Steps:
    """Tasks started and not ended, until the death of their process; of some boots, or of `def` tasks alone."""

    def running(rows: Rows, reaped_ns: int) -> tuple[Instants, Instants]:
        chosen = rows["started_ns"] != 0
        if only_def:
            chosen &= rows["kind"] == TaskKind.DEF
        own = rows if chosen.all() else rows[chosen]
        left = np.full(len(own), reaped_ns, np.int64)
        for name in ("failed_ns", "finished_ns"):
            left = np.where(own[name] != 0, np.minimum(left, own[name].astype(np.int64)), left)
        # Abandoned is said of a task that still runs: it holds its thread until its boot dies.
        put_aside = (own["dropped_ns"] != 0) & (own["reason"] != DropReason.ABANDONED)
        left = np.where(put_aside, np.minimum(left, own["dropped_ns"].astype(np.int64)), left)
        return own["started_ns"].astype(np.int64), left

    return _steps(evidence, evidence.tasks.keys() if boots is None else boots, running)


def pool_of(evidence: Evidence, account: Account) -> Pool:
    """Size and use of the pool for `def` tasks. Each boot's size is the one that its page showed last."""
    size, busiest, saturated_ns, lived_ns = 0, 0, 0, 0
    of_boots: list[Steps] = []
    until = end_ns(evidence, account)
    for boot in sorted(evidence.boots, key=lambda each: each.boot):
        if not (threads := _pool_size(evidence, boot)):
            continue
        size = threads
        sampled = _shared_pool(evidence, boot, until)
        busiest = max([busiest, *sampled.busy.tolist()])
        busy = busy_steps(evidence, [boot.boot], only_def=True)
        saturated_ns += max(_saturated_ns(evidence, boot, busy, size, until), sampled.full_ns)
        of_boots.append(busy)
        began = max(boot.ready_ns or boot.spawned_ns, evidence.load_start_ns)
        lived_ns += max(min(boot.reaped_ns or until, until) - began, 0)
    together = _merged(of_boots) if len(of_boots) == len(evidence.tasks) else busy_steps(evidence, only_def=True)
    busy_max = max(together.highest(), busiest)
    return Pool(size=size, busy_max=busy_max, saturated_s=saturated_ns / 1e9, lived_s=lived_ns / 1e9)


def outages(evidence: Evidence) -> tuple[Outage, ...]:
    """From the moment at which a fault froze or signalled a boot to the next boot's readiness, in order."""
    found = []
    boots = sorted(evidence.boots, key=lambda each: each.boot)
    for position, boot in enumerate(boots):
        if boot.fault and boot.signalled_ns is not None:
            ready = next((later.ready_ns for later in boots[position + 1 :] if later.ready_ns is not None), None)
            found.append(Outage(boot=boot.boot, from_ns=boot.frozen_ns or boot.signalled_ns, until_ns=ready))
    return tuple(found)


def recovery_s(boot: Boot, account: Account) -> float | None:
    """From the moment at which a fault froze or signalled a boot to the first acknowledgement by a later one.

    That is the first one that was sent after that moment and came after the old boot was dead: an old server that drains still
    answers. None if the boot did not end by a fault, or nothing was acknowledged after it.
    """
    if not boot.fault or boot.signalled_ns is None:
        return None
    began_ns = boot.frozen_ns or boot.signalled_ns
    back_ns = first_answer_ns(account.tables.ops, began_ns, boot.reaped_ns or boot.signalled_ns)
    return None if back_ns is None else (back_ns - began_ns) / 1e9


def _saturated_ns(evidence: Evidence, boot: Boot, busy: Steps, size: int, until_ns: int) -> int:
    """For how long every thread of the pool was busy. While it was squeezed, it had fewer."""
    if evidence.gauges is not None and _must_be_sampled(evidence, boot.boot):
        return sum(
            busy.duration_ns(threads, min(end_ns, until_ns)) - busy.duration_ns(threads, min(begin_ns, until_ns))
            for begin_ns, end_ns, threads in _sampled_sizes(evidence.gauges.rows, boot, until_ns)
        )
    saturated_ns = busy.duration_ns(size, until_ns)
    for fault in evidence.faults:
        if fault.name != "squeeze" or fault.boot != boot.boot or fault.landed_ns is None:
            continue
        squeezed = sum(fault.receipt["pool_size"].values())
        begin, end = min(fault.landed_ns, until_ns), min(fault.ended_ns or until_ns, until_ns)
        saturated_ns += sum(
            sign * (busy.duration_ns(threads, end) - busy.duration_ns(threads, begin))
            for sign, threads in ((1, squeezed), (-1, size))
        )
    return saturated_ns


def _sampled_sizes(rows: Rows, boot: Boot, until_ns: int) -> Iterator[tuple[int, int, int]]:
    """(from, until, threads) for as long as the pool kept its size, as it was sampled."""
    rows = rows[(rows["boot"] == boot.boot) & (rows["pool_size"] > 0)]
    if not len(rows):
        return
    t_ns, size = rows["t_ns"].astype(np.int64), rows["pool_size"].astype(np.int64)
    begins = np.flatnonzero(np.diff(size, prepend=-1))
    ends_ns = [*t_ns[begins[1:]].tolist(), boot.reaped_ns or until_ns]
    # What was before the first sample had the size of the first one.
    begins_ns = [boot.ready_ns or boot.spawned_ns, *t_ns[begins[1:]].tolist()]
    yield from zip(begins_ns, ends_ns, size[begins].tolist(), strict=True)


def pool_sizes(evidence: Evidence) -> dict[int, int]:
    """The threads of each boot that said it has any."""
    sizes = {boot.boot: _pool_size(evidence, boot) for boot in evidence.boots}
    return {boot: size for boot, size in sizes.items() if size}


def sizes_over_time(evidence: Evidence, boot: Boot, size: int, until_ns: int) -> list[tuple[int, int]]:
    """(from, threads) of a boot's pool, rising, as its saturation is counted by: before the first one nothing is."""
    if evidence.gauges is not None and _must_be_sampled(evidence, boot.boot):
        return [(begin_ns, threads) for begin_ns, _, threads in _sampled_sizes(evidence.gauges.rows, boot, until_ns)]
    sizes = [(0, size)]
    for fault in sorted(evidence.faults, key=lambda each: each.landed_ns or 0):
        if fault.name == "squeeze" and fault.boot == boot.boot and fault.landed_ns is not None:
            sizes += [(fault.landed_ns, sum(fault.receipt["pool_size"].values()))]
            sizes += [(fault.ended_ns, size)] if fault.ended_ns is not None else []
    return sizes


def sampled_saturation_ns(evidence: Evidence, boot: Boot, until_ns: int) -> int:
    """For how long samples found a pool full that endpoints use too, for no row tells of an endpoint."""
    return _shared_pool(evidence, boot, until_ns).full_ns


def _must_be_sampled(evidence: Evidence, boot: int) -> bool:
    """Whether the size of a boot's pool at a time is what was sampled then: the page of each process shows its last one alone.

    It may have been changed by hand. And of several processes each may be replaced by another one, or die; while both are there,
    so are the threads of both. Without a sample that has a size, what the pages show is all that is known.
    """
    if evidence.gauges is None or (len(evidence.tasks.get(boot, ())) < 2 and _last_resized_ns(evidence) is None):
        return False
    rows = evidence.gauges.rows
    return bool(np.any((rows["boot"] == boot) & (rows["pool_size"] != 0)))


def _last_resized_ns(evidence: Evidence) -> int | None:
    """When the pool was changed by hand for the last time."""
    return max((each.landed_ns for each in evidence.steered if each.do == "pool" and each.landed_ns is not None), default=None)


def _pool_size(evidence: Evidence, boot: Boot) -> int:
    """The threads of all pools of a boot together; of several processes, how many there were for most of its load."""
    sizes = [file.gauges[Gauge.POOL_SIZE] for file in evidence.tasks.get(boot.boot, ())]
    if len(sizes) < 2 or evidence.gauges is None or not _must_be_sampled(evidence, boot.boot):
        return sum(sizes)
    from_ns = max(evidence.load_start_ns, _last_resized_ns(evidence) or 0)
    until_ns = min(evidence.load_end_ns, int(evidence.gauges.rows["t_ns"][-1]))
    lasted_ns: Counter[int] = Counter()
    for begin_ns, end_ns, threads in _sampled_sizes(evidence.gauges.rows, boot, until_ns):
        lasted_ns[threads] += max(min(end_ns, until_ns) - max(begin_ns, from_ns), 0)
    # Of a boot that was not there in the load: the most that it had.
    return max(lasted_ns, key=lambda threads: (lasted_ns[threads], threads))


@dataclass(frozen=True, slots=True)
class _Sampled:
    busy: Instants
    full_ns: int = 0


def _shared_pool(evidence: Evidence, boot: Boot, until: int) -> _Sampled:
    """Threads of a pool that endpoints use too, as sampled, for no row tells of an endpoint. Nothing if it is the tasks' own."""
    is_shared = any(file.gauges[Gauge.SHARED_POOL] for file in evidence.tasks.get(boot.boot, ()))
    if evidence.gauges is None or not is_shared:
        return _Sampled(np.empty(0, np.int64))
    rows = evidence.gauges.rows[evidence.gauges.rows["boot"] == boot.boot]
    t_ns = rows["t_ns"].astype(np.int64)
    # The page of a dead server still shows what it showed last.
    seen = (t_ns >= evidence.load_start_ns) & (t_ns <= min(boot.reaped_ns or until, until))
    t_ns, rows = t_ns[seen], rows[seen]
    busy, size = rows["pool_busy"].astype(np.int64), rows["pool_size"].astype(np.int64)
    full = (busy >= size) & (size > 0)
    return _Sampled(busy, int(np.diff(t_ns)[full[:-1]].sum()))


def _merged(steps: Sequence[Steps]) -> Steps:
    """What several of them count together."""
    if len(steps) == 1:
        return steps[0]
    start_ns = np.concatenate([np.empty(0, np.int64), *(each.start_ns for each in steps)])
    end_ns = np.concatenate([np.empty(0, np.int64), *(each.end_ns for each in steps)])
    start_ns.sort()
    end_ns.sort()
    return Steps(start_ns=start_ns, end_ns=end_ns)


def _steps(evidence: Evidence, boots: Collection[int], of: Callable[[Rows, int], tuple[Instants, Instants]]) -> Steps:
    starts, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number in sorted(evidence.tasks):
        if number not in boots:
            continue
        for file in evidence.tasks[number]:
            dead_ns = evidence.death_ns(number, file.pid, file.created_ns) or NEVER_NS
            for rows in chunks(file):
                start, end = of(rows, dead_ns)
                starts.append(start)
                ends.append(np.maximum(start, end))
    start_ns, end_ns = np.concatenate(starts), np.concatenate(ends)
    start_ns.sort()
    end_ns.sort()
    return Steps(start_ns=start_ns, end_ns=end_ns)


def end_ns(evidence: Evidence, account: Account) -> int:
    """One ns after the last thing that happened: a request, a task, the death of a boot by a fault. Not the orderly stop."""
    ops = account.tables.ops
    last = max(evidence.load_end_ns, evidence.load_start_ns, ops.last_done_ns)
    tasks = account.tables.tasks
    for instants in (tasks.accepted_ns, tasks.started_ns, tasks.ended_ns):
        last = max(last, int(instants.max(initial=0)))
    for boot in evidence.boots:
        if boot.fault:
            last = max(last, boot.reaped_ns or 0, boot.signalled_ns or 0)
    return last + 1


def _p95_by_bin(
    at_ns: Instants, values_ns: Instants, edges_ns: Instants, never_ns: Instants | None = None
) -> NDArray[np.float64]:
    """`never_ns`: of those without a value, which are longer than all others."""
    if never_ns is not None:
        at_ns, values_ns = np.concatenate([at_ns, never_ns]), np.concatenate([values_ns, np.full(len(never_ns), NEVER_NS)])
    n_bins = len(edges_ns) - 1
    p95 = np.full(n_bins, math.nan)
    # Few bins fit a narrow type, whose stable sort is a radix sort.
    bins = (np.searchsorted(edges_ns, at_ns, side="right") - 1).astype(np.int16)
    order = np.argsort(bins, kind="stable")
    limits = np.searchsorted(bins[order], np.arange(n_bins + 1))
    for number in range(n_bins):
        inside = values_ns[order[limits[number] : limits[number + 1]]]
        if len(inside):
            p95[number] = quantiles_ms(inside, (SHARE,))[0]
    return p95


def _per_bin(sorted_ns: Instants, edges_ns: Instants) -> NDArray[np.int64]:
    return np.diff(np.searchsorted(sorted_ns, edges_ns))
