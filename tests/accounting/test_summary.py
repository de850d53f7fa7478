"""The summary at its edges: nothing happened, nobody looked, and what a schema must promise."""

from __future__ import annotations

import dataclasses
import json

import pytest

from harness.model import Boot, Evidence, Expectation
from harness.rows import Gauge, Kind
from harness.summary import Summary, build_summary
from harness.text import render

from .cases import CASES
from .memory import row_file
from .world import MS, RUN_TAG, START_NS, Plan, simulate


def nothing() -> Evidence:
    """A server that died before it was ready: no witness wrote anything."""
    return Evidence(
        run_tag=RUN_TAG,
        load_start_ns=START_NS,
        load_end_ns=START_NS,
        planned_requests=10,
        expectation=Expectation(tasks_per_request=1, effects_per_request=1),
        requests=[],
        tasks={},
        effects=[],
        boots=[Boot(boot=1, pid=4, spawned_ns=START_NS - MS, reaped_ns=START_NS - 1, exit_status=3)],
    )


def test_a_run_in_which_nothing_happened_has_a_summary_and_is_no_pass() -> None:
    summary = build_summary(nothing(), {}, {})

    assert summary.verdict == "INCONCLUSIVE"
    assert summary.requests.response_ms.p50 is None
    assert any("never became ready" in reason for reason in summary.reasons)
    assert "none was given" in render(summary)


@pytest.mark.parametrize("empty", [Kind.REQUESTS, Kind.TASKS, Kind.EFFECTS])
def test_an_empty_file_is_no_error(empty: Kind) -> None:
    run = CASES["killed"]()
    without = {
        Kind.REQUESTS: lambda: dataclasses.replace(run, requests=[row_file(Kind.REQUESTS, [])]),
        Kind.TASKS: lambda: dataclasses.replace(run, tasks={boot: [row_file(Kind.TASKS, [], boot=boot)] for boot in run.tasks}),
        Kind.EFFECTS: lambda: dataclasses.replace(run, effects=[row_file(Kind.EFFECTS, [])]),
    }[empty]()
    summary = build_summary(without, {}, {})

    assert summary.verdict == "INCONCLUSIVE"
    assert render(summary)


def test_a_boot_that_still_runs_is_not_compared_with_its_own_counters() -> None:
    """Its page and its rows were read at different times; its open tasks are awaited, not lost."""
    run = CASES["killed"]()
    boots = [run.boots[0], dataclasses.replace(run.boots[1], reaped_ns=None, signalled_ns=None, signal=None, exit_status=None)]
    file = dataclasses.replace(run.tasks[2][0], closed_ns=0, gauges=(0,) * len(run.tasks[2][0].gauges))
    alive = dataclasses.replace(run, boots=boots, tasks={1: run.tasks[1], 2: [file]})

    assert build_summary(alive, {}, {}).verdict == "PASS"


def test_the_loop_is_summarised_from_the_samples_that_were_taken() -> None:
    """Blocked for as long as there was between a sample that was late by 100 ms or more and the one before."""
    run = CASES["calm"]()
    lags_ms = (1, 1, 250, 480, 1)
    samples = [{"t_ns": START_NS + number * 50 * MS, "boot": 1, "loop_lag_ns": lag * MS} for number, lag in enumerate(lags_ms)]
    loop = build_summary(dataclasses.replace(run, gauges=row_file(Kind.GAUGES, samples)), {}, {}).loop

    assert loop is not None
    assert (loop.lag_ms.p50, loop.lag_ms.max, loop.blocked_s) == (1.0, 480.0, 0.1)
    assert build_summary(run, {}, {}).loop is None


def test_threads_that_endpoints_hold_count_where_they_share_the_pool_with_tasks() -> None:
    """Rows know of tasks alone: what was sampled says more. A dead server's page goes on showing what it showed last."""
    run = CASES["calm"]()
    (boot,), file = run.boots, run.tasks[1][0]
    assert boot.reaped_ns is not None
    busy = {0: 1, 50: 8, 100: 8, 150: 2}
    samples = [{"t_ns": START_NS + at * MS, "boot": 1, "pool_size": 8, "pool_busy": n} for at, n in busy.items()]
    samples.append({"t_ns": boot.reaped_ns + 1, "boot": 1, "pool_size": 8, "pool_busy": 99})
    sampled = dataclasses.replace(run, gauges=row_file(Kind.GAUGES, samples))
    gauges = tuple(1 if gauge == Gauge.SHARED_POOL else file.gauges[gauge] for gauge in range(len(file.gauges)))
    shared = dataclasses.replace(sampled, tasks={1: [dataclasses.replace(file, gauges=gauges)]})

    own_pool, shared_pool = (build_summary(each, {}, {}).pool for each in (sampled, shared))

    assert own_pool is not None
    assert shared_pool is not None
    assert (own_pool.busy_max < 8, own_pool.saturated_s) == (True, 0.0)
    assert (shared_pool.busy_max, shared_pool.saturated_s) == (8, 0.1)


@pytest.mark.parametrize("case", CASES)
def test_the_json_has_no_infinity_and_comes_back_the_same(case: str) -> None:
    text = build_summary(CASES[case](), {"scenario": "email", "pool": 8}, {"python": "3.11"}).model_dump_json()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse)["schema_version"] == 1
    assert Summary.model_validate_json(text).model_dump_json() == text


def test_whoever_waited_for_a_connection_in_vain_is_in_every_percentile_and_was_promised_nothing() -> None:
    """Most of them wait until their time is up while the server answers the others at once: no limit on the response holds."""
    evidence = simulate(Plan(n_requests=600, unconnected=0.6, pool=8, run_ms=1.0, seed=4)).evidence
    limits = ["p50<1s", "p99<1s", "max<1h", "p95<1s@1s", "error_rate<1%"]
    summary = build_summary(evidence, {"slos": limits, "allow": ["few-samples"]}, {})
    requests = summary.requests

    assert (summary.verdict, summary.trusted) == ("FAIL", True)
    assert [slo.holds for slo in summary.slos] == [False] * len(limits)
    assert 200 < requests.unconnected == requests.rejected == requests.response_ms.n_never
    assert (requests.response_ms.n, requests.response_ms.p99, requests.service_ms.p99) == (600, None, None)
    assert (requests.indeterminate, summary.tasks.broken_promises, requests.unanswered_while_up) == (0, 0, 0)
    assert [each.id for each in summary.findings if each.severity == "critical"] == ["connections-timed-out"]
    assert set(summary.timeline.response_p95_ms) == {None}
    assert summary.routes[0].response_ms.n == 600
    assert f"0 refused + {requests.unconnected} without a connection in time" in render(summary, width=120)


def test_whoever_was_refused_at_once_is_in_no_percentile() -> None:
    """A server that is not there says so: that is counted, and no duration."""
    evidence = simulate(Plan(n_requests=200, kills=(("SIGKILL", 300.0),), restart_ms=300.0, seed=4)).evidence
    requests = build_summary(evidence, {}, {}).requests

    assert requests.rejected > 50
    assert (requests.unconnected, requests.response_ms.n) == (0, 200 - requests.rejected)


def test_the_states_of_the_summary_add_up_to_what_was_accepted() -> None:
    tasks = build_summary(CASES["killed"](), {}, {}).tasks
    ended = tasks.finished + tasks.failed + tasks.skipped + tasks.rejected + tasks.discarded
    assert tasks.accepted == ended + tasks.interrupted + tasks.never_started + tasks.awaiting
    assert tasks.effects == tasks.effects_finished + tasks.effects_interrupted
