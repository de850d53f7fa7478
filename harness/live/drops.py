"""Tasks that have been told to be dropped, and may be run after all: if somebody calls them by hand, the probe takes that back.

They are few, or the app is an odd one: nothing of this costs anything where no task is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.live.columns import Renumbered, Requests, Works
from harness.rows import DropReason, Outcome

__all__ = ["REMEMBERED_NS", "Back", "Drops"]

REMEMBERED_NS: Final = 60_000_000_000
"""How the backlog changed is known for so long after a drop; if it is taken back later, everything is told again."""

Positions = NDArray[np.int64]
Instants = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Back:
    """Tasks whose drop had been told and has been taken back: they have been queued all the time. Shape (n,) each."""

    positions: Positions
    left_ns: Instants  # when they had been told to be queued no more
    is_lost: Flags  # as what they had been told: given up
    is_skipped: Flags
    is_refused: Flags
    is_denied: Flags  # of the refused: their request was acknowledged
    denied_ns: Instants  # since when it was both; only of those

    @classmethod
    def none(cls) -> Back:
        """Nothing was."""
        positions, flags = np.empty(0, np.int64), np.empty(0, np.bool_)
        return cls(positions, positions, flags, flags, flags, flags, positions)

    def __len__(self) -> int:
        return len(self.positions)


class Drops:
    """Of what has been told, the drops that may be taken back. They are in memory anyway: their rows are read again and again."""

    def __init__(self, requests: Requests, works: Works) -> None:
        self._requests, self._works = requests, works
        self._positions = np.empty(0, np.int64)
        self._dropped_ns, self._left_ns = np.empty(0, np.int64), np.empty(0, np.int64)
        self._reason = np.empty(0, np.uint8)

    def tell(self, positions: Positions, left_ns: Instants) -> None:
        """Told to be queued no more from then on."""
        of = self._works
        self._positions = np.concatenate([self._positions, positions])
        self._left_ns = np.concatenate([self._left_ns, left_ns])
        self._dropped_ns = np.concatenate([self._dropped_ns, of.dropped.now[positions]])
        self._reason = np.concatenate([self._reason, of.reason.now[positions]])

    @property
    def are_taken_back(self) -> bool:
        """Some have been since the last time."""
        return bool(self._is_back().any())

    def take_back(self, unanswered: Positions) -> Back:
        """Those that have been taken back, and are forgotten here. `unanswered`: refused, and their request has no answer yet."""
        chosen = self._is_back()
        if not chosen.any():
            return Back.none()
        positions, reason, dropped_ns = self._positions[chosen], self._reason[chosen], self._dropped_ns[chosen]
        is_lost = reason == DropReason.ABANDONED
        is_skipped = np.isin(reason, (DropReason.SKIPPED, DropReason.CANCELLED))
        is_refused = ~is_lost & ~is_skipped
        request = self._works.request.now[positions]
        is_denied = is_refused & (request >= 0) & ~np.isin(positions, unanswered)
        of = self._requests
        is_denied[is_denied] = of.outcome.now[request[is_denied]] == Outcome.ACK
        found = Back(
            positions=positions,
            left_ns=self._left_ns[chosen],
            is_lost=is_lost,
            is_skipped=is_skipped,
            is_refused=is_refused,
            is_denied=is_denied,
            denied_ns=np.maximum(dropped_ns[is_denied], of.done.now[request[is_denied]]),
        )
        self._positions, self._reason = self._positions[~chosen], self._reason[~chosen]
        self._left_ns, self._dropped_ns = self._left_ns[~chosen], self._dropped_ns[~chosen]
        return found

    def from_ns(self, until_ns: int) -> int:
        """From when on it may have to be counted anew if some are taken back; NEVER_NS: there are none."""
        return int(self._left_ns[self._left_ns >= until_ns - REMEMBERED_NS].min(initial=NEVER_NS))

    def keep(self, works: Renumbered) -> None:
        """The columns have let others go: of these only what can't change any more, for its boot has died since."""
        positions = works.of(self._positions)
        there = positions >= 0
        self._positions, self._reason = positions[there], self._reason[there]
        self._left_ns, self._dropped_ns = self._left_ns[there], self._dropped_ns[there]

    def _is_back(self) -> Flags:
        changed: Flags = self._works.dropped.now[self._positions] != self._dropped_ns
        return changed
