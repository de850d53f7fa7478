"""What --fail-on comes to: for each configuration, of few runs, and of what never ended."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.commands.compare import _gated, _status
from harness.commands.main import main
from harness.compare.contrasts import contrasts_of, of_one_run_each
from harness.compare.effects import unpaired
from harness.compare.folder import ComparisonFolder
from harness.compare.gates import judge_gate, parse_gate
from harness.compare.judging import compare_blocks, figure_record
from harness.compare.markdown import markdown
from harness.compare.record import Comparison, ContrastRecord, FigureRecord, RunRecord
from harness.compare.stored import against_stored
from harness.compare.text import render
from tests.compare.made import design, runs

INF = float("inf")
ONE = ("tasks=sync",)
USUAL = {"p95": 5.0, "done_p50": 1500.0, "done_p95": 2400.0, "broken_promises": 0.0}


def never_in(n_never: int, blocks: int, seed: int) -> list[RunRecord]:
    """Runs of one configuration, in the first of which the work was never done."""
    return [
        run.model_copy(update={"never": ["done_p95"], "values": {**run.values, "done_p95": None}})
        if run.block <= n_never
        else run
        for run in runs([USUAL], blocks=blocks, seed=seed)
    ]


def later(before: tuple[int, int], now: tuple[int, int]) -> Comparison:
    """One configuration against itself of before: of so many runs the work was never done in so many."""
    base = compare_blocks(design(ONE, blocks=before[1]), never_in(*before, seed=1), {})
    return against_stored(compare_blocks(design(ONE, blocks=now[1]), never_in(*now, seed=2), {}), base, "main.json")


def sentence(comparison: Comparison) -> str:
    assert comparison.stored is not None
    return comparison.stored.contrasts[0].sentence


def figure(comparison: Comparison, name: str) -> FigureRecord:
    assert comparison.stored is not None
    return next(each for each in comparison.stored.contrasts[0].figures if each.id == name)


def contrast(quantity: str, base: list[float], other: list[float]) -> ContrastRecord:
    found = contrasts_of({(1, quantity): unpaired(np.array(base), np.array(other))}, 0.05)
    return ContrastRecord(configuration="b", sentence="", why=[], figures=[figure_record(each) for each in found])


@pytest.mark.parametrize(("before", "now"), [((10, 40), (8, 8)), ((7, 20), (6, 6))])
def test_work_that_is_never_done_any_more_is_worse_however_many_runs_there_were_before(
    before: tuple[int, int], now: tuple[int, int]
) -> None:
    found = later(before, now)
    assert (figure(found, "done_p95").decision, figure(found, "done_p95").direction) == ("different", "worse")
    judged = _gated(found, [parse_gate("done_p95>+10%")])
    assert [gate.holds for gate in judged.gates] == [False]
    assert f"{now[0]} of {now[1]} runs, and in {before[0]} of {before[1]} of the baseline" in judged.gates[0].why
    assert _status(judged) == 3
    assert f"{before[0]}/{before[1]}→{now[0]}/{now[1]} never" in markdown(judged)


def test_work_that_is_done_more_often_is_better_however_few_runs_there_were_before() -> None:
    found = later((6, 6), (8, 30))
    assert figure(found, "done_p95").direction == "better"
    assert [gate.holds for gate in _gated(found, [parse_gate("done_p95>+10%")]).gates] == [True]
    assert "better in done p95 (2.45 s instead of never)" in sentence(found)


def test_what_never_ends_in_either_holds_whatever_the_numbers_of_runs() -> None:
    found = judge_gate(parse_gate("done_p95>+10%"), contrast("done_p95", [INF] * 8, [INF] * 4))
    assert (found.holds, found.why) == (True, "it never ends in either")


def test_how_often_it_never_ended_is_told_with_both_numbers_of_runs() -> None:
    assert "worse in done p95 (never ended in 3 of 7 instead of 0 of 40 runs)" in sentence(later((0, 40), (3, 7)))


def test_a_limit_that_nothing_is_held_against_is_refused(tmp_path: Path) -> None:
    """Otherwise it would hold whatever happens."""
    folder = ComparisonFolder.create("email", tmp_path / "it", design(ONE, blocks=1))
    alone = ["compare", "email", "--json", str(tmp_path / "main.json"), "--dry-run"]
    for given in (alone, ["compare", str(folder.path)]):
        done = CliRunner().invoke(main, [*given, "--fail-on", "done_p95>+10%"])
        assert done.exit_code == 2
        assert "--fail-on has nothing to compare with" in done.output
    assert CliRunner().invoke(main, alone).exit_code == 0


def test_a_configuration_that_the_baseline_has_not_cannot_be_told() -> None:
    before = compare_blocks(design(("tasks=sync", "tasks=async")), runs([USUAL, USUAL]), {})
    now = compare_blocks(design(("tasks=sync", "tasks=inline")), runs([USUAL, {**USUAL, "p95": 500.0}]), {})
    judged = _gated(against_stored(now, before, "main.json"), [parse_gate("p95>+10%")])
    assert [(gate.configuration, gate.holds) for gate in judged.gates] == [("tasks=sync", True), ("tasks=inline", None)]
    assert "p95>+10% of tasks=inline: there is no such configuration in the baseline main.json" in " ".join(
        render(judged).split()
    )
    assert _status(judged) == 4


@pytest.mark.parametrize(
    ("ratio", "half", "holds"),
    [(1.0, 0.03, None), (1.0, 0.08, None), (1.03, 0.06, None), (1.07, 0.02, None), (1.5, 0.02, False), (1.2, 0.3, None)],
)
def test_of_one_run_each_a_limit_may_be_broken_and_never_holds(ratio: float, half: float, holds: bool | None) -> None:
    """What is equal or seen in them is no surer than what is unclear: another run may come to something else."""
    interval = {"low": ratio * math.exp(-half), "high": ratio * math.exp(half)}
    within = dataclasses.replace(unpaired(np.array([100.0]), np.array([100.0 * ratio])), **interval, p=0.5, is_tied=False)
    seen = of_one_run_each(contrasts_of({(1, "done_p95"): within}, 0.05)[0])
    record = ContrastRecord(configuration="b", sentence="", why=[], figures=[figure_record(seen)])
    found = judge_gate(parse_gate("done_p95>+10%"), record)
    assert found.holds is holds
    assert "the same" not in found.why
    if ratio < 1.1:
        assert "in these runs, and fewer than 3 of each tell nothing of what others would come to" in found.why


def test_what_is_the_same_in_one_run_each_neither_holds_nor_is_broken() -> None:
    same = contrast("done_p95", [100.0], [100.0])
    never = contrast("done_p95", [INF, INF], [INF, INF])
    assert [judge_gate(parse_gate(f"done_p95>{limit}"), same).holds for limit in ("+10%", "-10%")] == [None, None]
    assert judge_gate(parse_gate("done_p95>+10%"), never).holds is None
