"""What an outage does to a curve: what a process held is gone with it, and no line leads into the outage, or out of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.tracks import Track
from dashboard.raster.window import Window
from harness.live.frame import Outage

__all__ = ["apart", "held"]

Figures = NDArray[np.float64]
Where = NDArray[np.bool_]


def apart(outages: Sequence[Outage], from_s: float, bin_s: float, n_bins: int) -> Where | None:
    """Shape (n_bins - 1,): which bins no line may join with the next. None: there was no outage.

    Between their middles a process was dead, or an outage began or ended.
    """
    if not outages or n_bins < 2:
        return None
    edges = [at_s for each in outages for at_s in (each.from_s, each.until_s) if at_s is not None]
    spans = [*_dead(outages), *((at_s, at_s) for at_s in edges)]
    middles = from_s + (np.arange(n_bins) + 0.5) * bin_s
    found = np.zeros(n_bins - 1, np.bool_)
    for gone_s, until_s in spans:
        found |= (middles[:-1] < until_s) & (middles[1:] > gone_s)
    return found


def held(
    values: Figures,
    at_end: Figures | None,
    track: Callable[[Figures], Track],
    outages: Sequence[Outage],
    from_s: float,
    bin_s: float,
    window: Window,
    columns: int,
) -> Track:
    """The track of what a process holds, of the most in each bin: nothing while it was dead.

    The most of a bin need not hold for all of it. Where a process was dead and back within one, it is what the old one held; of
    the new one the bin says what there was at its end (`at_end`), or nothing. Where one that was stopped went on, it is what came
    then; while it was stopped there was what there had been at the end of the bin before.
    """
    found, dead = track(values), _dead(outages)
    at_s = window.from_s + (np.arange(columns) + 0.5) / max(columns, 1) * window.span_s
    low, high, is_over = found.low, found.high, found.is_over
    other, is_other = values.copy(), np.zeros(columns, np.bool_)
    for number, value, begin_s, end_s in _exceptions(len(values), at_end, outages, from_s, bin_s):
        other[number] = value
        is_other |= (at_s >= begin_s) & (at_s < end_s)
    if is_other.any():
        seen = track(other)
        low, high = np.where(is_other, seen.low, low), np.where(is_other, seen.high, high)
        is_over = np.where(is_other, seen.is_over, is_over)
    is_dead = np.zeros(columns, np.bool_)
    for gone_s, until_s in dead:
        is_dead |= (at_s >= gone_s) & (at_s < until_s)
    return Track(np.where(is_dead, 1, low), np.where(is_dead, -1, high), is_over & ~is_dead)


def _exceptions(
    n_bins: int, at_end: Figures | None, outages: Sequence[Outage], from_s: float, bin_s: float
) -> Iterator[tuple[int, float, float, float]]:
    """Bins whose most does not hold for a part of them: number, what holds there, and from when until when."""
    for each in outages:
        if each.until_s is None or not 0 <= (number := math.floor((each.until_s - from_s) / bin_s)) < n_bins:
            continue
        begin_s = from_s + number * bin_s
        if each.gone_s is not None:
            if each.gone_s >= begin_s:
                yield number, math.nan if at_end is None else float(at_end[number]), each.until_s, begin_s + bin_s
        elif at_end is not None and number and each.from_s <= begin_s:
            yield number, float(at_end[number - 1]), max(begin_s - bin_s / 2, each.from_s), each.until_s


def _dead(outages: Sequence[Outage]) -> list[tuple[float, float]]:
    """From when until when a process was dead."""
    return [(each.gone_s, math.inf if each.until_s is None else each.until_s) for each in outages if each.gone_s is not None]
