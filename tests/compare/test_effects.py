"""Effects of one figure: what they are, where they end, and what there is no telling of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.compare.contrasts import contrasts_of, of_one_run_each
from harness.compare.designs import balanced_blocks, order_of, orders
from harness.compare.drifts import drift_of
from harness.compare.effects import Effect, blocks_needed, holm, paired, unpaired
from harness.compare.words import interval

INF = math.inf


def test_the_interval_is_that_of_a_t_test_on_logarithms() -> None:
    base, other = np.array([10.0, 11, 9, 12]), np.array([12.0, 12, 11, 13])
    found = paired(base, other)
    known = stats.ttest_rel(np.log(other), np.log(base))
    low, high = known.confidence_interval(0.95)
    assert found.scale == "ratio"
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.p == pytest.approx(known.pvalue)
    assert found.estimate == pytest.approx(found.other / found.base)


def test_runs_of_two_days_are_compared_as_welch_does() -> None:
    base, other = np.array([10.0, 11, 9, 12, 10]), np.array([12.0, 15, 11])
    found = unpaired(base, other)
    known = stats.ttest_ind(np.log(other), np.log(base), equal_var=False)
    low, high = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.p == pytest.approx(known.pvalue)


def test_a_figure_that_a_run_does_not_have_leaves_its_block_out() -> None:
    found = paired(np.array([10.0, math.nan, 10, 11, 10]), np.array([20.0, 20, 21, math.nan, 20]))
    assert found.n == 3


@given(st.lists(st.floats(0.1, 1e6), min_size=3, max_size=12), st.floats(0.01, 100))
def test_the_unit_of_a_figure_changes_nothing(values: list[float], factor: float) -> None:
    base = np.array(values)
    other = base[::-1] * 1.1
    once, again = paired(base, other), paired(base * factor, other * factor)
    assert (once.estimate, once.low, once.high, once.p) == pytest.approx(
        (again.estimate, again.low, again.high, again.p), rel=1e-6
    )


def test_turned_round_it_is_the_inverse() -> None:
    base, other = np.array([10.0, 11, 9, 12]), np.array([12.0, 12, 11, 13])
    there, back = paired(base, other), paired(other, base)
    assert there.estimate == pytest.approx(1 / back.estimate)
    assert there.low == pytest.approx(1 / back.high)


def test_counts_with_a_zero_are_subtracted_and_not_divided() -> None:
    found = paired(np.array([0.0, 3, 1, 2]), np.array([5.0, 6, 7, 4]), 1.0)
    assert found.scale == "difference"
    assert found.estimate == pytest.approx(4.0)


def test_values_that_are_always_the_same_are_equal_and_no_test() -> None:
    found = paired(np.full(6, 50.0), np.full(6, 50.0))
    assert found.is_tied
    assert (found.low, found.high, found.p) == (1.0, 1.0, 1.0)


def test_a_figure_that_comes_in_steps_is_never_surer_than_its_steps() -> None:
    """Three runs that all came to 2 and then to 3 ticks do not prove a difference beyond doubt."""
    found = paired(np.full(3, 2.0), np.full(3, 3.0), 1.0)
    assert found.low < 1.0
    assert paired(np.full(3, 2.0), np.full(3, 3.0)).p < 1e-9


@pytest.mark.parametrize("compare", [paired, unpaired])
@pytest.mark.parametrize(("few", "many", "n"), [(2.0, 3.0, 5), (2.0, 20.0, 3), (4.0, 8.0, 3), (4.0, 30.0, 4)])
def test_a_figure_in_steps_is_as_sure_of_a_decrease_as_of_an_increase(
    compare: Callable[..., Effect], few: float, many: float, n: int
) -> None:
    more, less = compare(np.full(n, few), np.full(n, many), 1.0), compare(np.full(n, many), np.full(n, few), 1.0)
    assert (more.p, more.low, more.high) == pytest.approx((less.p, 1 / less.high, 1 / less.low))


@pytest.mark.parametrize("compare", [paired, unpaired])
def test_the_same_number_of_steps_in_all_runs_proves_no_equality(compare: Callable[..., Effect]) -> None:
    """Of true 3.3 ticks most readings are 3."""
    found = compare(np.full(3, 3.0), np.full(3, 3.0), 1.0)
    assert found.low < 0.9 < 1.1 < found.high
    (contrast,) = contrasts_of({(1, "cpu"): found}, 0.05)
    assert contrast.decision == "unclear"
    assert contrast.needed is not None
    many = compare(np.full(60, 30.0), np.full(60, 30.0), 1.0)
    assert contrasts_of({(1, "cpu"): many}, 0.05)[0].decision == "equal"


@pytest.mark.parametrize("compare", [paired, unpaired])
def test_none_of_something_in_all_runs_is_exact(compare: Callable[..., Effect]) -> None:
    found = compare(np.zeros(3), np.zeros(3), 1.0)
    assert (found.low, found.high, found.is_tied) == (0.0, 0.0, True)


@pytest.mark.parametrize(("n", "is_found"), [(3, True), (8, True)])
def test_what_never_ends_in_one_and_always_in_the_other_differs(n: int, is_found: bool) -> None:
    found = paired(np.full(n, 100.0), np.full(n, INF))
    assert found.scale == "never"
    assert (found.never_base, found.never_other) == (0, n)
    assert (found.p < 0.05) == is_found


def test_what_never_ends_in_either_is_equal_and_no_test() -> None:
    found = paired(np.full(6, INF), np.full(6, INF))
    (contrast,) = contrasts_of({(1, "done_p95"): found}, 0.05)
    assert contrast.decision == "equal"
    assert math.isnan(contrast.p) or contrast.p == 1.0


@pytest.mark.parametrize("high", [math.inf, math.nan])
def test_an_interval_that_goes_up_to_never_says_so(high: float) -> None:
    """In a record it has no number."""
    found = Effect("ratio", 5, 1.4, 4.2, 2.99, 0.9, high, 0.4, 0.2)
    assert interval(found) == "0.90 to never"
    assert interval(Effect("difference", 5, 0.0, 4.2, 4.2, -1.0, high, 0.4, 0.2)) == "-1 to never"


def test_of_two_blocks_nothing_is_concluded() -> None:
    found = paired(np.array([1.0, 1.1]), np.array([9.0, 9.5]))
    assert math.isnan(found.low)
    (contrast,) = contrasts_of({(1, "p95"): found}, 0.05)
    assert contrast.decision == "unclear"


def test_holm_is_what_it_is_in_the_books() -> None:
    """The example of Holm's procedure: smallest times n, next times n - 1, never falling."""
    corrected = holm(np.array([0.01, 0.04, 0.03, math.nan, 0.005]))
    assert corrected == pytest.approx([0.03, 0.06, 0.06, math.nan, 0.02], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_no_correction_and_bonferroni(values: list[float]) -> None:
    p = np.array(values)
    corrected = holm(p)
    assert np.all(corrected >= p - 1e-12)
    assert np.all(corrected <= np.minimum(1, p * len(p)) + 1e-12)


def test_blocks_needed_are_those_that_give_the_power() -> None:
    n = blocks_needed(0.05, math.log(1.05), 0.05)
    assert n is not None

    def power(blocks: int) -> float:
        shift = math.log(1.05) / 0.05 * math.sqrt(blocks)
        return float(stats.nct.sf(stats.t.ppf(0.975, blocks - 1), blocks - 1, shift))

    assert 0.88 <= power(n) <= 0.95
    assert blocks_needed(5.0, math.log(1.05), 0.05) is None
    assert blocks_needed(math.nan, 0.05, 0.05) is None


@pytest.mark.parametrize(
    ("ratio", "spread", "decision"),
    [(1.2, 0.01, "different"), (1.0, 0.005, "equal"), (1.02, 0.005, "equal"), (1.03, 0.2, "unclear"), (1.04, 0.02, "unclear")],
)
def test_different_equal_and_unknown_are_told_apart(ratio: float, spread: float, decision: str) -> None:
    deltas = np.array([-1.0, 1, -1, 1, -1, 1, -1, 1]) * spread * math.sqrt(7 / 8)
    found = paired(np.full(8, 100.0), 100 * ratio * np.exp(deltas))
    (contrast,) = contrasts_of({(1, "done_p95"): found}, 0.05)
    assert contrast.decision == decision
    assert contrast.direction == ("worse" if decision == "different" else "")
    assert (contrast.needed is not None) == (decision == "unclear")


def test_more_is_better_of_some_and_worse_of_others() -> None:
    more = paired(np.full(6, 100.0), np.array([200.0, 201, 202, 200, 199, 198]))
    found = {each.quantity: each.direction for each in contrasts_of({(1, "p95"): more, (1, "achieved"): more}, 0.05)}
    assert found == {"p95": "worse", "achieved": "better"}


@pytest.mark.parametrize(
    ("base", "other"),
    [([1], [2]), ([2], [1]), ([3], [2]), ([2], [3]), ([5], [4]), ([4], [5]), ([0], [1]), ([3, 2, 3, 3], [2, 1, 2, 2])],
)
def test_one_task_more_or_fewer_in_the_backlog_matters_to_nobody(base: list[float], other: list[float]) -> None:
    times = 8 // len(base)
    found = paired(np.array(base * times, np.float64), np.array(other * times, np.float64), 1.0)
    (contrast,) = contrasts_of({(1, "backlog"): found}, 0.05)
    assert contrast.decision != "different"
    # However many blocks there are, it lies just on what matters.
    assert contrast.needed is None
    (once,) = contrasts_of({(1, "backlog"): paired(np.array(base[:1], np.float64), np.array(other[:1], np.float64), 1.0)}, 0.05)
    assert of_one_run_each(once).decision != "seen"


def test_a_backlog_of_two_tasks_more_or_fewer_is_a_difference() -> None:
    for base, other, direction in ((3.0, 5.0, "worse"), (5.0, 3.0, "better"), (0.0, 2.0, "worse")):
        (contrast,) = contrasts_of({(1, "backlog"): paired(np.full(8, base), np.full(8, other), 1.0)}, 0.05)
        assert contrast.direction == direction


def test_a_backlog_that_is_surely_less_than_one_task_apart_is_equal_to_either_side() -> None:
    half = np.array([2.0, 3.0] * 10)
    for base, other in ((np.full(20, 3.0), half), (half, np.full(20, 3.0))):
        (contrast,) = contrasts_of({(1, "backlog"): paired(base, other, 1.0)}, 0.05)
        assert contrast.decision == "equal"


def test_of_one_run_each_a_difference_is_seen_and_never_proved() -> None:
    (contrast,) = contrasts_of({(1, "done_p95"): paired(np.array([100.0]), np.array([200.0]))}, 0.05)
    assert of_one_run_each(contrast).decision == "seen"
    (contrast,) = contrasts_of({(1, "done_p95"): paired(np.array([100.0]), np.array([102.0]))}, 0.05)
    assert of_one_run_each(contrast).decision == "unclear"


@pytest.mark.parametrize("n", range(1, 9))
def test_each_configuration_comes_at_each_place_and_after_each_other_equally_often(n: int) -> None:
    rows = orders(n)
    assert len(rows) == balanced_blocks(n)
    places = {(place, value): 0 for place in range(n) for value in range(n)}
    after = {(one, other): 0 for one in range(n) for other in range(n) if one != other}
    for row in rows:
        assert sorted(row) == list(range(n))
        for place, value in enumerate(row):
            places[place, value] += 1
        for one, other in itertools.pairwise(row):
            after[one, other] += 1
    assert len(set(places.values())) == 1
    assert len(set(after.values())) <= 1


def test_two_blocks_of_two_are_abba_and_cancel_what_changes_with_time() -> None:
    assert [order_of(block, 2) for block in range(4)] == [[0, 1], [1, 0], [0, 1], [1, 0]]
    for n in (2, 3, 4, 5):
        mean = dict.fromkeys(range(n), 0.0)
        for block in range(2):
            for place, value in enumerate(order_of(block, n)):
                mean[value] += block * n + place
        assert len({round(each, 9) for each in mean.values()}) == 1


def test_a_machine_that_gets_slower_is_seen_in_the_baseline() -> None:
    blocks = np.arange(8.0)
    found = drift_of(blocks, 100 * 1.05**blocks, 0.05)
    assert found is not None
    assert found.ratio == pytest.approx(1.05**7)
    assert drift_of(blocks, np.array([100.0, 103, 99, 101, 100, 102, 98, 101]), 0.05) is None
    assert drift_of(blocks, np.full(8, INF), 0.05) is None
