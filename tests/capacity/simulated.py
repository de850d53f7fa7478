"""Simulated servers whose capacity is known: a queue with several threads, which may get worse, or be noisy."""

from __future__ import annotations

import dataclasses
import heapq
import math
from dataclasses import dataclass

import numpy as np

from harness.capacity.schema import GrowthSeen, LimitSeen, Measured
from harness.capacity.search import Asked, Options, Search
from harness.growth import Growth
from harness.settling import Load, Work, growth_seen
from harness.steps import Steps

S = 1_000_000_000
WARM_UP_S = 1.0


@dataclass
class Queue:
    """First come, first served, by `threads`; mean run time `run_s`. Every stage is a fresh one."""

    random: np.random.Generator
    threads: int = 10
    run_s: float = 0.1
    poisson: bool = True
    spread: str = "exponential"  # or "constant"
    worse_from: int | None = None  # once so many wait it works at half its speed, and never recovers
    noise: float = 0.0  # spread of its speed from stage to stage
    generator_per_s: float = math.inf  # the load generator cannot send more
    done_p95_limit_s: float | None = None
    tasks_per_request: float = 1.0

    @property
    def capacity(self) -> float:
        """Requests per second."""
        return self.threads / self.run_s / self.tasks_per_request

    def stage(self, asked: Asked, number: int) -> Measured:
        end_s = asked.seconds + WARM_UP_S
        arrive, begin, end = self._serve(asked.rate, end_s)
        each = self.tasks_per_request
        arrive_ns, begin_ns, end_ns = ((at_s * S).astype(np.int64) for at_s in (arrive, begin, end))
        pending, waiting = (Steps(arrive_ns, np.sort(until_ns)) for until_ns in (end_ns, begin_ns))
        seen = growth_seen(
            lambda edges: pending.mean_in(edges) / each,
            lambda edges: waiting.mean_in(edges) / each,
            [Work(begin_ns, end_ns)],
            Load(0, round(WARM_UP_S * S), round(end_s * S)),
            max(1.0, 1 / each),
        )
        growth = seen.growth
        ended_per_s = np.count_nonzero((end > WARM_UP_S) & (end < end_s)) / asked.seconds / each
        return Measured(
            number=number,
            purpose=asked.purpose,
            rate=asked.rate,
            seconds=asked.seconds,
            growth=None if growth is None else GrowthSeen(**dataclasses.asdict(growth)),
            settling_s=seen.settling_s,
            limits=self._limits(arrive, end),
            generator="it was late" if asked.rate > self.generator_per_s else "",
            could_per_s=self._could(asked.rate, growth, ended_per_s),
        )

    def _serve(self, rate: float, end_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """When each came in, was begun and ended."""
        n = int(rate * end_s * 1.5) + 20
        gaps = self.random.exponential(1 / rate, n) if self.poisson else np.full(n, 1 / rate)
        arrive = np.cumsum(gaps)
        arrive = self._with_tasks(arrive[arrive < end_s])
        n = len(arrive)
        run = self.random.exponential(self.run_s, n) if self.spread == "exponential" else np.full(n, self.run_s)
        run *= math.exp(self.random.normal(0.0, self.noise)) if self.noise else 1.0
        free, begun, end, is_worse = [0.0] * self.threads, np.empty(n), np.empty(n), False
        waiting: list[float] = []
        for place, at in enumerate(arrive.tolist()):
            begin = max(at, heapq.heappop(free))
            if self.worse_from is not None:
                while waiting and waiting[0] <= at:
                    heapq.heappop(waiting)
                heapq.heappush(waiting, begin)
                is_worse = is_worse or len(waiting) > self.worse_from
            begun[place] = begin
            end[place] = begin + run[place] * (2.0 if is_worse else 1.0)
            heapq.heappush(free, end[place])
        return arrive, begun, end

    def _with_tasks(self, arrive: np.ndarray) -> np.ndarray:
        """Several tasks at once with each request, or one with every nth; with random arrivals, at random."""
        each = self.tasks_per_request
        if each >= 1:
            return np.repeat(arrive, round(each))
        return arrive[self.random.random(len(arrive)) < each] if self.poisson else arrive[:: round(1 / each)]

    def _limits(self, arrive: np.ndarray, end: np.ndarray) -> tuple[LimitSeen, ...]:
        if self.done_p95_limit_s is None:
            return ()
        measured = arrive > WARM_UP_S
        value = float(np.quantile((end - arrive)[measured], 0.95))
        limit = self.done_p95_limit_s
        is_near = abs(value - limit) < 0.1 * limit
        return (
            LimitSeen(text="done_p95", holds=value < limit, sure=not is_near, value=value * 1e3, limit=limit * 1e3, unit="ms"),
        )

    def _could(self, rate: float, growth: Growth | None, ended_per_s: float) -> float:
        return (
            ended_per_s
            if growth is not None and growth.grows
            else rate * self.threads / max(rate * self.tasks_per_request * self.run_s, 0.01)
        )


def searched(server: Queue, **options: float) -> Search:
    """The whole search against it."""
    search = Search(Options(**{"start": server.capacity / 8, **options}))  # type: ignore[arg-type]
    while (asked := search.next()) is not None:
        search.tell(server.stage(asked, len(search.told) + 1))
    return search
