"""When each request is due, and which one it is: a pure function of the plan. No clock, no file, no process, no event loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_ARRIVALS", "Arrivals", "Schedule", "arrival_times_ns", "operation_id", "schedule_of_process", "template_choices"]

Arrivals = Literal["constant", "poisson"]

MAX_ARRIVALS = 20_000_000
"""Arrivals in one schedule. A longer one would need more memory than a load process should take; it is a mistake in the plan."""

NS_PER_S = 1_000_000_000
# Independent streams of one seed: another choice of templates must not move an arrival.
ARRIVAL_STREAM = 0
TEMPLATE_STREAM = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """The part of a schedule that one process sends: three columns of equal length, in the order of time."""

    due_ns: NDArray[np.int64]  # from t0
    number: NDArray[np.int64]  # k, the index in the schedule of all processes
    template: NDArray[np.int64]  # index of the template


def arrival_times_ns(arrivals: Arrivals, rate_per_s: float, duration_s: float, seed: int) -> NDArray[np.int64]:
    """Nanoseconds from t0 of every arrival of all processes: sorted, each in [0, duration).

    `constant`: arrival k at k / rate. `poisson`: gaps drawn from an exponential distribution with mean 1 / rate; the first gap
    begins at t0. The same arguments give the same times. Raises ValueError if rate or duration is not a positive number, the seed
    is negative, or there were more than MAX_ARRIVALS.
    """
    _require_positive("rate_per_s", rate_per_s)
    _require_positive("duration_s", duration_s)
    _require_seed(seed)
    expected = rate_per_s * duration_s
    if expected > MAX_ARRIVALS:
        msg = f"{rate_per_s:g} requests/s for {duration_s:g} s are {expected:.0f} arrivals; allowed: at most {MAX_ARRIVALS}"
        raise ValueError(msg)
    duration_ns = round(duration_s * NS_PER_S)
    if arrivals == "constant":
        # One more than expected, then cut: the product may round either way, the comparison below does not.
        times = np.arange(math.ceil(expected) + 1, dtype=np.float64) * NS_PER_S / rate_per_s
    elif arrivals == "poisson":
        times = _poisson_times_ns(rate_per_s, duration_ns, expected, seed)
    else:
        msg = f"arrivals: given {arrivals!r}; allowed: 'constant', 'poisson'"
        raise ValueError(msg)
    due_ns = times.astype(np.int64)
    in_time: NDArray[np.int64] = due_ns[due_ns < duration_ns]
    return in_time


def template_choices(weights: Sequence[float], n_arrivals: int, seed: int) -> NDArray[np.int64]:
    """The index of the template of each arrival, drawn by weight. The same arguments give the same choices.

    Raises ValueError if there is no weight, one is not a positive number, or the seed is negative.
    """
    if not weights:
        msg = "weights: given none; allowed: at least one"
        raise ValueError(msg)
    for weight in weights:
        _require_positive("weight", weight)
    _require_seed(seed)
    if len(weights) == 1:
        return np.zeros(n_arrivals, dtype=np.int64)
    bounds = np.cumsum(np.asarray(weights, dtype=np.float64))
    drawn = _stream(seed, TEMPLATE_STREAM).random(n_arrivals) * bounds[-1]
    # A draw may round up to the total; it belongs to the last template.
    chosen: NDArray[np.int64] = np.minimum(np.searchsorted(bounds, drawn, side="right"), len(weights) - 1).astype(np.int64)
    return chosen


def schedule_of_process(
    arrivals: Arrivals,
    rate_per_s: float,
    duration_s: float,
    seed: int,
    weights: Sequence[float],
    *,
    process: int,
    processes: int,
) -> Schedule:
    """What process `process` of `processes` sends: every arrival k of the whole schedule with k % processes == process.

    Each process computes the whole and takes its part, so any number of processes sends the same schedule.
    Raises ValueError as `arrival_times_ns` and `template_choices` do, and if there is no such process.
    """
    if not 0 <= process < processes:
        msg = f"process: given {process}; allowed: 0 to {processes - 1}"
        raise ValueError(msg)
    due_ns = arrival_times_ns(arrivals, rate_per_s, duration_s, seed)
    template = template_choices(weights, len(due_ns), seed)
    number = np.arange(len(due_ns), dtype=np.int64)
    part = slice(process, None, processes)
    return Schedule(
        due_ns=np.ascontiguousarray(due_ns[part]),
        number=np.ascontiguousarray(number[part]),
        template=np.ascontiguousarray(template[part]),
    )


def operation_id(run_tag: int, number: int) -> int:
    """The 64-bit operation id of arrival `number` of the schedule; never zero."""
    return (run_tag << 32) | (number + 1)


def _poisson_times_ns(rate_per_s: float, duration_ns: int, expected: float, seed: int) -> NDArray[np.float64]:
    stream = _stream(seed, ARRIVAL_STREAM)
    # Ten standard deviations more than expected, so that nearly always one draw is enough; the rest is for the other times.
    chunk = math.ceil(expected + 10 * math.sqrt(expected)) + 10
    chunks: list[NDArray[np.float64]] = []
    reached_ns = 0.0
    while reached_ns < duration_ns:
        times = reached_ns + np.cumsum(stream.exponential(NS_PER_S / rate_per_s, chunk))
        reached_ns = float(times[-1])
        chunks.append(times)
    times = np.concatenate(chunks) if chunks else np.empty(0, dtype=np.float64)
    # Cut before the conversion to integers: at very low rates a late time exceeds 64 bits.
    return times[times < duration_ns]


def _stream(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream])))


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        msg = f"{name}: given {value!r}; allowed: a number greater than 0"
        raise ValueError(msg)


def _require_seed(seed: int) -> None:
    if seed < 0:
        msg = f"seed: given {seed}; allowed: 0 or more"
        raise ValueError(msg)
