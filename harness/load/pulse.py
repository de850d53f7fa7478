"""Whether a load process could do its work at all: how long its loop stood still. Counts; knows no clock."""

from __future__ import annotations

from harness.load.pacing import LATE_NS

__all__ = ["Pulse"]


class Pulse:
    """The heart beat of a load process, from the start of its load to the last request sent.

    It needs no requests: users of the closed model are never late, for they are due when they are sent, and a load process that
    got no processor would otherwise pass for a slow server.
    """

    def __init__(self) -> None:
        self._from_ns: int | None = None
        self._stalled_ns = 0
        self._longest_ns = 0

    def begin(self, now_ns: int) -> None:
        """Counts from now on."""
        self._from_ns = now_ns

    def beat(self, now_ns: int, late_ns: int) -> None:
        """A beat that came now, and `late_ns` after it should have come. Up to the limit of `late` it is no stall."""
        if self._from_ns is None or late_ns <= LATE_NS:
            return
        # What of it lies before the start does not count.
        stalled_ns = min(late_ns, now_ns - self._from_ns)
        if stalled_ns > 0:
            self._stalled_ns += stalled_ns
            self._longest_ns = max(self._longest_ns, stalled_ns)

    def end(self) -> None:
        """Counts no longer."""
        self._from_ns = None

    def report(self) -> dict[str, object]:
        """For the session: how long it stood still in all, and the longest time."""
        return {"stalled_s": round(self._stalled_ns / 1e9, 6), "longest_stall_s": round(self._longest_ns / 1e9, 6)}
