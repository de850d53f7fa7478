"""Whether the objectives of a plan hold: each against the finished summary and the single durations. Pure functions.

What is known of a figure is an interval: a point where it was counted, wider where a witness is missing, where there are too
few values for a percentile, or where other programs may have made it larger. An objective holds if all of the interval does, is
broken if none of it does, and cannot be told otherwise.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.figures import Figure, figure_of, limit_of, read
from harness.grouping import NEVER_NS
from harness.intervals import Value, nothing, result_of, worst_of
from harness.model import Evidence
from harness.noise import NOISY_SHARE, Noise
from harness.pending import bounded
from harness.rows import Outcome
from harness.samples import Bounds, Sample, Samples, bounds_of, least_to_bound, least_to_measure
from harness.schema import Summary
from harness.slo import Slo, SloError, SloResult, SloWindows, parse_slo
from harness.timeline import Steps, backlog_steps
from harness.wording import counted, duration_s

__all__ = ["evaluate"]

_INTERVALS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("tasks", "lost"): ("tasks", "lost_low"),
    ("tasks", "broken_promises"): ("tasks", "broken_promises_low"),
    ("tasks", "never_done"): ("tasks", "never_done_low"),
}
_OF_THE_WORLD: Final = frozenset(
    {"duplicated", "recovered", "effects", "effects_finished", "effects_failed", "effects_interrupted"}
)
_OF_THE_SERVER: Final = frozenset(
    {
        "accepted",
        "finished",
        "failed",
        "skipped",
        "rejected",
        "discarded",
        "interrupted",
        "never_started",
        "awaiting",
        "cancelled_running",
        "cancelled_queued",
        "never_done",
        "backlog_max",
        "foreign",
    }
)
_SLOWED: Final = frozenset(
    {
        "drain_s",
        "recovery_s",
        "backlog_recovery_s",
        "ready_s",
        "blocked_s",
        "saturated_s",
        "lived_s",
        "backlog_max",
        "busy_max",
        "late_s",
    }
)
"""Figures of the whole run that noise makes larger."""

_QUIETER: Final = ": run it where nothing else does, or take it as it is with --allow noise"
_HELD: Final = "the load generator was late or stood still"
_FREER: Final = ": send fewer, from more processes (--processes), or take it as it is with --allow noise"


def _were(number: int, of: int) -> str:
    return f"{number:,} of {counted(of, 'value')} {'was' if number == 1 else 'were'}"


@dataclass(frozen=True, slots=True)
class _Span:
    from_ns: int
    until_ns: int

    @property
    def length_s(self) -> float:
        return (self.until_ns - self.from_ns) / 1e9


def evaluate(
    objectives: Sequence[str],
    allowed: Sequence[str],
    summary: Summary,
    evidence: Evidence,
    account: Account,
    noise: Noise,
    *,
    slowed: str = "",
) -> tuple[SloResult, ...]:
    """Each objective against a summary that is complete but for its verdict.

    `allowed` names what may not stand in the way: "noise", "few-samples". `slowed` says, in words, what made every figure slower.
    """
    judge = _Judge(summary, evidence, account, noise, frozenset(allowed), slowed)
    return tuple(judge.result(text) for text in objectives)


class _Judge:
    def __init__(
        self, summary: Summary, evidence: Evidence, account: Account, noise: Noise, allowed: frozenset[str], slowed: str
    ) -> None:
        self._summary, self._evidence, self._account, self._noise, self._allowed = summary, evidence, account, noise, allowed
        self._slowed = "" if "noise" in allowed else slowed
        self._samples = Samples(evidence, account, noise, slowed=bool(self._slowed))
        self._backlog: Steps | None = None
        self._sorted: dict[str, NDArray[np.int64]] = {}

    def result(self, text: str) -> SloResult:
        try:
            slo = parse_slo(text)
            what = figure_of(slo, slo.figure)
            number, of = limit_of(slo, what) if not slo.bounded else (0.0, None)
        except SloError as error:
            # A plan of another version of afterload, judged again.
            return SloResult(text, None, None, None, None, None, "", why=error.message)
        if self._evidence.interrupted_by:
            why = f"it was not looked at, for the run was interrupted by {self._evidence.interrupted_by}"
            return SloResult(text, None, None, None, None, None if of else number, what.unit, why=why)
        if slo.bounded:
            return self._bounded(slo)
        if slo.window_s is not None:
            return self._windowed(slo, what, number, of)
        value, limit = self._value(what, None), self._limit(number, of, None)
        return result_of(slo, what, value, limit)

    def _bounded(self, slo: Slo) -> SloResult:
        is_noisy = "noise" not in self._allowed and (self._noise.is_noisy or bool(self._slowed))
        noise = f"it was measured while {self._slowed or self._noise_words()}{_QUIETER}" if is_noisy else ""
        return bounded(slo.text, self._evidence, self._account, noise=noise, allow_few="few-samples" in self._allowed)

    def _windowed(self, slo: Slo, what: Figure, number: float, of: Figure | None) -> SloResult:
        assert slo.window_s is not None
        spans = list(self._spans(round(slo.window_s * 1e9)))
        if self._account.n_counted and what.name != "backlog":
            why = f"of {counted(self._account.n_counted, 'request')} there are histograms alone, which have no windows"
            return SloResult(slo.text, None, None, None, None, None, what.unit, why=why)
        if not spans:
            why = f"the measured load is shorter than a window of {duration_s(slo.window_s)}"
            return SloResult(slo.text, None, None, None, None, None, what.unit, why=why)
        results = [
            result_of(slo, what, self._value(what, span), self._limit(number, of, span), self._at_s(span.from_ns))
            for span in spans
        ]
        told = [result for result in results if result.value is not None or result.holds is not None]
        broken = [result for result in results if result.holds is False]
        unknown = [result for result in told if result.holds is None]
        # A window in which nothing was due says nothing. If all are such, nothing is known.
        considered = broken or unknown or told or results
        worst = worst_of(slo.operator, considered)
        windows = SloWindows(
            slo.window_s, len(results), len(broken), len(unknown), worst.windows.worst_from_s if worst.windows else None
        )
        holds = False if broken else None if unknown or not told else True
        return dataclasses.replace(worst, holds=holds, windows=windows)

    def _spans(self, length_ns: int) -> Iterator[_Span]:
        """Windows side by side from the end of the warm-up on; the last one ends with the load, so that none is shorter."""
        begin = self._evidence.load_start_ns + round(self._evidence.warm_up_s * 1e9)
        end = self._evidence.load_end_ns
        n_whole = (end - begin) // length_ns
        for number in range(n_whole):
            yield _Span(begin + number * length_ns, begin + (number + 1) * length_ns)
        # A remainder that no clock would show is none.
        if n_whole and end - begin - n_whole * length_ns > length_ns // 1000:
            yield _Span(end - length_ns, end)

    def _limit(self, number: float, of: Figure | None, span: _Span | None) -> Value:
        if of is None:
            return Value(number, number, number)
        return self._value(of, span).times(number)

    def _value(self, what: Figure, span: _Span | None) -> Value:
        if what.series is not None:
            assert what.share is not None
            sample = self._samples.of(what.series)
            return self._percentile(what, sample.between(span.from_ns, span.until_ns) if span else sample)
        if what.name == "error_rate":
            return self._error_rate(span)
        if what.name in {"recovery", "backlog_recovery"}:
            return self._slowest(self._recoveries() if what.name == "recovery" else self._backlog_recoveries())
        if span is not None:
            return self._in_window(what, span)
        return self._of_the_summary(what)

    def _percentile(self, what: Figure, sample: Sample) -> Value:
        assert what.share is not None
        found = bounds_of(sample, what.share, allow_few="few-samples" in self._allowed, allow_noise="noise" in self._allowed)
        if not found.n and not found.n_unknown:
            return nothing(f"there is no value of {what.name}")
        measured = None if math.isnan(found.measured) else found.measured
        return Value(measured, found.low, found.high, self._why(what, found), self._noise_in(found))

    def _why(self, what: Figure, found: Bounds) -> str:
        assert what.share is not None
        causes = []
        if found.is_few:
            needed, least = least_to_measure(what.share), least_to_bound(what.share)
            causes.append(
                f"{counted(found.n, 'value is', 'values are')} too few for {what.name}, which needs {needed:,}"
                + (f" (or {least:,} that all hold)" if found.n < least else "")
                + ": load for longer, or take it as it is with --allow few-samples"
            )
        if found.n_unknown:
            causes.append(f"of {counted(found.n_unknown, 'request')} nobody knows when the work was done")
        return "; ".join(causes)

    def _noise_in(self, found: Bounds) -> str:
        causes = []
        if found.n_noisy:
            why = self._slowed or self._noise_words()
            causes.append(f"{_were(found.n_noisy, found.n)} measured while {why}{_QUIETER}")
        # What others do is most often why the generator is late as well, and told once.
        if found.n_held > found.n_noisy:
            causes.append(f"{_were(found.n_held, found.n)} measured while {_HELD}{_FREER}")
        return "; ".join(causes)

    def _noise_words(self) -> str:
        noise = self._noise
        return f"{noise.words()} ({duration_s(noise.noisy_s)} of {duration_s(noise.seen_s)} were noisy)"

    def _error_rate(self, span: _Span | None) -> Value:
        from_ns = self._evidence.load_start_ns + round(self._evidence.warm_up_s * 1e9)
        whole = span or _Span(from_ns, NEVER_NS)
        n, n_acked = self._count("due", whole), self._count("due_acked", whole)
        if span is None:
            n += sum(each.measured for each in self._evidence.counted)
            n_acked += sum(int(each.answered.counts.sum()) for each in self._evidence.counted)
        if not n:
            return nothing("no request was due")
        share = 100.0 * (n - n_acked) / n
        return self._in_noise(Value(share, share, share), span, low=0.0)

    def _slowest(self, values: Sequence[Value]) -> Value:
        if not values:
            return nothing("there was no fault to recover from")
        none = next((value for value in values if value.measured is None), None)
        known = [value for value in values if value.measured is not None]
        if none is not None and not known:
            return none
        slowest = self._in_noise(max(known, key=lambda value: value.high), None, low=0.0)
        # One of which nothing is known may have been slower, and none of them makes the slowest faster.
        return slowest if none is None else dataclasses.replace(slowest, high=math.inf, why=none.why)

    def _recoveries(self) -> list[Value]:
        """Of boots that a fault ended, and of faults that ended none."""
        values = [self._recovery_of(boot.boot) for boot in self._summary.boots if boot.fault]
        for fault in self._summary.faults:
            if fault.landed_s is not None and not fault.ends_boot:
                landed_ns = self._evidence.load_start_ns + round(fault.landed_s * 1e9)
                values.append(self._back_after(fault.recovery_s, landed_ns, fault.fault))
        return values

    def _backlog_recoveries(self) -> list[Value]:
        seen = self._account.server_is_witness
        landed = [fault.backlog_recovery_s for fault in self._summary.faults if fault.landed_s is not None]
        if landed and not seen:
            return [nothing("the server told nothing of its backlog")]
        seconds = [math.inf if each is None else each for each in landed]
        return [Value(each, each, each) for each in seconds]

    def _recovery_of(self, number: int) -> Value:
        boot = next(boot for boot in self._evidence.boots if boot.boot == number)
        said = next(each for each in self._summary.boots if each.boot == number).recovery_s
        began = boot.frozen_ns or boot.signalled_ns
        if not boot.fault or began is None:
            return nothing(f"no fault ended boot {number}")
        return self._back_after(said, max(began, boot.reaped_ns or 0), f"the end of boot {number}")

    def _back_after(self, recovery_s: float | None, since_ns: int, what: str) -> Value:
        """Without an answer it never recovered, if anybody asked."""
        if recovery_s is None and not bool((self._account.tables.ops.sent_ns > since_ns).any()):
            return nothing(f"no request was sent any more after {what}")
        seconds = math.inf if recovery_s is None else recovery_s
        return Value(seconds, seconds, seconds)

    def _in_window(self, what: Figure, span: _Span) -> Value:
        if what.path == ("tasks", "backlog_max"):
            self._backlog = self._backlog or backlog_steps(self._evidence)
            most = float(self._backlog.highest_in(np.array([span.from_ns, span.until_ns]))[0])
            return self._in_noise(self._seen(what, most), span, low=0.0)
        is_offered = what.path == ("requests", "offered_per_s")
        rate = self._count("due" if is_offered else "acked", span) / span.length_s
        value = Value(rate, rate, rate)
        return value if is_offered else self._in_noise(value, span, high=math.inf)

    def _count(self, what: str, span: _Span) -> int:
        """How many requests were due ("due", of those answered with a 2xx "due_acked") or acknowledged ("acked") in a span."""
        if what not in self._sorted:
            ops = self._account.tables.ops
            acked = ops.outcome == Outcome.ACK
            self._sorted[what] = np.sort({"due": ops.due_ns, "due_acked": ops.due_ns[acked], "acked": ops.ack_ns[acked]}[what])
        first, last = np.searchsorted(self._sorted[what], (span.from_ns, span.until_ns))
        return int(last - first)

    def _of_the_summary(self, what: Figure) -> Value:
        path = what.path
        boots = {str(boot.boot): boot.boot for boot in self._summary.boots}
        if path[0] == "boots" and path[-1] == "recovery_s" and path[1] in boots:
            return self._in_noise(self._recovery_of(boots[path[1]]), None, low=0.0)
        try:
            number = read(self._summary, path)
        except LookupError as error:
            return nothing(str(error.args[0]))
        if what.durations:
            return self._quantile_in_the_summary(what, number)
        if number is None:
            return nothing(f"{what.name} is null")
        number *= 100.0 if what.unit == "%" else 1.0
        value = self._seen(what, number)
        if (low := _INTERVALS.get(path)) is not None:
            least = float(read(self._summary, low) or 0.0)
            return dataclasses.replace(value, low=least, why=value.why or ("" if least == number else "a witness is missing"))
        if path == ("requests", "achieved_per_s"):
            return self._in_noise(value, None, high=max(number, self._summary.requests.offered_per_s or 0.0))
        return self._in_noise(value, None, low=0.0) if path[-1] in _SLOWED else value

    def _quantile_in_the_summary(self, what: Figure, number: float | None) -> Value:
        """One whose single values are not looked at here; the record beside it says how many there were."""
        above = what.path[:-1]
        n = int(read(self._summary, (*above, "n")) or 0)
        share = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}[what.path[-1]]
        if not n:
            return nothing(f"there is no value of {'.'.join(above)}")
        exact = math.inf if number is None else number
        if share == 1 or n >= least_to_measure(share) or "few-samples" in self._allowed:
            return self._in_noise(Value(exact, exact, exact), None, low=0.0)
        longest = read(self._summary, (*above, "max"))
        high = math.inf if longest is None or n < least_to_bound(share) else longest
        return Value(
            exact, 0.0, high, self._why(dataclasses.replace(what, share=share), Bounds(exact, 0.0, high, n, is_few=True))
        )

    def _seen(self, what: Figure, number: float) -> Value:
        """A count: at least that many, where nobody can say that there were not more."""
        account = self._account
        if what.path[0] == "tasks" and what.path[-1] in _OF_THE_SERVER and not account.server_is_witness and not account.inline:
            return Value(number, number, math.inf, "the server told nothing, or not of all requests")
        if what.path[0] == "tasks" and what.path[-1] in _OF_THE_WORLD and not account.world_is_witness:
            return Value(number, number, math.inf, "nobody looked at what arrived in the world")
        return Value(number, number, number)

    def _in_noise(self, value: Value, span: _Span | None, *, low: float | None = None, high: float | None = None) -> Value:
        if "noise" in self._allowed or value.measured is None or math.isinf(value.measured):
            return value
        if span is None:
            is_noisy, is_held = self._noise.is_noisy, False
        else:
            when = np.array([span.from_ns]), np.array([span.until_ns - span.from_ns])
            is_noisy = bool(self._noise.covers(*when)[0])
            is_held = self._samples.stalled.share_of(span.from_ns, span.until_ns) >= NOISY_SHARE
        if not is_noisy and not is_held and not self._slowed:
            return value
        why = f"{self._slowed or self._noise_words()}{_QUIETER}" if is_noisy or self._slowed else f"{_HELD}{_FREER}"
        return dataclasses.replace(
            value,
            low=value.low if low is None else min(low, value.low),
            high=value.high if high is None else max(high, value.high),
            noise=f"it was measured while {why}",
        )

    def _at_s(self, instant_ns: int) -> float:
        return (instant_ns - self._evidence.load_start_ns) / 1e9
