"""Runs that were made before: what differs, what can be said of one run each, and which cannot be compared at all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.made import make_run
from harness.compare.alike import differing_keys, doubts_of, labels_of, unlike
from harness.compare.pairing import Given, compare_pair, compare_runs
from harness.compare.quantities import QUANTITIES, measured_of, of_summary
from harness.compare.record import Comparison, FigureRecord
from harness.compare.text import overview, render
from harness.compare.within import Durations, ratios_within
from harness.evidence import judged_run
from harness.summary import Judged, judge_evidence
from tests.verdict.simulated import MS, START_NS, S, Setup, Simulated


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return judged_run(make_run(tmp_path_factory.mktemp("made") / "slow", 6_000, for_s=20.0))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return judged_run(make_run(tmp_path_factory.mktemp("made") / "again", 6_000, for_s=20.0, seed=2))


def figure(comparison: Comparison, name: str) -> FigureRecord:
    return next(each for each in comparison.contrasts[0].figures if each.id == name)


def changed(judged: Judged, **plan: object) -> Judged:
    from dataclasses import replace

    return replace(judged, summary=judged.summary.model_copy(update={"plan": {**judged.summary.plan, **plan}}))


def test_figures_are_those_of_the_summary_but_count_what_never_ended(slow: Judged) -> None:
    measured, summary = measured_of(slow), slow.summary
    assert set(measured.values) == set(QUANTITIES)
    assert measured.values["p50"] == pytest.approx(summary.requests.response_ms.p50, abs=1e-3)
    assert measured.values["broken_promises"] == summary.tasks.broken_promises > 0
    assert measured.values["backlog"] == summary.tasks.backlog_max
    # A tenth of the tasks was lost, so the p95 of all that were promised is never.
    assert summary.tasks.done_ms.p95 is not None
    assert measured.values["done_p95"] == math.inf
    assert of_summary(summary)["done_p95"] == math.inf
    assert math.isnan(of_summary(summary)["done_p50"])


def test_tasks_done_are_all_that_ended_in_the_measured_time(slow: Judged) -> None:
    """Also those that were due in the warm-up: the threads work off what it left, and that is work done."""
    spans, evidence = slow.spans, slow.evidence
    from_ns, until_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9), evidence.load_end_ns
    ended_ns = (spans.due_ns + spans.done_ns)[spans.done_ns >= 0]
    inside = (ended_ns >= from_ns) & (ended_ns < until_ns)
    late = inside & (spans.due_ns[spans.done_ns >= 0] < from_ns)

    assert late.sum() > 10
    assert measured_of(slow).values["finished"] == pytest.approx(inside.sum() / ((until_ns - from_ns) / 1e9))


def test_a_run_against_itself_is_equal_in_all_figures(slow: Judged) -> None:
    found = compare_pair(slow, slow)
    assert {each.decision for each in found.contrasts[0].figures} <= {"equal", "none"}


def test_another_run_of_the_same_is_not_called_different(slow: Judged, again: Judged) -> None:
    found = compare_pair(slow, again, names=("one", "two"))
    assert found.kind == "pair"
    assert not any(each.decision == "different" for each in found.contrasts[0].figures)
    assert figure(found, "p95").decision in {"equal", "unclear"}
    assert found.notes[0].startswith("One run each")


def test_a_run_that_answers_twice_as_late_is_seen_to_and_not_more(slow: Judged, again: Judged) -> None:
    base, other = (
        Durations(np.arange(1000) / 50, np.random.default_rng(seed).lognormal(0, 0.3, 1000) * factor, 20.0)
        for seed, factor in ((1, 1.0), (2, 2.0))
    )
    found = ratios_within(base, other, (0.5, 0.95))
    assert all(each.low < 2.0 < each.high for each in found)
    assert all(each.p < 0.05 for each in found)


def test_the_interval_within_two_equal_runs_holds_the_truth() -> None:
    rng = np.random.default_rng(7)

    def run() -> Durations:
        # Each request depends on those of the last fifth of a second.
        noise, n = rng.standard_normal(400), 400
        values = np.empty(n)
        values[0] = noise[0]
        for place in range(1, n):
            values[place] = 0.78 * values[place - 1] + 0.62 * noise[place]
        return Durations(np.arange(n) / 20, 100 * np.exp(0.3 * values), 20.0)

    n_missed = sum(not each.low <= 1 <= each.high for _ in range(40) for each in ratios_within(run(), run(), (0.5,)))
    assert n_missed <= 5


def test_a_run_that_is_too_short_has_no_interval() -> None:
    short = Durations(np.arange(20) / 20, np.full(20, 5.0), 1.0)
    (found,) = ratios_within(short, short, (0.5,))
    assert found.ratio == 1.0
    assert math.isnan(found.low)


def test_a_quantile_that_never_ended_has_no_ratio() -> None:
    never = Durations(np.arange(100) / 10, np.where(np.arange(100) < 80, math.inf, 5.0), 10.0)
    (found,) = ratios_within(never, never, (0.95,))
    assert math.isnan(found.ratio)


def test_without_rows_the_figures_of_the_summary_are_compared(slow: Judged, again: Judged) -> None:
    found = compare_pair(slow.summary, again.summary)
    assert figure(found, "p95").low is None
    assert figure(found, "cpu").decision == "none"
    assert figure(found, "backlog").decision in {"seen", "unclear", "equal"}


def test_several_runs_of_each_are_compared_in_groups(slow: Judged, again: Judged) -> None:
    other = [changed(each, tasks="async", pool=16) for each in (slow, again, slow)]
    found = compare_runs([Given(f"r{number}", each.summary, each) for number, each in enumerate([slow, again, slow, *other])])
    assert found.kind == "runs"
    assert figure(found, "p95").n == 3
    assert figure(found, "p95").low is not None
    assert any("differ in tasks and pool" in note or "differ in pool and tasks" in note for note in found.notes)


def test_runs_are_called_by_what_differs_in_their_plans(slow: Judged) -> None:
    other = changed(slow, tasks="async", settings={"delay": "50ms"}, seed=7)
    summaries = [changed(slow, settings={"delay": "100ms"}).summary, other.summary]
    assert differing_keys(summaries) == ["tasks", "settings.delay"]
    assert labels_of(summaries, ["a", "b"])[1] == "tasks=async delay=50ms"
    assert labels_of([slow.summary, slow.summary], ["a", "b"]) == ["a", "b"]
    # What a plan does not name is what the scenario has, not nothing.
    assert labels_of([summaries[0], changed(slow, settings={}).summary], ["a", "b"]) == ["delay=100ms", "delay=default"]


def test_what_is_not_alike_is_named(slow: Judged) -> None:
    environment = {**slow.summary.environment, "hash": "other", "python": "CPython 3.14.0", "packages": {"fastapi": "9"}}
    other = slow.summary.model_copy(
        update={"environment": environment, "trusted": False, "reasons": ["The generator was late."], "verdict": "INCONCLUSIVE"}
    )
    told = " ".join(doubts_of([slow.summary, other], ["a", "b"]))
    assert "python" in told
    assert "fastapi" in told
    assert "b cannot be trusted: The generator was late." in told
    faster = changed(slow, rate=500.0, tasks="async").summary
    assert "in the load (rate)" in " ".join(doubts_of([slow.summary, faster], ["a", "b"]))


def test_runs_of_different_scenarios_or_models_are_refused(slow: Judged) -> None:
    assert "different scenarios" in (unlike([slow.summary, changed(slow, scenario="cache").summary]) or "")
    closed = slow.summary.model_copy(update={"requests": slow.summary.requests.model_copy(update={"model": "closed"})})
    assert "users that wait" in (unlike([slow.summary, closed]) or "")
    assert unlike([slow.summary, changed(slow, tasks="async").summary]) is None


def test_it_says_in_the_table_that_a_difference_was_only_seen(slow: Judged) -> None:
    faster = slow.summary.model_copy(
        update={
            "tasks": slow.summary.tasks.model_copy(update={"broken_promises": 0, "never_done": 0}),
            "plan": {**slow.summary.plan, "tasks": "async"},
        }
    )
    text = render(compare_pair(slow.summary, faster))
    assert "▸ better\n" in text
    assert "✔ better" not in text
    assert max(map(len, text.splitlines())) <= 80


def shifted(answer_ms: float, seed: int, tasks: str) -> Judged:
    evidence = Simulated(Setup(seed=seed, rate=100.0, answer_ms=answer_ms)).evidence()
    return judge_evidence(evidence, {"scenario": "email", "tasks": tasks}, {"cpus": 2})


def test_what_is_unclear_of_one_run_each_is_not_said_to_be_little() -> None:
    """An interval from half to thousands of times as long says nothing."""
    whole = Simulated(Setup(seed=2, rate=100.0))
    due_s = (whole.requests["due_ns"].astype(np.int64) - START_NS) / S
    slow = np.isin(whole.tasks[1]["op"], whole.requests["op"][(due_s >= 4) & (due_s < 5.2)])
    whole.tasks[1]["finished_ns"][slow] += np.uint64(900 * MS)
    whole.requests["done_ns"] += np.uint64(3 * MS)
    other = judge_evidence(whole.evidence(), {"scenario": "email", "tasks": "async"}, {"cpus": 2})
    found = compare_pair(shifted(4.0, 1, "sync"), other)
    assert figure(found, "done_p95").decision == "unclear"
    assert figure(found, "done_p95").estimate > 10  # type: ignore[operator]
    little, _, unknown = found.contrasts[0].sentence.partition("Nothing can be said of")
    assert "done p95" in unknown
    assert "done p95" not in little


def test_several_runs_of_each_are_not_told_as_one_of_each() -> None:
    sides = [shifted(4.0, seed, tasks) for tasks, seeds in (("sync", (1, 2, 3)), ("async", (4, 5, 6))) for seed in seeds]
    found = compare_runs([Given(f"r{number}", each.summary, each) for number, each in enumerate(sides)])
    said = found.contrasts[0].sentence
    assert "no difference that these runs can show" in said
    assert "runs of each would be needed" in said
    assert "one run each" not in said


def test_the_table_of_all_shows_what_was_only_seen_as_the_others_do() -> None:
    sides = [shifted(4.0, 1, "sync"), shifted(12.0, 2, "async"), shifted(1.5, 3, "blocking")]
    found = compare_runs([Given(f"r{number}", each.summary, each) for number, each in enumerate(sides)])
    head, *rows = overview(found)
    assert [row.split()[-1] for row in rows[1:]] == ["▸", "▸"]
    assert not any(mark in row for row in rows for mark in "✔✖")
    # Nobody broke a promise: a column of zeros would tell nothing.
    assert "broken" not in head
