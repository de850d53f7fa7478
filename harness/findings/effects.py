"""Findings about the world: what arrived twice, and what got slower while the load stayed the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.findings.limits import ONE_CORE
from harness.findings.stretch import Stretch, Way
from harness.wording import at_s, counted, duration_s

__all__ = ["of_effects"]

_SLOWER: Final = 3.0
_LEAST_S: Final = 0.05
_LASTS_S: Final = 1.0
_FEWEST: Final = 10


def of_effects(facts: Facts) -> Iterator[FoundOut]:
    """Of what the tasks act on."""
    yield from _twice(facts)
    for stretch in facts.stretches:
        found = next((found for way in stretch.ways if (found := _slower(stretch, way))), None)
        if found is not None:
            yield found
            break


def _twice(facts: Facts) -> Iterator[FoundOut]:
    n = facts.account.duplicated
    if not n:
        return
    yield FoundOut(
        "effects-duplicated",
        "critical",
        f"{counted(n, 'effect')} arrived although {'it' if n == 1 else 'they'} had arrived before (of {facts.account.effects:,}):"
        " somebody was mailed, charged or told twice.",
        {"duplicated": n, "effects": facts.account.effects},
        "A task that tries again cannot know whether the first try arrived. Give each effect a key of its own (the operation and"
        " the task), and let the receiver drop what it has had.",
    )


def _slower(stretch: Stretch, way: Way) -> FoundOut | None:
    """A time in which tasks took several times as long as before, though they had no more to compute."""
    if (stretch.cpu_share or 0.0) >= ONE_CORE * max(stretch.processes, 1):
        return None
    counted_ = np.flatnonzero(way.n_run > 0)
    run, n = way.run_by_bin_s[counted_], way.n_run[counted_]
    half = len(run) // 2
    if half < _FEWEST:
        return None
    usual_s = float(np.median(run[: max(half, _FEWEST)]))
    slow = run >= max(_SLOWER * usual_s, usual_s + _LEAST_S)
    # The longest time in which nearly all that began was slow, found as the best sum of hits and misses.
    gain = np.cumsum(np.where(slow, 1, -4))
    lowest = np.concatenate(([0], np.minimum.accumulate(gain)[:-1])).clip(max=0)
    end = int(np.argmax(gain - lowest))
    begin = int(np.flatnonzero(np.concatenate(([0], gain[: end + 1])) == lowest[end])[-1]) if end else 0
    lasted_s = float(counted_[end] - counted_[begin] + 1) * stretch.bin_s
    outside = np.ones(len(run), np.bool_)
    outside[begin : end + 1] = False
    if lasted_s < _LASTS_S or int(n[begin : end + 1].sum()) < _FEWEST or not outside.any() or slow[outside].mean() > 0.1:
        return None
    slow_s = float(np.average(run[begin : end + 1], weights=n[begin : end + 1]))
    usual_s = float(np.average(run[outside], weights=n[outside]))
    from_s = stretch.from_s + float(counted_[begin]) * stretch.bin_s
    until_s = from_s + lasted_s
    return FoundOut(
        "world-slowed-down",
        "warning",
        f"Tasks that were started between {at_s(from_s)} and {at_s(until_s)} took {duration_s(slow_s)} instead of"
        f" {duration_s(usual_s)}, and computed no more: what they wait for had become slower, or was gone.",
        {"boot": stretch.boot, "from_s": from_s, "until_s": until_s, "run_s": slow_s, "usual_run_s": usual_s},
        "Look at what the tasks talk to at that time. A shorter time-out and a circuit breaker keep a slow neighbour from"
        " taking all"
        " the threads.",
    )
