"""The schedule: when requests are due, which they are, and how processes share them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.pacing import MAX_ARRIVALS, Arrivals, arrival_times_ns, operation_id, schedule_of_process, template_choices

kinds = st.sampled_from(["constant", "poisson"])
rates = st.floats(0.01, 2_000)
durations = st.floats(0.001, 5)
seeds = st.integers(0, 2**64)


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


@given(kinds, st.floats(1, 500), seeds, st.integers(1, 7), st.lists(st.floats(0.1, 10), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_number_of_processes_sends_the_same_schedule(
    arrivals: Arrivals, rate: float, seed: int, processes: int, weights: list[float]
) -> None:
    """The parts of all processes, put together, are the schedule of one process: same times, numbers and templates."""
    whole = schedule_of_process(arrivals, rate, 1, seed, weights, process=0, processes=1)
    parts = [schedule_of_process(arrivals, rate, 1, seed, weights, process=p, processes=processes) for p in range(processes)]

    together = sorted(row for part in parts for row in zip(part.number, part.due_ns, part.template, strict=True))
    assert list(zip(whole.number, whole.due_ns, whole.template, strict=True)) == together
    for process, part in enumerate(parts):
        assert bool((part.number % processes == process).all())


def test_templates_are_chosen_by_weight_and_do_not_move_an_arrival() -> None:
    """Frequencies follow the weights; the choice is drawn from a stream of its own."""
    chosen = template_choices([1, 3], 40_000, seed=3)
    one = schedule_of_process("poisson", 100, 5, 3, [1], process=0, processes=1)
    two = schedule_of_process("poisson", 100, 5, 3, [1, 3], process=0, processes=1)

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
