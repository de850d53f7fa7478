"""What a restart does to a curve: what a process held is gone with it, and nothing leads from one process to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.tracks import Track
from dashboard.raster.window import Window
from harness.live.frame import Outage

__all__ = ["apart", "held"]

Figures = NDArray[np.float64]
Where = NDArray[np.bool_]


def apart(outages: Sequence[Outage], from_s: float, bin_s: float, n_bins: int) -> Where | None:
    """Shape (n_bins - 1,): whether a process was dead between the middles of a bin and of the next: no line may join them.

    None: none was.
    """
    spans = _spans(outages)
    if not spans or n_bins < 2:
        return None
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

    Where it was dead and back within one bin, the most of the bin is what the old one held; of the new one the bin says what
    there was at its end (`at_end`), or nothing.
    """
    found, spans = track(values), _spans(outages)
    if not spans:
        return found
    at_s = window.from_s + (np.arange(columns) + 0.5) / max(columns, 1) * window.span_s
    is_dead = np.logical_or.reduce([(at_s >= gone_s) & (at_s < until_s) for gone_s, until_s in spans])
    low, high, is_over = found.low, found.high, found.is_over
    both = [(math.floor((gone_s - from_s) / bin_s), until_s) for gone_s, until_s in spans if math.isfinite(until_s)]
    both = [(number, until_s) for number, until_s in both if number == math.floor((until_s - from_s) / bin_s)]
    both = [(number, until_s) for number, until_s in both if 0 <= number < len(values)]
    if both:
        later, is_later = values.copy(), np.zeros(columns, np.bool_)
        for number, until_s in both:
            later[number] = math.nan if at_end is None else at_end[number]
            is_later |= (at_s >= until_s) & (at_s < from_s + (number + 1) * bin_s)
        of_new = track(later)
        low, high = np.where(is_later, of_new.low, low), np.where(is_later, of_new.high, high)
        is_over = np.where(is_later, of_new.is_over, is_over)
    return Track(np.where(is_dead, 1, low), np.where(is_dead, -1, high), is_over & ~is_dead)


def _spans(outages: Sequence[Outage]) -> list[tuple[float, float]]:
    """From when until when a process was dead."""
    return [(each.gone_s, math.inf if each.until_s is None else each.until_s) for each in outages if each.gone_s is not None]
