"""How much chance alone does within two runs, where there is only one of each. Pure functions on arrays.

The requests of a run are no independent values: whoever waits in a queue waits behind others. So whole stretches of time are
drawn again, not single requests (the moving block bootstrap: Künsch, The jackknife and the bootstrap for general stationary
observations, 1989), the same stretches of both runs, for what was planned for a time happened in both. A run has only some ten
such stretches, of which a bootstrap interval is too narrow, so it is widened as Student's would be (Hesterberg, What teachers
should know about the bootstrap, 2015, section 5).

What this cannot tell is what another run would have come to: that takes blocks. What lasts for longer than a stretch (a sixth
of the load) is taken for a difference: of 200 pairs of equal simulated runs the interval missed the truth in 2 to 5 of 100 if
requests did not depend on each other, or did over 0.2 s, and in 8 if they did over half a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.compare.distributions import stats

__all__ = ["Durations", "ratios_within"]

RESAMPLES: Final = 2000
STRETCHES: Final = 6
LEAST_STRETCH_S: Final = 1.0
LEAST_STRETCHES: Final = 4
_BINS_OF_A_STRETCH: Final = 5
_MOST_RANKS: Final = 5000
_SEED: Final = 20_090_101

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Durations:
    """Of one run: shape (n,) each."""

    at_s: Values  # when each was due, from the end of the warm-up on
    value: Values  # inf: it never ended
    length_s: float  # of the time in which they were due


@dataclass(frozen=True, slots=True)
class Within:
    """The ratio of a quantile, other / base, and what chance within the two runs leaves of it."""

    ratio: float
    low: float  # NaN: it cannot be told
    high: float
    p: float  # that there is none


def ratios_within(base: Durations, other: Durations, shares: tuple[float, ...]) -> list[Within]:
    """One for each share. NaN where a quantile is infinite, or the runs are too short to be cut into stretches."""
    nothing = [Within(math.nan, math.nan, math.nan, math.nan)] * len(shares)
    length_s = min(base.length_s, other.length_s)
    n_stretches = min(STRETCHES, int(length_s / LEAST_STRETCH_S))
    if not len(base.value) or not len(other.value):
        return nothing
    points = [_quantiles(each, np.ones((1, 1)), 1, shares)[0] for each in (base, other)]
    if n_stretches < LEAST_STRETCHES:
        return [
            Within(float(right / left), math.nan, math.nan, math.nan)
            if np.isfinite([left, right]).all() and left > 0
            else nothing[0]
            for left, right in zip(*points, strict=True)
        ]
    n_bins = n_stretches * _BINS_OF_A_STRETCH
    weights = _drawn(n_bins, n_stretches)
    again = [_quantiles(each, weights, n_bins, shares) for each in (base, other)]
    return [
        _within(float(points[0][place]), float(points[1][place]), again[0][:, place], again[1][:, place], n_stretches)
        for place in range(len(shares))
    ]


def _within(base: float, other: float, bases: Values, others: Values, n_stretches: int) -> Within:
    if not (math.isfinite(base) and math.isfinite(other)) or base <= 0 or other <= 0:
        return Within(math.nan, math.nan, math.nan, math.nan)
    estimate = math.log(other / base)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(others) - np.log(bases)
    # Where so many never ended that drawing them again makes the quantile infinite, it has no spread: its ends are ranks.
    if not np.isfinite(logs).all():
        logs = np.sort(np.where(np.isnan(logs), 0.0, logs))
        low, high = (float(logs[int(share * (len(logs) - 1))]) for share in (0.0125, 0.9875))
        p = 2 * min(float((logs <= 0).mean()), float((logs >= 0).mean()))
        return Within(math.exp(estimate), math.exp(low), math.exp(high), min(1.0, max(p, 2 / RESAMPLES)))
    spread = float(logs.std()) * math.sqrt(n_stretches / (n_stretches - 1))
    if spread <= 0:
        return Within(math.exp(estimate), math.exp(estimate), math.exp(estimate), 1.0 if not estimate else 0.0)
    # Where quantiles are drawn from few values the distribution is lumpy; its spread is not.
    half = float(stats.t.ppf(0.975, n_stretches - 1)) * spread
    p = float(2 * stats.t.sf(abs(estimate) / spread, n_stretches - 1))
    return Within(math.exp(estimate), math.exp(estimate - half), math.exp(estimate + half), p)


def _drawn(n_bins: int, n_stretches: int) -> Values:
    """How often each bin of time is in each resample: shape (RESAMPLES, n_bins). Stretches go round the end."""
    rng = np.random.default_rng(_SEED)
    starts = rng.integers(0, n_bins, size=(RESAMPLES, n_stretches))
    chosen = (starts[:, :, None] + np.arange(_BINS_OF_A_STRETCH)) % n_bins
    weights = np.zeros((RESAMPLES, n_bins))
    np.add.at(weights, (np.arange(RESAMPLES)[:, None, None], chosen), 1)
    return weights


def _quantiles(run: Durations, weights: Values, n_bins: int, shares: tuple[float, ...]) -> Values:
    """Nearest-rank quantiles of each resample: shape (n_resamples, n_shares)."""
    order = np.argsort(run.value, kind="stable")
    value = run.value[order]
    bins = np.clip((run.at_s[order] / run.length_s * n_bins).astype(np.int64), 0, n_bins - 1)
    # Many values are taken together by rank: none is further from its own than a five-thousandth of all.
    group = np.arange(len(value)) * min(_MOST_RANKS, len(value)) // len(value)
    n_groups = int(group[-1]) + 1
    counts = np.zeros((n_bins, n_groups))
    np.add.at(counts, (bins, group), 1)
    largest = value[np.searchsorted(group, np.arange(n_groups), side="right") - 1]
    reached = np.cumsum(weights @ counts, axis=1)
    found = np.empty((len(weights), len(shares)))
    for place, share in enumerate(shares):
        wanted = np.maximum(share * reached[:, -1], 1e-9)
        at = np.minimum((reached < wanted[:, None] - 1e-9).sum(axis=1), n_groups - 1)
        found[:, place] = largest[at]
    return found
