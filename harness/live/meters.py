"""Figures that are kept up to date instead of being worked out again: quantiles, and counts over time. Arrays only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.statistics import rank

__all__ = ["FEW", "Level", "Saturation", "SortedValues", "Stretches"]

FEW: Final = 8_192
_LONG_NS: Final = 1 << 32


class SortedValues:
    """Durations in order, to which more may be added: exact nearest-rank quantiles without sorting all of them each time.

    Those below 2^32 ns, which are most, take 4 bytes each, and the others 8.
    """

    def __init__(self) -> None:
        self._short: NDArray[np.uint32] | NDArray[np.int64] = np.empty(0, np.uint32)
        self._long = np.empty(0, np.int64)
        self._new: list[NDArray[np.int64]] = []
        self._n_new = 0
        self.n_never = 0

    def __len__(self) -> int:
        return len(self._short) + len(self._long) + self._n_new

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Durations that stay."""
        if not len(values_ns):
            return
        self.n_never += int(np.count_nonzero(values_ns == NEVER_NS))
        self._new.append(values_ns)
        self._n_new += len(values_ns)
        if self._n_new > FEW + (len(self) - self._n_new) // 16:
            new = np.sort(np.concatenate(self._new))
            n_short = int(np.searchsorted(new, _LONG_NS))
            if new[0] < 0:
                # Between two machines' clocks an answer may seem to come before its question.
                self._short = self._short.astype(np.int64)
            # Two runs in order: the stable sort merges them.
            short = new[:n_short].astype(self._short.dtype)
            self._short = np.sort(np.concatenate([self._short, short]), kind="stable")
            self._long = np.sort(np.concatenate([self._long, new[n_short:]]), kind="stable")
            self._new, self._n_new = [], 0

    def quantiles_ms(self, shares: Sequence[float], also_ns: NDArray[np.int64]) -> tuple[float, ...]:
        """Of all of them and of `also_ns`, as `harness.statistics.quantiles_ms` has them."""
        more = np.sort(np.concatenate([*self._new, also_ns]))
        n = len(self._short) + len(self._long) + len(more)
        if not n:
            return (math.nan,) * len(shares)
        # The place of each of the few among all, before those that are equal to it.
        places = self._before(more) + np.arange(len(more))
        found = []
        for share in shares:
            place = rank(share, n) - 1
            number = int(np.searchsorted(places, place))
            is_of_few = number < len(places) and int(places[number]) == place
            value = int(more[number]) if is_of_few else self._at(place - number)
            found.append(math.inf if value == NEVER_NS else value / 1e6)
        return tuple(found)

    def _before(self, values_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many in order are less than each of these, which are in order too."""
        n_short = int(np.searchsorted(values_ns, _LONG_NS))
        return np.concatenate(
            [
                # Below 0 nothing is before them, unless that has been seen and all are as wide.
                np.searchsorted(self._short, np.maximum(values_ns[:n_short], self._least).astype(self._short.dtype)),
                len(self._short) + np.searchsorted(self._long, values_ns[n_short:]),
            ]
        )

    @property
    def _least(self) -> int:
        return int(np.iinfo(self._short.dtype).min)

    def _at(self, place: int) -> int:
        n_short = len(self._short)
        return int(self._short[place]) if place < n_short else int(self._long[place - n_short])


@dataclass(frozen=True, slots=True)
class Stretches:
    """A count over a time: from each instant to the next one it is constant."""

    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    count: NDArray[np.int64]

    def highest(self) -> int:
        """0 if it is never more."""
        return int(self.count.max(initial=0))


class Level:
    """How many intervals cover an instant, while they begin and end."""

    def __init__(self) -> None:
        self.count = 0
        self._begin_ns, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)  # as it was lately

    def advance(
        self,
        starts_ns: NDArray[np.int64],
        ends_ns: NDArray[np.int64],
        from_ns: int,
        until_ns: int,
        edges_ns: NDArray[np.int64],
        anew_from_ns: int = NEVER_NS,
    ) -> Stretches:
        """The count in [from, until], with what began and ended in (from, until]; cut at `edges_ns`, of which none is outside.

        The last stretch is the instant `until` itself. `anew_from_ns`: what is remembered for `reopen`.
        """
        instants = np.concatenate([[from_ns], starts_ns, ends_ns, edges_ns])
        changes = np.concatenate(
            [[self.count], np.ones(len(starts_ns), np.int64), np.full(len(ends_ns), -1), np.zeros(len(edges_ns), np.int64)]
        )
        order = np.argsort(instants, kind="stable")
        instants, counts = instants[order], np.cumsum(changes[order])
        # Of several changes at an instant only what comes of all of them is ever there.
        last = np.append(instants[1:] != instants[:-1], True)
        begin, count = instants[last], counts[last]
        self.count = int(count[-1])
        begins, counts = np.concatenate([self._begin_ns, begin]), np.concatenate([self._counts, count])
        is_wanted = begins >= anew_from_ns
        self._begin_ns, self._counts = begins[is_wanted], counts[is_wanted]
        return Stretches(begin, np.append(begin[1:], until_ns), count)

    def reopen(self, ended_ns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Intervals that were counted to have ended then have not. Returns what changes: from when on, and what it was then.

        Of instants that are not remembered nothing is returned.
        """
        self.count += len(ended_ns)
        self._counts = self._counts + np.searchsorted(np.sort(ended_ns), self._begin_ns, side="right")
        is_changed = self._begin_ns >= ended_ns.min(initial=NEVER_NS)
        return self._begin_ns[is_changed], self._counts[is_changed]


class Saturation:
    """For how long as many intervals as there was room for covered an instant."""

    def __init__(self) -> None:
        self._count = 0
        self._from_ns: int | None = None
        self._total_ns = 0
        self._starts = np.empty(0, np.int64)
        self._ends = np.empty(0, np.int64)

    def add(self, starts_ns: NDArray[np.int64], ends_ns: NDArray[np.int64]) -> None:
        """Intervals that began and ended, none before what has been asked for."""
        self._starts = np.concatenate([self._starts, starts_ns])
        self._ends = np.concatenate([self._ends, ends_ns])

    def until(self, until_ns: int, rooms: Sequence[tuple[int, int]]) -> int:
        """In ns, up to an instant that is not before the last one that was asked for.

        `rooms`: from when on there was room for how many, rising; before the first one nothing is counted.
        """
        early_starts, early_ends = self._starts < until_ns, self._ends < until_ns
        starts, ends = self._starts[early_starts], self._ends[early_ends]
        if self._from_ns is None:
            if not len(starts):
                return 0
            self._from_ns = int(starts.min())
        level = Level()
        level.count = self._count
        begins, most = np.array(rooms or [(NEVER_NS, 1)], np.int64).T
        found = level.advance(starts, ends, self._from_ns, until_ns, begins[(begins > self._from_ns) & (begins < until_ns)])
        place = np.searchsorted(begins, found.begin_ns, side="right") - 1
        is_full = (place >= 0) & (found.count >= most[place])
        self._total_ns += int((found.end_ns - found.begin_ns)[is_full].sum())
        self._count, self._from_ns = level.count, max(until_ns, self._from_ns)
        self._starts, self._ends = self._starts[~early_starts], self._ends[~early_ends]
        return self._total_ns
