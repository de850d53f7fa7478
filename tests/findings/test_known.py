"""Simulated runs with one thing planted in each: it is found, with the right figures, and healthy ones have no findings."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from harness.accounting import account
from harness.findings import CATALOGUE
from harness.grouping import key_of
from harness.model import Evidence, Fault, Note, Throttling
from harness.rows import ROW_TYPES, Gauge, Kind, RowFile, TaskKind
from harness.schema import Finding
from harness.summary import build_summary
from harness.text import render

from ..accounting.cases import CASES
from ..accounting.memory import edit_rows, row_file, with_task_rows
from ..accounting.test_accounting_truth import runs
from ..accounting.test_several_writers import spread
from ..accounting.world import MS, START_NS, Plan, Run, simulate

SAMPLE_NS = 50 * MS


def findings(evidence: Evidence, cpus: int = 4, **plan: Any) -> dict[str, Finding]:
    return {each.id: each for each in build_summary(evidence, {"engine": "rust", **plan}, {"cpus": cpus}).findings}


def calm(**changes: Any) -> Evidence:
    """Eight threads that are busy for a quarter of the time."""
    return simulate(
        Plan(**{"n_requests": 600, "gap_ms": 10, "pool": 8, "run_ms": 20, "seed": 5, "warm_up_ms": 1000, **changes})
    ).evidence


def with_gauges(evidence: Evidence, boot: int = 1, seconds: float = 6.0, **columns: Callable[[np.ndarray], Any]) -> Evidence:
    """Samples every 50 ms: each column is a function of the time in s."""
    t_s = np.arange(0, seconds, SAMPLE_NS / 1e9)
    rows = np.zeros(len(t_s), ROW_TYPES[Kind.GAUGES])
    rows["t_ns"] = START_NS + (t_s * 1e9).astype(np.uint64)
    rows["boot"] = boot
    rows["server_rss_bytes"] = 60_000_000
    for name, of in columns.items():
        rows[name] = of(t_s)
    return dataclasses.replace(evidence, gauges=row_file(Kind.GAUGES, rows))


def with_gauge(file: RowFile, gauge: Gauge, value: int) -> RowFile:
    values = list(file.gauges)
    values[gauge] = value
    return dataclasses.replace(file, gauges=tuple(values))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("signal", [None, "SIGTERM"])
def test_a_server_with_room_to_spare_has_no_findings(seed: int, signal: str | None) -> None:
    kills = () if signal is None else ((signal, 3000),)
    assert findings(calm(seed=seed, kills=kills, drain_ms=500)) == {}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs())
def test_whatever_happens_findings_can_be_read_looked_up_and_written(run: Run) -> None:
    known = {entry.id: entry for entry in CATALOGUE}
    found = build_summary(run.evidence, {"engine": "rust"}, {"cpus": 2}).findings

    for each in found:
        assert each.severity in known[each.id].severities
        assert not re.search(r"\b(nan|inf|None)\b", each.text + each.next), each
        assert each.text.endswith(".")
        assert json.loads(json.dumps(each.evidence, allow_nan=False)) == each.evidence
    # One for each restart, where there were several of the kind.
    assert len({(each.id, each.evidence.get("boot")) for each in found}) == len(found)
    graveness = [("critical", "warning", "info").index(each.severity) for each in found]
    assert graveness == sorted(graveness)


def test_an_interrupted_run_does_not_blame_the_server_for_its_hurried_end() -> None:
    ended = simulate(Plan(n_requests=300, gap_ms=10, pool=2, run_ms=80, kills=(("SIGTERM", 2000),), drain_ms=50, seed=2)).evidence

    assert "grace-too-short" in findings(ended)
    assert not findings(dataclasses.replace(ended, interrupted_by="SIGINT")).keys() & {"grace-too-short", "drain-too-long"}


def test_each_restart_is_told_with_what_it_cost_and_not_with_what_another_one_did() -> None:
    """A kill in the middle, and a deploy that gives up what is left; neither has a time by which all was done."""
    kills = (("SIGSTOP", 1000), ("SIGTERM", 3500))
    ended = simulate(
        Plan(n_requests=300, gap_ms=10, pool=2, run_ms=80, kills=kills, restart_ms=300, drain_ms=50, seed=2)
    ).evidence
    boots = {each.boot: each for each in account(ended).boots}
    found = findings(ended)
    killed, given_up = found["restart-lost"], found["grace-too-short"]

    left = boots[1].queued_at_death + boots[1].running_at_death
    assert boots[2].queued_at_death + boots[2].running_at_death > 20
    assert killed.evidence["restarts"][0]["queued"] == boots[1].queued_at_death
    assert left - boots[1].running_at_death <= killed.evidence["lost"] <= left
    assert killed.evidence["broken_promises"] <= killed.evidence["lost"]
    assert account(ended).lost > killed.evidence["lost"]
    assert given_up.evidence["queued"] == boots[2].queued_at_death
    assert build_summary(ended, {}, {}).tasks.drain_s is None
    assert "drain-too-long" not in found


def without_one_process(evidence: Evidence, at_ms: float) -> Evidence:
    """One of two processes of the first boot was replaced at an instant; what it had not done by then was never done."""
    evidence = spread(evidence, 2, 1)
    gone, stays = evidence.tasks[1]
    at_ns = START_NS + round(at_ms * MS)

    def edit(rows: np.ndarray) -> np.ndarray:
        rows = rows[rows["accepted_ns"] < at_ns]
        for name in ("started_ns", "finished_ns", "failed_ns", "dropped_ns"):
            rows[name][rows[name] > at_ns] = 0
        rows["reason"][rows["dropped_ns"] == 0] = 0
        return rows

    kept = edit_rows(gone, edit)
    done = kept.rows["finished_ns"] != 0
    keys = key_of(gone.rows["op"], gone.rows["index"])
    left = keys[~np.isin(keys, key_of(kept.rows["op"], kept.rows["index"])[done])]
    fault = Fault("workers", at_ms / 1e3, at_ns, 1, effect="replaces", ended_ns=at_ns + 1, receipt={"replaced": [gone.pid]})
    return dataclasses.replace(
        evidence,
        tasks={**evidence.tasks, 1: [kept, stays]},
        effects=[
            edit_rows(file, lambda rows: rows[~np.isin(key_of(rows["op"], rows["index"]), left)]) for file in evidence.effects
        ],
        boots=[dataclasses.replace(evidence.boots[0], worker_deaths=((gone.pid, at_ns),)), *evidence.boots[1:]],
        faults=[fault],
    )


def test_what_a_process_cost_is_not_what_the_end_of_its_server_gave_up() -> None:
    plan = Plan(n_requests=300, gap_ms=10, pool=2, run_ms=80, kills=(("SIGTERM", 3500),), restart_ms=300, drain_ms=50, seed=2)
    ended = without_one_process(simulate(plan).evidence, 1505)
    found = findings(ended)
    crashed, given_up = found["restart-lost"].evidence, found["grace-too-short"].evidence

    (restart,) = crashed["restarts"]
    assert restart["queued"] > 20
    assert crashed["lost"] == restart["queued"] + restart["running"]
    assert given_up["queued"] > 50
    assert crashed["lost"] + given_up["queued"] + given_up["running"] == pytest.approx(account(ended).lost, abs=3)


def test_work_is_done_after_the_load_whatever_a_process_that_died_in_it_left() -> None:
    """And not, if one dies after it."""
    calm = simulate(Plan(n_requests=300, gap_ms=10, pool=2, run_ms=19, seed=2)).evidence
    died = without_one_process(calm, 1505)

    assert account(died).lost > 0
    assert build_summary(died, {}, {}).tasks.drain_s is not None
    (boot,) = died.boots
    worker_deaths = tuple((pid, died.load_end_ns + MS) for pid, _ in boot.worker_deaths)
    later = dataclasses.replace(died, boots=[dataclasses.replace(boot, worker_deaths=worker_deaths)])
    assert build_summary(later, {}, {}).tasks.drain_s is None


def test_of_one_kill_all_that_was_lost_is_told() -> None:
    killed = CASES["killed"]()
    assert findings(killed)["restart-lost"].evidence["lost"] == account(killed).lost > 0


def test_at_the_advised_number_of_threads_they_are_in_use_for_three_quarters_at_most() -> None:
    for pool in (2, 3, 4):
        found = findings(simulate(Plan(n_requests=900, gap_ms=10, pool=pool, run_ms=80, seed=3)).evidence)
        figures = found["pool-saturated"].evidence
        use = figures["offered_per_s"] * figures["mean_run_ms"] / 1e3 / figures["threads_needed"]

        assert use <= 0.75 < use * figures["threads_needed"] / (figures["threads_needed"] - 1)
        assert figures["offered_per_s"] == pytest.approx(100, rel=0.02)
        assert figures["mean_run_ms"] == pytest.approx(80, rel=0.15)


@pytest.mark.parametrize(
    ("server_cpu", "load_cpu", "cpus", "limit"),
    [(0.2, 0.1, 4, "threads"), (0.97, 0.1, 4, "gil"), (1.7, 0.2, 2, "cores"), (0.3, 1.6, 2, "threads")],
)
def test_what_the_threads_lack_is_told_by_what_the_processes_used(
    server_cpu: float, load_cpu: float, cpus: int, limit: str
) -> None:
    behind = simulate(Plan(n_requests=600, gap_ms=10, pool=2, run_ms=80, seed=3)).evidence
    used = with_gauges(behind, server_cpu_ns=lambda t: t * server_cpu * 1e9 + 1, load_cpu_ns=lambda t: t * load_cpu * 1e9)
    found = findings(used, cpus)

    assert found["pool-saturated"].evidence["limit"] == limit
    assert ("--pool" in found["pool-saturated"].next) == (limit == "threads")


def test_tasks_that_take_longer_the_more_of_them_run_lack_something_else_than_threads() -> None:
    """In every other second eight share one lock, and each takes eight times as long as alone."""

    def contend(rows: np.ndarray) -> None:
        for place, row in enumerate(np.argsort(rows["accepted_ns"])):
            together, wait_ms = (8, 150) if place // 100 % 2 else (1, 1)
            rows["started_ns"][row] = rows["accepted_ns"][row] + np.uint64(wait_ms * MS)
            rows["finished_ns"][row] = rows["started_ns"][row] + np.uint64(10 * MS * together)

    evidence = with_task_rows(
        simulate(Plan(n_requests=1000, gap_ms=10, pool=8, run_ms=10, seed=3, n_effects=0)).evidence, 1, contend
    )
    found = findings(evidence)["pool-saturated"]

    assert found.evidence["limit"] == "world"
    assert found.evidence["few_run_ms"] == pytest.approx(10, rel=0.1)
    assert found.evidence["many_run_ms"] == pytest.approx(80, rel=0.1)
    assert "More threads may not help" in found.next


def test_work_that_the_app_cancels_is_neither_a_failure_nor_a_loss_of_its_server() -> None:
    """Told once, as what it is: whether it ran or waited, no restart is charged with it, and nothing is said to have raised."""
    ended = calm(cancel=0.5, kills=(("SIGTERM", 3000),), drain_ms=500)
    whole, found = account(ended), findings(ended)
    told = found.pop("tasks-cancelled")

    assert min(whole.cancelled_running, whole.cancelled_queued) > 100
    assert told.evidence["running"] == whole.cancelled_running == whole.failed
    assert told.evidence["queued"] == whole.cancelled_queued == whole.skipped
    assert (told.severity, found, whole.lost, whole.broken_promises) == ("warning", {}, 0, 0)
    assert told.evidence["of_requests"] == whole.cancelled


def test_what_the_app_has_started_with_asyncio_it_may_cancel_without_a_warning() -> None:
    def spawn(rows: np.ndarray) -> None:
        rows["kind"] = TaskKind.SPAWNED

    told = findings(with_task_rows(calm(cancel=0.5), 1, spawn))["tasks-cancelled"]
    assert (told.severity, told.evidence["of_requests"]) == ("info", 0)


def test_tasks_behind_one_that_was_cancelled_are_told_with_what_stopped_them() -> None:
    found = findings(calm(cancel=0.2, n_tasks=3, n_effects=3))

    assert "because an earlier one of the same request was cancelled." in found["tasks-skipped"].text
    assert "tasks-failed" not in found


def test_effects_that_arrive_twice_are_counted() -> None:
    run = calm()
    (file,) = run.effects
    again = np.concatenate([file.rows, file.rows[:7]])
    again["arrived_ns"][-7:] += np.uint64(1)
    found = findings(dataclasses.replace(run, effects=[row_file(Kind.EFFECTS, again)]))

    assert found["effects-duplicated"].evidence == {"duplicated": 7, "effects": len(again)}
    assert "7 effects arrived although they had arrived before" in found["effects-duplicated"].text


def test_work_that_was_done_without_an_answer_wants_an_idempotency_key() -> None:
    run = calm()
    rows = np.array(run.requests[0].rows)
    rows["outcome"][10:14], rows["error"][10:14], rows["status"][10:14] = 3, 4, 0
    found = findings(dataclasses.replace(run, requests=[row_file(Kind.REQUESTS, rows)]))

    assert found["work-unconfirmed"].evidence == {"recovered": 4, "indeterminate": 4}
    assert "Idempotency-Key" in found["work-unconfirmed"].next


def test_memory_that_grows_with_what_is_pending_is_told_by_the_task() -> None:
    """Two thousand more pending every second, 10 kB each."""
    grown = with_gauges(calm(), accepted=lambda t: 2000 * t, server_rss_bytes=lambda t: 60e6 + 10_000 * 2000 * t)
    found = findings(grown)

    assert found["memory-grows"].evidence["bytes_per_pending"] == pytest.approx(10_000, rel=0.01)
    assert "10 kB" in found["memory-grows"].text


def test_memory_that_grows_with_what_was_done_is_a_leak() -> None:
    """100 tasks each second leave 100 kB each."""
    leaking = with_gauges(
        calm(), accepted=lambda t: 100 * t, finished=lambda t: 100 * t, server_rss_bytes=lambda t: 60e6 + 10e6 * t
    )
    found = findings(leaking)

    assert found["memory-leaks"].evidence["grown_bytes"] / found["memory-leaks"].evidence["tasks_ended"] == pytest.approx(
        1e5, rel=0.05
    )


def test_memory_that_levels_off_is_none() -> None:
    filled = with_gauges(
        calm(),
        accepted=lambda t: 100 * t,
        finished=lambda t: 100 * t,
        server_rss_bytes=lambda t: 60e6 + 80e6 * (1 - np.exp(-t)),
    )
    assert findings(filled) == {}


def test_a_drain_longer_than_the_grace_of_a_pod_is_told_with_how_much_may_be_pending() -> None:
    """250 tasks too many of 250 ms for one thread: 40 s and more after the last request."""
    found = findings(simulate(Plan(n_requests=300, gap_ms=20, pool=1, run_ms=250, seed=2)).evidence)
    figures = found["drain-too-long"].evidence

    assert figures["drain_s"] > 40
    assert figures["capacity_per_s"] == pytest.approx(4, rel=0.2)
    assert figures["most_pending"] == pytest.approx(4 * 30 * 0.8, rel=0.2)
    assert "terminationGracePeriodSeconds" in found["drain-too-long"].next


def test_workers_with_very_different_shares_are_told() -> None:
    run = calm()
    (file,) = run.tasks[1]
    rows = np.array(file.rows)
    parts = [dataclasses.replace(file, pid=pid, rows=part, claimed=len(part)) for pid, part in ((1, rows[:450]), (2, rows[450:]))]
    even = [dataclasses.replace(file, pid=pid, rows=part, claimed=len(part)) for pid, part in ((1, rows[:320]), (2, rows[320:]))]

    assert findings(dataclasses.replace(run, tasks={1: parts}))["workers-uneven"].evidence["tasks"] == [450, 150]
    assert "workers-uneven" not in findings(dataclasses.replace(run, tasks={1: even}))


def test_one_function_that_has_nearly_all_the_time_is_named() -> None:
    def two(rows: np.ndarray) -> None:
        rows["func"] = np.arange(len(rows)) % 2
        quick = rows["func"] == 0
        rows["finished_ns"][quick] = rows["started_ns"][quick] + np.uint64(MS)

    run = with_task_rows(simulate(Plan(n_requests=600, gap_ms=10, pool=2, run_ms=60, seed=3)).evidence, 1, two)
    named = dataclasses.replace(run, tasks={1: [dataclasses.replace(run.tasks[1][0], names=("tidy", "resize"))]})
    found = findings(named)["one-function-dominates"]

    assert found.evidence["function"] == "resize"
    assert found.evidence["share"] > 0.9
    assert found.text.startswith("resize has 9")


def test_who_held_the_loop_is_not_told_twice() -> None:
    """The probe's own note is better than what the beats show."""
    note = Note(1, 1, "blocked", "", t_ns=START_NS + 2 * 10**9, blocked_ms=700, function="resize", file="shop.py", line=7)
    late = with_gauges(calm(), loop_lag_ns=lambda t: np.where((t > 2.5) & (t < 2.6), 0.6e9, 0))

    assert findings(dataclasses.replace(late, notes=[note]))["loop-blocked"].evidence["function"] == "resize"
    assert findings(late)["loop-blocked"].evidence["blocked_ms"] == pytest.approx(600, abs=60)


def test_a_loop_that_is_late_while_its_server_is_dead_is_nobodys_fault() -> None:
    killed = calm(kills=(("SIGSTOP", 3000),), restart_ms=500)
    late = with_gauges(killed, loop_lag_ns=lambda t: np.where(t > 3.0, (t - 3.0) * 1e9, 0))

    assert "loop-blocked" not in findings(late)


def answered_late(evidence: Evidence, from_s: float, until_s: float, late_ms: float) -> Evidence:
    """Requests that were due then are answered later."""
    rows = evidence.requests[0].rows.copy()
    due_s = (rows["due_ns"].astype(np.int64) - START_NS) / 1e9
    rows["done_ns"][(due_s >= from_s) & (due_s < until_s)] += np.uint64(late_ms * MS)
    return dataclasses.replace(evidence, requests=[dataclasses.replace(evidence.requests[0], rows=rows)])


def test_what_was_due_while_a_server_was_stopped_does_not_hide_that_endpoints_wait_for_threads() -> None:
    """Two seconds of waiting for threads, and a stop, whose requests say nothing of threads."""
    quiet = calm(n_effects=0)
    shared = dataclasses.replace(quiet, tasks={1: [with_gauge(quiet.tasks[1][0], Gauge.SHARED_POOL, 1)]})
    full = {
        "pool_busy": lambda t: np.where((t >= 2) & (t < 4), 8, 1),
        "pool_waiting": lambda t: np.where((t >= 2) & (t < 4), 5, 0),
    }
    starved = with_gauges(answered_late(shared, 2.0, 4.0, 300), pool_size=lambda t: np.full(len(t), 8), **full)
    stop = Fault("stop", 4.5, START_NS + 4_500 * MS, 1, effect="lasts", length_s=0.8, ended_ns=START_NS + 5_300 * MS)
    stopped = dataclasses.replace(answered_late(starved, 4.5, 5.3, 900), faults=[stop])

    plain, found = (findings(each)["endpoints-starved"].evidence for each in (starved, stopped))
    assert plain["full_s"] == found["full_s"] == pytest.approx(2.0, abs=0.06)
    assert plain["response_p95_free_ms"] < 20
    assert found["response_p95_free_ms"] == pytest.approx(plain["response_p95_free_ms"], rel=0.3)


def test_what_a_fault_that_lasts_does_is_not_found_as_something_wrong_with_the_server() -> None:
    """Stopped for a second and a half: its loop is late, and tasks take long."""
    landed, ended = START_NS + 2 * 10**9, START_NS + 3_500_000_000
    stop = Fault("stop", 2.0, landed, 1, effect="lasts", length_s=1.5, ended_ns=ended)

    def hold(rows: np.ndarray) -> None:
        for name in ("started_ns", "finished_ns"):
            inside = (rows[name] >= landed) & (rows[name] < ended)
            rows[name][inside] = ended + np.arange(int(inside.sum())) * 1000

    held = with_task_rows(calm(n_effects=0), 1, hold)
    late = with_gauges(held, loop_lag_ns=lambda t: np.where((t > 2.0) & (t < 3.5), (t - 2.0) * 1e9, 0))
    note = Note(1, 1, "blocked", "", t_ns=landed + 1000, blocked_ms=1500, function="wait", file="x.py", line=1)

    assert "loop-blocked" in findings(late)
    assert findings(dataclasses.replace(late, faults=[stop])) == {}
    assert "loop-blocked" in findings(dataclasses.replace(held, notes=[note]))
    assert findings(dataclasses.replace(held, notes=[note], faults=[stop])) == {}


def test_async_tasks_that_pile_up_are_told_though_no_pool_is_full() -> None:
    """Nothing limits how many run at once: each of these takes longer than the one before."""

    def pile(rows: np.ndarray) -> None:
        rows["kind"] = TaskKind.ASYNC
        since = (rows["accepted_ns"] - np.uint64(START_NS)).astype(np.int64)
        rows["started_ns"] = rows["accepted_ns"] + np.uint64(MS)
        rows["finished_ns"] = rows["started_ns"] + (since // 2).astype(np.uint64) + np.uint64(MS)

    run = with_task_rows(calm(n_effects=0), 1, pile)
    found = findings(dataclasses.replace(run, tasks={1: [with_gauge(run.tasks[1][0], Gauge.POOL_SIZE, 0)]}))

    assert found["backlog-grows"].evidence["accepted_per_s"] == pytest.approx(100, rel=0.02)
    assert found["backlog-grows"].evidence["ended_per_s"] == pytest.approx(67, rel=0.05)
    assert "pool-saturated" not in found


def test_a_run_that_nobody_saw_into_has_no_findings_about_what_was_inside() -> None:
    unseen = dataclasses.replace(
        calm(),
        tasks={},
        effects=[],
        expectation=dataclasses.replace(calm().expectation, tasks_per_request=0, effects_per_request=0),
    )

    assert set(findings(unseen)) == {"server-unseen"}


def test_the_text_shows_the_first_eight_with_what_to_try_and_says_how_many_there_are() -> None:
    summary = build_summary(calm(), {}, {})
    made = [Finding(id="refusals", severity="info", text=f"Finding {n}.", evidence={}, next=f"Try {n}.") for n in range(11)]
    text = render(summary.model_copy(update={"findings": made}))

    assert [line.strip() for line in text.splitlines() if "Finding " in line] == [f"· Finding {n}." for n in range(8)]
    assert [line.strip() for line in text.splitlines() if "Try " in line] == [f"→ Try {n}." for n in range(8)]
    assert "and 3 more findings in summary.json" in text


@pytest.mark.parametrize(("times", "is_found"), [(2, False), (3, True), (40, True)])
def test_a_quota_that_stopped_the_run_is_told(times: int, is_found: bool) -> None:
    """From a twentieth of its periods on: of six seconds there are sixty."""
    evidence = dataclasses.replace(calm(), throttling=Throttling(times, 100 * MS, 6_000 * MS))
    found = build_summary(evidence, {"engine": "rust"}, {"cpus": 4, "cpu_quota": 1.5}).findings
    assert [each.id for each in found] == (["cpu-throttled"] if is_found else [])
    if is_found:
        assert "(1.5 cores)" in found[0].text
        assert f"in {times / 60:.0%}".replace("%", " %") in found[0].text
