"""A rate profile: how many requests per second are to start, over time. Pure: no clock, no file, no process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Profile", "Segment", "steady"]

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the profile in which the rate changes evenly, or not at all."""

    for_s: Fraction
    start_per_s: Fraction
    end_per_s: Fraction

    @property
    def expected(self) -> Fraction:
        """Arrivals in it: the area under its rate."""
        return self.for_s * (self.start_per_s + self.end_per_s) / 2


class Profile:
    """Segments one after another from the start of the load.

    Its numbers are fractions, so that the count of arrivals is that of the plan and not that of a rounding: 0.1 per second for
    10 s is one arrival.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        """Raises ValueError if no request would ever be due, a rate is below zero, or a segment has no length."""
        for each in segments:
            if each.for_s <= 0 or min(each.start_per_s, each.end_per_s) < 0:
                msg = f"a part of a rate profile lasts more than 0 s, at 0 requests/s or more; not {float(each.for_s):g} s"
                raise ValueError(msg)
        self.segments = tuple(segments)
        self._starts_s = [Fraction(0), *accumulate(each.for_s for each in segments)]
        self._before = [Fraction(0), *accumulate(each.expected for each in segments)]
        if not self.expected:
            msg = "a rate profile needs a rate above 0 somewhere"
            raise ValueError(msg)

    @property
    def duration_s(self) -> float:
        """Its whole length."""
        return float(self._starts_s[-1])

    @property
    def expected(self) -> Fraction:
        """Arrivals in all: the area under the rate."""
        return self._before[-1]

    @property
    def peak_per_s(self) -> float:
        """The highest rate."""
        return float(max(max(each.start_per_s, each.end_per_s) for each in self.segments))

    def rate_at(self, t_s: float) -> float:
        """Requests per second at a time after load start; where two segments meet, the later one's. 0 outside."""
        for start_s, each in zip(self._starts_s, self.segments, strict=False):
            if start_s <= t_s < start_s + each.for_s:
                share = (t_s - float(start_s)) / float(each.for_s)
                return float(each.start_per_s) + share * float(each.end_per_s - each.start_per_s)
        return 0.0

    def area_until(self, t_s: Fraction) -> Fraction:
        """`expected_until`, exactly."""
        for start_s, before, each in zip(self._starts_s, self._before, self.segments, strict=False):
            if t_s < start_s + each.for_s:
                since_s = max(Fraction(0), t_s - start_s)
                slope = (each.end_per_s - each.start_per_s) / each.for_s
                return before + since_s * (each.start_per_s + slope * since_s / 2)
        return self.expected

    def changed(self, from_s: Fraction, until_s: Fraction, rate_per_s: Fraction) -> Profile:
        """The same up to a time, and one rate from then on. Raises ValueError as the constructor."""
        kept = []
        for start_s, each in zip(self._starts_s, self.segments, strict=False):
            share = min(Fraction(1), (from_s - start_s) / each.for_s)
            if share > 0:
                end_per_s = each.start_per_s + share * (each.end_per_s - each.start_per_s)
                kept.append(Segment(share * each.for_s, each.start_per_s, end_per_s))
        more = [Segment(until_s - from_s, rate_per_s, rate_per_s)] if until_s > from_s else []
        return Profile([*kept, *more])

    def expected_until(self, t_s: float) -> float:
        """The area under the rate from the start until then."""
        for start_s, before, each in zip(self._starts_s, self._before, self.segments, strict=False):
            if t_s < start_s + each.for_s:
                since_s = max(0.0, t_s - float(start_s))
                slope = float(each.end_per_s - each.start_per_s) / float(each.for_s)
                return float(before) + since_s * (float(each.start_per_s) + slope * since_s / 2)
        return float(self.expected)

    def whole_times_ns(self) -> NDArray[np.int64]:
        """When the area under the rate reaches 0, 1, 2, ...: nanoseconds from the start, sorted, each before the end.

        Where the rate is zero the area stands still; an arrival that falls there belongs to the end of that pause.
        """
        parts = [np.empty(0, np.int64)]
        for number, before in enumerate(self._before[:-1]):
            first, end = math.ceil(before), math.ceil(self._before[number + 1])
            # Counted from the segment's own start: the difference is exact, whatever came before.
            parts.append(self._times_ns(number, np.arange(end - first, dtype=np.float64) + float(first - before)))
        return np.concatenate(parts)

    def times_ns(self, areas: NDArray[np.float64]) -> NDArray[np.int64]:
        """When the area under the rate reaches each of `areas` (sorted, below `expected`): nanoseconds from the start."""
        bounds = np.array([float(each) for each in self._before])
        cuts = np.searchsorted(areas, bounds, side="left")
        parts = [np.empty(0, np.int64)]
        for number, (first, end) in enumerate(pairwise(cuts)):
            parts.append(self._times_ns(number, areas[first:end] - bounds[number]))
        return np.concatenate(parts)

    def _times_ns(self, number: int, areas: NDArray[np.float64]) -> NDArray[np.int64]:
        """Of areas counted from the start of segment `number`."""
        segment = self.segments[number]
        start_ns, end_ns = (math.ceil(each * NS_PER_S) for each in self._starts_s[number : number + 2])
        rate = float(segment.start_per_s)
        if segment.start_per_s == segment.end_per_s:
            since_ns = areas * NS_PER_S / rate if rate else areas
        else:
            # The root of slope / 2 * t**2 + rate * t = area, in the form that loses no digits where the slope is small.
            slope = float((segment.end_per_s - segment.start_per_s) / segment.for_s)
            root = rate + np.sqrt(np.maximum(rate * rate + 2 * slope * areas, 0.0))
            since_ns = np.divide(2 * areas * NS_PER_S, root, out=np.zeros_like(areas), where=root > 0)
        times = start_ns + since_ns.astype(np.int64)
        # What rounding put beyond the end belongs before it.
        return np.minimum(times, end_ns - 1)


def steady(rate_per_s: float, duration_s: float) -> Profile:
    """One rate all the time. Raises ValueError if one of the two is not a positive number."""
    for name, value in (("rate_per_s", rate_per_s), ("duration_s", duration_s)):
        if not (math.isfinite(value) and value > 0):
            msg = f"{name}: given {value!r}; allowed: a number greater than 0"
            raise ValueError(msg)
    rate = Fraction(str(rate_per_s))
    return Profile([Segment(Fraction(str(duration_s)), rate, rate)])
