"""Single durations of a run with the instant that each belongs to, and what can be said of a percentile of them. Pure functions.

A percentile of few values says little: of 100 requests the p99 is the second largest, which is chance. So it is taken as
measured only if at least ten values are expected beyond it (n * (1 - q) >= 10, and n * q >= 10), the usual condition under which
a binomial count can be treated as a number (its standard deviation is then below a third of it). With fewer, only what order
statistics prove counts: the number of values beyond the true quantile is Binomial(n, 1 - q) whatever the distribution, so the
values of two ranks bound it, each with 95 % confidence (Hahn & Meeker, Statistical Intervals, 1991, section 5.2; the same rule
gives the 59 and 299 values that a p95 and a p99 need at least). It takes values as independent. Those of one queue are not, so
these are least numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.figures import Series
from harness.grouping import NEVER_NS, TaskState, chunks, denied, is_own, op_of, positions
from harness.model import Evidence
from harness.noise import Noise
from harness.rows import Outcome
from harness.stalls import mostly_lag, stalled
from harness.statistics import last_effects, response_ns
from harness.stretches import Stretches

__all__ = ["CONFIDENCE", "Bounds", "Sample", "Samples", "bounds_of", "least_to_bound", "least_to_measure"]

CONFIDENCE: Final = 0.95
BEYOND: Final = 10
"""Values that must be expected beyond a percentile before it is taken as measured."""

UNDATED_NS: Final = 0
"""Stands for when a request was due of which only a histogram tells."""

_BY_THE_CLIENT: Final = frozenset({"response", "service", "done", "done_finished"})
"""Series that begin with a request: the load generator has a part in them."""

_ROOM: Final = 1e-6  # 1 - 0.99 is a little more than a hundredth


@dataclass(frozen=True, slots=True)
class Sample:
    """Durations of measured operations or their tasks."""

    at_ns: NDArray[np.int64]  # when the operation was due; in order
    value_ns: NDArray[np.int64]  # NEVER_NS: without an end
    noisy: NDArray[np.bool_]  # measured in noise: without it, it might have been as short as you like
    n_unknown: int = 0  # there are so many more of which nobody knows anything
    held: NDArray[np.bool_] | None = None  # the same because of the load generator, which stood still or sent late

    def between(self, from_ns: int, until_ns: int) -> Sample:
        """Those due in [from, until)."""
        inside = slice(*np.searchsorted(self.at_ns, (from_ns, until_ns)))
        # Nobody knows where the unknown ones belong.
        held = None if self.held is None else self.held[inside]
        return Sample(self.at_ns[inside], self.value_ns[inside], self.noisy[inside], self.n_unknown, held)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A percentile in ms, and between which values it lies. inf: it never ended; NaN: there is none."""

    measured: float
    low: float
    high: float
    n: int
    is_few: bool = False  # too few values to take it as measured
    n_noisy: int = 0  # values that noise may have made longer
    n_held: int = 0  # values that the load generator may have made longer
    n_unknown: int = 0


class Samples:
    """The durations of a run, worked out when they are asked for."""

    def __init__(self, evidence: Evidence, account: Account, noise: Noise, *, slowed: bool = False) -> None:
        """`slowed`: all of the run was measured as if in noise."""
        self._evidence, self._account, self._noise, self._slowed = evidence, account, noise, slowed
        self._from_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
        self._known: dict[Series, Sample] = {}
        self._stalled: Stretches | None = None

    @property
    def stalled(self) -> Stretches:
        """When the load generator stood still or was late."""
        if self._stalled is None:
            self._stalled = stalled(self._evidence, self._account.tables.ops)
        return self._stalled

    def of(self, series: Series) -> Sample:
        """All values of a series, without the warm-up."""
        if series not in self._known:
            at_ns, value_ns, lag_ns, n_unknown = self._values(series)
            if np.any(at_ns[1:] < at_ns[:-1]):
                order = np.argsort(at_ns, kind="stable")
                at_ns, value_ns, lag_ns = at_ns[order], value_ns[order], lag_ns[order]
            has_ended, is_undated = value_ns != NEVER_NS, at_ns == UNDATED_NS
            lengths = np.where(has_ended, value_ns, 0)
            noisy = np.ones(len(at_ns), np.bool_) if self._slowed else self._noise.covers(at_ns, lengths)
            # Of those in histograms nobody knows when they were due: if there was noise, it may have been then.
            noisy |= is_undated & bool(self._noise.noisy.any())
            held = np.zeros(len(at_ns), np.bool_)
            if series in _BY_THE_CLIENT:
                held = self.stalled.touch(at_ns, lengths) | (is_undated & bool(len(self.stalled.starts_ns)))
                held |= mostly_lag(value_ns, lag_ns) if series != "service" else False
            self._known[series] = Sample(at_ns, value_ns, noisy & has_ended, n_unknown, held & has_ended)
        return self._known[series]

    def _values(self, series: Series) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
        """When each was due, the value, how late its request was sent; and how many there are beside of which nobody knows."""
        ops = self._account.tables.ops
        measured = ops.due_ns >= self._from_ns
        if series in {"response", "service", "lag"}:
            place, value_ns = self._of_requests(series, measured)
            histograms = [getattr(each, series) for each in self._evidence.counted]
            counted = [value_ns, *(np.repeat(each.values_ns, each.counts) for each in histograms)]
            counted.append(np.full(sum(each.n_never for each in histograms), NEVER_NS, np.int64))
            value_ns = np.concatenate(counted)
            undated = np.full(len(value_ns) - len(place), UNDATED_NS, np.int64)
            lag_ns = np.concatenate([self._lag_ns(place), undated])
            return np.concatenate([ops.due_ns[place], undated]), value_ns, lag_ns, 0
        # Of a request in a histogram nobody knows when it was due, so neither when its tasks were.
        n_unknown = self._account.n_counted + (0 if self._account.inline else self._account.n_unseen)
        if self._account.inline:
            if series not in {"done", "done_finished"}:
                nothing = np.empty(0, np.int64)
                return nothing, nothing, nothing, 0
            place, value_ns = self._inline_done(measured)
        else:
            place, value_ns = self._of_tasks(series, measured)
        if series == "done":
            never = self._never_done(measured)
            place = np.concatenate([place, never])
            value_ns = np.concatenate([value_ns, np.full(len(never), NEVER_NS, np.int64)])
        return ops.due_ns[place], value_ns, self._lag_ns(place), n_unknown

    def _lag_ns(self, place: NDArray[np.int64]) -> NDArray[np.int64]:
        ops = self._account.tables.ops
        return ops.sent_ns[place] - ops.due_ns[place]

    # What follows gives the places of operations in their table, and values.

    def _of_requests(self, series: Series, measured: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ops = self._account.tables.ops
        if series == "lag":
            place = np.flatnonzero(measured)
            return place, self._lag_ns(place)
        counted = np.flatnonzero(measured & ~ops.refused)
        service = np.where(ops.ack_ns == NEVER_NS, NEVER_NS, ops.ack_ns - ops.sent_ns)
        return counted, (response_ns(ops) if series == "response" else service)[counted]

    def _of_tasks(self, series: Series, measured: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ops, tag = self._account.tables.ops, self._evidence.run_tag
        places, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for files in self._evidence.tasks.values():
            for rows in chunks(*files):
                where, known = positions(ops.op, rows["op"].astype(np.uint32))
                known &= is_own(rows["op"], tag)
                known[known] = measured[where[known]]
                counted, place = rows[known], where[known]
                started, finished = counted["started_ns"].astype(np.int64), counted["finished_ns"].astype(np.int64)
                ended = np.where(finished != 0, finished, counted["failed_ns"].astype(np.int64))
                if series == "wait":
                    chosen, value = started != 0, started - counted["accepted_ns"].astype(np.int64)
                elif series == "run":
                    chosen, value = (started != 0) & (ended != 0), ended - started
                else:
                    chosen, value = finished != 0, finished - ops.due_ns[place]
                places.append(place[chosen])
                values.append(value[chosen])
        return np.concatenate(places), np.concatenate(values)

    def _inline_done(self, measured: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ops, n_effects = self._account.tables.ops, self._evidence.expectation.effects_per_request
        last, arrived = last_effects(self._evidence, self._account)
        complete = np.flatnonzero(measured & (arrived >= n_effects))
        return complete, last[complete] - ops.due_ns[complete]

    def _never_done(self, measured: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The operations whose work, once promised, never ended well: one entry for each task."""
        ops, tasks = self._account.tables.ops, self._account.tables.tasks
        if self._account.inline:
            _, arrived = last_effects(self._evidence, self._account)
            short = arrived < self._evidence.expectation.effects_per_request
            return np.flatnonzero(measured & (ops.outcome == Outcome.ACK) & ~ops.idle & short)
        # Of one that was put aside the client was told, so that nobody waits for it; unless it was acknowledged.
        ended = (TaskState.FINISHED, TaskState.REJECTED, TaskState.DISCARDED)
        never = ~np.isin(tasks.task_state(), ended) | denied(self._account.tables)
        where, known = positions(ops.op, op_of(tasks.task_key[never]))
        counted = where[known]
        return counted[measured[counted]].astype(np.int64)


def bounds_of(sample: Sample, share: float, *, allow_few: bool = False, allow_noise: bool = False) -> Bounds:
    """What is known of a percentile (1.0: the largest value).

    `allow_few`, `allow_noise`: take what was measured as it is, however little it says, and whatever disturbed it.
    """
    values, n_unknown = sample.value_ns, sample.n_unknown
    n, n_noisy = len(values), 0 if allow_noise else int(np.count_nonzero(sample.noisy))
    n_held = 0 if allow_noise or sample.held is None else int(np.count_nonzero(sample.held))
    if not n and not n_unknown:
        return Bounds(math.nan, math.nan, math.nan, 0)
    measured = _at_rank(values, _rank(share, n)) if n else math.nan
    is_few = share < 1 and n + n_unknown < least_to_measure(share) and not allow_few
    if not is_few and not n_noisy and not n_held and not n_unknown:
        return Bounds(measured, measured, measured, n)
    unknown = np.zeros(n_unknown, np.int64)
    least = np.where(sample.noisy, 0, values) if n_noisy else values
    if sample.held is not None and n_held:
        least = np.where(sample.held, 0, least)
    least = np.concatenate([least, unknown])
    low_rank, high_rank = _ranks(n + n_unknown, share) if is_few else (_rank(share, n + n_unknown),) * 2
    low = _at_rank(least, low_rank) if low_rank else 0.0
    # The unknown ones may be longer than all that are known.
    high = _at_rank(values, high_rank) if high_rank <= n else math.inf
    return Bounds(measured, low, high, n, is_few=is_few, n_noisy=n_noisy, n_held=n_held, n_unknown=n_unknown)


def least_to_measure(share: float) -> int:
    """How many values a percentile needs to be taken as measured."""
    return math.ceil(BEYOND / min(share, 1 - share) - _ROOM)


def least_to_bound(share: float) -> int:
    """How many values it needs so that the largest of them bounds it: 299 of p99."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(share))


def _ranks(n: int, share: float) -> tuple[int, int]:
    """The ranks (from 1) of the values that bound the quantile from below and above; 0 and n + 1: none does."""
    if share < 0.5:
        low, high = _ranks(n, 1 - share)
        return n + 1 - high, n + 1 - low
    # Of n values, Binomial(n, 1 - share) lie beyond the quantile: so likely not more than k.
    at_most, total = [], 0.0
    for k in range(n + 1):
        log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        total += math.exp(log + k * math.log1p(-share) + (n - k) * math.log(share))
        at_most.append(total)
        if total >= CONFIDENCE:
            break
    n_above_low = len(at_most) - 1
    n_above_high = sum(probability <= 1 - CONFIDENCE for probability in at_most) - 1
    return max(n - n_above_low, 0), n - n_above_high


def _rank(share: float, n: int) -> int:
    """As in harness/statistics.py: the smallest rank that has at least this share of the values up to it."""
    return min(n, max(1, math.ceil(share * n)))


def _at_rank(values_ns: NDArray[np.int64], rank: int) -> float:
    """The value of a rank (from 1) in ms; without sorting the others."""
    value = int(np.partition(values_ns, rank - 1)[rank - 1])
    return math.inf if value == NEVER_NS else value / 1e6
