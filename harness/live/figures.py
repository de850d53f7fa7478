"""The figures of a frame, from the rows as they stood at an instant: with the very functions that make the summary. Pure.

This is what they are by definition; harness/live/ledger.py keeps the same figures while a run goes on, without looking at all
rows again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account, account
from harness.grouping import NEVER_NS, TaskState, chunks, is_own, key_of, positions
from harness.heatmap import HeatMap, heat_map
from harness.load.pacing import LATE_NS
from harness.model import Evidence
from harness.rows import DropReason, Outcome, Rows
from harness.rowscan import left_in
from harness.series import Series, bins_of, done_by_bin, series
from harness.spans import NONE_NS, TaskSpans, task_spans
from harness.statistics import Quantiles, measure, quantiles_ms
from harness.timeline import backlog_steps, busy_steps, pool_of

__all__ = ["RATE_NS", "Figures", "Left", "Recent", "Works", "edges_of", "figures_at", "leaving", "oldest_at", "works_of"]

RATE_NS: Final = 5_000_000_000
"""Rates are of the last five seconds."""

MOST_BINS: Final = 2_000


class Left(NamedTuple):
    """What a boot had at its death."""

    queued: int
    running: int
    lost: int  # of both: those of this run without an effect, but for what a later boot took up again


@dataclass(frozen=True, slots=True)
class Recent:
    """What happened within the last `RATE_NS`, or since load start."""

    over_s: float
    due: int
    answered: int
    rejected: int
    indeterminate: int
    accepted: int
    finished: int
    failed: int
    cancelled: int  # of them: by the app itself
    response_p95_ms: float | None  # of those that were answered in it; None: none was
    done_p95_ms: float | None  # of those that finished in it


@dataclass(frozen=True, slots=True)
class Figures:
    """At an instant."""

    attempted: int
    acked: int
    rejected: int
    indeterminate: int  # those that have ended so
    waiting: int  # of the attempted: their answers are waited for
    unsent: int  # shed
    late: int  # sent more than 20 ms after they were due
    accepted: int  # tasks
    finished: int
    failed: int
    cancelled: int  # of them: by the app itself
    skipped: int
    refused: int  # by admission, or because the endpoint raised
    queued: int  # accepted and not started, of processes that live
    running: int
    lost_queued: int  # without an effect
    lost_running: int
    lost_discarded: int  # put aside although their request was acknowledged
    left: Mapping[int, Left]  # by boot that is dead, all its processes together
    response: Quantiles
    done: Quantiles
    run_mean_ms: float
    backlog_max: int
    saturated_s: float
    oldest_queued_ns: int | None  # when the one was due that has been queued for longest; None: none is
    oldest_ns: int | None  # the same of all that are not done
    oldest_waiting_ns: int | None  # the same of requests that wait for an answer
    recent: Recent
    series: Series  # its `done_ms` with the lost ones, as the report has it
    oldest_ms: NDArray[np.float64]
    unsettled: NDArray[np.int64]
    lost: NDArray[np.int64]
    response_heat: HeatMap | None
    done_heat: HeatMap | None


def edges_of(load_start_ns: int, from_s: float, until_s: float, bin_s: float, at_ns: int) -> NDArray[np.int64]:
    """Bins that begin at whole multiples of their length after load start, as far as the instant: shape (n_bins + 1,)."""
    bin_ns = max(round(bin_s * 1e9), 1)
    first = math.floor(from_s * 1e9 / bin_ns + 1e-6)
    last = math.ceil(min(until_s * 1e9, at_ns - load_start_ns + 1) / bin_ns - 1e-6)
    last = min(max(last, first + 1), first + MOST_BINS)
    return load_start_ns + bin_ns * np.arange(first, last + 1, dtype=np.int64)


def figures_at(
    evidence: Evidence, at_ns: int, edges_ns: NDArray[np.int64], *, heat: bool = True, is_over: bool = False
) -> Figures:
    """Of evidence that was cut at the instant. `is_over`: nobody waits for anything any more."""
    result = account(evidence)
    ops = result.tables.ops
    is_waited_for = np.zeros(len(ops.op), np.bool_)
    if not is_over and any(not file.closed_ns for file in evidence.requests):
        is_waited_for[ops.unanswered[ops.unanswered_end_ns == NEVER_NS]] = True
    spans = task_spans(result.tables)
    # What is still waited for took at least as long as until now; what will never be answered never ended.
    spans = replace(spans, response_ns=np.where(is_waited_for, np.maximum(at_ns - ops.due_ns, 0), spans.response_ns))
    statistics = measure(evidence, result, spans)
    backlog, busy = backlog_steps(evidence), busy_steps(evidence)
    work = works_of(evidence, result)
    is_queued, is_running = work.is_open & (work.started_ns == 0), work.is_open & (work.started_ns != 0)
    lost_queued, lost_running, lost = _lost(evidence, result, work)
    run = spans.run_ns[spans.run_ns != NONE_NS]
    whole_run_ns = int(run.sum())
    shown = series(evidence, result, edges_ns, spans, (backlog, busy))
    never_due_ns = work.due_ns[_is_never_done(result, work)]
    answered, finished = ~ops.refused & ~is_waited_for, spans.done_ns != NONE_NS
    return Figures(
        attempted=result.n_attempted,
        acked=result.n_acked,
        rejected=result.n_rejected,
        indeterminate=result.n_indeterminate - int(np.count_nonzero(is_waited_for)),
        waiting=int(np.count_nonzero(is_waited_for)),
        unsent=result.n_unsent,
        late=int(np.count_nonzero(ops.sent_ns - ops.due_ns > LATE_NS)),
        accepted=result.accepted,
        finished=result.finished,
        failed=result.failed,
        cancelled=result.cancelled_running,
        skipped=result.skipped,
        refused=result.rejected + result.discarded,
        queued=int(np.count_nonzero(is_queued)),
        running=int(np.count_nonzero(is_running)),
        lost_queued=lost_queued,
        lost_running=lost_running,
        lost_discarded=result.lost_discarded,
        left={
            boot.boot: Left(*left_in(evidence.tasks.get(boot.boot, ())), lost=lost.count(boot.boot))
            for boot in evidence.boots
            if boot.reaped_ns is not None
        },
        response=statistics.response,
        done=statistics.done,
        run_mean_ms=whole_run_ns / len(run) / 1e6 if len(run) else math.nan,
        backlog_max=backlog.highest(),
        saturated_s=pool_of(evidence, result).saturated_s,
        oldest_queued_ns=int(work.due_ns[is_queued].min()) if is_queued.any() else None,
        oldest_ns=int(work.due_ns[work.is_open].min()) if work.is_open.any() else None,
        oldest_waiting_ns=int(ops.due_ns[is_waited_for].min()) if is_waited_for.any() else None,
        recent=_recent(evidence, result, spans, at_ns),
        series=replace(
            shown,
            indeterminate=shown.indeterminate - _counts(ops.due_ns[is_waited_for], edges_ns),
            done_ms=done_by_bin(spans, never_due_ns, edges_ns),
        ),
        oldest_ms=oldest_at(work.due_ns, work.accepted_ns, work.left_ns, np.minimum(edges_ns[1:], at_ns)),
        unsettled=_counts(work.due_ns[work.is_open], edges_ns),
        lost=_counts(never_due_ns, edges_ns),
        response_heat=heat_map(ops.due_ns[answered], spans.response_ns[answered], edges_ns) if heat else None,
        done_heat=heat_map(spans.due_ns[finished], spans.done_ns[finished], edges_ns) if heat else None,
    )


def oldest_at(
    due_ns: NDArray[np.int64], from_ns: NDArray[np.int64], until_ns: NDArray[np.int64], instants_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """At each of the rising instants, for how many ms the oldest that is there at it has been due; NaN: none is.

    Something is there in [from, until).
    """
    first, last = np.searchsorted(instants_ns, from_ns), np.searchsorted(instants_ns, until_ns)
    covers = last > first
    first, last, due = first[covers], last[covers], due_ns[covers]
    n = len(instants_ns)
    oldest = np.full(n, NEVER_NS)
    if len(first):
        # Each stretch is two that may overlap, as long as a power of two; those are then halved until they are single ones.
        level = np.frexp(last - first)[1] - 1
        tables = [np.full(n, NEVER_NS) for _ in range(int(level.max()) + 1)]
        for number, table in enumerate(tables):
            chosen = level == number
            np.minimum.at(table, first[chosen], due[chosen])
            np.minimum.at(table, last[chosen] - (1 << number), due[chosen])
        for number in range(len(tables) - 1, 0, -1):
            half = 1 << (number - 1)
            np.minimum(tables[number - 1], tables[number], out=tables[number - 1])
            np.minimum(tables[number - 1][half:], tables[number][:-half], out=tables[number - 1][half:])
        oldest = tables[0]
    return np.where(oldest == NEVER_NS, math.nan, (instants_ns - oldest) / 1e6)


@dataclass(frozen=True, slots=True)
class Works:
    """Task rows whose operation was sent: from when until when each was neither done nor given up."""

    key: NDArray[np.uint64]
    boot: NDArray[np.uint16]
    due_ns: NDArray[np.int64]
    accepted_ns: NDArray[np.int64]
    started_ns: NDArray[np.int64]  # 0: it has not
    left_ns: NDArray[np.int64]  # NEVER_NS: it is queued or running
    is_lost: NDArray[np.bool_]  # its process has died or given it up before it ended
    denied_ns: NDArray[np.int64]  # it was put aside, and its request acknowledged: when both had happened; NEVER_NS: not so

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """Which are queued or running."""
        still: NDArray[np.bool_] = self.left_ns == NEVER_NS
        return still


def works_of(evidence: Evidence, result: Account) -> Works:
    """In the order of the files."""
    ops = result.tables.ops
    parts = []
    for boot in sorted(evidence.tasks):
        for file in evidence.tasks[boot]:
            dead_ns = evidence.death_ns(boot, file.pid, file.created_ns)
            for rows in chunks(file):
                where, known = positions(ops.op, rows["op"].astype(np.uint32))
                known &= is_own(rows["op"], evidence.run_tag)
                own = rows[known]
                left, is_lost = leaving(own, dead_ns)
                parts.append(
                    (
                        key_of(own["op"], own["index"]),
                        np.full(len(own), boot, np.uint16),
                        ops.due_ns[where[known]],
                        own["accepted_ns"].astype(np.int64),
                        own["started_ns"].astype(np.int64),
                        left,
                        is_lost,
                        np.where(
                            _is_put_aside(own), np.maximum(own["dropped_ns"].astype(np.int64), ops.ack_ns[where[known]]), NEVER_NS
                        ),
                    )
                )
    empty = (np.empty(0, np.uint64), np.empty(0, np.uint16), *(np.empty(0, np.int64) for _ in range(4)))
    empty = (*empty, np.empty(0, np.bool_), np.empty(0, np.int64))
    return Works(*(np.concatenate(column) for column in zip(empty, *parts, strict=True)))


def leaving(rows: Rows, dead_ns: int | None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """When each task row was queued or running no more (NEVER_NS: it is), and whether it was lost then."""
    left = np.full(len(rows), NEVER_NS, np.int64)
    started, dropped = rows["started_ns"] != 0, rows["dropped_ns"] != 0
    for name in ("finished_ns", "failed_ns"):
        left = np.where(rows[name] != 0, np.minimum(left, rows[name].astype(np.int64)), left)
    is_given_up = dropped & (rows["reason"] == DropReason.ABANDONED)
    # Abandoned is said of a task that still runs: it holds its thread until its boot dies.
    put_aside = dropped & ~(is_given_up & started)
    is_lost = (left == NEVER_NS) & is_given_up & ~started
    left = np.where(put_aside, np.minimum(left, rows["dropped_ns"].astype(np.int64)), left)
    if dead_ns is not None:
        is_lost |= left == NEVER_NS
        left = np.where(left == NEVER_NS, np.int64(dead_ns), left)
    return np.maximum(left, rows["accepted_ns"].astype(np.int64)), is_lost


def _is_put_aside(rows: Rows) -> NDArray[np.bool_]:
    is_aside: NDArray[np.bool_] = (rows["dropped_ns"] != 0) & (rows["finished_ns"] == 0) & (rows["failed_ns"] == 0)
    is_aside &= (rows["reason"] == DropReason.REJECTED) | (rows["reason"] == DropReason.DISCARDED)
    return is_aside


def _is_never_done(result: Account, work: Works) -> NDArray[np.bool_]:
    """Which were lost or denied; a task that is there more than once counts by its last row, and not if any row finished."""
    is_never: NDArray[np.bool_] = work.is_lost | (work.denied_ns != NEVER_NS)
    tasks = result.tables.tasks
    if len(tasks.first) != len(tasks.key):
        # Rows are in the order of the files, as those of the table are before they are sorted by task.
        order = np.argsort(work.key, kind="stable")
        key = work.key[order]
        is_never[order[:-1]] &= key[1:] != key[:-1]
        where, _ = positions(tasks.task_key, work.key)
        is_never &= (tasks.task_state() != TaskState.FINISHED)[where]
    return is_never


def _lost(evidence: Evidence, result: Account, work: Works) -> tuple[int, int, list[int]]:
    """Queued and running ones that were lost, and left no effect; and the boot of each."""
    tables = result.tables
    # While a boot goes on, the account knows nothing of those of its workers that have died.
    is_over = all(boot.reaped_ns is not None for boot in evidence.boots)
    is_rowless = evidence.counted or (evidence.lost_rows_of and is_over)
    if result.inline or result.accepted_rows != result.accepted or is_rowless:
        # Each task by its last row, whichever boot wrote it, and also if there is no row of its request.
        tasks, state = tables.tasks, tables.tasks.task_state()
        is_lost = np.isin(state, (TaskState.NEVER_STARTED, TaskState.INTERRUPTED)) & (tables.effects.of(tasks.task_key) == 0)
        return result.lost_queued, result.lost_running, tasks.boot[tasks.last][is_lost].tolist()
    chosen = np.flatnonzero(work.is_lost)
    chosen = chosen[np.argsort(work.key[chosen], kind="stable")]
    chosen = chosen[tables.effects.of(work.key[chosen]) == 0]
    has_started = work.started_ns[chosen] != 0
    return int(np.count_nonzero(~has_started)), int(np.count_nonzero(has_started)), work.boot[chosen].tolist()


def _recent(evidence: Evidence, result: Account, spans: TaskSpans, at_ns: int) -> Recent:
    """Each by when it happened: half-open, without the oldest instant."""
    ops, tasks = result.tables.ops, result.tables.tasks
    from_ns = max(at_ns - RATE_NS, evidence.load_start_ns - 1)
    outcomes, responses = [np.empty(0, np.uint8)], [np.empty(0, np.int64)]
    for file in evidence.requests:
        for rows in chunks(file):
            done = rows["done_ns"].astype(np.int64)
            inside = is_own(rows["op"], evidence.run_tag) & (done > from_ns) & (rows["sent_ns"] != 0)
            outcomes.append(rows["outcome"][inside])
            responses.append(done[inside] - rows["due_ns"][inside].astype(np.int64))
    outcome, response = np.concatenate(outcomes), np.concatenate(responses)
    finished = (spans.done_ns != NONE_NS) & (spans.due_ns + spans.done_ns > from_ns)
    failed = (tasks.state == TaskState.FAILED) & (tasks.ended_ns > from_ns)
    return Recent(
        over_s=max(at_ns - from_ns, 0) / 1e9,
        due=int(np.count_nonzero(ops.due_ns > from_ns)),
        answered=int(np.count_nonzero(outcome == Outcome.ACK)),
        rejected=int(np.count_nonzero(outcome == Outcome.REJ)),
        indeterminate=int(np.count_nonzero(outcome == Outcome.IND)),
        accepted=int(np.count_nonzero(tasks.accepted_ns > from_ns)),
        finished=int(np.count_nonzero((tasks.state == TaskState.FINISHED) & (tasks.ended_ns > from_ns))),
        failed=int(np.count_nonzero(failed)),
        cancelled=int(np.count_nonzero(failed & tasks.cancelled)),
        response_p95_ms=_p95(response[outcome == Outcome.ACK]),
        done_p95_ms=_p95(spans.done_ns[finished]),
    )


def _p95(values_ns: NDArray[np.int64]) -> float | None:
    return quantiles_ms(values_ns, (0.95,))[0] if len(values_ns) else None


def _counts(at_ns: NDArray[np.int64], edges_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    bins = bins_of(at_ns, edges_ns)
    return np.bincount(bins[bins >= 0], minlength=len(edges_ns) - 1)
