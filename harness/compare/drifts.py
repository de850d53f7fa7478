"""Whether the machine stayed the same while a comparison went on: the baseline against itself over time. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.compare.distributions import stats

__all__ = ["Drift", "drift_of"]

LEAST_BLOCKS: Final = 4
LEVEL: Final = 0.01
"""Many figures are looked at, and drift is no reason to throw a comparison away: only what is beyond doubt is told."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Of one figure of the baseline, from the first block to the last."""

    ratio: float  # last to first, along a line through all
    p: float


def drift_of(blocks: NDArray[np.float64], values: NDArray[np.float64], min_effect: float) -> Drift | None:
    """A drift that is beyond doubt and as large as what matters; None: there is none. Shapes (n,); NaN and inf are left out.

    Kendall's test of a trend, which takes no distribution for granted, and the median of slopes between all pairs (Sen,
    Estimates of the regression coefficient based on Kendall's tau, 1968).
    """
    known = np.isfinite(values) & (values > 0)
    if np.count_nonzero(known) < LEAST_BLOCKS:
        return None
    at, logs = blocks[known], np.log(values[known])
    if np.ptp(logs) == 0:
        return None
    p = float(stats.kendalltau(at, logs).pvalue)
    slope = float(stats.theilslopes(logs, at).slope)
    ratio = math.exp(slope * float(np.ptp(at)))
    return Drift(ratio, p) if p < LEVEL and abs(math.log(ratio)) >= math.log1p(min_effect) else None
