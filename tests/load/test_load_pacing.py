"""The schedule: when requests are due, which they are, and how processes share them."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load import pacing
from harness.load.pacing import (
    MAX_ARRIVALS,
    Arrivals,
    Schedule,
    operation_id,
    planned_profile,
    rate_at,
    schedule_of_process,
    template_choices,
)
from harness.load.profile import steady
from harness.load.stages import parse_stages

kinds = st.sampled_from(["constant", "poisson"])
rates = st.floats(0.01, 2_000)
durations = st.floats(0.001, 5)
seeds = st.integers(0, 2**64)
staged = st.lists(
    st.tuples(st.integers(0, 800), st.integers(0, 800), st.integers(1, 1500)).map(lambda each: "{}..{} for {}ms".format(*each)),
    min_size=1,
    max_size=6,
).map(lambda stages: ", ".join([*stages, "7 for 1s"]))


def arrival_times_ns(arrivals: Arrivals, rate: float, duration: float, seed: int) -> np.ndarray:
    return pacing.arrival_times_ns(arrivals, steady(rate, duration), seed)


def part(arrivals: Arrivals, stages: str, seed: int, weights: list[float], process: int, processes: int) -> Schedule:
    due_ns = pacing.arrival_times_ns(arrivals, parse_stages(stages), seed)
    return schedule_of_process(due_ns, weights, seed, process=process, processes=processes)


def digest(parts: list[Schedule]) -> str:
    """Of the merged schedule: time, number and template of every arrival, by time."""
    columns = [np.concatenate([getattr(each, name) for each in parts]) for name in ("due_ns", "number", "template")]
    order = np.lexsort((columns[1], columns[0]))
    return hashlib.sha256(b"".join(column[order].tobytes() for column in columns)).hexdigest()


@given(kinds, rates, durations, seeds)
@settings(max_examples=150, deadline=None)
def test_arrivals_are_sorted_and_within_the_duration(arrivals: Arrivals, rate: float, duration: float, seed: int) -> None:
    """0 <= t(k) <= t(k + 1) < duration, in whole nanoseconds."""
    times = arrival_times_ns(arrivals, rate, duration, seed)

    assert times.dtype == np.int64
    assert bool((np.diff(times) >= 0).all())
    assert bool((times >= 0).all())
    assert bool((times < round(duration * 1e9)).all())


@given(st.integers(1, 2_000), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_constant_arrivals_are_k_over_rate_and_none_is_missing(rate: int, duration: int) -> None:
    """A whole number of seconds at a whole rate has rate x duration arrivals; each is at most a nanosecond early."""
    times = arrival_times_ns("constant", rate, duration, seed=0)

    assert rate * duration == len(times)
    expected = [k * 1_000_000_000 // rate for k in range(len(times))]
    assert int(np.abs(times - np.array(expected)).max()) <= 1


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() -> None:
    """Mean and standard deviation of the gaps are both 1 / rate; the count is within five standard deviations of the mean."""
    times = arrival_times_ns("poisson", 1_000, 100, seed=7)
    gaps_s = np.diff(times) / 1e9

    assert abs(len(times) - 100_000) < 5 * math.sqrt(100_000)
    assert float(gaps_s.mean()) == pytest.approx(1e-3, rel=0.02)
    assert float(gaps_s.std()) == pytest.approx(1e-3, rel=0.03)


@given(kinds, st.floats(1, 500), seeds)
@settings(max_examples=40, deadline=None)
def test_one_seed_gives_one_schedule(arrivals: Arrivals, rate: float, seed: int) -> None:
    """The schedule is a function of its arguments."""
    assert arrival_times_ns(arrivals, rate, 2, seed).tolist() == arrival_times_ns(arrivals, rate, 2, seed).tolist()


def test_another_seed_gives_another_poisson_schedule_and_the_same_constant_one() -> None:
    """The seed moves what is random and nothing else."""
    assert arrival_times_ns("poisson", 100, 1, 1).tolist() != arrival_times_ns("poisson", 100, 1, 2).tolist()
    assert arrival_times_ns("constant", 100, 1, 1).tolist() == arrival_times_ns("constant", 100, 1, 2).tolist()


@given(kinds, staged, seeds, st.integers(1, 7), st.lists(st.floats(0.1, 10), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_number_of_processes_sends_the_same_schedule(
    arrivals: Arrivals, stages: str, seed: int, processes: int, weights: list[float]
) -> None:
    """The parts of all processes, put together, are the schedule of one process: same times, numbers and templates."""
    whole = part(arrivals, stages, seed, weights, 0, 1)
    parts = [part(arrivals, stages, seed, weights, p, processes) for p in range(processes)]

    together = sorted(row for each in parts for row in zip(each.number, each.due_ns, each.template, strict=True))
    assert list(zip(whole.number, whole.due_ns, whole.template, strict=True)) == together
    for process, each in enumerate(parts):
        assert bool((each.number % processes == process).all())


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ("constant", "6299540d45b1ad7925a7051cd32a17204bf81bcb3f497ff34acd12d4ec9c71ba"),
        ("poisson", "4bdabc58a2fe8f088be49c5b7abd062600a83ffae807e4c239b18338605e35b9"),
    ],
)
def test_one_two_and_four_processes_send_the_schedule_of_this_hash(arrivals: Arrivals, expected: str) -> None:
    """Also on another machine and with a later version: a seed means the same traffic wherever it is given."""
    stages = "50 for 10s, 50..200 for 20s, 500 for 2s, ..50 for 3s, pause for 1s, 90/min for 10s"

    digests = [digest([part(arrivals, stages, 42, [1, 3], p, processes) for p in range(processes)]) for processes in (1, 2, 4)]

    assert [expected] * 3 == digests


@given(staged, seeds)
@settings(max_examples=100, deadline=None)
def test_the_arrivals_of_stages_are_as_many_as_the_area_under_the_rate(stages: str, seed: int) -> None:
    """Constant: exactly the integral, rounded up. Poisson: within seven standard deviations. Sorted, within the duration."""
    profile = parse_stages(stages)
    expected = float(profile.expected)
    for arrivals in ("constant", "poisson"):
        times = pacing.arrival_times_ns(arrivals, profile, seed)

        assert bool((np.diff(times) >= 0).all())
        assert len(times) == 0 or 0 <= times[0] <= times[-1] < profile.duration_s * 1e9
        if arrivals == "constant":
            assert math.ceil(profile.expected) == len(times)
        else:
            assert abs(len(times) - expected) <= 7 * math.sqrt(expected) + 7


@given(staged)
@settings(max_examples=60, deadline=None)
def test_up_to_any_time_the_constant_arrivals_are_the_area_under_the_rate_until_then(stages: str) -> None:
    """Not only in all: wherever the profile is cut, the count is the integral up to there, to less than one."""
    profile = parse_stages(stages)
    times = pacing.arrival_times_ns("constant", profile, 0)
    for t_s in np.linspace(0, profile.duration_s, 57):
        sent = int(np.searchsorted(times, t_s * 1e9, side="left"))
        assert -1e-6 <= sent - profile.expected_until(t_s) <= 1 + 1e-6


def test_poisson_arrivals_follow_the_rate_of_the_stages() -> None:
    """In each tenth of a ramp the count is within five standard deviations of the area under it, and pauses are empty."""
    profile = parse_stages("0..2000 for 20s, pause for 5s, 1000 for 5s")
    times_s = pacing.arrival_times_ns("poisson", profile, seed=11) / 1e9
    for second in range(30):
        expected = profile.expected_until(second + 1) - profile.expected_until(second)
        found = int(((times_s >= second) & (times_s < second + 1)).sum())
        assert abs(found - expected) <= 5 * math.sqrt(expected) + 1, f"second {second}"


def test_a_later_stage_moves_no_arrival_of_an_earlier_one() -> None:
    """Two plans that begin alike send the same until they part, Poisson arrivals too."""
    for arrivals in ("constant", "poisson"):
        short = pacing.arrival_times_ns(arrivals, parse_stages("100..300 for 3s"), 5)
        longer = pacing.arrival_times_ns(arrivals, parse_stages("100..300 for 3s, 900 for 1s"), 5)
        assert short.tolist() == longer[: len(short)].tolist()


def test_the_planned_rate_can_be_asked_at_any_time() -> None:
    """Of a rate, of stages; None of users and replays, which plan none."""
    assert [rate_at({"rate": 5, "for_s": 2.0}, t_s) for t_s in (0, 1.9, 2)] == [5.0, 5.0, 0.0]
    assert [rate_at({"stages": "50..200 for 20s, 200 for 1s", "for_s": 21}, t_s) for t_s in (0, 10, 20, 21)] == [50, 125, 200, 0]
    assert rate_at({"users": 5, "for_s": 1.0}, 0) is None
    assert planned_profile({"replay": "x", "for_s": 1.0}) is None


def test_templates_are_chosen_by_weight_and_do_not_move_an_arrival() -> None:
    """Frequencies follow the weights; the choice is drawn from a stream of its own."""
    chosen = template_choices([1, 3], 40_000, seed=3)
    one = part("poisson", "100 for 5s", 3, [1], 0, 1)
    two = part("poisson", "100 for 5s", 3, [1, 3], 0, 1)

    assert {0, 1} == set(chosen.tolist())
    assert float((chosen == 1).mean()) == pytest.approx(0.75, abs=0.02)
    assert one.due_ns.tolist() == two.due_ns.tolist()


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_rate_or_duration_that_is_not_positive_is_refused_by_name(value: float) -> None:
    """The message names the argument, what was given and what is allowed."""
    with pytest.raises(ValueError, match=r"rate_per_s: given .*allowed: a number greater than 0"):
        arrival_times_ns("constant", value, 1, 0)
    with pytest.raises(ValueError, match=r"duration_s: given .*allowed: a number greater than 0"):
        arrival_times_ns("poisson", 1, value, 0)


def test_a_schedule_too_long_for_memory_is_refused() -> None:
    """The limit is checked before anything is allocated."""
    with pytest.raises(ValueError, match=f"allowed: at most {MAX_ARRIVALS}"):
        arrival_times_ns("constant", 1e6, 1e6, 0)


def test_operation_ids_carry_the_run_and_are_never_zero() -> None:
    """The upper half is the run tag, the lower half the arrival's number from 1; the highest bit stays 0."""
    assert operation_id(12345, 0) == 12345 << 32 | 1
    assert operation_id(0, 0) != 0
    assert operation_id((1 << 31) - 1, MAX_ARRIVALS) < 1 << 63
