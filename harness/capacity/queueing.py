"""A queue with several servers, simulated over run times that were measured: how long work waits. Pure: seeded, no clock.

First come, first served, by c servers: the recursion of Kiefer and Wolfowitz (On the theory of queues with many servers, Trans.
Amer. Math. Soc. 78, 1955), which keeps the times at which the servers get free; each arrival takes the earliest. With arrivals
at random that is M/G/c, with others G/G/c. There is no formula for either; for exponential run times there is Erlang's, with
which the tests compare it.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrivals", "Waits", "arrivals_s", "simulate", "smallest", "waits_s"]

Arrivals = Literal["constant", "poisson"]

_N: Final = 20_000
_WARM_UP: Final = 0.1
_BATCHES: Final = 10
_MOST_SERVERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Waits:
    """A queue in its steady state, at one rate. Seconds."""

    rate: float
    servers: int
    utilisation: float  # 1 and more: it has no steady state, and all else is inf
    wait_mean_s: float
    wait_error_s: float  # standard error of the mean, by batches
    wait_p95_s: float
    done_p50_s: float  # wait and run
    done_p95_s: float
    pending: float  # waiting and running on average (Little's law)


def simulate(
    run_s: NDArray[np.float64], rate: float, servers: int, *, arrivals: Arrivals = "poisson", seed: int = 1, n: int = _N
) -> Waits:
    """`run_s`: measured run times, drawn from with replacement."""
    use = rate * float(run_s.mean()) / servers
    if use >= 1:
        never = math.inf
        return Waits(rate, servers, use, never, never, never, never, never, never)
    random = np.random.default_rng(seed)
    runs = random.choice(run_s, n)
    waits = waits_s(arrivals_s(random, rate, n, arrivals), runs, servers)
    # It begins empty, and what comes then waits too little.
    waits, runs = waits[int(_WARM_UP * n) :], runs[int(_WARM_UP * n) :]
    batches = [float(batch.mean()) for batch in np.array_split(waits, _BATCHES)]
    done = waits + runs
    return Waits(
        rate=rate,
        servers=servers,
        utilisation=use,
        wait_mean_s=float(waits.mean()),
        wait_error_s=float(np.std(batches, ddof=1)) / math.sqrt(_BATCHES),
        wait_p95_s=float(np.quantile(waits, 0.95)),
        done_p50_s=float(np.quantile(done, 0.5)),
        done_p95_s=float(np.quantile(done, 0.95)),
        pending=rate * float(done.mean()),
    )


def arrivals_s(random: np.random.Generator, rate: float, n: int, arrivals: Arrivals) -> NDArray[np.float64]:
    """When `n` requests come."""
    gaps = random.exponential(1 / rate, n) if arrivals == "poisson" else np.full(n, 1 / rate)
    return np.cumsum(gaps)


def waits_s(arrive_s: NDArray[np.float64], run_s: NDArray[np.float64], servers: int) -> NDArray[np.float64]:
    """How long each waits; shapes (n,)."""
    if servers == 1:
        return _one_server(arrive_s, run_s)
    free = [0.0] * servers
    waits = np.empty(len(arrive_s))
    for place, (at, run) in enumerate(zip(arrive_s.tolist(), run_s.tolist(), strict=True)):
        begin = max(at, free[0])
        heapq.heapreplace(free, begin + run)
        waits[place] = begin - at
    return waits


def _one_server(arrive_s: NDArray[np.float64], run_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lindley's recursion, as a sum less its smallest value so far."""
    change = np.concatenate(([0.0], run_s[:-1] - np.diff(arrive_s)))
    level = np.cumsum(change)
    waits: NDArray[np.float64] = level - np.minimum.accumulate(level)
    return waits


def smallest(
    run_s: NDArray[np.float64], rate: float, done_p95_s: float, *, arrivals: Arrivals = "poisson", seed: int = 1
) -> Waits | None:
    """The smallest number of servers by which p95 of wait and run stays within that. None: running alone takes longer."""
    if float(np.quantile(run_s, 0.95)) > done_p95_s:
        return None
    low, high = math.floor(rate * float(run_s.mean())), 1
    while (found := simulate(run_s, rate, high, arrivals=arrivals, seed=seed)).done_p95_s > done_p95_s:
        if high >= _MOST_SERVERS:
            return None
        low, high = max(low, high), high * 2
    while high - low > 1:
        middle = (low + high) // 2
        tried = simulate(run_s, rate, middle, arrivals=arrivals, seed=seed)
        if tried.done_p95_s <= done_p95_s:
            high, found = middle, tried
        else:
            low = middle
    return found
