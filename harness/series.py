"""A run over time at any resolution: counts, percentiles, backlog, busy threads, gauges per bin. Pure: no clock, no files.

What the report draws, what the CSV holds and what the dashboard shows come from here. Percentiles are exact nearest-rank ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.grouping import NEVER_NS, TaskState
from harness.looplag import known_lags
from harness.model import Evidence
from harness.rows import Outcome
from harness.spans import NONE_NS, TaskSpans, task_spans
from harness.statistics import rank
from harness.steps import Steps
from harness.timeline import backlog_steps, busy_steps, end_ns

__all__ = [
    "SHARES",
    "Gauges",
    "Series",
    "bin_edges",
    "bins_of",
    "done_by_bin",
    "done_or_never",
    "gauges_by_bin",
    "quantiles_by_bin",
    "series",
]

SHARES: Final = (0.5, 0.95, 0.99)

Instants = NDArray[np.int64]
Counts = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """The run in equal bins [edge, next edge). NaN: there is no such value in the bin; inf: that share never ended."""

    edges_ns: Instants  # shape (n_bins + 1,)
    due: Counts  # operations, by when they were due
    acked: Counts  # of them
    rejected: Counts
    indeterminate: Counts
    response_ms: Figures  # shape (3, n_bins): p50, p95, p99 of operations due in the bin; refused ones left out
    accepted: Counts  # tasks, by when it happened
    started: Counts
    finished: Counts
    failed: Counts
    undone: Counts  # tasks that will never finish (failed, skipped, interrupted, never started), by when their operation was due
    of_done: Counts  # finished tasks, by when their operation was due
    done_ms: Figures  # shape (3, n_bins): of finished tasks, by when their operation was due
    backlog_max: Counts
    backlog_end: Counts  # at the bin's right edge
    busy_max: Counts  # threads or event loop: tasks that run
    busy_mean: Figures
    sampled: Gauges | None  # None: nobody looked


@dataclass(frozen=True, slots=True)
class Gauges:
    """The samples in each bin; NaN where there is none."""

    pool_size: Figures
    pool_busy_max: Figures
    in_flight_max: Figures  # requests
    loop_lag_max_ms: Figures
    server_cpu_share: Figures  # of one core
    server_rss_bytes: Figures
    load_cpu_share: Figures  # of one core, all load processes together


def bin_edges(evidence: Evidence, account: Account, bin_s: float) -> Instants:
    """Bins of `bin_s` from load start until nothing happened any more: shape (n_bins + 1,)."""
    bin_ns = round(bin_s * 1e9)
    n_bins = max(1, -(-(end_ns(evidence, account) - evidence.load_start_ns) // bin_ns))
    return evidence.load_start_ns + bin_ns * np.arange(n_bins + 1, dtype=np.int64)


def series(
    evidence: Evidence,
    account: Account,
    edges_ns: Instants,
    spans: TaskSpans | None = None,
    steps: tuple[Steps, Steps] | None = None,
) -> Series:
    """The run in the equal bins between `edges_ns`. `spans` and `steps` (backlog, busy) are worked out unless given."""
    ops, tasks = account.tables.ops, account.tables.tasks
    spans = spans or task_spans(account.tables)
    backlog, busy = steps or (backlog_steps(evidence), busy_steps(evidence))
    due_in, task_due_in, n_bins = bins_of(ops.due_ns, edges_ns), bins_of(spans.due_ns, edges_ns), len(edges_ns) - 1
    answered, is_finished = ~ops.refused, spans.done_ns != NONE_NS
    done_in, done_ns = task_due_in[is_finished], spans.done_ns[is_finished]
    return Series(
        edges_ns=edges_ns,
        due=_counts(due_in, n_bins),
        acked=_counts(due_in[ops.outcome == Outcome.ACK], n_bins),
        rejected=_counts(due_in[ops.outcome == Outcome.REJ], n_bins),
        indeterminate=_counts(due_in[ops.outcome == Outcome.IND], n_bins),
        response_ms=quantiles_by_bin(due_in[answered], spans.response_ns[answered], n_bins, SHARES),
        accepted=_counts(bins_of(tasks.accepted_ns, edges_ns), n_bins),
        started=_counts(bins_of(tasks.started_ns, edges_ns), n_bins),
        finished=_counts(bins_of(spans.due_ns[is_finished] + done_ns, edges_ns), n_bins),
        failed=_counts(bins_of(tasks.ended_ns[tasks.state == TaskState.FAILED], edges_ns), n_bins),
        undone=_counts(task_due_in[spans.is_undone], n_bins),
        of_done=_counts(done_in, n_bins),
        done_ms=quantiles_by_bin(done_in, done_ns, n_bins, SHARES),
        backlog_max=backlog.highest_in(edges_ns),
        backlog_end=backlog.at(edges_ns[1:]),
        busy_max=busy.highest_in(edges_ns),
        busy_mean=busy.mean_in(edges_ns),
        sampled=gauges_by_bin(evidence, edges_ns),
    )


def done_or_never(found: Series, spans: TaskSpans) -> Figures:
    """`done_ms` of a series among all tasks that ended one way or the other: what was lost takes longer than any that finished.

    Shape (3, n_bins), as `timeline.done_p95_ms` of the summary has its p95. Without the lost ones it would be that of the
    survivors: where 4 % were lost and 4 % took long, the p95 of what was left is a short one.
    """
    return done_by_bin(spans, spans.due_ns[spans.is_left], found.edges_ns)


def done_by_bin(spans: TaskSpans, lost_due_ns: Instants, edges_ns: Instants) -> Figures:
    """Percentiles of to-done in each bin, of tasks that finished and of lost ones, which never do: shape (3, n_bins)."""
    is_finished = spans.done_ns != NONE_NS
    due = np.concatenate([spans.due_ns[is_finished], lost_due_ns])
    values = np.concatenate([spans.done_ns[is_finished], np.full(len(lost_due_ns), NEVER_NS)])
    return quantiles_by_bin(bins_of(due, edges_ns), values, len(edges_ns) - 1, SHARES)


def bins_of(at_ns: Instants, edges_ns: Instants) -> NDArray[np.int32]:
    """The equal bin that each instant is in; -1 outside all of them."""
    n_bins = len(edges_ns) - 1
    where = (at_ns - edges_ns[0]) // (edges_ns[1] - edges_ns[0])
    where[(where < 0) | (where >= n_bins)] = -1
    narrow: NDArray[np.int32] = where.astype(np.int32)
    return narrow


def quantiles_by_bin(bins: NDArray[np.int32], values_ns: Instants, n_bins: int, shares: Sequence[float]) -> Figures:
    """Nearest-rank quantiles in ms of the values of each bin: shape (n_shares, n_bins). NaN: no value; inf: it never ended."""
    found = np.full((len(shares), n_bins), math.nan)
    if len(bins) and np.any(bins[1:] < bins[:-1]):
        # Few bins fit a narrow type, whose stable sort is a radix sort.
        order = np.argsort(bins.astype(np.int16) if n_bins < np.iinfo(np.int16).max else bins, kind="stable")
        bins, values_ns = bins[order], values_ns[order]
    limits = np.searchsorted(bins, np.arange(n_bins + 1))
    for number in np.flatnonzero(np.diff(limits)):
        inside = values_ns[limits[number] : limits[number + 1]]
        ranks = [rank(share, len(inside)) - 1 for share in shares]
        values = np.partition(inside, sorted(set(ranks)))[ranks]
        found[:, number] = np.where(values == NEVER_NS, math.inf, values / 1e6)
    return found


def _counts(bins: NDArray[np.int32], n_bins: int) -> Counts:
    return np.bincount(bins[bins >= 0], minlength=n_bins)


def gauges_by_bin(evidence: Evidence, edges_ns: Instants) -> Gauges | None:
    """The samples of the bins; None: nobody looked."""
    if evidence.gauges is None or not len(evidence.gauges.rows):
        return None
    rows = np.asarray(evidence.gauges.rows)
    t_ns = rows["t_ns"].astype(np.int64)
    # The page of a dead server still shows what it showed last.
    alive = np.ones(len(rows), np.bool_)
    for boot in evidence.boots:
        if boot.reaped_ns is not None:
            alive &= (rows["boot"] != boot.boot) | (t_ns <= boot.reaped_ns)
    bins = np.where(alive, bins_of(t_ns, edges_ns), -1)

    def highest(values: NDArray[np.float64], known: NDArray[np.bool_] | None = None) -> Figures:
        found = np.full(len(edges_ns) - 1, -math.inf)
        inside = bins >= 0 if known is None else (bins >= 0) & known
        np.maximum.at(found, bins[inside], values[inside])
        return np.where(np.isinf(found), math.nan, found)

    def share(name: str) -> Figures:
        """CPU time between two samples of the same server; the first sample of a boot has none before it."""
        used, passed = np.diff(rows[name].astype(np.int64)), np.diff(t_ns)
        fine = (np.diff(rows["boot"].astype(np.int64)) == 0) & (used >= 0) & (passed > 0) & (bins[1:] >= 0)
        sums = np.bincount(bins[1:][fine], weights=used[fine], minlength=len(edges_ns) - 1)
        lengths = np.bincount(bins[1:][fine], weights=passed[fine], minlength=len(edges_ns) - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(lengths > 0, sums / lengths, math.nan)

    return Gauges(
        pool_size=highest(rows["pool_size"].astype(np.float64)),
        pool_busy_max=highest(rows["pool_busy"].astype(np.float64)),
        in_flight_max=highest(rows["requests_in_flight"].astype(np.float64)),
        loop_lag_max_ms=highest(rows["loop_lag_ns"] / 1e6, known_lags(evidence)),
        server_cpu_share=share("server_cpu_ns"),
        server_rss_bytes=highest(rows["server_rss_bytes"].astype(np.float64)),
        load_cpu_share=share("load_cpu_ns"),
    )
