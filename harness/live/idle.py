"""Tasks that wait, and of which nothing is to be told but that: behind an overloaded server nearly all there are.

What is worked out with every picture goes over those in which something happens, and not over these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.live.columns import Renumbered, Requests, Works

__all__ = ["Idle"]

Positions = NDArray[np.int64]
Instants = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Idle:
    """Accepted, neither started nor dropped, of a process that lives, and their request is known. Shape (n,) each."""

    positions: Positions
    due_ns: Instants  # when their operation was due; NEVER_NS: it is none of this run

    @classmethod
    def none(cls) -> Idle:
        """Nobody."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def at(cls, positions: Positions, requests: Requests, works: Works) -> Idle:
        """The tasks that stand there."""
        request = works.request.now[positions]
        due_ns = np.full(len(positions), NEVER_NS)
        due_ns[request >= 0] = requests.due.now[request[request >= 0]]
        return cls(positions, due_ns)

    def __add__(self, more: Idle) -> Idle:
        return Idle(np.concatenate([self.positions, more.positions]), np.concatenate([self.due_ns, more.due_ns]))

    def parted(self, works: Works) -> tuple[Positions, Idle]:
        """Those in which something has happened since, and the others."""
        still = works.is_idle.now[self.positions]
        if still.all():
            return np.empty(0, np.int64), self
        return self.positions[~still], Idle(self.positions[still], self.due_ns[still])

    def kept(self, works: Renumbered) -> Idle:
        """The columns have let others go."""
        return Idle(works.of(self.positions), self.due_ns)

    @property
    def n_own(self) -> int:
        """Of this run."""
        return int(np.count_nonzero(self.due_ns != NEVER_NS))

    @property
    def oldest_ns(self) -> int | None:
        """When the one was due that was due first; None: there is none of this run."""
        found = int(self.due_ns.min(initial=NEVER_NS))
        return None if found == NEVER_NS else found

    def or_older(self, oldest_ms: NDArray[np.float64], instants_ns: Instants) -> NDArray[np.float64]:
        """For how long the oldest has been due at each of these instants, at which all of these wait; `oldest_ms`: of others."""
        oldest_ns = self.oldest_ns
        return oldest_ms if oldest_ns is None else np.fmax(oldest_ms, (instants_ns - oldest_ns) / 1e6)
