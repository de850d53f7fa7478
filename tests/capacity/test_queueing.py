"""The simulated queue against what theory knows of queues, and what follows from it for pools."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from harness.capacity.predict import Demand, pool_for, predict
from harness.capacity.queueing import simulate, smallest, waits_s


def erlang_c_wait_s(rate: float, servers: int, run_s: float) -> float:
    """Mean wait of M/M/c: the probability to wait (Erlang 1917), by that of the Poisson distribution, / (c mu - lambda)."""
    load = rate * run_s
    at, below = math.exp(servers * math.log(load) - load - special.gammaln(servers + 1)), special.gammaincc(servers, load)
    waits = at / (at + (1 - load / servers) * below)
    return waits / (servers / run_s - rate)


@pytest.mark.parametrize(("servers", "use"), [(1, 0.5), (1, 0.8), (4, 0.7), (10, 0.8), (40, 0.9)])
def test_waits_are_those_of_erlangs_formula(servers: int, use: float) -> None:
    run_s = np.random.default_rng(7).exponential(0.1, 200_000)
    rate = use * servers / float(run_s.mean())
    found = simulate(run_s, rate, servers, n=200_000)
    expected = erlang_c_wait_s(rate, servers, float(run_s.mean()))
    assert abs(found.wait_mean_s - expected) < max(4 * found.wait_error_s, 0.03 * expected)
    assert found.utilisation == pytest.approx(use)


def test_waits_of_one_server_are_those_of_pollaczek_and_khinchin() -> None:
    """M/G/1: half the second moment of the run time, by rate / (1 - use)."""
    run_s = np.random.default_rng(7).lognormal(-3, 0.8, 50_000)
    rate = 0.7 / float(run_s.mean())
    found = simulate(run_s, rate, 1, n=400_000)
    expected = rate * float((run_s**2).mean()) / 2 / (1 - 0.7)
    assert abs(found.wait_mean_s - expected) < max(4 * found.wait_error_s, 0.03 * expected)


def test_both_ways_to_simulate_agree() -> None:
    random = np.random.default_rng(3)
    arrive, run = np.cumsum(random.exponential(1.0, 500)), random.exponential(0.9, 500)
    twice = np.empty(500)
    free = 0.0
    for place in range(500):
        begin = max(arrive[place], free)
        twice[place], free = begin - arrive[place], begin + run[place]
    assert np.allclose(waits_s(arrive, run, 1), twice)


def test_nothing_waits_where_arrivals_are_even_and_threads_enough() -> None:
    found = simulate(np.full(10, 0.1), 39.0, 4, arrivals="constant")
    assert found.wait_p95_s == pytest.approx(0.0, abs=1e-9)
    assert math.isinf(simulate(np.full(10, 0.1), 41.0, 4, arrivals="constant").done_p95_s)


def test_the_smallest_pool_holds_and_one_thread_less_does_not() -> None:
    run_s = np.random.default_rng(1).exponential(0.1, 5000)
    found = smallest(run_s, 200.0, 0.4)
    assert found is not None
    assert found.done_p95_s <= 0.4
    assert simulate(run_s, 200.0, found.servers - 1).done_p95_s > 0.4
    assert 20 < found.servers < 40
    assert smallest(run_s, 200.0, 0.2) is None


def demand(**changes: float) -> Demand:
    known = {"rate": 50.0, "threads": 8, "processes": 1, "cpu_s": 0.001, **changes}
    return Demand(run_s=np.random.default_rng(1).exponential(0.1, 5000), **known)  # type: ignore[arg-type]


def test_tasks_that_compute_are_not_promised_to_get_faster_by_threads() -> None:
    """Each takes 20 ms of a core: 50 a second are all that one process can do, of whatever number of threads."""
    computing = demand(cpu_s=0.02)
    advice = pool_for(computing, 100.0, None, "poisson")
    assert advice.pool is None
    assert advice.processes == 3
    assert "No number of threads" in advice.text
    assert predict(computing, "poisson").capacity_per_s == pytest.approx(50.0)
    assert predict(computing, "poisson").computes


def test_tasks_that_wait_get_as_many_threads_as_the_rate_needs() -> None:
    advice = pool_for(demand(), 100.0, 0.5, "poisson")
    assert advice.pool is not None
    assert 10 < advice.pool <= 20
    assert not predict(demand(), "poisson").computes


def test_the_threads_of_several_processes_are_told_for_each_of_them() -> None:
    one, two = (pool_for(demand(threads=16, processes=processes), 100.0, 2.0, "poisson") for processes in (1, 2))
    assert one.pool is not None
    assert two.pool == math.ceil(one.pool / 2)
    assert two.comfortable == math.ceil((one.comfortable or 0) / 2)
    assert f"--pool {two.pool} in each of 2 processes" in two.text


def test_more_is_predicted_to_wait_the_nearer_the_rate_is_to_the_capacity() -> None:
    curve = predict(demand(), "poisson").curve
    waits = [each.wait_mean_ms or 0.0 for each in curve]
    assert waits == sorted(waits)
    assert curve[-1].rate < 8 / demand().run_s.mean()
