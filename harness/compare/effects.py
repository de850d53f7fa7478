"""What a configuration does to one figure: the estimate, its interval, and how likely chance alone is. Pure functions on arrays.

A block is one run of each configuration, close together in time and with the same requests, so what is compared is the difference
inside each block (a paired design: Kalibera & Jones, Rigorous Benchmarking in Reasonable Time, 2013; Box, Hunter & Hunter,
Statistics for Experimenters, 2005, chapter 3). Percentiles and times are ratios by nature, so the difference is that of
logarithms, and its mean is the logarithm of a ratio of geometric means (Fleming & Wallace, How not to lie with statistics,
1986).

The interval is Student's on those differences. With so few blocks as anybody has the patience for, bootstrap intervals are too
narrow: of 6 blocks a percentile interval that says 95 % holds the truth in 86 to 87 of 100 cases and a BCa one in 86 to 88, a
studentised bootstrap is honest and twice as wide; Student's stays between 93 and 97 for normal, skewed and heavy-tailed noise
(`python -m tests.compare.coverage` measures it again; docs/compare.md has the table).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.compare.distributions import stats

__all__ = ["CONFIDENCE", "POWER", "Effect", "Known", "Scale", "between", "blocks_needed", "holm", "paired", "unpaired"]

CONFIDENCE: Final = 0.95
POWER: Final = 0.90
"""A difference that matters is to be found so often, when it is said how many blocks would be needed."""

LEAST_PAIRS: Final = 3
"""Of fewer no spread is known that deserves the name."""

MOST_BLOCKS: Final = 1000

Scale = Literal["ratio", "difference", "never", "none"]
Values = NDArray[np.float64]
Known = tuple[Values, Values]
"""At least and at most."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Of one configuration against another on one figure."""

    scale: Scale  # "difference": there were zeros; "never": it is about how often it never ended; "none": nothing to compare
    n: int  # pairs of runs in which both have the figure
    base: float  # what it is typically: the geometric mean, of differences the mean; inf: it never ended in most runs
    other: float
    estimate: float  # other / base, or other - base; NaN: none
    low: float  # of the interval; NaN: there is none
    high: float
    p: float  # that chance alone makes such a difference; 1.0: there is none, NaN: it cannot be told
    spread: float  # standard deviation of the differences from block to block, of logarithms if the scale is "ratio"
    never_base: int = 0  # runs of the base in which it never ended
    never_other: int = 0
    n_base: int = 0  # runs of the base that have the figure; `n` of them where they are paired
    n_other: int = 0
    apart: float = math.nan  # other - base in the unit of the figure, of their means; NaN: one never ended, or there is none
    is_tied: bool = False  # the same value in each pair, and not by rounding: nothing that chance could have had a hand in


class Compare(Protocol):
    """`paired` or `unpaired`."""

    def __call__(self, base: Values, other: Values, step: float, may_be_ratio: bool = True, /) -> Effect: ...


def between(compare: Compare, base: Known, other: Known, step: float = 0.0) -> Effect:
    """The effect in runs of which each is known to lie between two values, which mostly are the same: at least, and at most.

    `compare`: `paired` or `unpaired`. The interval holds for whatever lies in between. If they surely differ, the effect is the
    least that it may be, and else what is in the middle, of which nothing is sure.
    """
    if np.array_equal(base[0], base[1], equal_nan=True) and np.array_equal(other[0], other[1], equal_nan=True):
        return compare(base[0], other[0], step)
    lowest, highest = compare(base[1], other[0], step, False), compare(base[0], other[1], step, False)
    if lowest.scale != "difference" or highest.scale != "difference":
        return _nothing()
    if lowest.estimate > 0:
        found = lowest
    elif highest.estimate < 0:
        found = highest
    else:
        found = compare((base[0] + base[1]) / 2, (other[0] + other[1]) / 2, step, False)
        if found.n < LEAST_PAIRS:
            return _nothing()
        found = dataclasses.replace(found, p=1.0)
    # More blocks would make it no narrower than what is not known.
    return dataclasses.replace(found, low=lowest.low, high=highest.high, spread=math.nan, is_tied=False)


def paired(base: Values, other: Values, step: float = 0.0, may_be_ratio: bool = True) -> Effect:
    """The effect in runs that belong together, one pair a block: both of shape (n_blocks,); NaN: no such figure; inf: it never
    ended.

    `step`: the figure comes in steps of this size, so values that are the same may differ by it. None of something is exact.
    `may_be_ratio` False: the difference is taken also where no value is zero.
    """
    known = ~(np.isnan(base) | np.isnan(other))
    base, other = base[known], other[known]
    n = len(base)
    if not n:
        return _nothing()
    never = _never(base, other)
    if never is not None:
        return never
    is_ratio = may_be_ratio and bool((base > 0).all() and (other > 0).all())
    left, right = (np.log(base), np.log(other)) if is_ratio else (base, other)
    delta = right - left
    estimate = float(delta.mean())
    is_tied = bool(np.all(base == other)) and _is_exact(base, step)
    spread = max(float(delta.std(ddof=1)), math.hypot(*_rounding(base, other, step, is_ratio=is_ratio))) if n > 1 else math.nan
    low, high, p = _student(estimate, spread / math.sqrt(n), n - 1) if n >= LEAST_PAIRS else (math.nan, math.nan, math.nan)
    if is_tied and n >= LEAST_PAIRS:
        low = high = estimate
        p = 1.0
    return _effect(is_ratio, n, left, right, (estimate, low, high, p), spread, is_tied=is_tied)


def unpaired(base: Values, other: Values, step: float = 0.0, may_be_ratio: bool = True) -> Effect:
    """The effect in runs that do not belong together, as of two days: Welch's interval. Shapes (n,) and (m,); else as `paired`.

    B. L. Welch, The generalization of Student's problem when several different population variances are involved, 1947.
    """
    base, other = base[~np.isnan(base)], other[~np.isnan(other)]
    n = min(len(base), len(other))
    if not n:
        return _nothing()
    never = _never(base, other)
    if never is not None:
        return never
    is_ratio = may_be_ratio and bool((base > 0).all() and (other > 0).all())
    left, right = (np.log(base), np.log(other)) if is_ratio else (base, other)
    estimate = float(right.mean() - left.mean())
    is_tied = bool(len(np.unique(np.concatenate([base, other]))) == 1) and _is_exact(base, step)
    if n < LEAST_PAIRS:
        return _effect(is_ratio, n, left, right, (estimate, math.nan, math.nan, math.nan), math.nan, is_tied=is_tied)
    least = _rounding(base, other, step, is_ratio=is_ratio)
    parts = [max(float(each.var(ddof=1)), of_each**2) / len(each) for each, of_each in zip((left, right), least, strict=True)]
    error = math.sqrt(sum(parts))
    if is_tied or not error:
        p = 1.0 if not estimate else 0.0
        return _effect(is_ratio, n, left, right, (estimate, estimate, estimate, p), 0.0, is_tied=is_tied)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (left, right), strict=True))
    return _effect(is_ratio, n, left, right, (estimate, *_student(estimate, error, freedom)), error * math.sqrt(n))


def holm(values: Values) -> Values:
    """The p values corrected for how many there are: calling those below 5 % different is wrong about any of them in 5 % at most.

    S. Holm, A simple sequentially rejective multiple test procedure, 1979. It needs nothing of how the figures depend on each
    other. NaN stays NaN and does not count.
    """
    corrected = values.copy()
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return corrected


def blocks_needed(spread: float, matters: float, level: float) -> int | None:
    """So many blocks find a difference of `matters` in 9 of 10 comparisons at that level, if they vary as these did.

    None: more than anybody has time for, or it is not known.
    """
    if not spread > 0 or not matters > 0 or not level > 0:
        return None
    n = np.arange(LEAST_PAIRS, MOST_BLOCKS + 1)
    needed = (stats.t.ppf(1 - level / 2, n - 1) + stats.t.ppf(POWER, n - 1)) * spread / matters
    enough = np.flatnonzero(np.sqrt(n) >= needed)
    return int(n[enough[0]]) if len(enough) else None


def _rounding(base: Values, other: Values, step: float, *, is_ratio: bool) -> tuple[float, float]:
    """Standard deviations that rounding alone makes of the values of either: rounded ones vary less than what was rounded, and
    are taken to vary by this at least. Of logarithms if it is a ratio: a step is a larger share of the smaller of the two.
    """
    alone = step / math.sqrt(12)
    return (alone / float(base.mean()), alone / float(other.mean())) if is_ratio else (alone, alone)


def _is_exact(values: Values, step: float) -> bool:
    """Whether values that are all the same are so beyond doubt: not if they were rounded, unless there was nothing to round. Of
    too few to know how they vary it is taken as it is.
    """
    return not step or not values.any() or len(values) < LEAST_PAIRS


def _student(estimate: float, error: float, freedom: float) -> tuple[float, float, float]:
    """Interval, and the two-sided p value of no difference."""
    if error <= 0:
        return estimate, estimate, 0.0 if estimate else 1.0
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return estimate - half, estimate + half, float(2 * stats.t.sf(abs(estimate) / error, freedom))


def _effect(
    is_ratio: bool,
    n: int,
    left: Values,
    right: Values,
    found: tuple[float, float, float, float],
    spread: float,
    *,
    is_tied: bool = False,
) -> Effect:
    estimate, low, high, p = found
    base, other = float(left.mean()), float(right.mean())
    apart = float(np.mean(np.exp(right)) - np.mean(np.exp(left))) if is_ratio else other - base
    if is_ratio:
        base, other = math.exp(base), math.exp(other)
        estimate, low, high = (math.exp(each) for each in (estimate, low, high))
    return Effect(
        scale="ratio" if is_ratio else "difference",
        n=n,
        base=base,
        other=other,
        estimate=estimate,
        low=low,
        high=high,
        p=p,
        spread=spread,
        n_base=len(left),
        n_other=len(right),
        apart=apart,
        is_tied=is_tied,
    )


def _never(base: Values, other: Values) -> Effect | None:
    """Where it never ended in some runs there is no mean; what can be compared is how often it did not.

    Boschloo's test of two shares (1970): as exact as Fisher's and finds more with few runs. None: it ended in all of them.
    """
    never_base, never_other = int(np.isinf(base).sum()), int(np.isinf(other).sum())
    if not never_base + never_other:
        return None
    n_base, n_other = len(base), len(other)
    table = np.array([[never_base, never_other], [n_base - never_base, n_other - never_other]])
    is_tied = never_base == n_base and never_other == n_other
    p = 1.0 if is_tied or never_base * n_other == never_other * n_base else float(stats.boschloo_exact(table, n=16).pvalue)
    return Effect(
        scale="never",
        n=min(n_base, n_other),
        base=float(np.median(base)),
        other=float(np.median(other)),
        estimate=math.nan,
        low=math.nan,
        high=math.nan,
        p=p,
        spread=math.nan,
        never_base=never_base,
        never_other=never_other,
        n_base=n_base,
        n_other=n_other,
        is_tied=is_tied,
    )


def _nothing() -> Effect:
    return Effect("none", 0, *(math.nan,) * 7)
