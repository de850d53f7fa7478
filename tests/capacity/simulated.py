"""Simulated servers whose capacity is known: a queue with several threads, which may get worse, or be noisy."""

from __future__ import annotations

import dataclasses
import heapq
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.capacity.measure import sure_of
from harness.capacity.schema import GrowthSeen, LimitSeen, Measured
from harness.capacity.search import Asked, Options, Search
from harness.capacity.watch import Hopeless, StageProgress
from harness.growth import Growth
from harness.progress import Standing
from harness.settling import Load, Work, growth_seen
from harness.steps import Steps

Kind = Literal["threads", "async", "answers"]
"""Where work is done: in threads; as tasks that are all begun at once; before the answer."""

S = 1_000_000_000
WARM_UP_S = 1.0
_LOOK_S = 0.1
_GRACE_S = 1.0
"""What runs is waited for so long when a stage has been ended early, and `_HORIZON_S` longer when it has not."""
_HORIZON_S = 10.0
_LEAST_TO_END = 20
"""That are pending: of fewer the watcher ends no stage, and it is not asked, as that would take most of the time."""


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
    kind: Kind = "threads"
    slow: tuple[float, float] = (0.0, 0.0)  # share of the tasks that take so many seconds; inf: they hang

    @property
    def capacity(self) -> float:
        """Requests per second."""
        return self.threads / self._mean_s / self.tasks_per_request

    @property
    def _mean_s(self) -> float:
        share, slow_s = self.slow
        return (1 - share) * self.run_s + (share * slow_s if share else 0.0)

    def stage(self, asked: Asked, number: int, search: Search | None = None) -> Measured:
        """`search`: what is known by then, as it is watched and may be ended early; None: it is not watched."""
        warm_ns, end_s = round(WARM_UP_S * S), asked.seconds + WARM_UP_S
        arrive, begin, end = self._serve(asked.rate, end_s)
        if self.kind != "threads":
            begin = arrive
        ended_s = None if search is None else self._ended_early_s(asked, search, arrive, begin, end)
        until_s = end_s if ended_s is None else ended_s
        # What becomes of the tasks is known until they are waited for no longer.
        known_s = until_s + (_GRACE_S if ended_s is not None else _GRACE_S + _HORIZON_S)
        kept = arrive < until_s
        arrive, begin, end = arrive[kept], begin[kept], end[kept]
        each = self.tasks_per_request
        arrive_ns, begin_ns, end_ns = ((np.minimum(at_s, known_s) * S).astype(np.int64) for at_s in (arrive, begin, end))
        pending, waiting = (Steps(arrive_ns, np.sort(until_ns)) for until_ns in (end_ns, begin_ns))
        is_seen = (end if self.kind == "answers" else begin) < known_s
        work = Work(begin_ns[is_seen], end_ns[is_seen], (end >= known_s)[is_seen], per_request=each)
        seen = sure_of(
            growth_seen(
                lambda edges: pending.mean_in(edges) / each,
                lambda edges: waiting.mean_in(edges) / each,
                [work],
                Load(0, warm_ns, round(until_s * S)),
                max(1.0, 1 / each),
            )
        )
        seconds = until_s - WARM_UP_S
        growth = seen.growth
        ended_per_s = np.count_nonzero((end > WARM_UP_S) & (end < until_s)) / seconds / each
        return Measured(
            number=number,
            purpose=asked.purpose,
            rate=asked.rate,
            seconds=seconds,
            ended_early=ended_s is not None,
            growth=None if growth is None else GrowthSeen(**dataclasses.asdict(growth)),
            settling_s=seen.settling_s,
            may_hang=seen.may_hang,
            limits=self._limits(arrive, end),
            generator="it was late" if asked.rate > self.generator_per_s else "",
            could_per_s=self._could(asked.rate, growth, ended_per_s),
        )

    def _ended_early_s(self, asked: Asked, search: Search, *when: np.ndarray) -> float | None:
        """When the watcher of a stage has seen enough of it; None: it has not."""
        end_s = asked.seconds + WARM_UP_S
        progress = StageProgress(
            asked.rate,
            WARM_UP_S,
            end_s,
            lambda _: None,
            settling_s=search.settling_s(asked.rate),
            may_end=search.knows_settling(asked.rate),
        )
        at = np.arange(0.0, end_s, _LOOK_S)
        sent, begun, ended = (np.searchsorted(np.sort(each), at, side="right") for each in when)
        answered = ended if self.kind == "answers" else sent
        queued = sent - begun
        running = answered - queued - ended
        if np.max(sent - ended) < _LEAST_TO_END:
            return None
        shown = np.column_stack([sent, answered, queued, running]).tolist()
        for at_s, numbers in zip(at.tolist(), shown, strict=True):
            try:
                progress.standing(Standing(at_s, "load", *numbers, pool_busy=0, pool_size=0, up=True))
            except Hopeless:
                return at_s
        return None

    def _serve(self, rate: float, end_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """When each came in, was begun and ended."""
        n = int(rate * end_s * 1.5) + 20
        gaps = self.random.exponential(1 / rate, n) if self.poisson else np.full(n, 1 / rate)
        arrive = np.cumsum(gaps)
        arrive = self._with_tasks(arrive[arrive < end_s])
        n = len(arrive)
        run = self.random.exponential(self.run_s, n) if self.spread == "exponential" else np.full(n, self.run_s)
        if self.slow[0]:
            run[self.random.random(n) < self.slow[0]] = self.slow[1]
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
            else rate * self.threads / max(rate * self.tasks_per_request * self._mean_s, 0.01)
        )


def searched(server: Queue, **options: float) -> Search:
    """The whole search against it."""
    search = Search(Options(**{"start": server.capacity / 8, **options}))  # type: ignore[arg-type]
    while (asked := search.next()) is not None:
        search.tell(server.stage(asked, len(search.told) + 1, search))
    return search
