"""How the clock of another machine differs from ours, from round trips. Pure: no clock, no network.

CLOCK_MONOTONIC counts from the boot of its machine, so two machines differ by days, and by some us more each second. A round
trip says within which bounds the difference lies, however long the way there and back took: nothing is assumed of their symmetry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Ping", "Reading", "Relation", "read_clock", "relate"]


@dataclass(frozen=True, slots=True)
class Ping:
    """One round trip: our instants of sending and receiving, theirs in between, each ns of its own machine's clock."""

    sent_ns: int
    their_received_ns: int
    their_sent_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Their clock minus ours, at about one time. The truth is within `uncertainty_ns` of it."""

    at_ns: int  # ours
    offset_ns: int
    uncertainty_ns: int
    round_trip_ns: int  # the quickest one, without the time that they took to answer
    n_pings: int


@dataclass(frozen=True, slots=True)
class Relation:
    """Their clock minus ours over a whole run: a line from the first reading to the last one."""

    start_ns: int  # ours
    end_ns: int
    start_offset_ns: int
    end_offset_ns: int
    uncertainty_ns: int

    def offset_at(self, at_ns: int) -> int:
        """Their clock minus ours at `at_ns` of ours. Before the first reading, and after the last one, that of the nearest."""
        span = self.end_ns - self.start_ns
        if span <= 0:
            return self.start_offset_ns
        inside = min(max(at_ns - self.start_ns, 0), span)
        return self.start_offset_ns + inside * (self.end_offset_ns - self.start_offset_ns) // span

    @property
    def drift_ppm(self) -> float:
        """How much faster their clock runs than ours, in millionths."""
        span = self.end_ns - self.start_ns
        return (self.end_offset_ns - self.start_offset_ns) / span * 1e6 if span > 0 else 0.0


def read_clock(pings: Sequence[Ping]) -> Reading:
    """What round trips of a short time say together: the bounds of each hold, so the narrowest do. Needs at least one."""
    quickest = min(pings, key=_round_trip_ns)
    lowest, highest = _bounds(quickest)
    low = max(_bounds(ping)[0] for ping in pings)
    high = min(_bounds(ping)[1] for ping in pings)
    if low <= high:
        lowest, highest = low, high
    # Else a clock moved against the other meanwhile, by more than a round trip takes; then the quickest one alone counts.
    return Reading(
        at_ns=(quickest.sent_ns + quickest.received_ns) // 2,
        offset_ns=(lowest + highest) // 2,
        uncertainty_ns=(highest - lowest + 1) // 2,
        round_trip_ns=_round_trip_ns(quickest),
        n_pings=len(pings),
    )


def relate(readings: Sequence[Reading]) -> Relation:
    """The relation over the time of the readings, which are in order. Those in between say how far from a line it was."""
    first, last = readings[0], readings[-1]
    line = Relation(first.at_ns, last.at_ns, first.offset_ns, last.offset_ns, max(first.uncertainty_ns, last.uncertainty_ns))
    off = max(abs(line.offset_at(each.at_ns) - each.offset_ns) - each.uncertainty_ns for each in readings)
    return Relation(line.start_ns, line.end_ns, line.start_offset_ns, line.end_offset_ns, line.uncertainty_ns + max(off, 0))


def _bounds(ping: Ping) -> tuple[int, int]:
    """Their clock minus ours is at least, and at most: they received it after we sent it, and we their answer after they did."""
    return ping.their_sent_ns - ping.received_ns, ping.their_received_ns - ping.sent_ns


def _round_trip_ns(ping: Ping) -> int:
    return (ping.received_ns - ping.sent_ns) - (ping.their_sent_ns - ping.their_received_ns)
