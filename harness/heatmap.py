"""Counts by time and by duration: what percentiles over time hide. Pure functions on arrays: no clock, no files, no processes.

Durations fall into buckets of a logarithmic scale with four linear parts an octave: [1, 1.25), [1.25, 1.5), ... times a power
of two of nanoseconds. Their edges are exact, so two runs have the same ones and may be compared cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.series import bins_of

__all__ = ["HeatMap", "buckets_of", "floors_of", "heat_map"]

PARTS_OF_OCTAVE: Final = 4
_SHIFT: Final = 52 - 2  # of a float64's bits: what is left is its exponent and the two leading bits of its fraction


@dataclass(frozen=True, slots=True)
class HeatMap:
    """How many durations of each bucket began in each bin."""

    edges_ns: NDArray[np.int64]  # of time: shape (n_bins + 1,)
    floors_ns: NDArray[np.int64]  # of duration: shape (n_buckets + 1,), the last one the end of the last bucket; rising
    counts: NDArray[np.int64]  # shape (n_buckets, n_bins)
    never: NDArray[np.int64]  # durations without an end: shape (n_bins,)


def heat_map(at_ns: NDArray[np.int64], values_ns: NDArray[np.int64], edges_ns: NDArray[np.int64]) -> HeatMap:
    """The durations that began at `at_ns`, between the equal `edges_ns`. `NEVER_NS` has no end; less than 1 ns counts as 1 ns."""
    bins, n_bins = bins_of(at_ns, edges_ns), len(edges_ns) - 1
    inside = bins >= 0
    is_never = inside & (values_ns == NEVER_NS)
    never = np.bincount(bins[is_never], minlength=n_bins)
    inside &= ~is_never
    bins, buckets = bins[inside], buckets_of(values_ns[inside])
    if not len(buckets):
        return HeatMap(edges_ns, np.empty(0, np.int64), np.zeros((0, n_bins), np.int64), never)
    lowest, n_buckets = int(buckets.min()), int(buckets.max() - buckets.min()) + 1
    cells = (buckets - lowest) * n_bins + bins
    counts = np.bincount(cells, minlength=n_buckets * n_bins).reshape(n_buckets, n_bins)
    return HeatMap(edges_ns, floors_of(lowest, n_buckets), counts, never)


def buckets_of(values_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the bucket of each duration: they rise with it, without gaps."""
    return np.maximum(values_ns, 1).astype(np.float64).view(np.int64) >> _SHIFT


def floors_of(lowest: int, n_buckets: int) -> NDArray[np.int64]:
    """Where buckets from the number `lowest` on begin, in ns, and where the last one ends: shape (n_buckets + 1,)."""
    floors = (np.arange(lowest, lowest + n_buckets + 1, dtype=np.int64) << _SHIFT).view(np.float64)
    return np.ceil(floors).astype(np.int64)
