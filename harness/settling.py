"""Growth that is told from filling: of a server that starts with nothing, what is pending first fills up. Pure: arrays.

With tasks of 5 s each, 20 of them a second, there are more and more of them for 5 s, and then a hundred, however many threads
there are. So the slope is that of the time after 99 % of what came in first had ended. Where little of the load remains then, two
things say that it is a queue all the same: more and more waits that has not been begun, or what comes later takes longer than
what came first. Else nobody can tell.

What hangs for good fills nothing up: it stays, and what is pending grows by it. It is told from what takes long by others of its
kind: they ended, all of them sooner, and nearly all in a tenth of the time for which this one was watched. Where what is pending
grows by far more than that, there is another reason for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.growth import N_BINS, Growth, growth_of
from harness.statistics import rank
from harness.steps import Instants

__all__ = ["Load", "Seen", "Work", "growth_seen", "least_s"]

Counts = Callable[[Instants], NDArray[np.float64]]
"""The mean number between each of these instants and the next one, in requests."""

_SHARE: Final = 0.99
_LEAST_LEFT: Final = 1 / 3
"""Of the time after the warm-up: if less remains after the load has settled, the slope is not looked for in that."""

_TIMES: Final = 10
"""As long as 99 % of its kind took, and longer than any of them: what was watched for that and never ended hangs."""

_EXPLAINS: Final = 0.5
"""Of the growth: what hangs is the reason for it if it is as much as that."""

_FIRST: Final = 20
_LONGER: Final = 1.25
_ERRORS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Load:
    """When a load began, when its warm-up was over, and when it ended; ns."""

    began_ns: int
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Work:
    """When things were begun and ended, in any order; what never ended, when that was last known of it.

    `unended`: which of them never did; None: all ended. `kind`: what may be expected to take about as long has the same number.
    `per_request`: how many of them stand for one request.
    """

    begun_ns: Instants
    ended_ns: Instants
    unended: NDArray[np.bool_] | None = None
    kind: NDArray[np.uint16] | None = None
    per_request: float = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The growth under a load; None: it cannot be told from filling."""

    growth: Growth | None
    settling_s: float  # after the warm-up: until the load had settled
    may_hang: bool = False  # some never ended, though watched for long: they hang, or take longer than that, which is no filling
    n_hanging: int = 0  # begun in the first half of the load, left out of that, and the reason for the growth; 0: it has others
    watched_s: float = 0.0  # after the warm-up: until what never ended was watched no longer


def least_s(settling_s: float) -> float:
    """How long a load has to last after its warm-up, if it takes so long to settle: of a shorter one no growth is told."""
    return settling_s / (1 - _LEAST_LEFT)


def growth_seen(pending: Counts, waiting: Counts, works: Sequence[Work], load: Load, unit: float = 1.0) -> Seen:
    """`waiting`: of what is pending, that which has not been begun. `works`: all that takes its time once it has been."""
    found = [_first(work, load) for work in works]
    firsts = [each.took_ns for each in found if len(each.took_ns)]
    settled_ns = load.began_ns + max((_most(each) for each in firsts), default=0)
    settling_s = max(settled_ns - load.from_ns, 0) / 1e9
    left_ns = load.until_ns - max(settled_ns, load.from_ns)
    if left_ns >= _LEAST_LEFT * (load.until_ns - load.from_ns):
        growth = _growth(pending, max(settled_ns, load.from_ns), load.until_ns, unit)
        n_hanging = _n_explaining(found, growth, load)
        # Fewer would not have changed what 99 % took, and are no matter unless what is pending grows by them.
        are_many = any(each.n_hanging > (1 - _SHARE) * (len(each.took_ns) + each.n_hanging) for each in found)
        may_hang = are_many or (n_hanging > 0 and growth is not None and growth.grows)
        return Seen(growth, settling_s, may_hang, n_hanging, _watched_s(found, load))
    whole, queue = (_growth(each, load.from_ns, load.until_ns, unit) for each in (pending, waiting))
    may_hang = any(each.may_hang for each in found)
    if whole is None or whole.is_little or (queue is not None and queue.grows):
        return Seen(whole, 0.0, may_hang, watched_s=_watched_s(found, load))
    most_ns = (load.until_ns - load.began_ns) / 2
    if any(_takes_longer(each, most_ns) for each in firsts):
        return Seen(whole, 0.0)
    return Seen(None, settling_s, may_hang, watched_s=_watched_s(found, load))


def _n_explaining(found: Sequence[_First], growth: Growth | None, load: Load) -> int:
    """How many hang, if they are the reason for the growth; else 0."""
    hanging = sum(each.n_hanging / each.per_request for each in found)
    half_s = (load.until_ns - load.began_ns) / 2e9
    is_reason = growth is not None and hanging / half_s >= _EXPLAINS * growth.per_s
    return sum(each.n_hanging for each in found) if is_reason else 0


def _watched_s(found: Sequence[_First], load: Load) -> float:
    return max(max((each.watched_until_ns for each in found), default=0) - load.from_ns, 0) / 1e9


def _growth(of: Counts, from_ns: int, until_ns: int, unit: float) -> Growth | None:
    edges = np.linspace(0, until_ns - from_ns, N_BINS + 1).astype(np.int64) + from_ns
    return growth_of(of(edges), (until_ns - from_ns) / 1e9 / N_BINS, unit)


@dataclass(frozen=True, slots=True)
class _First:
    """What was begun in the first half of the load: that was watched for longest."""

    took_ns: Instants  # in the order in which they were begun, without what is known to hang
    n_hanging: int
    may_hang: bool  # others
    watched_until_ns: int  # those that never ended; 0: all did
    per_request: float


def _first(work: Work, load: Load) -> _First:
    half_ns = (load.began_ns + load.until_ns) // 2
    chosen = (work.begun_ns >= load.began_ns) & (work.begun_ns < half_ns)
    hanging, may_hang = _hanging(work, chosen, half_ns, half_ns - load.began_ns)
    took_ns = work.ended_ns - work.begun_ns
    watched_ns = 0 if work.unended is None else int(work.ended_ns[chosen & work.unended].max(initial=0))
    chosen &= ~hanging
    in_order = np.argsort(work.begun_ns[chosen], kind="stable")
    return _First(took_ns[chosen][in_order], int(np.count_nonzero(hanging)), may_hang, watched_ns, work.per_request)


def _hanging(work: Work, chosen: NDArray[np.bool_], half_ns: int, least_ns: int) -> tuple[NDArray[np.bool_], bool]:
    """Which of those chosen are known to hang, and whether others may: what most of a kind do may be just what it takes.

    What was watched for less than `least_ns` was cut off, and is neither. Nor is it of any matter what was begun before `half_ns`
    alone, as a loop of the app's own is by its first request: nothing grows by what does not go on coming.
    """
    hanging = np.zeros(len(chosen), np.bool_)
    if work.unended is None:
        return hanging, False
    took_ns = work.ended_ns - work.begun_ns
    watched = chosen & work.unended & (took_ns >= least_ns)
    kinds = np.zeros(len(chosen), np.uint16) if work.kind is None else work.kind
    may_hang = False
    for kind in np.unique(kinds[watched]):
        did_end = (kinds == kind) & ~work.unended
        ended_ns = took_ns[did_end]
        longest_ns = max(_TIMES * _most(ended_ns), int(ended_ns.max())) if len(ended_ns) else 0
        stays = watched & (kinds == kind) & (took_ns > longest_ns)
        if len(ended_ns) >= _FIRST and np.count_nonzero(stays) <= np.count_nonzero(chosen & did_end):
            hanging |= stays
        else:
            goes_on = bool(((kinds == kind) & (work.begun_ns >= half_ns)).any())
            may_hang |= goes_on and bool(stays.any())
    return hanging, may_hang


def _most(took_ns: Instants) -> int:
    """What 99 % of them took at most."""
    place = rank(_SHARE, len(took_ns)) - 1
    return int(np.partition(took_ns, place)[place])


def _takes_longer(took_ns: Instants, most_ns: float) -> bool:
    """Whether the others take longer than the first few, beyond chance.

    Each was watched for `most_ns` at least, and counts no longer than that: so it makes no difference when it was begun.
    """
    n_others = len(took_ns) - _FIRST
    if n_others < _FIRST:
        return False
    took = np.minimum(took_ns, most_ns)
    first, others = float(took[:_FIRST].mean()), float(took[_FIRST:].mean())
    error = float(took.std()) * math.sqrt(1 / _FIRST + 1 / n_others)
    return others > _LONGER * first and others - first > _ERRORS * error
