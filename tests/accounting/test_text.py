"""The text of the summary: goldens at 80 columns (UPDATE_GOLDEN=1 writes them again), and what must hold at any width."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from harness.headline import headline
from harness.model import Expectation
from harness.report.sums import sums
from harness.rows import DropReason, Gauge
from harness.schema import PoolUse
from harness.summary import Summary, build_summary
from harness.text import render
from harness.textchart import columns_of, nice_ceiling
from harness.wording import counted, duration_ms, duration_s, listed

from .cases import CASES
from .memory import with_task_rows
from .world import Plan, simulate

GOLDEN = Path(__file__).parent / "golden"


@cache
def summary_of(case: str) -> Summary:
    return build_summary(CASES[case](), {"scenario": "email"}, {})


@pytest.mark.parametrize("glyphs", ["blocks", "ascii"])
@pytest.mark.parametrize("case", CASES)
def test_the_text_is_as_it_was_approved(case: str, glyphs: Literal["blocks", "ascii"]) -> None:
    text = render(summary_of(case), width=80, glyphs=glyphs)
    golden = GOLDEN / f"{case}-{glyphs}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [70, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal(case: str, width: int) -> None:
    assert max(len(line) for line in render(summary_of(case), width=width).splitlines()) <= width


@pytest.mark.parametrize("case", CASES)
def test_colour_says_nothing_that_the_text_does_not(case: str) -> None:
    """Without its escape sequences the coloured text is the plain one."""
    colored = render(summary_of(case), color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render(summary_of(case))


def test_the_headline_names_the_number_the_cause_and_the_split() -> None:
    tasks = summary_of("killed").tasks
    assert headline(summary_of("killed")) == (
        f"{tasks.broken_promises} broken promises: acknowledged, then lost by SIGKILL at 6.0 s "
        f"({tasks.broken_promises_queued} queued, {tasks.broken_promises_running} running)."
    )


def own_app(**plan: Any) -> Summary:
    """Of an app of somebody's own, of which nobody knows what to expect."""
    evidence = simulate(Plan(n_effects=0, run_ms=0.5, **plan)).evidence
    files = {
        boot: [dataclasses.replace(file, gauges=(*file.gauges[: Gauge.REQUESTS], 10_000, *file.gauges[Gauge.REQUESTS + 1 :]))]
        for boot, (file,) in evidence.tasks.items()
    }
    return build_summary(
        dataclasses.replace(evidence, expectation=Expectation(0, 0), tasks=files),
        {"command": ["uvicorn"], "slos": ["broken_promises==0", "done_p99<1h"], "allow": ["few-samples"]},
        {},
    )


def test_tasks_that_were_discarded_although_their_request_was_acknowledged_are_broken_promises() -> None:
    """A response with a background of its own: FastAPI drops those that were added, and the client has its 200."""
    summary = own_app(n_requests=60, deny=1.0)
    tasks = summary.tasks

    assert headline(summary) == ("60 broken promises: acknowledged, and discarded by the server, which never ran them.")
    assert (tasks.discarded, tasks.lost, tasks.lost_low, tasks.broken_promises_low, tasks.never_done) == (60,) * 5
    assert [slo.holds for slo in summary.slos] == [False, False]
    assert summary.verdict == "FAIL"
    assert [(each.id, each.severity) for each in summary.findings if each.id == "tasks-discarded"] == [
        ("tasks-discarded", "critical")
    ]
    assert "lost     60 (0 queued, 0 running, 60 discarded), 60 of them acknowledged" in render(summary, width=140)
    assert all(each.adds_up for each in sums(summary))


def test_tasks_that_were_refused_although_their_request_was_acknowledged_are_told_with_them() -> None:
    """An app that makes a 200 of the server's 503: of 60 tasks that were put aside, none was promised less than another."""
    evidence = simulate(Plan(n_requests=60, n_effects=0, run_ms=0.5, deny=1.0)).evidence

    def refuse(rows: Any) -> None:
        rows["reason"][::3] = DropReason.REJECTED

    summary = build_summary(with_task_rows(evidence, 1, refuse), {}, {})
    (told,) = [each for each in summary.findings if each.id == "tasks-discarded"]
    assert (summary.tasks.discarded, summary.tasks.rejected, summary.tasks.lost_discarded) == (40, 20, 60)
    assert told.text.startswith("60 tasks were discarded")
    assert "The requests of 60 of them were acknowledged all the same: broken promises." in told.text


def test_the_headline_counts_what_was_done_and_names_what_was_not() -> None:
    """Requests that were answered with a 500, and those without an answer, were promised nothing: their tasks were not done."""
    refused = own_app(n_requests=60, discard=0.3, seed=3)
    killed = own_app(n_requests=100, gap_ms=1.0, kills=(("SIGKILL", 50.4),), seed=6)

    done, thrown = refused.tasks.finished, refused.tasks.discarded
    assert thrown > 5
    assert headline(refused) == (
        f"No promise was broken: {done} of 60 background tasks were done; the requests of the others were not acknowledged"
        f" ({thrown} discarded)."
    )
    lost = killed.tasks.interrupted + killed.tasks.never_started
    assert (lost, killed.tasks.broken_promises) == (1, 0)
    assert f"{killed.tasks.finished} of {killed.tasks.accepted} background tasks were done" in headline(killed)
    assert "(1 lost)" in headline(killed)


def test_what_was_interrupted_after_its_effect_is_not_lost_in_the_headline() -> None:
    kills = (("SIGKILL", 1500.0),)
    plan = Plan(n_requests=300, gap_ms=10, pool=8, run_ms=50, fail=0.05, stop_on_error=False, kills=kills, restart_ms=200, seed=7)
    summary = build_summary(simulate(plan).evidence, {"scenario": "email"}, {"cpus": 2})
    tasks = summary.tasks
    assert (tasks.interrupted, tasks.lost, tasks.failed) == (4, 0, 12)
    assert headline(summary) == "No promise was broken through 1 restart, but not all the work was done: 12 failed."


def test_a_missing_witness_leaves_an_interval_in_the_headline() -> None:
    tasks = summary_of("falls-behind").tasks
    assert tasks.broken_promises_low != tasks.broken_promises
    assert headline(summary_of("falls-behind")).startswith(
        f"Between {tasks.broken_promises_low} and {tasks.broken_promises} broken"
    )


def test_the_schema_can_be_written_and_has_no_field_without_a_type() -> None:
    schema = Summary.model_json_schema()
    assert schema["title"] == "Summary"
    wanted = {"verdict", "reasons", "plan", "environment", "requests", "tasks", "pool", "loop", "generator", "boots"}
    assert wanted | {"invariants", "timeline", "schema_version"} <= schema["properties"].keys()


@pytest.mark.parametrize(
    ("value_ms", "words"),
    [
        (0.0, "0.00 ms"),
        (0.8249, "0.82 ms"),
        (3.1, "3.10 ms"),
        (9.996, "10.0 ms"),
        (99.96, "100 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (1240, "1.24 s"),
        (599_000, "599 s"),
        (725_000, "12 min 5 s"),
        (7_260_000, "2 h 1 min"),
        (None, "never"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_fits(value_ms: float | None, words: str) -> None:
    assert duration_ms(value_ms) == words
    assert duration_s(None if value_ms is None else value_ms / 1e3) == words


def test_what_never_ended_took_for_ever_and_is_never_told_as_unknown() -> None:
    """As p95 is where more than a twentieth was not answered."""
    assert duration_ms(math.inf, none="unknown") == duration_s(math.inf, none="unknown") == "never"


def test_numbers_and_lists_in_words() -> None:
    assert (counted(1, "task"), counted(1204, "task"), counted(2, "reply", "replies")) == ("1 task", "1,204 tasks", "2 replies")
    assert [listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [nice_ceiling(value) for value in (0.3, 1, 1.1, 3, 41, 98, 100)] == [0.4, 1, 2, 4, 50, 100, 100]


def test_the_line_of_a_kill_stands_where_its_server_was_gone() -> None:
    """Where a column ends between signal and reaping, the column after the line must not show the backlog of a dead server."""
    summary = summary_of("killed")
    column_s = columns_of(summary, 60).column_s
    boot = summary.boots[0].model_copy(update={"signalled_s": 5 * column_s - 0.001, "died_s": 5 * column_s + 0.001})
    summary = summary.model_copy(update={"boots": [boot, *summary.boots[1:]]})

    columns = columns_of(summary, 60)

    assert [mark.column for mark in columns.faults] == [5]


@pytest.mark.parametrize(
    ("busy_max", "size", "saturated_s", "said"),
    [
        (8, 8, 2.0, "8/8 threads busy for 2.00 s of 6.00 s"),
        (5, 8, 0.0, "at most 5 of 8 threads busy: never saturated"),
        # Squeezed to fewer, or with those of two servers in the middle of a rolling restart.
        (6, 8, 2.0, "at most 6 of 8 threads busy; for 2.00 s of 6.00 s all that there were then"),
        (
            24,
            16,
            2.0,
            "at most 24 threads busy; the size is 16, and was more for a while; for 2.00 s of 6.00 s all that there were then",
        ),
    ],
)
def test_a_pool_is_called_full_with_as_many_threads_as_there_were(
    busy_max: int, size: int, saturated_s: float, said: str
) -> None:
    summary = summary_of("killed")
    pool = PoolUse(size=size, busy_max=busy_max, saturated_s=saturated_s, lived_s=6.0)
    told = render(summary.model_copy(update={"pool": pool}))
    assert said in " ".join(told.split())
