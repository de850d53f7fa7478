"""A run that never was: a seeded simulation of an open load on a pool of threads, with a kill in it. Pure.

Queueing is simulated, not drawn, so its pictures behave as those of real runs do: Little's law holds, and what a kill loses is
what was there.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS

__all__ = ["HEALTHY", "SCISSORS", "Instants", "Simulation", "Story", "simulate"]

_S = 1_000_000_000
Instants = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Story:
    """What is simulated. Times in s since load start."""

    seed: int = 7
    rate_per_s: float = 49.0
    later_per_s: float = 120.0  # from `changed_s` on
    changed_s: float = 100.0
    for_s: float = 120.0
    pool: int = 40
    run_mean_s: float = 0.9
    response_ms: float = 8.0
    killed_s: float | None = 74.0
    up_s: float = 83.0
    fails: float = 0.0  # that share of the tasks raises


SCISSORS = Story()
HEALTHY = Story(seed=11, rate_per_s=50, later_per_s=50, changed_s=60, for_s=60, pool=40, run_mean_s=0.2, killed_s=None)


@dataclass(frozen=True, slots=True)
class Simulation:
    """All that happened, in ns since load start; NEVER_NS: it did not. One task per acknowledged request."""

    story: Story
    due: Instants
    answered: Instants
    is_acked: NDArray[np.bool_]
    is_refused: NDArray[np.bool_]
    started: Instants
    finished: Instants
    boot: NDArray[np.int64]
    fails: NDArray[np.bool_]

    @property
    def accepted(self) -> Instants:
        """A millisecond before the answer."""
        return np.where(self.is_acked, self.answered - 1_000_000, NEVER_NS)


def simulate(story: Story = SCISSORS) -> Simulation:
    """The same story gives the same run."""
    random = np.random.default_rng(story.seed)
    gaps = random.exponential(1.0, int(story.for_s * max(story.rate_per_s, story.later_per_s) * 2) + 100)
    due, at = [], 0.0
    for gap in gaps:
        at += gap / (story.rate_per_s if at < story.changed_s else story.later_per_s)
        if at >= story.for_s:
            break
        due.append(at)
    due_s = np.array(due)
    n = len(due_s)
    response_s = story.response_ms / 1e3 * random.lognormal(0, 0.45, n)
    run_s = story.run_mean_s * (0.4 + 0.6 * random.exponential(1.0, n))
    killed_s = story.killed_s if story.killed_s is not None else np.inf
    is_out = (due_s + response_s > killed_s) & (due_s < story.up_s)
    started_s, finished_s = np.full(n, np.inf), np.full(n, np.inf)
    boot = np.where(due_s >= story.up_s, 2, 1) if story.killed_s is not None else np.ones(n, np.int64)
    for number, dies_s in ((1, killed_s), (2, np.inf)):
        free = [0.0] * story.pool
        heapq.heapify(free)
        for index in np.flatnonzero((boot == number) & ~is_out):
            start = max(heapq.heappop(free), due_s[index] + response_s[index])
            heapq.heappush(free, start + run_s[index])
            if start < dies_s:
                started_s[index] = start
                finished_s[index] = start + run_s[index] if start + run_s[index] < dies_s else np.inf
    is_refused = is_out & (due_s > killed_s + 0.3)
    return Simulation(
        story=story,
        due=_ns(due_s),
        answered=_ns(
            np.where(is_out, np.where(is_refused, due_s + 0.001, np.maximum(killed_s + 0.01, due_s + 0.001)), due_s + response_s)
        ),
        is_acked=~is_out,
        is_refused=is_refused,
        started=_ns(started_s),
        finished=_ns(finished_s),
        boot=boot,
        fails=random.random(n) < story.fails,
    )


def _ns(seconds: NDArray[np.float64]) -> Instants:
    found = np.full(len(seconds), NEVER_NS, np.int64)
    is_known = np.isfinite(seconds)
    found[is_known] = np.round(seconds[is_known] * _S).astype(np.int64)
    return found
