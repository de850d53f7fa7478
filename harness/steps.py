"""Counts over time as exact step functions: how many intervals cover an instant. Pure: arrays only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Instants", "Steps"]

_BLOCK: Final = 1 << 18

Instants = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Steps:
    """How many intervals cover an instant. Both arrays are sorted on their own: the count needs no pairs."""

    start_ns: Instants
    end_ns: Instants  # NEVER_NS: without an end

    def at(self, instants_ns: Instants) -> NDArray[np.int64]:
        """The count at each instant: shape of `instants_ns`."""
        begun = np.searchsorted(self.start_ns, instants_ns, side="right")
        return begun - np.searchsorted(self.end_ns, instants_ns, side="right")

    def highest(self) -> int:
        """The largest count that there ever was; 0 without intervals. It is reached at a start."""
        return max((int(counts.max()) for _, counts in self._at_starts(0, len(self.start_ns))), default=0)

    def highest_in(self, edges_ns: Instants) -> NDArray[np.int64]:
        """The largest count in each [edge, next edge): shape (n_edges - 1,)."""
        highest = self.at(edges_ns[:-1])
        first, last = (int(place) for place in np.searchsorted(self.start_ns, edges_ns[[0, -1]]))
        for block, counts in self._at_starts(first, last):
            limits = np.searchsorted(self.start_ns[block], edges_ns)
            filled = np.flatnonzero(np.diff(limits))
            if len(filled):
                highest[filled] = np.maximum(highest[filled], np.maximum.reduceat(counts, limits[filled]))
        return highest

    def mean_in(self, edges_ns: Instants) -> NDArray[np.float64]:
        """The count's mean over time in each [edge, next edge): shape (n_edges - 1,)."""

        def covered(instants_ns: Instants) -> Instants:
            # The sum of (t - instant) over all instants up to each edge t. It may wrap around; the differences below do not.
            sums = np.concatenate(([0], np.cumsum(instants_ns - edges_ns[0])))
            n = np.searchsorted(instants_ns, edges_ns, side="right")
            area: Instants = n * (edges_ns - edges_ns[0]) - sums[n]
            return area

        means: NDArray[np.float64] = np.diff(covered(self.start_ns) - covered(self.end_ns)) / np.diff(edges_ns)
        return means

    def _at_starts(self, first: int, last: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """The count at each start, some at a time. Of equal starts the last one alone sees all: enough for a maximum."""
        for begin in range(first, last, _BLOCK):
            block = slice(begin, min(begin + _BLOCK, last))
            ended = np.searchsorted(self.end_ns, self.start_ns[block], side="right")
            yield block, np.arange(block.start + 1, block.stop + 1) - ended

    def duration_ns(self, at_least: int, until_ns: int) -> int:
        """For how long, up to `until_ns`, the count was at least `at_least` (> 0).

        While m intervals have ended, the count is that high from the start number m + at_least on: no events need be merged.
        """
        n = len(self.start_ns) - at_least + 1
        if n <= 0:
            return 0
        ends = np.minimum(self.end_ns[:n], until_ns)
        began = np.maximum(np.concatenate(([0], ends[:-1])), self.start_ns[at_least - 1 :])
        return int(np.maximum(ends - began, 0).sum())

    def first_at_most(self, level: int, from_ns: int, until_ns: int) -> int | None:
        """The first instant in [from, until) at which the count is at most `level`; None if there is none. It falls at an end."""
        if from_ns >= until_ns:
            return None
        if int(self.at(np.array([from_ns]))[0]) <= level:
            return from_ns
        first, last = (int(place) for place in np.searchsorted(self.end_ns, [from_ns + 1, until_ns]))
        for begin in range(first, last, _BLOCK):
            ends = self.end_ns[begin : min(begin + _BLOCK, last)]
            found = np.flatnonzero(self.at(ends) <= level)
            if len(found):
                return int(ends[found[0]])
        return None
