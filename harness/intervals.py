"""What is known of a figure, and what a limit on it comes to: intervals and comparisons. Pure functions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.figures import Figure
from harness.slo import Operator, Slo, SloResult, SloWindows
from harness.wording import figure

__all__ = ["Value", "nothing", "result_of", "worst_of"]


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a figure, in its unit. inf: it never ended; measured None: there is none."""

    measured: float | None
    low: float
    high: float
    why: str = ""  # what makes it an interval, or why there is none; a sentence without its end

    def times(self, factor: float) -> Value:
        """A share of it."""
        measured = None if self.measured is None else self.measured * factor
        return dataclasses.replace(self, measured=measured, low=self.low * factor, high=self.high * factor)


def nothing(why: str) -> Value:
    """There is no such figure in this run."""
    return Value(None, math.nan, math.nan, why)


def result_of(slo: Slo, what: Figure, value: Value, limit: Value, from_s: float | None = None) -> SloResult:
    """What an objective comes to; `from_s`: in the window that begins there."""
    holds = _holds(slo.operator, value, limit)
    why = ""
    if holds is None:
        why = "; ".join(dict.fromkeys(filter(None, (value.why, limit.why))))
        is_wide = value.measured is not None and value.low != value.high
        if is_wide and not (value.low == 0.0 and math.isinf(value.high)):
            why += f"; it lies between {figure(value.low, what.unit)} and {figure(value.high, what.unit, never='never')}"
    return SloResult(
        text=slo.text,
        holds=holds,
        value=value.measured,
        low=None if math.isnan(value.low) else value.low,
        high=None if math.isnan(value.high) else value.high,
        limit=limit.measured,
        unit=what.unit,
        why=why,
        windows=None if from_s is None else SloWindows(slo.window_s or 0.0, 1, 0, 0, from_s),
    )


def _holds(operator: Operator, value: Value, limit: Value) -> bool | None:
    if value.measured is None and math.isnan(value.low):
        return None
    if limit.measured is None or math.isnan(limit.low):
        return None
    match operator:
        case "<":
            return True if value.high < limit.low else False if value.low >= limit.high else None
        case "<=":
            return True if value.high <= limit.low else False if value.low > limit.high else None
        case ">":
            return True if value.low > limit.high else False if value.high <= limit.low else None
        case ">=":
            return True if value.low >= limit.high else False if value.high < limit.low else None
    if value.low == value.high == limit.low == limit.high:
        return True
    return False if value.high < limit.low or value.low > limit.high else None


def worst_of(operator: Operator, results: Sequence[SloResult]) -> SloResult:
    """The one that is furthest from its limit, or nearest to it; the first of several."""

    def badness(result: SloResult) -> float:
        if result.value is None or result.limit is None:
            return -math.inf
        over = result.value - result.limit
        return abs(over) if operator == "==" else over if operator in {"<", "<="} else -over

    return max(results, key=badness)
