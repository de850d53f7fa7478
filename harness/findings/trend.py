"""Whether a series really rises, or only wiggles. Pure functions on arrays.

The slope is Theil and Sen's: the median of the slopes between all pairs of points, which a few outliers do not move. Whether it
differs from none is Mann and Kendall's test, with the variance that Hamed and Rao (A modified Mann-Kendall trend test for
autocorrelated data, Journal of Hydrology 204, 1998) give it: a queue's length remembers what it was a moment ago, and a test that
takes each point for an independent one sees trends everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trend", "trend_of"]

MOST_POINTS: Final = 60
FEWEST_POINTS: Final = 10
SIGNIFICANCE: Final = 0.01
LEAST_SHARE: Final = 0.15
"""Of the whole rise, that each half must have: what rises in one half alone is a step and no trend."""

_NORMAL_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Trend:
    """Of a series of equally spaced points."""

    per_step: float  # Theil-Sen slope
    p_value: float  # two-sided; 1 for a series that is too short to tell
    is_steady: bool  # both halves take part in it

    @property
    def rises(self) -> bool:
        """It goes up, all the time, and more than by chance."""
        return self.per_step > 0 and self.is_steady and self.p_value < SIGNIFICANCE


def trend_of(values: NDArray[np.int64] | NDArray[np.float64]) -> Trend:
    """The trend of a series. Of a long one, about 60 points are looked at; the slope is per step of the whole one."""
    step = max(1, math.ceil(len(values) / MOST_POINTS))
    # From the last one back, so that the end of the series is always seen.
    points = values[::-1][::step][::-1].astype(np.float64)
    n = len(points)
    if n < FEWEST_POINTS:
        return Trend(0.0, 1.0, is_steady=False)
    first, second = np.triu_indices(n, 1)
    rises = points[second] - points[first]
    slope = float(np.median(rises / (second - first)))
    s = float(np.sign(rises).sum())
    variance = _variance(points) * _inflation(points - slope * np.arange(n))
    z = (s - math.copysign(1, s)) / math.sqrt(variance) if variance > 0 and s else 0.0
    return Trend(slope / step, math.erfc(abs(z) / math.sqrt(2)), is_steady=_is_steady(points))


def _variance(points: NDArray[np.float64]) -> float:
    """Of S, if the points came in random order; ties take away from it."""
    n = len(points)
    _, ties = np.unique(points, return_counts=True)
    return float(n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18


def _inflation(rest: NDArray[np.float64]) -> float:
    """By how much the memory of the series makes the variance of S larger: from the autocorrelation of the ranks of the rest."""
    n = len(rest)
    ranks = np.argsort(np.argsort(rest, kind="stable"), kind="stable").astype(np.float64)
    ranks -= ranks.mean()
    energy = float(ranks @ ranks)
    if energy == 0:
        return 1.0
    lags = np.arange(1, n)
    correlation = np.array([float(ranks[:-lag] @ ranks[lag:]) for lag in lags]) / energy
    # Those that chance alone makes are left out: added up, they would hide any trend.
    correlation[np.abs(correlation) < _NORMAL_95 / math.sqrt(n)] = 0.0
    weights = (n - lags) * (n - lags - 1) * (n - lags - 2)
    return max(1.0, 1.0 + 2.0 * float((weights * correlation).sum()) / (n * (n - 1) * (n - 2)))


def _is_steady(points: NDArray[np.float64]) -> bool:
    """Between the medians of the first, middle and last third there is a part of the rise on either side."""
    third = len(points) // 3
    first, last = float(np.median(points[:third])), float(np.median(points[-third:]))
    middle = float(np.median(points[third:-third]))
    rise = last - first
    return rise != 0 and min((middle - first) / rise, (last - middle) / rise) >= LEAST_SHARE
