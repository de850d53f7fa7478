"""From values per bin to dots per column of dots: spikes survive, gaps stay gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.scale import Scale
from dashboard.raster.window import Window

__all__ = ["Track", "track_of"]

Dots = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Track:
    """Per column of dots: the lowest and the highest dot of the curve, counted from the bottom. Empty where `low` > `high`."""

    low: Dots
    high: Dots
    is_over: NDArray[np.bool_]  # something there is above the scale

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """Where the curve is drawn."""
        return self.low <= self.high


def track_of(
    values: NDArray[np.float64],
    from_s: float,
    bin_s: float,
    window: Window,
    scale: Scale,
    columns: int,
    n: int,
    apart: NDArray[np.bool_] | None = None,
) -> Track:
    """A curve through the middles of its bins, in `columns` columns of `n` dots.

    Within a column it has all dots from its least to its greatest value. Beside a bin without a value, or one from which it is
    kept `apart` (shape (n_bins - 1,)), or between what ended and what never did, it goes on level to the edge of its bin, and no
    further.
    """
    n_bins = len(values)
    empty = Track(np.full(columns, n, np.int32), np.full(columns, -1, np.int32), np.zeros(columns, np.bool_))
    if not n_bins or columns < 1 or n < 1 or not bin_s > 0:
        return empty
    heights, is_never = scale.dots(np.asarray(values, np.float64), n), np.isinf(values)
    separate = is_never[1:] != is_never[:-1] if apart is None else apart | (is_never[1:] != is_never[:-1])
    # Edges of the columns of dots, in bins from the left edge of the first bin.
    step = window.span_s / bin_s / columns
    edges = (window.from_s - from_s) / bin_s + np.arange(columns + 1) * step
    with np.errstate(invalid="ignore"):
        starts = _at(heights, edges[:-1], np.floor(edges[:-1] + 1e-6), separate)
        ends = _at(heights, edges[1:], np.ceil(edges[1:] - 1e-6) - 1, separate)
        low, high = np.fmin(starts, ends), np.fmax(starts, ends)
        # The middles of bins in between: this is where peaks are.
        middles = np.arange(n_bins) + 0.5
        places = np.floor((middles - edges[0]) / step + 1e-6)
        inside = (places >= 0) & (places < columns) & ~np.isnan(heights)
        places, peaks = places[inside].astype(np.intp), heights[inside]
        np.fmin.at(low, places, peaks)
        np.fmax.at(high, places, peaks)
        over = np.zeros(columns, np.bool_)
        above = values[inside] > scale.high * (1 + 1e-9)
        over[places[above]] = True
        # A bin wider than a column is above the axis in all of its columns.
        bins = np.floor((edges[:-1] + edges[1:]) / 2)
        valid = (bins >= 0) & (bins < n_bins)
        over[valid] |= values[bins[valid].astype(np.intp)] > scale.high * (1 + 1e-9)
    gone = np.isnan(low)
    lowest = np.where(gone, n, np.rint(np.where(gone, 0, low))).astype(np.int32)
    highest = np.where(gone, -1, np.rint(np.where(gone, 0, high))).astype(np.int32)
    return Track(lowest, highest, over & ~gone)


def _at(heights: NDArray[np.float64], places: NDArray[Any], bins: NDArray[Any], apart: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The curve at `places` (in bins), each of which belongs to one of `bins`. NaN where that bin is outside or has no value."""
    n_bins = len(heights)
    known = (bins >= 0) & (bins < n_bins)
    own = np.clip(bins, 0, n_bins - 1).astype(np.intp)
    aside = places - own - 0.5
    beside = np.clip(own + np.where(aside < 0, -1, 1), 0, n_bins - 1)
    mine, other = heights[own], heights[beside]
    is_alone = np.isnan(other)
    if n_bins > 1:
        is_alone |= (own != beside) & apart[np.minimum(own, beside).clip(0, n_bins - 2)]
    found = np.where(is_alone, mine, mine + np.minimum(np.abs(aside), 1.0) * (other - mine))
    return np.where(known, found, np.nan)
