"""A queue that keeps up is not called one that falls behind, and the other way round: simulated queues of known use."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from harness.findings.trend import trend_of


def pending(use: float, threads: int, run_s: float, load_s: float, seed: int, *, evenly: bool) -> tuple[np.ndarray, float]:
    """What is pending in a simulated pool, ten times a second from the first second on, and the rate."""
    chance = np.random.default_rng(seed)
    rate = use * threads / run_s
    n = int(rate * load_s)
    arrived = np.arange(n) / rate if evenly else np.cumsum(chance.exponential(1 / rate, n))
    runs = chance.exponential(run_s, n)
    free = [0.0] * threads
    ended = np.empty(n)
    for number in range(n):
        ended[number] = max(heapq.heappop(free), arrived[number]) + runs[number]
        heapq.heappush(free, ended[number])
    at = np.arange(1, load_s, 0.1)
    return np.searchsorted(arrived, at) - np.searchsorted(np.sort(ended), at), rate


@pytest.mark.parametrize("evenly", [True, False])
@pytest.mark.parametrize(("threads", "run_s", "load_s"), [(8, 0.1, 14), (4, 0.02, 10), (8, 0.1, 40)])
@pytest.mark.parametrize(("use", "least", "most"), [(0.5, 0.0, 0.05), (0.8, 0.0, 0.05), (1.2, 0.95, 1.0), (1.5, 0.95, 1.0)])
def test_pools_below_and_above_their_capacity_are_told_apart(
    use: float, least: float, most: float, threads: int, run_s: float, load_s: float, *, evenly: bool
) -> None:
    """40 simulated runs each: exponential run times, arrivals evenly or by chance."""
    risen = 0
    for seed in range(40):
        values, rate = pending(use, threads, run_s, load_s, seed, evenly=evenly)
        trend = trend_of(values)
        risen += trend.rises and trend.per_step * 10 >= 0.03 * rate

    assert least <= risen / 40 <= most


def test_the_slope_is_that_of_a_straight_line_whatever_a_few_outliers_do() -> None:
    values = 3.0 * np.arange(200) + np.random.default_rng(1).normal(0, 5, 200)
    values[[20, 90]] += 10_000

    assert trend_of(values).per_step == pytest.approx(3.0, rel=0.02)
    assert trend_of(values).rises


def test_a_step_and_a_late_rise_are_no_steady_trend() -> None:
    """Something that happened once is not told as something that goes on."""
    noise = np.random.default_rng(2).normal(0, 0.3, 100)

    assert not trend_of(np.where(np.arange(100) < 50, 0, 40) + noise).rises
    assert not trend_of(np.maximum(np.arange(100) - 75, 0) * 4.0 + noise).rises


def test_a_series_without_a_rise_or_too_short_has_no_trend() -> None:
    assert not trend_of(np.zeros(50)).rises
    assert not trend_of(np.arange(9)).rises
    assert not trend_of(-np.arange(50)).rises
    assert not trend_of(np.zeros(0)).rises
