"""How often each kind of interval holds the truth, by how many blocks there are: `python -m tests.compare.coverage`.

This is what the choice in harness/compare/effects.py rests on. Each case draws the differences of logarithms of so many blocks
from a noise whose mean is known (0), makes the 95 % interval, and looks whether 0 is in it. `width` is that of the interval, in
units of the noise's standard deviation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]
Intervals = tuple[Values, Values]
RESAMPLES = 1000


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """As of a p99 that a hiccup makes larger now and then."""
    return rng.gamma(2.0, size=shape) - 2.0


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    return rng.standard_t(3, size=shape)


def hiccups(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """One run in ten is disturbed: the difference is five times as far off, to either side."""
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.1, 5.0, 1.0)


NOISES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Values]] = {
    each.__name__: each for each in (normal, skewed, heavy, hiccups)
}


def student(deltas: Values, _: np.random.Generator) -> Intervals:
    n = deltas.shape[1]
    middle, half = deltas.mean(axis=1), stats.t.ppf(0.975, n - 1) * deltas.std(axis=1, ddof=1) / np.sqrt(n)
    return middle - half, middle + half


def percentile(deltas: Values, rng: np.random.Generator) -> Intervals:
    means = _resampled(deltas, rng).mean(axis=2)
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    return low, high


def bca(deltas: Values, rng: np.random.Generator) -> Intervals:
    """Efron, Better bootstrap confidence intervals, 1987."""
    n = deltas.shape[1]
    means = _resampled(deltas, rng).mean(axis=2)
    middle = deltas.mean(axis=1)
    below = (means < middle[:, None]).mean(axis=1) + (means == middle[:, None]).mean(axis=1) / 2
    bias = stats.norm.ppf(np.clip(below, 1e-6, 1 - 1e-6))
    left_out = (middle[:, None] * n - deltas) / (n - 1)
    away = left_out.mean(axis=1, keepdims=True) - left_out
    acceleration = (away**3).sum(axis=1) / (6 * (away**2).sum(axis=1) ** 1.5)
    ends = []
    for share in (0.025, 0.975):
        z = bias + stats.norm.ppf(share)
        ranks = stats.norm.cdf(bias + z / (1 - acceleration * z))
        ordered = np.sort(means, axis=1)
        ends.append(np.take_along_axis(ordered, np.clip((ranks * RESAMPLES).astype(int), 0, RESAMPLES - 1)[:, None], 1)[:, 0])
    return ends[0], ends[1]


def studentised(deltas: Values, rng: np.random.Generator) -> Intervals:
    """Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5."""
    n = deltas.shape[1]
    again = _resampled(deltas, rng)
    middle, error = deltas.mean(axis=1), deltas.std(axis=1, ddof=1) / np.sqrt(n)
    errors = again.std(axis=2, ddof=1) / np.sqrt(n)
    # A sample that is one value again and again has no error of its own.
    ratios = np.where(errors > 0, (again.mean(axis=2) - middle[:, None]) / np.where(errors > 0, errors, 1.0), np.nan)
    low, high = np.nanquantile(ratios, (0.025, 0.975), axis=1)
    return middle - high * error, middle - low * error


METHODS: dict[str, Callable[[Values, np.random.Generator], Intervals]] = {
    each.__name__: each for each in (student, percentile, bca, studentised)
}


def coverage(method: str, noise: str, n_blocks: int, n_cases: int, seed: int = 1) -> tuple[float, float]:
    """The share of intervals that hold the truth, and their median width in standard deviations of the noise."""
    rng = np.random.default_rng(seed)
    deltas = NOISES[noise](rng, (n_cases, n_blocks))
    low, high = METHODS[method](deltas, rng)
    spread = NOISES[noise](rng, (200_000,)).std()
    return float(((low <= 0) & (high >= 0)).mean()), float(np.median(high - low) / spread)


def _resampled(deltas: Values, rng: np.random.Generator) -> Values:
    n_cases, n = deltas.shape
    chosen = rng.integers(0, n, size=(n_cases, RESAMPLES, n))
    return np.take_along_axis(deltas[:, None, :], chosen.reshape(n_cases, 1, -1), axis=2).reshape(n_cases, RESAMPLES, n)


def main(n_cases: int) -> None:
    print(f"{n_cases:,} cases each: share of 95 % intervals that hold the truth (median width)\n")
    print(f"{'noise':<9}{'blocks':>7}  " + "".join(f"{name:>18}" for name in METHODS))
    for noise in NOISES:
        for n_blocks in (4, 6, 8, 10, 20):
            found = (coverage(name, noise, n_blocks, n_cases) for name in METHODS)
            print(f"{noise:<9}{n_blocks:>7}  " + "".join(f"{share:>11.1%} ({width:4.2f})" for share, width in found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
