"""What is known of the work behind requests that came back as histograms: what the server refused is no promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.accounting import account
from harness.evidence import evidence_of
from harness.headline import headline
from harness.model import Counted, CountedLoad, Evidence, Expectation
from harness.report.markdown import markdown
from harness.rows import Gauge, Outcome, RowFile
from harness.schema import Summary
from harness.summary import build_summary
from harness.text import render

from .test_accounting_truth import runs
from .world import START_NS, Plan, Run, simulate

NONE = Counted(np.empty(0, np.int64), np.empty(0, np.int64), 0)


def as_histograms(evidence: Evidence, processes: Collection[int] = (0,)) -> Evidence:
    """The same run, of which some load processes have handed back numbers alone."""
    counted = []
    for number in processes:
        outcome = np.asarray(evidence.requests[number].rows["outcome"])
        acked, rejected = (int(np.count_nonzero(outcome == each)) for each in (Outcome.ACK, Outcome.REJ))
        open_ = len(outcome) - acked - rejected
        counted.append(
            CountedLoad(number, len(outcome), acked, rejected, open_, 0, len(outcome), rejected, NONE, NONE, NONE, NONE)
        )
    rest = [file for number, file in enumerate(evidence.requests) if number not in processes]
    return dataclasses.replace(evidence, requests=rest, counted=counted, n_load_processes=len(evidence.requests))


def run(**changes: Any) -> Evidence:
    return simulate(Plan(**{"n_requests": 300, "gap_ms": 10, "pool": 2, "run_ms": 5, "seed": 2, **changes})).evidence


def seen(file: RowFile) -> RowFile:
    """Its process told of enough requests."""
    return dataclasses.replace(file, gauges=(*file.gauges[: Gauge.REQUESTS], 10_000, *file.gauges[Gauge.REQUESTS + 1 :]))


def of_ones_own(evidence: Evidence) -> Evidence:
    """The same of an app of which nobody says what a request owes."""
    tasks = {boot: [seen(file) for file in files] for boot, files in evidence.tasks.items()}
    return dataclasses.replace(
        evidence, expectation=Expectation(tasks_per_request=0, effects_per_request=0), effects=[], tasks=tasks
    )


def of_a_bundled_scenario(evidence: Evidence) -> Evidence:
    """The same of an app that is known to answer with a 2xx whenever it takes work on, and never when it refuses it."""
    return dataclasses.replace(evidence, expectation=dataclasses.replace(evidence.expectation, answers_are_known=True))


def told(evidence: Evidence, *slos: str) -> Summary:
    return build_summary(evidence, {"scenario": "email", "slos": list(slos)}, {})


def bounds(summary: Summary) -> tuple[int, int, int, int]:
    tasks = summary.tasks
    return tasks.lost_low, tasks.lost, tasks.broken_promises_low, tasks.broken_promises


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs(), chosen=st.sets(st.integers(0, 2), min_size=1))
def test_the_truth_lies_within_the_bounds_whoever_handed_back_histograms(run: Run, chosen: set[int]) -> None:
    """Lost tasks, broken promises and what was never done, against the account of the same run with all rows."""
    exact = account(run.evidence)
    found = account(as_histograms(run.evidence, sorted(each for each in chosen if each < len(run.evidence.requests))))

    assert found.lost_low <= exact.lost_low
    assert found.lost_high >= exact.lost_high
    assert found.broken_promises_low <= exact.broken_promises_low
    assert found.broken_promises_high >= exact.broken_promises_high
    assert found.never_done_low <= exact.never_done_low <= exact.never_done <= found.never_done


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1 << 30), discard=st.floats(0, 0.5), kill_ms=st.integers(100, 600))
def test_of_an_app_that_answers_whatever_it_likes_the_truth_lies_within_the_bounds(
    seed: int, discard: float, kill_ms: int
) -> None:
    """Each answer goes to another request: rejected ones have work that is done, acknowledged ones have none."""
    kills = (("SIGKILL", kill_ms),)
    evidence = run(n_requests=60, discard=discard, queue_limit=5, kills=kills, seed=seed, run_ms=25, processes=2)
    for file in evidence.requests:
        file.rows["outcome"] = np.random.default_rng(seed).permutation(file.rows["outcome"])

    # Also where a scenario of one's own says what it owes.
    for of in (of_ones_own, dataclasses.replace):
        exact, without = account(of(evidence)), dataclasses.replace(of(evidence), requests=evidence.requests[1:])
        lost_machine = dataclasses.replace(without, lost_rows_of=frozenset({0}), n_load_processes=2)
        for found in (account(of(as_histograms(evidence))), account(lost_machine)):
            assert found.lost_low <= exact.lost_low <= exact.lost_high <= found.lost_high
            assert found.broken_promises_low <= exact.broken_promises_low
            assert found.broken_promises_high >= exact.broken_promises_high
            assert found.never_done_low <= exact.never_done_low <= exact.never_done <= found.never_done


@pytest.mark.parametrize(("n_timed_out", "low", "holds"), [(20, 14, False), (34, 0, None)])
def test_promises_are_not_kept_because_others_got_a_504_though_their_tasks_ran(
    n_timed_out: int, low: int, holds: bool | None
) -> None:
    """A gateway of somebody's own gave up: as many were rejected as have tasks that were put aside, and they are not the same."""
    evidence = run(deny=0.1)
    requests, tasks = evidence.requests[0].rows, evidence.tasks[1][0].rows
    is_done = np.isin(requests["op"], tasks["op"][tasks["finished_ns"] != 0])
    requests["outcome"][np.flatnonzero(is_done)[:n_timed_out]] = Outcome.REJ
    rows, histograms = (told(each, "broken_promises==0") for each in (evidence, as_histograms(evidence)))

    assert bounds(rows) == (34, 34, 34, 34)
    assert bounds(histograms) == (low, 34, low, 34)
    assert (rows.slos[0].holds, histograms.slos[0].holds) == (False, holds)


@pytest.mark.parametrize(
    ("plan", "are_known"),
    [
        ({"scenario": "email", "engine": "rust"}, True),
        ({"scenario": "webhook", "engine": "granian"}, True),
        ({"scenario": "./orders.py", "engine": "rust"}, False),
        ({"command": ["uvicorn", "main:app"]}, False),
        ({"command": ["uvicorn", "main:app"], "locustfile": "users.py"}, False),
    ],
)
def test_only_of_bundled_scenarios_it_is_known_whom_they_answer_with_a_2xx(plan: dict[str, Any], are_known: bool) -> None:
    scenario = {"name": "orders", "expects": {"tasks_per_request": 1, "effects_per_request": 1}, "traffic": []}
    found = evidence_of(
        [{"event": "run", "run_tag": 1, "t_ns": START_NS}], {**plan, "for_s": 5.0, "warm_up_s": 1.0}, scenario, []
    )

    assert found.expectation.answers_are_known is are_known


@pytest.mark.parametrize(
    "changes",
    [{"queue_limit": 10, "run_ms": 40}, {"discard": 0.05}, {"discard": 0.05, "kills": (("SIGKILL", 1500),), "seed": 3}],
    ids=["refused", "raised", "raised, and killed"],
)
def test_work_that_was_refused_is_no_promise_also_without_rows_of_the_requests(changes: dict[str, Any]) -> None:
    """As many requests were acknowledged as have work that was taken on: none is left for what was put aside."""
    evidence = of_a_bundled_scenario(run(**changes))
    rows, histograms = (told(each, "lost==0") for each in (evidence, as_histograms(evidence)))

    assert rows.tasks.rejected + rows.tasks.discarded > 5
    assert bounds(histograms)[:2] == bounds(rows)[:2]
    assert [slo.holds for slo in histograms.slos] == [slo.holds for slo in rows.slos]
    if not rows.tasks.lost:
        assert histograms.verdict == rows.verdict == "PASS"
        assert headline(histograms) == headline(rows)


def test_what_was_put_aside_for_more_requests_than_were_rejected_is_a_broken_promise_also_without_rows() -> None:
    """The response had a background of its own: nobody was rejected, and nobody was left without an answer."""
    rows, histograms = (told(each, "broken_promises==0") for each in (run(deny=0.1), as_histograms(run(deny=0.1))))

    assert bounds(histograms) == bounds(rows)
    assert rows.tasks.broken_promises > 10
    assert histograms.tasks.lost_discarded == rows.tasks.lost_discarded
    assert histograms.tasks.never_done == rows.tasks.never_done
    assert (histograms.slos[0].holds, headline(histograms)) == (False, headline(rows))


def test_of_an_app_of_ones_own_discarded_work_is_an_interval_and_no_restart_is_blamed_for_it() -> None:
    """It may answer 400 to a request whose tasks it runs: numbers do not tell whom it rejected."""
    summary = told(of_ones_own(as_histograms(run(discard=0.1, run_ms=15, kills=(("SIGKILL", 1500),)))))
    tasks = summary.tasks
    found = {each.id: each for each in summary.findings}

    left = tasks.lost_queued + tasks.lost_running
    assert (tasks.broken_promises_low, tasks.broken_promises) == (0, left + tasks.discarded)
    assert tasks.discarded > 20 > left > 1
    assert found["restart-lost"].evidence["broken_promises"] == left
    assert f"between 0 and {left} acknowledged tasks were never done" in found["restart-lost"].text
    assert f"between 0 and {left} promises were broken by a restart" in found["move-to-queue"].text
    words = headline(summary)
    assert words.startswith(
        f"Between 0 and {left + tasks.discarded} broken promises: {left} tasks were lost by SIGKILL at 1.5 s ("
    )
    assert f") and {tasks.discarded} tasks were discarded by the server; how many of their requests had been" in words


@pytest.mark.parametrize("kills", [(), (("SIGKILL", 2000.0),)])
def test_no_more_promises_are_broken_than_were_given_and_what_was_refused_is_not_called_discarded(
    kills: tuple[tuple[str, float], ...],
) -> None:
    """An app of one's own refuses most of what it is sent, and a kill takes some of the rest: one task for each request."""
    evidence = as_histograms(run(n_requests=600, pool=1, run_ms=200.0, queue_limit=30, kills=kills))
    summary = told(evidence)
    tasks, words = summary.tasks, headline(summary)
    left = tasks.lost_queued + tasks.lost_running

    assert (tasks.discarded, tasks.broken_promises) == (0, summary.requests.acked)
    assert bool(left) == bool(kills)
    assert words.startswith(f"Between 0 and {summary.requests.acked} broken promises: ")
    assert f"{tasks.rejected} tasks were refused by the server" in words
    assert "discarded" not in words


@pytest.mark.parametrize(("slo", "holds"), [("never_done==0", None), ("never_done<=26", True), ("never_done<27", True)])
def test_work_that_may_have_been_promised_may_never_be_done(slo: str, holds: bool | None) -> None:
    """The headline says that between 0 and 26 promises were broken, and so does every other word and limit."""
    summary = told(as_histograms(run(deny=0.1, unconnected=0.2)), slo)

    assert headline(summary).startswith("Between 0 and 26 broken promises")
    assert (summary.tasks.never_done_low, summary.tasks.never_done) == (0, 26)
    assert (summary.slos[0].low, summary.slos[0].high, summary.slos[0].holds) == (0, 26, holds)
    assert "0 to 26 never done" in render(summary, width=140)
    assert "| 0 to 26 |" in markdown(summary, "run")


def test_of_a_run_with_all_rows_and_of_an_older_summary_it_is_known_how_much_was_never_done() -> None:
    summary = told(run(deny=0.1, unconnected=0.2), "never_done==26")
    old = summary.model_dump()
    del old["tasks"]["never_done_low"]

    assert (summary.tasks.never_done_low, summary.tasks.never_done, summary.slos[0].holds) == (26, 26, True)
    assert Summary.model_validate(old).tasks == summary.tasks


def test_where_not_all_requests_were_seen_what_was_never_done_has_no_upper_bound() -> None:
    evidence = dataclasses.replace(run(n_effects=0, run_ms=15, kills=(("SIGKILL", 1500),)), expectation=Expectation(0, 0))
    summary = told(evidence, "never_done<1000", "never_done<1")

    assert summary.tasks.never_done > 0
    assert [(slo.holds, slo.low, slo.high) for slo in summary.slos] == [
        (None, summary.tasks.never_done_low, None),
        (False, summary.tasks.never_done_low, None),
    ]


def test_tasks_that_were_refused_although_acknowledged_are_told_with_those_that_were_discarded_also_without_rows() -> None:
    """An app that makes a 200 of the server's 503: all of its tasks that were refused, and of a load process half of them."""
    evidence = run(queue_limit=10, run_ms=40, processes=2)
    for file in evidence.requests:
        file.rows["outcome"][file.rows["outcome"] == Outcome.REJ] = Outcome.ACK
    rows, *histograms = (told(each) for each in (evidence, as_histograms(evidence), as_histograms(evidence, (0, 1))))
    (expected,) = [each for each in rows.findings if each.id == "tasks-discarded"]

    assert (rows.tasks.discarded, rows.tasks.rejected) == (0, rows.tasks.lost_discarded)
    assert expected.text.startswith(f"{rows.tasks.rejected} tasks were discarded")
    for summary in histograms:
        assert [each for each in summary.findings if each.id == "tasks-discarded"] == [expected]


def test_of_what_was_put_aside_for_requests_without_rows_so_much_is_promised_at_least() -> None:
    summary = told(as_histograms(run(deny=0.1, discard=0.1, run_ms=25, kills=(("SIGKILL", 1500),))))
    (found,) = [each for each in summary.findings if each.id == "tasks-discarded"]

    assert 0 < summary.tasks.lost_discarded < summary.tasks.discarded
    assert f"The requests of at least {summary.tasks.lost_discarded} of them were acknowledged all the same" in found.text
