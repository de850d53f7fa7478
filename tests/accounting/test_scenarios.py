"""What a scenario tells of its requests and of its world, in the accounting."""

from __future__ import annotations

import dataclasses

import numpy as np

from harness.accounting import account
from harness.invariants import check
from harness.model import Evidence, Figure, ScenarioCheck
from harness.rows import RowFile
from harness.summary import build_summary
from harness.text import render

from .memory import edit_rows
from .world import Plan, simulate


def broken(evidence: Evidence) -> set[str]:
    return {each.id for each in check(evidence, account(evidence)) if not each.holds}


def with_reads(evidence: Evidence, *, named: str) -> Evidence:
    """The evidence with ten more acknowledged requests, of another route, without tasks or effects."""
    first: RowFile = evidence.requests[0]

    def add(rows: np.ndarray) -> np.ndarray:
        more = rows[rows["outcome"] == 1][:10].copy()
        assert len(more) == 10
        more["op"] += 1_000_000
        more["route"] = 1
        return np.concatenate([rows, more])

    names = ("", named)
    return dataclasses.replace(
        evidence, requests=[dataclasses.replace(edit_rows(first, add), names=names), *evidence.requests[1:]]
    )


def expecting(evidence: Evidence, **changes: object) -> Evidence:
    return dataclasses.replace(evidence, expectation=dataclasses.replace(evidence.expectation, **changes))


def test_requests_without_background_work_owe_nothing() -> None:
    """Reads beside writes, in the same run: with tasks and inline."""
    for n_tasks in (1, 0):
        plan = Plan(n_requests=100, n_tasks=n_tasks, n_effects=1, pool=8)
        evidence = with_reads(simulate(plan).evidence, named="GET /users/{id}")
        told = expecting(evidence, idle=frozenset({"GET /users/{id}"}))

        assert broken(told) == set()
        assert account(told).broken_promises == 0
        if n_tasks:
            assert broken(evidence) == {"1"}
        else:
            assert account(evidence).broken_promises == 10
        assert account(told).n_acked == account(evidence).n_acked


def test_a_task_that_does_again_what_may_have_arrived_may_leave_several_effects() -> None:
    """Two of one start are a contradiction, unless the scenario says that they may be; three are one again."""
    evidence = simulate(Plan(n_requests=50, pool=8)).evidence

    def times(number: int) -> Evidence:
        first = evidence.effects[0]
        repeated = edit_rows(first, lambda rows: np.concatenate([rows, *[rows[:1]] * (number - 1)]))
        return dataclasses.replace(evidence, effects=[repeated])

    assert broken(times(2)) == {"5"}
    assert broken(expecting(times(2), most_effects_per_start=2)) == set()
    assert broken(expecting(times(3), most_effects_per_start=2)) == {"5"}
    assert account(times(2)).duplicated == 1


def test_what_a_scenario_found_is_in_the_summary_and_a_problem_makes_the_run_inconclusive() -> None:
    evidence = simulate(Plan(n_requests=60, n_tasks=2, n_effects=2, pool=8)).evidence
    figures = (Figure("half_written", 12, "files", "12 half-written files"), Figure("none", None, "ms", ""))
    evidence = dataclasses.replace(
        evidence, scenario="files", effect_names=("checksums", "thumbnails"), check=ScenarioCheck(figures, ())
    )
    summary = build_summary(evidence, {}, {})

    assert summary.verdict == "PASS", summary.reasons
    assert summary.scenario is not None
    assert [(each.name, each.arrived) for each in summary.scenario.effects] == [("checksums", 60), ("thumbnails", 60)]
    assert summary.scenario.figures[1].value is None
    text = render(summary)
    assert "60 checksums and 60 thumbnails arrived" in text
    assert "12 half-written files" in text

    contradicted = dataclasses.replace(evidence, check=ScenarioCheck(figures, ("the disk holds 59 checksums",)))
    judged = build_summary(contradicted, {}, {})
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.reasons == ["The scenario's own check: the disk holds 59 checksums."]
    assert build_summary(dataclasses.replace(evidence, check=None), {}, {}).scenario is None
