"""What a comparison promises, shown on simulated ones whose truth is known. `python -m tests.compare.proofs 2000` does more of
them.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.compare.contrasts import Contrast
from tests.compare.coverage import coverage
from tests.compare.proofs import anything_differs, decided, done_is_equal, share, work_is_later
from tests.compare.simulated import Configuration, Machine, compared, simulate

CASES = 100


def test_two_identical_configurations_are_called_different_in_5_of_100_comparisons_at_most() -> None:
    assert share([Configuration()] * 2, anything_differs, n_cases=CASES, seed=1) <= 0.05


def test_a_task_that_takes_10_percent_longer_is_found_in_90_of_100_comparisons() -> None:
    assert share([Configuration(), Configuration(slower=1.10)], work_is_later, n_cases=CASES, seed=2) >= 0.90


def test_over_all_figures_of_four_identical_configurations_one_is_called_different_in_5_of_100_at_most() -> None:
    assert share([Configuration()] * 4, anything_differs, n_cases=CASES, seed=3) <= 0.05


def test_a_machine_that_drifts_makes_no_difference_between_equal_configurations() -> None:
    assert share([Configuration()] * 2, anything_differs, n_cases=CASES, seed=4, machine=Machine(drift=0.4)) <= 0.05


def test_what_differs_by_just_what_matters_is_called_equal_in_5_of_100_at_most() -> None:
    assert share([Configuration(), Configuration(slower=1.05)], done_is_equal, n_cases=CASES, seed=5) <= 0.05


@pytest.mark.parametrize("quantity", ["p50", "done_p50", "cpu"])
def test_with_as_many_blocks_as_it_asks_for_identical_configurations_are_called_equal(quantity: str) -> None:
    """In at least 95 of 100 comparisons: eight blocks may be too few to tell, and it says how many would do."""
    found = decided([Configuration()] * 2, quantity, n_cases=CASES, seed=9)
    assert sum(contrast.decision == "equal" for contrast, _ in found) >= 0.95 * CASES


def test_with_enough_blocks_equal_configurations_are_told_to_be_equal() -> None:
    assert share([Configuration()] * 2, done_is_equal, n_cases=20, seed=6, n_blocks=20) >= 0.9


def test_so_many_blocks_as_are_said_to_be_needed_find_the_difference() -> None:
    few = simulate([Configuration()] * 2, n_cases=30, n_blocks=4, seed=7)
    needed = [
        each.needed
        for case in range(30)
        for each in compared(few, case)
        if each.quantity == "done_p50" and each.needed is not None
    ]

    def is_found(contrasts: list[Contrast]) -> bool:
        return any(each.quantity == "done_p50" and each.p < 0.05 for each in contrasts)

    slower = [Configuration(), Configuration(slower=1.05)]
    assert share(slower, is_found, n_cases=60, seed=8, n_blocks=int(np.median(needed))) >= 0.8


@pytest.mark.parametrize("noise", ["normal", "heavy", "hiccups"])
@pytest.mark.parametrize("n_blocks", [4, 8])
def test_the_interval_holds_the_truth_in_95_of_100_cases(noise: str, n_blocks: int) -> None:
    share, _ = coverage("student", noise, n_blocks, 2000)
    assert share >= 0.94


def test_a_bootstrap_of_so_few_blocks_would_not() -> None:
    """The reason for the choice, kept true."""
    for method in ("percentile", "bca"):
        share, _ = coverage(method, "normal", 6, 500)
        assert share < 0.92
