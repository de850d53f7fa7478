"""What a comparison promises, shown on simulated ones whose truth is known. `python -m tests.compare.proofs 2000` does more of
them.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.commands.compare import BLOCKS
from tests.compare.coverage import coverage
from tests.compare.simulated import Configuration, Machine, compared, simulate

CASES = 100


def different(contrasts: list, *names: str) -> bool:
    return any(each.decision == "different" and (not names or each.quantity in names) for each in contrasts)


def test_two_identical_configurations_come_out_equal_in_95_of_100_comparisons() -> None:
    figures = simulate([Configuration(), Configuration()], n_cases=CASES, n_blocks=BLOCKS, seed=1)
    n_wrong = sum(different(compared(figures, case)) for case in range(CASES))
    assert n_wrong <= 5


def test_a_task_that_takes_10_percent_longer_is_found_in_90_of_100_comparisons() -> None:
    figures = simulate([Configuration(), Configuration(slower=1.10)], n_cases=CASES, n_blocks=BLOCKS, seed=2)
    found = [compared(figures, case) for case in range(CASES)]
    n_found = sum(
        any(each.quantity in {"done_p50", "done_p95"} and each.direction == "worse" for each in contrasts) for contrasts in found
    )
    assert n_found >= 90
    # And nothing is said of what is the same.
    assert sum(different(contrasts, "memory", "cpu", "broken_promises") for contrasts in found) <= 5


def test_over_all_figures_of_four_identical_configurations_one_is_called_different_in_5_of_100_at_most() -> None:
    figures = simulate([Configuration()] * 4, n_cases=CASES, n_blocks=BLOCKS, seed=3)
    n_wrong = sum(different(compared(figures, case)) for case in range(CASES))
    assert n_wrong <= 5


def test_a_machine_that_drifts_makes_no_difference_between_equal_configurations() -> None:
    machine = Machine(drift=0.5)
    figures = simulate([Configuration(), Configuration()], n_cases=CASES, n_blocks=BLOCKS, seed=4, machine=machine)
    assert sum(different(compared(figures, case)) for case in range(CASES)) <= 5


def test_configurations_that_are_called_equal_do_not_differ_by_what_matters() -> None:
    # At the very edge: a difference of just what matters must not be called equal in more than 5 of 100.
    figures = simulate([Configuration(), Configuration(slower=1.05)], n_cases=CASES, n_blocks=BLOCKS, seed=5)
    found = [compared(figures, case) for case in range(CASES)]
    n_wrong = sum(any(each.quantity == "done_p50" and each.decision == "equal" for each in contrasts) for contrasts in found)
    assert n_wrong <= 5


def test_with_enough_blocks_equal_configurations_are_told_to_be_equal() -> None:
    figures = simulate([Configuration(), Configuration()], n_cases=20, n_blocks=20, seed=6)
    found = [compared(figures, case) for case in range(20)]
    n_equal = sum(any(each.quantity == "done_p50" and each.decision == "equal" for each in contrasts) for contrasts in found)
    assert n_equal >= 18


def test_so_many_blocks_as_are_said_to_be_needed_find_the_difference() -> None:
    few = simulate([Configuration(), Configuration()], n_cases=30, n_blocks=4, seed=7)
    needed = [
        each.needed
        for case in range(30)
        for each in compared(few, case)
        if each.quantity == "done_p50" and each.needed is not None
    ]
    n_blocks = int(np.median(needed))
    many = simulate([Configuration(), Configuration(slower=1.05)], n_cases=60, n_blocks=n_blocks, seed=8)
    n_found = sum(any(each.quantity == "done_p50" and each.p < 0.05 for each in compared(many, case)) for case in range(60))
    assert n_found >= 0.8 * 60


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
