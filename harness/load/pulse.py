"""Whether a load process could do its work at all: when its loop stood still, and how long. Counts; knows no clock."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from harness.load.pacing import LATE_NS

__all__ = ["Pulse"]

MOST: Final = 500
"""Stretches that are told one by one. With more, those nearest to each other are told as one, and what lies between them too."""


class Pulse:
    """The heart beat of a load process, from the start of its load to the last request sent.

    It needs no requests: users of the closed model are never late, for they are due when they are sent, and a load process that
    got no processor would otherwise pass for a slow server.
    """

    def __init__(self) -> None:
        self._t0_ns = 0
        self._from_ns: int | None = None
        self._is_sending = False
        self._stalled_ns = 0
        self._longest_ns = 0
        self._stretches: list[tuple[int, int]] = []

    def begin(self, t0_ns: int, now_ns: int) -> None:
        """Counts from now on; `t0_ns`: what the stretches are told from."""
        self._t0_ns, self._from_ns, self._is_sending = t0_ns, now_ns, True

    def beat(self, now_ns: int, late_ns: int) -> None:
        """A beat that came now, and `late_ns` after it should have come. Up to the limit of `late` it is no stall."""
        if self._from_ns is None or late_ns <= LATE_NS:
            return
        # What of it lies before the start does not count.
        stalled_ns = min(late_ns, now_ns - self._from_ns)
        if stalled_ns <= 0:
            return
        self._stretches.append((now_ns - stalled_ns, now_ns))
        if len(self._stretches) > MOST:
            self._join_nearest()
        if self._is_sending:
            self._stalled_ns += stalled_ns
            self._longest_ns = max(self._longest_ns, stalled_ns)

    def sent_all(self) -> None:
        """From now on there are answers to be read and nothing to be sent: stretches are noted, and no longer counted."""
        self._is_sending = False

    def report(self) -> dict[str, object]:
        """For the session: how long it stood still in all while it sent, the longest time, and all stretches in s after t0."""
        return {
            "stalled_s": round(self._stalled_ns / 1e9, 6),
            "longest_stall_s": round(self._longest_ns / 1e9, 6),
            "stalls": [(round((at - self._t0_ns) / 1e9, 6), round((end - at) / 1e9, 6)) for at, end in self._stretches],
        }

    def _join_nearest(self) -> None:
        gaps = [after[0] - before[1] for before, after in pairwise(self._stretches)]
        place = gaps.index(min(gaps))
        self._stretches[place : place + 2] = [(self._stretches[place][0], self._stretches[place + 1][1])]
