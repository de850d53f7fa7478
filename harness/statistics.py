"""Durations of requests and tasks, and their quantiles. Pure functions on arrays: no clock, no files, no processes.

A quantile is the nearest-rank one, the inverse of the empirical distribution function: the smallest value that at least the share
`q` of all values does not exceed. It is always a value that was measured (Hyndman & Fan, Sample Quantiles in Statistical
Packages, 1996, definition 1). What never ended counts as infinite: "at least this long".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.grouping import NEVER_NS, OpTable, chunks, is_own, key_of, op_of, positions
from harness.model import Counted, Evidence
from harness.rows import Outcome
from harness.spans import NONE_NS, TaskSpans, task_spans

__all__ = [
    "SHARES",
    "Quantiles",
    "Statistics",
    "last_effects",
    "measure",
    "measured_from_ns",
    "quantiles",
    "quantiles_ms",
    "rank",
    "response_ns",
]

SHARES: Final = (0.50, 0.90, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of some durations, in ms. inf: at least that share never ended; NaN: there was none."""

    n: int  # durations
    n_never: int  # of them, without an end
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """The figures of a run, without its warm-up."""

    n_measured: int  # operations sent after the warm-up
    n_rejected: int  # of them, refused: they are in no figure but lag
    response: Quantiles  # done - due of operations; a refused one is left out, one without an answer or connection never ended
    service: Quantiles  # done - sent, of the same
    lag: Quantiles  # sent - due, of all
    answered: Quantiles  # response of the acknowledged ones alone
    wait: Quantiles  # started - accepted of tasks that started
    run: Quantiles  # finished or failed - started
    done: Quantiles  # finished - due of its operation, of tasks that finished. Inline: last effect - due, of operations


def quantiles_ms(values_ns: NDArray[np.int64], shares: Sequence[float]) -> tuple[float, ...]:
    """The nearest-rank quantiles of durations in ns, in ms: one per share in (0, 1]. `NEVER_NS` is inf; no values: NaN.

    Raises ValueError for a share outside (0, 1].
    """
    for share in shares:
        if not 0 < share <= 1:
            msg = f"a share must be in (0, 1], not {share!r}"
            raise ValueError(msg)
    n = len(values_ns)
    if not n:
        return (math.nan,) * len(shares)
    ordered = np.sort(values_ns)
    return tuple(_ms(int(ordered[rank(share, n) - 1])) for share in shares)


def quantiles(values_ns: NDArray[np.int64], counted: Sequence[Counted] = ()) -> Quantiles:
    """The quantiles that are shown of durations in ns; `NEVER_NS` for one that has no end. `counted`: further ones."""
    n_never = int(np.count_nonzero(values_ns == NEVER_NS)) + sum(each.n_never for each in counted)
    if counted:
        values_ns, weights = _with_counted(values_ns, counted)
        n = int(weights.sum())
        found = _weighted_ms(values_ns, weights, (*SHARES, 1.0))
    else:
        n, found = len(values_ns), quantiles_ms(values_ns, (*SHARES, 1.0))
    p50, p90, p95, p99, p999, longest = found
    return Quantiles(
        n=n,
        n_never=n_never,
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=longest,
    )


def _with_counted(values_ns: NDArray[np.int64], counted: Sequence[Counted]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct durations in order, and how many there are of each: exact ones and those of histograms together."""
    exact, times = np.unique(values_ns, return_counts=True)
    never = np.array([NEVER_NS], np.int64)
    values = np.concatenate([exact, *(each.values_ns for each in counted), never])
    weights = np.concatenate([times, *(each.counts for each in counted), [sum(each.n_never for each in counted)]])
    order = np.argsort(values, kind="stable")
    return values[order], weights[order].astype(np.int64)


def _weighted_ms(values_ns: NDArray[np.int64], weights: NDArray[np.int64], shares: Sequence[float]) -> tuple[float, ...]:
    reached = np.cumsum(weights)
    n = int(reached[-1])
    if not n:
        return (math.nan,) * len(shares)
    return tuple(_ms(int(values_ns[np.searchsorted(reached, rank(share, n))])) for share in shares)


def measure(evidence: Evidence, account: Account, spans: TaskSpans | None = None) -> Statistics:
    """The figures of the run. What was due during the warm-up is left out, and so are the tasks of such operations."""
    spans = spans or task_spans(account.tables)
    ops = account.tables.ops
    measured = ops.due_ns >= measured_from_ns(evidence)
    counted = measured & ~ops.refused
    acked = measured & (ops.outcome == Outcome.ACK)
    response = spans.response_ns
    by_histogram = evidence.counted
    after = spans.due_ns >= measured_from_ns(evidence)
    done = _inline_done(evidence, account, measured) if account.inline else spans.done_ns[after & (spans.done_ns != NONE_NS)]
    service = np.where(ops.ack_ns == NEVER_NS, NEVER_NS, ops.ack_ns - ops.sent_ns)
    return Statistics(
        n_measured=int(np.count_nonzero(measured)) + sum(each.measured for each in by_histogram),
        n_rejected=int(np.count_nonzero(measured & ops.refused)) + sum(each.measured_rejected for each in by_histogram),
        response=quantiles(response[counted], [each.response for each in by_histogram]),
        service=quantiles(service[counted], [each.service for each in by_histogram]),
        lag=quantiles((ops.sent_ns - ops.due_ns)[measured], [each.lag for each in by_histogram]),
        answered=quantiles(response[acked], [each.answered for each in by_histogram]),
        wait=quantiles(spans.wait_ns[after & (spans.wait_ns != NONE_NS)]),
        run=quantiles(spans.run_ns[after & (spans.run_ns != NONE_NS)]),
        done=quantiles(done),
    )


def response_ns(ops: OpTable) -> NDArray[np.int64]:
    """From due to the first full 2xx of each operation, in ns; NEVER_NS without one. Shape (n_ops,)."""
    return np.where(ops.ack_ns == NEVER_NS, NEVER_NS, ops.ack_ns - ops.due_ns)


def _inline_done(evidence: Evidence, account: Account, measured: NDArray[np.bool_]) -> NDArray[np.int64]:
    """From due to the last effect of each measured operation that has all its effects, in ns."""
    last, arrived = last_effects(evidence, account)
    complete = measured & (arrived >= evidence.expectation.effects_per_request)
    return last[complete] - account.tables.ops.due_ns[complete]


def last_effects(evidence: Evidence, account: Account) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When the last of its effects had arrived, and how many different ones had: of each operation, shape (n_ops,).

    One that arrives again, because somebody tried again, is neither another one nor later.
    """
    ops, effects = account.tables.ops, account.tables.effects
    first = np.full(len(effects.key), NEVER_NS)
    for file in evidence.effects:
        for rows in chunks(file):
            own = rows[is_own(rows["op"], evidence.run_tag)]
            where, _ = positions(effects.key, key_of(own["op"], own["index"]))
            np.minimum.at(first, where, own["arrived_ns"].astype(np.int64))
    last, arrived = np.zeros(len(ops.op), np.int64), np.zeros(len(ops.op), np.int64)
    where, known = positions(ops.op, op_of(effects.key))
    np.maximum.at(last, where[known], first[known])
    np.add.at(arrived, where[known], 1)
    return last, arrived


def measured_from_ns(evidence: Evidence) -> int:
    """When the warm-up ended: what was due earlier is in no figure."""
    return evidence.load_start_ns + round(evidence.warm_up_s * 1e9)


def rank(share: float, n: int) -> int:
    """The rank from 1: ceil(share * n), where the product is what it is in floating point, as numpy's `inverted_cdf` does."""
    return min(n, max(1, math.ceil(share * n)))


def _ms(value_ns: int) -> float:
    return math.inf if value_ns == NEVER_NS else value_ns / 1e6
