"""Whether what is pending grows without bound: its slope over time, with an interval. Pure functions on arrays.

What is pending is everything that was asked for and is not done: requests that are due and unanswered, tasks that were accepted
and have not ended. It is counted in requests, as what comes in is: where every twentieth request leaves a task, a task that
waits stands for twenty. It wanders like a sum of chances does, so the points of it are anything but independent, and one long
queue at the end proves nothing. The slope is that of least squares. Its standard error is that of a random walk with a drift:
6/5 of the variance per second, divided by the length (Durlauf and Phillips, *Trends versus random walks in time series
analysis*, Econometrica 56, 1988), and the variance per second is that of the changes over a tenth of the time. A queue that
keeps up comes back, its changes over a tenth of the time are small, and so the interval is narrow; of a queue that is just
full, it is as wide as chance.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_RISE", "N_BINS", "SURE", "WIDTH", "Growth", "growth_of", "pooled"]

N_BINS: Final = 120
LAGS: Final = 10
"""The variance is that of the changes over the time divided by this."""

WIDTH: Final = 2.4
"""Standard errors on either side. Of Student's t with about nine degrees of freedom it is 98 % each; tests/capacity say how often
simulated queues at their limit are then called growing."""

SURE: Final = 1.3
"""Times that wide is an interval that may be relied on after a search among many stages."""

LEAST_RISE: Final = 5.0
"""Tasks, or requests: what pends at the end must be that many more than at the beginning before anything grows."""

_INFLATION: Final = 6 / 5
_LEAST: Final = 0.5
"""Tasks: arrivals and ends are whole ones."""


_START: Final = 0.7
"""Every stage begins with nothing pending, and at its limit a queue first fills: that is no growth, and does not average out over
stages. Of the half width of one of them, this much is left however many there are."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How fast what is pending grows, in requests per second, and between which values that lies."""

    per_s: float
    low: float
    high: float
    seconds: float  # that were looked at
    mean: float  # pending, over that time
    unit: float = 1.0  # requests that a pending task stands for, where not each of them leaves one; 1: else, or of answers alone

    @property
    def rise(self) -> float:
        """By how much it went up along the line."""
        return self.per_s * self.seconds

    @property
    def is_little(self) -> bool:
        """It went up by no more than a handful of tasks."""
        return self.rise < LEAST_RISE * self.unit

    @property
    def grows(self) -> bool:
        """It does, and hardly by chance."""
        return self.low > 0 and not self.is_little

    @property
    def surely(self) -> Growth:
        """The same with an interval that may be relied on where several stages were looked at, and the best of them chosen."""
        low, high = (self.per_s + SURE * (end - self.per_s) for end in (self.low, self.high))
        return dataclasses.replace(self, low=low, high=high)


def growth_of(pending: NDArray[np.float64], bin_s: float, unit: float = 1.0) -> Growth | None:
    """Of means in equal bins. None: too few bins to tell."""
    n = len(pending)
    if n < 2 * LAGS:
        return None
    at_s = (np.arange(n) - (n - 1) / 2) * bin_s
    slope = float(at_s @ pending / (at_s @ at_s))
    lag = n // LAGS
    changes = pending[lag:] - pending[:-lag] - slope * lag * bin_s
    per_s = max(float(np.mean(changes**2)), (_LEAST * unit) ** 2) / (lag * bin_s)
    seconds = n * bin_s
    error = math.sqrt(_INFLATION * per_s / seconds)
    return Growth(slope, slope - WIDTH * error, slope + WIDTH * error, seconds, float(pending.mean()), unit)


def pooled(parts: Sequence[Growth]) -> Growth:
    """Of several times under the same load: slopes weighted by their length, as the variance of each goes with its inverse."""
    weights = np.array([part.seconds for part in parts])
    weights /= weights.sum()
    halves = np.array([(part.high - part.low) / 2 for part in parts])
    slope = float(weights @ np.array([part.per_s for part in parts]))
    half = float(np.sqrt(((weights * halves) ** 2).sum()))
    low = slope - max(half, _START * float(weights @ halves))
    mean = float(weights @ np.array([part.mean for part in parts]))
    return Growth(slope, low, slope + half, max(part.seconds for part in parts), mean, max(part.unit for part in parts))
