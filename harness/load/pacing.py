"""When each request is due, and which one it is: a pure function of the plan. No clock, no file, no process, no event loop."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.load.profile import Profile, steady
from harness.load.stages import parse_stages

__all__ = [
    "LATE_NS",
    "MAX_ARRIVALS",
    "Arrivals",
    "Schedule",
    "arrival_times_ns",
    "operation_id",
    "planned_profile",
    "random_times",
    "rate_at",
    "schedule_of_process",
    "template_choices",
]

Arrivals = Literal["constant", "poisson"]

MAX_ARRIVALS = 20_000_000
"""Arrivals in one schedule. A longer one would need more memory than a load process should take; it is a mistake in the plan."""

LATE_NS = 20_000_000
"""A request that is sent later than this after it was due is counted as late: beyond the pauses of a machine that keeps up."""

# Independent streams of one seed: another choice of templates must not move an arrival.
ARRIVAL_STREAM = 0
TEMPLATE_STREAM = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """The part of a schedule that one process sends: three columns of equal length, in the order of time."""

    due_ns: NDArray[np.int64]  # from t0
    number: NDArray[np.int64]  # k, the index in the schedule of all processes
    template: NDArray[np.int64]  # index of the template
    digest: str  # of the whole schedule: the same in every process that sends a part of it


def arrival_times_ns(arrivals: Arrivals, profile: Profile, seed: int) -> NDArray[np.int64]:
    """Nanoseconds from t0 of every arrival of all processes: sorted, each in [0, duration of the profile).

    `constant`: arrival k where the area under the rate reaches k (steady: at k / rate), so that their number is that area,
    rounded up. `poisson`: where it reaches the sum of k + 1 draws from an exponential distribution with mean 1: the Poisson
    process whose rate at each time is the profile's (a change of time; Cinlar, Introduction to Stochastic Processes, chapter 4).
    The same arguments give the same times. Raises ValueError if the seed is negative, or there were more than MAX_ARRIVALS.
    """
    _require_seed(seed)
    if profile.expected > MAX_ARRIVALS:
        msg = f"{float(profile.expected):.0f} arrivals in {profile.duration_s:g} s; allowed: at most {MAX_ARRIVALS}"
        raise ValueError(msg)
    if arrivals == "constant":
        return profile.whole_times_ns()
    if arrivals == "poisson":
        return profile.times_ns(_poisson_areas(float(profile.expected), seed))
    msg = f"arrivals: given {arrivals!r}; allowed: 'constant', 'poisson'"
    raise ValueError(msg)


def rate_at(values: Mapping[str, Any], t_s: float) -> float | None:
    """Requests per second that a plan (its keys and values) wants at a time after load start.

    None where no rate is planned: of users, and of a replay, whose rate is that of its times (count `due` of the request rows).
    """
    profile = planned_profile(values)
    return None if profile is None else profile.rate_at(t_s)


def planned_profile(values: Mapping[str, Any]) -> Profile | None:
    """The rate profile of a plan (its keys and values); None where no rate is planned. Raises ValueError if it is none."""
    if values.get("stages") is not None:
        return parse_stages(values["stages"])
    if values.get("rate") is not None:
        return steady(values["rate"], values["for_s"])
    return None


def template_choices(weights: Sequence[float], n_arrivals: int, seed: int, first: int = 0) -> NDArray[np.int64]:
    """The index of the template of each arrival from `first` on, drawn by weight. The same arguments give the same choices.

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
    # One step of the generator for each draw: a choice depends on the arrival's number alone.
    drawn = np.random.Generator(_bits(seed, TEMPLATE_STREAM).advance(first)).random(n_arrivals) * bounds[-1]
    # A draw may round up to the total; it belongs to the last template.
    chosen: NDArray[np.int64] = np.minimum(np.searchsorted(bounds, drawn, side="right"), len(weights) - 1).astype(np.int64)
    return chosen


def schedule_of_process(
    due_ns: NDArray[np.int64], weights: Sequence[float], seed: int, *, process: int, processes: int
) -> Schedule:
    """What process `process` of `processes` sends: of all arrivals, every k with k % processes == process.

    Each process has the whole and takes its part, so any number of processes sends the same schedule.
    Raises ValueError as `template_choices` does, and if there is no such process.
    """
    if not 0 <= process < processes:
        msg = f"process: given {process}; allowed: 0 to {processes - 1}"
        raise ValueError(msg)
    template = template_choices(weights, len(due_ns), seed)
    number = np.arange(len(due_ns), dtype=np.int64)
    part = slice(process, None, processes)
    digest = hashlib.sha256(due_ns.tobytes())
    digest.update(template.tobytes())
    return Schedule(
        due_ns=np.ascontiguousarray(due_ns[part]),
        number=np.ascontiguousarray(number[part]),
        template=np.ascontiguousarray(template[part]),
        digest=digest.hexdigest(),
    )


def operation_id(run_tag: int, number: int) -> int:
    """The 64-bit operation id of arrival `number` of the schedule; never zero."""
    return (run_tag << 32) | (number + 1)


def random_times(seed: int, change: int = 0) -> np.random.Generator:
    """The stream that arrivals are drawn from; after the nth change of the load another one."""
    return np.random.Generator(_bits(seed, ARRIVAL_STREAM, *([change] if change else [])))


def _poisson_areas(expected: float, seed: int) -> NDArray[np.float64]:
    """The arrivals of a Poisson process of rate 1 below `expected`."""
    stream = random_times(seed)
    # Ten standard deviations more than expected, so that nearly always one draw is enough; the rest is for the other times.
    chunk = math.ceil(expected + 10 * math.sqrt(expected)) + 10
    chunks: list[NDArray[np.float64]] = []
    reached = 0.0
    while reached < expected:
        areas = reached + np.cumsum(stream.standard_exponential(chunk))
        reached = float(areas[-1])
        chunks.append(areas)
    areas = np.concatenate(chunks)
    return areas[areas < expected]


def _bits(seed: int, *stream: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence([seed, *stream]))


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        msg = f"{name}: given {value!r}; allowed: a number greater than 0"
        raise ValueError(msg)


def _require_seed(seed: int) -> None:
    if seed < 0:
        msg = f"seed: given {seed}; allowed: 0 or more"
        raise ValueError(msg)
