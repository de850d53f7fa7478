"""A load that is changed while it goes on: the schedule up to the change stays, and what follows is made anew. Pure.

A change belongs to an instant that all load processes are told beforehand. Each of them works out the same schedule from then on,
of which it sends its own part, so that at the seam no request is lost and none is sent twice.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harness.load.pacing import MAX_ARRIVALS, Arrivals, Schedule, random_times, template_choices
from harness.load.profile import NS_PER_S, Profile

__all__ = ["Change", "Course", "changed", "first_after"]


@dataclass(frozen=True, slots=True)
class Change:
    """From an instant on one rate, to another end of the load. Both in ns after load start."""

    from_ns: int
    until_ns: int  # not before `from_ns`; the same: the load ends there
    rate_per_s: float  # 0: nothing is sent

    def __post_init__(self) -> None:
        """Raises ValueError if there can be no such change."""
        if not (0 <= self.from_ns <= self.until_ns and math.isfinite(self.rate_per_s) and self.rate_per_s >= 0):
            msg = f"a change lies between the start and the end of the load, at 0 requests/s or more; not {self}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class _Piece:
    """One rate, from a change on."""

    from_ns: int
    rate_per_s: Fraction
    before: Fraction  # requests that were due before it, and how far the next one was under way

    def area_at(self, at_ns: int) -> Fraction:
        return self.before + self.rate_per_s * Fraction(at_ns - self.from_ns, NS_PER_S)


@dataclass(frozen=True, slots=True)
class Course:
    """The schedule of all processes together, and how it came about."""

    arrivals: Arrivals
    seed: int
    due_ns: NDArray[np.int64]  # from load start, sorted
    profile: Profile | None  # as planned; None: a replay
    digest: str
    pieces: tuple[_Piece, ...] = ()  # in order; each holds until the next one
    n_changes: int = 0

    def after(self, change: Change) -> Course:
        """The course with a change. What is due before it stays as it is. Raises ValueError if there were too many arrivals."""
        first = first_after(self.due_ns, change.from_ns)
        before = self._area_at(change.from_ns, first)
        rate = Fraction(str(change.rate_per_s))
        expected = rate * Fraction(change.until_ns - change.from_ns, NS_PER_S)
        if first + expected > MAX_ARRIVALS:
            msg = f"{first + float(expected):,.0f} arrivals in all; allowed: at most {MAX_ARRIVALS:,}"
            raise ValueError(msg)
        n_changes = self.n_changes + 1
        if self.arrivals == "poisson":
            due_ns = _poisson(change, float(rate), float(expected), random_times(self.seed, n_changes))
        else:
            due_ns = _constant(change, first, before, before + expected)
        digest = hashlib.sha256(f"{self.digest} {first} ".encode())
        digest.update(due_ns.tobytes())
        kept = tuple(each for each in self.pieces if each.from_ns < change.from_ns)
        return replace(
            self,
            due_ns=np.concatenate([self.due_ns[:first], due_ns]),
            digest=digest.hexdigest(),
            pieces=(*kept, _Piece(change.from_ns, rate, before)),
            n_changes=n_changes,
        )

    def _area_at(self, at_ns: int, first: int) -> Fraction:
        """Requests that were due until then, and what of the next one's interval has passed."""
        if piece := next((each for each in reversed(self.pieces) if each.from_ns <= at_ns), None):
            return piece.area_at(at_ns)
        # Of a replay nobody knows how far the next one is under way: it is due when the change is.
        return Fraction(first) if self.profile is None else self.profile.area_until(Fraction(at_ns, NS_PER_S))


def changed(
    course: Course, part: Schedule, change: Change, weights: Sequence[float], *, process: int, processes: int
) -> tuple[Course, Schedule]:
    """The course of all and the part of one process after a change, from both before it. Raises ValueError as `Course.after`."""
    after = course.after(change)
    first = first_after(course.due_ns, change.from_ns)
    # Number k of all belongs to process k % processes, whatever was changed before it.
    begin = first + (process - first) % processes
    number = np.arange(begin, len(after.due_ns), processes, dtype=np.int64)
    template = template_choices(weights, len(after.due_ns) - first, course.seed, first=first)[begin - first :: processes]
    kept = slice(0, first_after(part.number, first))
    return after, Schedule(
        due_ns=np.concatenate([part.due_ns[kept], after.due_ns[begin::processes]]),
        number=np.concatenate([part.number[kept], number]),
        template=np.concatenate([part.template[kept], template]),
        digest=after.digest,
    )


def first_after(values: NDArray[np.int64], limit: int) -> int:
    """The index of the first of sorted values that is not below the limit."""
    return int(np.searchsorted(values, limit, side="left"))


def _constant(change: Change, first: int, before: Fraction, end: Fraction) -> NDArray[np.int64]:
    """Where the area under the rate reaches `first`, `first + 1`, ...; it is `before` at the change, and `end` at the end."""
    n_more = max(0, math.ceil(end) - first)
    if not n_more:
        return np.empty(0, np.int64)
    areas = np.arange(n_more, dtype=np.float64) + float(first - before)
    since_ns = (areas * (NS_PER_S / change.rate_per_s)).astype(np.int64)
    # What rounding put beyond the bounds belongs within them.
    return np.clip(change.from_ns + since_ns, change.from_ns, change.until_ns - 1)


def _poisson(change: Change, rate: float, expected: float, random: np.random.Generator) -> NDArray[np.int64]:
    """The process has no memory: what is left of it is one of its own, from the change on."""
    found = [np.empty(0, np.int64)]
    reached = 0.0
    while reached < expected:
        areas = reached + np.cumsum(random.standard_exponential(math.ceil(expected + 10 * math.sqrt(expected)) + 10))
        reached = float(areas[-1])
        found.append((areas[areas < expected] * (NS_PER_S / rate)).astype(np.int64))
    return np.minimum(change.from_ns + np.concatenate(found), change.until_ns - 1)
