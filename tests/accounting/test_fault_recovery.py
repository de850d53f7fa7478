"""When the backlog is back after a fault, and what is checked of the processes that it ended: on evidence that is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.accounting import account
from harness.grouping import NEVER_NS
from harness.invariants import check
from harness.model import Evidence, Fault
from harness.recovery import Recovery, recoveries
from harness.statistics import measure
from harness.steps import Steps
from harness.timeline import backlog_steps, pool_of, timeline
from harness.verdict import judge
from tests.accounting.test_several_writers import spread
from tests.accounting.world import MS, Plan, simulate

MOMENTS = st.integers(0, 60)
INTERVALS = st.lists(st.tuples(MOMENTS, MOMENTS), max_size=30)


@given(intervals=INTERVALS, level=st.integers(0, 6), begin=MOMENTS, end=MOMENTS)
def test_the_first_instant_at_which_a_count_is_low_is_found(
    intervals: list[tuple[int, int]], level: int, begin: int, end: int
) -> None:
    """Against looking at each instant in turn."""
    closed = [(min(pair), max(pair)) for pair in intervals]
    steps = Steps(
        np.array(sorted(start for start, _ in closed), np.int64), np.array(sorted(stop for _, stop in closed), np.int64)
    )
    count = [sum(start <= at < stop for start, stop in closed) for at in range(61)]
    expected = next((at for at in range(begin, end) if count[at] <= level), None)

    assert steps.first_at_most(level, begin, end) == expected


@pytest.fixture
def overloaded() -> Evidence:
    """Two threads, forty requests a second of 100 ms each: the backlog grows by twenty a second."""
    return simulate(Plan(n_requests=120, gap_ms=25.0, run_ms=100.0, pool=2, seed=3)).evidence


def hit(evidence: Evidence, name: str, at_ms: float, **given: Any) -> Evidence:
    landed_ns = evidence.load_start_ns + int(at_ms * MS)
    return dataclasses.replace(evidence, faults=[Fault(name, at_ms / 1e3, landed_ns, 1, effect="lasts", **given)])


def recovery_of(evidence: Evidence) -> Recovery:
    (found,) = recoveries(evidence, account(evidence).tables.ops, backlog_steps(evidence))
    return found


def test_a_backlog_is_back_when_it_is_what_it_was_before_the_fault(overloaded: Evidence) -> None:
    """Not before the fault is over, and never while it is higher."""
    evidence = hit(overloaded, "squeeze", 1500.0, length_s=0.2, ended_ns=overloaded.load_start_ns + 1700 * MS)
    found, backlog = recovery_of(evidence), backlog_steps(evidence)
    landed_ns = evidence.faults[0].landed_ns or 0
    back_ns = landed_ns + round((found.backlog_s or 0.0) * 1e9)

    assert found.backlog_before == int(backlog.highest_in(np.array([landed_ns - 10**9, landed_ns]))[0])
    assert found.backlog_s is not None
    assert back_ns > evidence.load_end_ns, "it grows as long as there is load"
    assert int(backlog.at(np.array([back_ns]))[0]) <= found.backlog_before
    between = np.arange(landed_ns + 200 * MS, back_ns - MS, MS)
    assert np.all(backlog.at(between) > found.backlog_before)


def test_a_fault_that_is_not_over_or_whose_server_was_ended_has_no_recovery(overloaded: Evidence) -> None:
    """What a restart throws away is no recovery."""
    assert recovery_of(hit(overloaded, "squeeze", 1500.0, length_s=0.2)).backlog_s is None
    evidence = hit(overloaded, "squeeze", 1500.0, length_s=0.2, ended_ns=overloaded.load_start_ns + 1700 * MS)
    killed = [dataclasses.replace(boot, signalled_ns=evidence.load_start_ns + 1800 * MS) for boot in evidence.boots]

    assert recovery_of(dataclasses.replace(evidence, boots=killed)).backlog_s is None


def with_a_dead_worker(evidence: Evidence, **receipt: Any) -> Evidence:
    """One of two processes was killed at the end of the load; what it had left is as its file says."""
    several = spread(evidence, 2, 7)
    dead = several.tasks[1][1]
    rows = np.array(dead.rows)
    dead_ns = evidence.load_end_ns
    for name in ("accepted_ns", "flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"):
        rows[name][rows[name] > dead_ns] = 0
    rows = rows[rows["accepted_ns"] != 0]
    queued, running = int(np.sum(rows["started_ns"] == 0)), int(np.sum((rows["started_ns"] != 0) & (rows["finished_ns"] == 0)))
    files = [several.tasks[1][0], dataclasses.replace(dead, rows=rows, claimed=len(rows), closed_ns=0)]
    said = {"pid": dead.pid, "signal": "SIGKILL", "queued": queued, "running": running, "dead_ns": dead_ns, **receipt}
    silent = {"said_abandoned_queued": None, "said_abandoned_running": None, "worker_deaths": ((dead.pid, dead_ns),)}
    boots = [dataclasses.replace(boot, **silent) for boot in evidence.boots]
    fault = Fault("worker", 1.0, dead_ns - MS, 1, effect="replaces", ended_ns=dead_ns, receipt=said)
    return dataclasses.replace(several, tasks={1: files}, boots=boots, faults=[fault])


def broken(evidence: Evidence) -> dict[str, str]:
    return {each.id: each.detail for each in check(evidence, account(evidence)) if not each.holds}


def test_what_a_dead_worker_held_is_neither_backlog_nor_running_from_then_on(overloaded: Evidence) -> None:
    """Its boot goes on for long; the backlog does not keep its tasks."""
    evidence = with_a_dead_worker(overloaded)
    (found,) = timeline(evidence, account(evidence)).recoveries
    receipt = evidence.faults[0].receipt
    after = evidence.load_end_ns + 1

    assert (found.left_queued, found.left_running) == (receipt["queued"], receipt["running"])
    assert found.left_queued > 5
    lived = dataclasses.replace(evidence, boots=overloaded.boots)
    kept = int(backlog_steps(lived).at(np.array([after]))[0]) - int(backlog_steps(evidence).at(np.array([after]))[0])
    assert kept == found.left_queued


def test_a_wrong_count_of_a_worker_and_rows_after_its_death_are_seen(overloaded: Evidence) -> None:
    """Planted in the receipt; the honest one breaks neither."""
    honest = broken(with_a_dead_worker(overloaded))
    counted = broken(with_a_dead_worker(overloaded, queued=1))
    dead_before = broken(with_a_dead_worker(overloaded, dead_ns=overloaded.load_end_ns - 500 * MS))

    assert not {"6", "10"} & set(honest)
    assert "predicted 1 queued, found" in counted["10"]
    assert "rows with an instant after its death" in dead_before["6"]


def test_a_pool_that_is_squeezed_is_saturated_by_fewer_tasks(overloaded: Evidence) -> None:
    """One busy thread of one, for as long as it is squeezed."""
    begin, end = overloaded.load_start_ns - 900 * MS, overloaded.load_start_ns - 400 * MS
    fault = Fault("squeeze", -0.9, begin, 1, effect="lasts", length_s=0.5, ended_ns=end, receipt={"pool_size": {"4001": 1}})
    before = pool_of(overloaded, account(overloaded)).saturated_s
    squeezed = dataclasses.replace(overloaded, faults=[fault])
    idle = pool_of(squeezed, account(squeezed)).saturated_s
    during = dataclasses.replace(fault, landed_ns=overloaded.load_start_ns, ended_ns=overloaded.load_start_ns + 500 * MS)
    busy = dataclasses.replace(overloaded, faults=[during])

    assert idle == before, "nothing ran then"
    assert before < pool_of(busy, account(busy)).saturated_s <= before + 0.5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            Fault("stop", 0.1, 10**15, 1, effect="lasts", text="stop@100ms+1s", length_s=1.0),
            "The fault stop@100ms+1s did not end.",
        ),
        (
            Fault("rolling", 0.1, 10**15, 1, "2 serve", "rolling@100ms", effect="replaces"),
            "The fault rolling@100ms did not end: 2 serve.",
        ),
        (
            Fault("kill", None, 10**15, 1, "", "kill@busy>3", condition="busy>3", met_ns=10**15 - 3_000_000_000),
            "The fault kill@busy>3 landed 3.0 s late.",
        ),
        (
            Fault("kill", None, None, 1, "busy was at most 2 (at 1.0 s) and never > 3", "kill@busy>3", condition="busy>3"),
            "The fault kill@busy>3 did not land: busy was at most 2 (at 1.0 s) and never > 3.",
        ),
    ],
)
def test_a_fault_that_was_not_as_planned_makes_a_run_inconclusive(overloaded: Evidence, fault: Fault, said: str) -> None:
    evidence = dataclasses.replace(overloaded, faults=[fault], load_end_ns=NEVER_NS)
    result = account(overloaded)
    verdict = judge(evidence, result, check(overloaded, result), measure(overloaded, result))

    assert verdict.verdict == "INCONCLUSIVE"
    assert any(reason.startswith(said.rstrip(".")) for reason in verdict.reasons), verdict.reasons
