"""Tasks by function and over time, against a plain count of one task after another."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model import Boot, Evidence, Expectation
from harness.rows import DropReason, Kind, TaskKind
from harness.usage import BIN_NS, TAIL, usage_of

from ..accounting.memory import row_file

START = 10**12
LOAD_NS = 2_000_000_000
DEAD = START + 3 * LOAD_NS
MS = 1_000_000


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Any]:
    accepted = START + draw(st.integers(-50, 2_500)) * MS
    row: dict[str, Any] = {
        "op": 1,
        "accepted_ns": accepted,
        "func": draw(st.integers(0, 2)),
        "kind": draw(st.sampled_from(TaskKind)),
    }
    fate = draw(st.sampled_from(["finished_ns", "failed_ns", "running", "waiting", "left", "put aside"]))
    started = accepted + draw(st.integers(0, 900)) * MS
    ended = started + draw(st.integers(0, 900)) * MS + 1
    if fate not in {"waiting", "left"}:
        row["started_ns"] = started
    if fate in {"finished_ns", "failed_ns"}:
        row[fate] = ended
    if fate in {"left", "put aside"}:
        row |= {"dropped_ns": ended, "reason": DropReason.SKIPPED}
    return row


def evidence_of(rows: list[dict[str, Any]]) -> Evidence:
    file = dataclasses.replace(row_file(Kind.TASKS, rows, boot=1), names=("", "a", "b"))
    boot = Boot(boot=1, pid=1, spawned_ns=START - MS, ready_ns=START, reaped_ns=DEAD)
    return Evidence(
        run_tag=0,
        load_start_ns=START,
        load_end_ns=START + LOAD_NS,
        planned_requests=0,
        expectation=Expectation(1, 0),
        requests=[],
        tasks={1: [file]},
        effects=[],
        boots=[boot],
    )


def mean_in(bin_number: int, spans: list[tuple[int, int]]) -> float:
    begin = START + bin_number * BIN_NS
    # What was there before the load counts from its beginning on.
    return sum(max(min(end, begin + BIN_NS) - max(start, begin), 0) for start, end in spans) / BIN_NS


@settings(deadline=None)
@given(st.lists(tasks(), min_size=1, max_size=30))
def test_every_task_is_counted_where_it_belongs(rows: list[dict[str, Any]]) -> None:
    usage = usage_of(evidence_of(rows))

    for on_loop in (False, True):
        own = [row for row in rows if (row["kind"] != TaskKind.DEF) == on_loop]
        flows = [flow for flow in usage.flows if flow.on_loop == on_loop]
        assert len(flows) == bool(own)
        for flow in flows:
            waits = [(row["accepted_ns"], row.get("started_ns") or row.get("dropped_ns") or DEAD) for row in own]
            ends = {id(row): row.get("finished_ns") or row.get("failed_ns") or row.get("dropped_ns") or DEAD for row in own}
            runs = [(row["started_ns"], ends[id(row)]) for row in own if "started_ns" in row]
            for number in range(LOAD_NS // BIN_NS):
                assert flow.backlog[number] == pytest.approx(mean_in(number, waits), abs=1e-6)
                assert flow.busy[number] == pytest.approx(mean_in(number, runs), abs=1e-6)
            assert flow.accepted.sum() == sum(row["accepted_ns"] < START + LOAD_NS for row in own)
            in_load = [row for row in own if row.get("started_ns", DEAD) < START + LOAD_NS]
            wait_s = sum(row["started_ns"] - row["accepted_ns"] for row in in_load) / 1e9
            assert flow.wait_s.sum() == pytest.approx(wait_s)


@settings(deadline=None)
@given(st.lists(tasks(), min_size=1, max_size=30))
def test_functions_have_the_sums_of_their_tasks(rows: list[dict[str, Any]]) -> None:
    usage = usage_of(evidence_of(rows))

    assert sum(each.accepted for each in usage.functions) == len(rows)
    for each in usage.functions:
        own = [row for row in rows if ("", "a", "b")[row["func"]] == each.name and (row["kind"] != TaskKind.DEF) == each.on_loop]
        ended = [row for row in own if row.get("finished_ns") or row.get("failed_ns")]
        runs = [((row.get("finished_ns") or row["failed_ns"]) - row["started_ns"]) / 1e9 for row in ended]
        assert (each.accepted, each.started) == (len(own), sum("started_ns" in row for row in own))
        assert (each.ended, each.failed) == (len(ended), sum("failed_ns" in row for row in own))
        assert each.run_s == pytest.approx(sum(runs))
        assert each.longest_s == pytest.approx(max(runs, default=0))


def test_what_a_worker_left_behind_when_it_died_waits_and_runs_no_more() -> None:
    """Two tasks of process 7: one runs when it is killed in the middle of the load, one waits."""
    rows = [
        {"op": 1, "kind": TaskKind.DEF, "accepted_ns": START, "started_ns": START},
        {"op": 2, "kind": TaskKind.DEF, "accepted_ns": START},
    ]
    run = evidence_of(rows)
    death = START + LOAD_NS // 2
    boot = dataclasses.replace(run.boots[0], worker_deaths=((7, death),))
    files = [dataclasses.replace(file, pid=7) for file in run.tasks[1]]
    (flow,) = usage_of(dataclasses.replace(run, boots=[boot], tasks={1: files})).flows
    half = len(flow.busy) // 2

    for values in (flow.busy, flow.backlog):
        assert np.allclose(values[:half], 1)
        assert np.allclose(values[half:], 0)


def test_the_slowest_tasks_have_the_share_of_time_that_they_have() -> None:
    """95 tasks of 10 ms and 5 of 1 s: a twentieth of the tasks, and 5 of 5.95 s."""
    rows = [
        {"op": 1, "kind": TaskKind.DEF, "accepted_ns": START, "started_ns": START, "finished_ns": START + run_ms * MS}
        for run_ms in [10] * 95 + [1000] * 5
    ]
    tail = usage_of(evidence_of(rows)).tail

    assert tail is not None
    assert (tail.tasks, tail.share_of_tasks) == (5, 0.05)
    assert tail.share_of_time == pytest.approx(5 / 5.95)
    assert tail.from_s <= tail.longest_s == 1.0
    assert tail.share_of_tasks <= TAIL


def test_evenly_spread_tasks_are_not_sampled_at_the_same_place_again_and_again() -> None:
    """One task of 4 ms every 10 ms keeps 0.4 threads busy, though none runs at any end of a bin."""
    rows = [
        {"op": 1, "kind": TaskKind.DEF, "accepted_ns": at, "started_ns": at, "finished_ns": at + 4 * MS}
        for at in range(START + 3 * MS, START + LOAD_NS, 10 * MS)
    ]
    (flow,) = usage_of(evidence_of(rows)).flows

    assert np.allclose(flow.busy, 0.4)
