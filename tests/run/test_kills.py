"""Random kills, rates, pools and kinds: every invariant in every run. `make kills N=1000` is the long version."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.faultsyntax import parse_fault
from tests.kills import check, random_plan

SEEDS = (0, 2, 3, 6, 7, 10, 20, 23, 24, 26, 31, 39, 73, 78, 132)
"""Few that have everything between them; those of a row leave out a kind of fault or the other."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_invariant_holds_whenever_the_server_is_killed(folder: Path, seed: int) -> None:
    """The plan is made from the seed; see tests/kills.py."""
    finding = check(seed, folder)

    assert finding.wrong == (), finding.plan


def test_the_plans_have_every_kind_of_task_and_fault_between_them() -> None:
    """An exact crash and one out of the blue of each kind of task, in one process and in several."""
    plans = [random_plan(seed) for seed in SEEDS]
    faults = {(parse_fault(text).name, plan.tasks) for plan in plans for text in plan.faults}

    assert {name for name, _ in faults} >= {
        *("kill", "crash", "term", "int", "hup", "worker", "rolling", "stop", "squeeze", "slow-world", "dead-world", "hog"),
        "full-disk",
    }
    kinds = ("sync", "async", "blocking", "inline")
    assert faults >= {(name, kind) for name in ("kill", "crash") for kind in kinds}
    assert {(plan.workers, plan.load_processes) for plan in plans} >= {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert any("backlog" in text for plan in plans for text in plan.faults)
