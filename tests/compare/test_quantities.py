"""What is compared of one run: what is known of it exactly, and nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.commands.compare import _gated, _status
from harness.compare.effects import between, unpaired
from harness.compare.gates import parse_gate
from harness.compare.judging import compare_blocks
from harness.compare.quantities import measured_of, of_summary
from harness.compare.record import Comparison, FigureRecord
from harness.compare.text import render
from harness.model import Evidence, Expectation
from harness.rows import Kind, Outcome
from harness.rows.layout import GAUGE_SAMPLE
from harness.summary import Judged, judge_evidence
from tests.accounting.memory import row_file
from tests.compare.made import design, run, runs
from tests.verdict.simulated import MS, START_NS, S, Setup, Simulated

Times = NDArray[np.int64]
USUAL = {"p95": 5.0, "done_p95": 2400.0}


def judged(evidence: Evidence) -> Judged:
    return judge_evidence(evidence, {"scenario": "email"}, {"cpus": 2})


def unseen(evidence: Evidence) -> Evidence:
    """The same, of a server of whose tasks nobody tells."""
    expectation = dataclasses.replace(evidence.expectation, tasks_per_request=0, effects_per_request=0)
    return dataclasses.replace(evidence, tasks={}, effects=[], expectation=expectation)


def unlooked(evidence: Evidence) -> Evidence:
    """The same, of a world into which nobody looks: what a task had done when its server died is not known."""
    expectation = dataclasses.replace(evidence.expectation, effects_per_request=0)
    return dataclasses.replace(evidence, effects=[], expectation=expectation)


def figure(comparison: Comparison, name: str) -> FigureRecord:
    return next(each for each in comparison.contrasts[0].figures if each.id == name)


def test_broken_promises_are_a_figure_only_if_a_witness_knows_how_many() -> None:
    killed = Simulated(Setup(1, rate=100.0, kill_at_s=6.0, pool=2, run_ms=30.0)).evidence()
    seen, blind = judged(killed), judged(unseen(killed))
    assert measured_of(seen).values["broken_promises"] == seen.summary.tasks.broken_promises > 0
    assert blind.summary.tasks.broken_promises > blind.summary.tasks.broken_promises_low
    assert math.isnan(measured_of(blind).values["broken_promises"])
    assert math.isnan(of_summary(blind.summary)["broken_promises"])
    assert measured_of(seen).bounds == measured_of(blind).bounds == {}


def test_what_was_running_when_the_server_died_leaves_an_interval_of_broken_promises() -> None:
    found = judged(unlooked(Simulated(Setup(1, rate=100.0, kill_at_s=6.0, pool=2, run_ms=30.0)).evidence()))
    low, high = measured_of(found).bounds["broken_promises"]
    assert (low, high) == (found.summary.tasks.broken_promises_low, found.summary.tasks.broken_promises)
    assert high - low == 2  # the threads
    assert math.isnan(measured_of(found).values["broken_promises"])


def test_without_a_fault_no_promise_is_broken_if_a_witness_says_so() -> None:
    healthy = Simulated(Setup(1, rate=100.0)).evidence()
    assert measured_of(judged(healthy)).values["broken_promises"] == 0
    assert of_summary(judged(healthy).summary)["broken_promises"] == 0
    assert math.isnan(measured_of(judged(unseen(healthy))).values["broken_promises"])


def test_losses_that_are_known_in_some_runs_alone_are_not_compared_and_that_is_told() -> None:
    """Those in which nothing was running when the server died would stand for the others."""
    made = [
        run(block, configuration, {**USUAL, **({} if configuration and block % 2 else {"broken_promises": 9.0})})
        for block in range(1, 9)
        for configuration in (0, 1)
    ]
    found = compare_blocks(design(), made, {})
    assert figure(found, "broken_promises").decision == "none"
    (note,) = (note for note in found.notes if "promises" in note)
    assert "tasks=async broke is not known exactly in 4 of 8 runs" in note
    (gate,) = _gated(found, [parse_gate("broken_promises>+0")]).gates
    assert gate.holds is None


@pytest.mark.parametrize(
    ("bounds", "direction", "holds", "words"),
    [
        ((20.0, 24.0), "worse", False, "worse in broken promises (20 instead of 9)"),
        ((2.0, 4.0), "better", True, "better in broken promises (4 instead of 9)"),
        ((8.0, 10.0), "", None, "broken promises"),
        ((9.0, 30.0), "", None, "broken promises"),
    ],
)
def test_what_lies_between_two_numbers_differs_only_if_all_in_between_does(
    bounds: tuple[float, float], direction: str, holds: bool | None, words: str
) -> None:
    made = [
        run(block, 0, {**USUAL, "broken_promises": 9.0})
        if not number
        else run(block, 1, USUAL, bounds={"broken_promises": bounds})
        for block in range(1, 9)
        for number in (0, 1)
    ]
    found = _gated(compare_blocks(design(), made, {}), [parse_gate("broken_promises>+0")])
    losses = figure(found, "broken_promises")
    assert losses.direction == direction
    assert losses.low is not None
    assert losses.high is not None
    assert losses.low <= bounds[0] - 9 < bounds[1] - 9 <= losses.high
    assert [gate.holds for gate in found.gates] == [holds]
    assert words in found.contrasts[0].sentence
    (note,) = (note for note in found.notes if "promises" in note)
    assert f"tasks=async broke is not known exactly in 8 of 8 runs: {bounds[0]:.0f} to {bounds[1]:.0f} on average" in note
    assert note.endswith("or else the middle.")


@pytest.mark.parametrize("blocks", [1, 2])
def test_what_cannot_be_compared_is_not_said_to_be_shown(blocks: int) -> None:
    """Of so few runs whose bounds overlap there is no figure."""
    made = [
        run(block, 0, {**USUAL, "broken_promises": 3.0})
        if not number
        else run(block, 1, USUAL, bounds={"broken_promises": (1.0, 9.0)})
        for block in range(1, blocks + 1)
        for number in (0, 1)
    ]
    found = compare_blocks(design(), made, {})
    assert figure(found, "broken_promises").decision == "none"
    (note,) = (note for note in found.notes if "promises" in note)
    assert note.endswith(": 1 to 9. It is not compared." if blocks == 1 else ": 1 to 9 on average. It is not compared.")


def test_what_surely_lies_close_is_equal_although_it_is_not_known_exactly() -> None:
    made = [
        run(block, number, USUAL, bounds={"broken_promises": (400.0 + block + number, 402.0 + block + number)})
        for block in range(1, 9)
        for number in (0, 1)
    ]
    assert figure(compare_blocks(design(), made, {}), "broken_promises").decision == "equal"


def test_of_one_run_each_what_may_be_the_same_is_not_seen_to_differ() -> None:
    pairs = [(3.0, 9.0), (4.0, 20.0)]
    least, most = (np.array([[one[place]] for one in pairs]) for place in (0, 1))
    assert between(unpaired, (least[0], most[0]), (least[1], most[1]), 1.0).scale == "none"


@pytest.mark.parametrize(("broken", "holds", "status"), [(50.0, False, 3), (0.0, True, 0)])
def test_promises_that_only_one_breaks_without_a_fault_are_worse(broken: float, holds: bool, status: int) -> None:
    sides = [{**USUAL, "broken_promises": 0.0}, {**USUAL, "broken_promises": broken}]
    found = _gated(compare_blocks(design(), runs(sides, noise=0.002), {}), [parse_gate("broken_promises>+0")])
    assert figure(found, "broken_promises").direction == ("worse" if broken else "")
    assert [gate.holds for gate in found.gates] == [holds]
    assert _status(found) == status
    assert "broken promises" in render(found)


def with_gauges(whole: Simulated, used_ns: Callable[[Times], Times], end_ns: int) -> Judged:
    """`used_ns`: processor time that the server's processes had used at each instant."""
    at_ns = np.arange(START_NS - S, end_ns, S // 10)
    rows = np.zeros(len(at_ns), GAUGE_SAMPLE)
    rows["t_ns"], rows["boot"], rows["server_cpu_ns"] = at_ns, 1, S + used_ns(at_ns)
    whole.extra["gauges"] = row_file(Kind.GAUGES, rows)
    return judged(whole.evidence())


def test_processor_time_is_that_of_all_tasks_also_of_those_that_are_worked_off_after_a_signal() -> None:
    whole = Simulated(Setup(seed=1, rate=100.0, run_ms=20.0, pool=1))
    finished = np.sort(whole.tasks[1]["finished_ns"].astype(np.int64))
    end_ns = int(finished[-1]) + S
    whole.boots = [dataclasses.replace(whole.boots[0], signalled_ns=whole.load_end_ns, reaped_ns=end_ns)]
    assert np.count_nonzero(finished > whole.load_end_ns) > 0.4 * len(finished)

    found = with_gauges(whole, lambda at_ns: np.searchsorted(finished, at_ns) * 5 * MS, end_ns)
    assert measured_of(found).values["cpu"] == pytest.approx(5.0, rel=0.01)


@pytest.mark.parametrize("warm_up_s", [0.0, 2.0, 5.0])
def test_processor_time_of_inline_work_is_shared_by_the_work_of_the_warm_up_too(warm_up_s: float) -> None:
    """It counts from the start of the load, as that of tasks does."""
    whole = Simulated(Setup(seed=1, rate=100.0, warm_up_s=warm_up_s))
    arrived = np.sort(whole.effects["arrived_ns"].astype(np.int64))
    whole.tasks[1] = whole.tasks[1][:0]
    whole.extra["expectation"] = Expectation(tasks_per_request=0, effects_per_request=1)
    found = with_gauges(whole, lambda at_ns: np.searchsorted(arrived, at_ns) * 5 * MS, whole.load_end_ns + S)
    assert found.summary.tasks.inline
    assert measured_of(found).values["cpu"] == pytest.approx(5.0, rel=0.02)


def test_processor_time_that_a_server_takes_to_end_is_no_task_s() -> None:
    whole = Simulated(Setup(seed=1, rate=100.0))
    finished = np.sort(whole.tasks[1]["finished_ns"].astype(np.int64))
    signalled_ns, end_ns = whole.load_end_ns + S, whole.load_end_ns + 3 * S
    whole.boots = [dataclasses.replace(whole.boots[0], signalled_ns=signalled_ns, reaped_ns=end_ns)]

    found = with_gauges(
        whole, lambda at_ns: np.searchsorted(finished, at_ns) * 5 * MS + np.maximum(at_ns - signalled_ns, 0), end_ns
    )
    assert measured_of(found).values["cpu"] == pytest.approx(5.0, rel=0.01)
    # Of tasks that nobody saw there is nothing to divide by.
    assert math.isnan(measured_of(judged(unseen(found.evidence))).values["cpu"])


def test_lines_tell_work_that_was_never_done_from_none() -> None:
    killed = judged(Simulated(Setup(1, rate=100.0, kill_at_s=6.0, pool=1, run_ms=30.0)).evidence())
    line = measured_of(killed).curves.lines["done_p95_ms"]
    assert math.inf in line
    assert any(value is not None and value < math.inf for value in line)


def failing(until_s: float) -> Judged:
    """All tasks that were accepted until then raised."""
    whole = Simulated(Setup(seed=1, rate=100.0))
    tasks = whole.tasks[1]
    early = tasks["accepted_ns"] < START_NS + round(until_s * S)
    tasks["failed_ns"][early], tasks["finished_ns"][early] = tasks["finished_ns"][early], 0
    return judged(whole.evidence())


@pytest.mark.parametrize("name", ["done_p50", "done_p95", "done_p99"])
def test_of_a_summary_alone_no_task_that_was_done_is_never(name: str) -> None:
    found = failing(1e9)
    assert of_summary(found.summary)[name] == measured_of(found).values[name] == math.inf


def test_of_a_summary_alone_what_failed_in_the_warm_up_does_not_count_as_measured() -> None:
    """How many of them were in it is not told: then the percentile is not known, and not infinite."""
    found = failing(2.0)
    assert measured_of(found).values["done_p95"] < 100
    assert math.isnan(of_summary(found.summary)["done_p95"])
    assert of_summary(failing(4.0).summary)["done_p95"] == math.inf
    without = failing(0.0)
    assert of_summary(without.summary)["done_p95"] == pytest.approx(measured_of(without).values["done_p95"], rel=1e-3)


def test_of_a_summary_alone_what_was_perhaps_never_done_is_not_known() -> None:
    """It was put aside, and whether it had been promised nobody knows."""
    summary = failing(4.0).summary
    tasks = summary.tasks.model_copy(update={"never_done_low": 0})
    assert math.isnan(of_summary(summary.model_copy(update={"tasks": tasks}))["done_p95"])


def test_answers_per_second_are_those_of_the_summary_and_of_limits() -> None:
    """Whoever compares, looks into a summary or sets a limit gets the same figure by this name: without the warm-up."""
    whole = Simulated(Setup(seed=1, rate=100.0))
    early = whole.requests["due_ns"] < START_NS + 2 * S
    whole.requests["outcome"][early], whole.requests["status"][early] = Outcome.REJ, 503
    whole.tasks[1] = whole.tasks[1][~np.isin(whole.tasks[1]["op"], whole.requests["op"][early])]
    whole.effects = whole._effects()
    found = judged(whole.evidence())
    assert measured_of(found).values["achieved"] == found.summary.requests.achieved_per_s == pytest.approx(100)
    assert of_summary(found.summary)["achieved"] == found.summary.requests.achieved_per_s
    limit = "achieved>90/s"
    assert judge_evidence(whole.evidence(), {"slos": [limit]}, {"cpus": 2}).summary.slos[0].value == pytest.approx(100)
