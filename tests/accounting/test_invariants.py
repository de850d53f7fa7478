"""Each invariant, broken alone: planted in a true run, seen by exactly the invariant that it breaks, and never a PASS."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.accounting import account
from harness.invariants import check
from harness.model import Boot, Evidence, Expectation
from harness.rows import DropReason, Gauge, Kind, Outcome, RequestError, RowFile
from harness.statistics import measure
from harness.verdict import Verdict, judge

from .memory import edit_rows, row_file, with_task_rows
from .world import MS, RUN_TAG, Plan, op_id, simulate

Rows = Any


@pytest.fixture
def evidence() -> Evidence:
    """A true run with one kill: boot 1 is killed after a freeze, boot 2 ends in good order."""
    return simulate(Plan(n_requests=150, pool=2, run_ms=11.0, kills=(("SIGSTOP", 400.0),), seed=4)).evidence


def broken(evidence: Evidence) -> list[str]:
    """The ids of the invariants that do not hold."""
    return [each.id for each in check(evidence, account(evidence)) if not each.holds]


def verdict_of(evidence: Evidence) -> Verdict:
    result = account(evidence)
    return judge(evidence, result, check(evidence, result), measure(evidence, result))


def replace_request(evidence: Evidence, edit: Callable[[Rows], Rows | None]) -> Evidence:
    return dataclasses.replace(evidence, requests=[edit_rows(evidence.requests[0], edit), *evidence.requests[1:]])


def replace_effects(evidence: Evidence, edit: Callable[[Rows], Rows | None]) -> Evidence:
    return dataclasses.replace(evidence, effects=[edit_rows(evidence.effects[0], edit)])


def replace_file(evidence: Evidence, boot: int, **changes: Any) -> Evidence:
    return dataclasses.replace(
        evidence, tasks={**evidence.tasks, boot: [dataclasses.replace(evidence.tasks[boot][0], **changes)]}
    )


def replace_boot(evidence: Evidence, number: int, **changes: Any) -> Evidence:
    boots = [dataclasses.replace(boot, **changes) if boot.boot == number else boot for boot in evidence.boots]
    return dataclasses.replace(evidence, boots=boots)


def a_finished(rows: Rows) -> int:
    return int(np.flatnonzero(rows["finished_ns"])[0])


def a_copy_without_a_start(rows: Rows) -> Rows:
    """A task that was accepted once more, and skipped: no start, no effect, and every sum is right."""
    extra = rows[[a_finished(rows)]].copy()
    for name in ("started_ns", "finished_ns"):
        extra[name] = 0
    extra["dropped_ns"], extra["reason"] = extra["accepted_ns"] + 1, DropReason.SKIPPED
    return np.concatenate([rows, extra])


def an_unknown_op(rows: Rows) -> Rows:
    extra = a_copy_without_a_start(rows)
    extra["op"][-1] = op_id(0xFFFF)
    return extra


def recorded_late(rows: Rows) -> None:
    row = a_finished(rows)
    rows["accepted_ns"][row] += 2 * MS
    rows["flushed_ns"][row] = rows["accepted_ns"][row]
    rows["started_ns"][row] = max(rows["started_ns"][row], rows["accepted_ns"][row])
    rows["finished_ns"][row] = max(rows["finished_ns"][row], rows["started_ns"][row])


def rerun_of_a_finished_task(evidence: Evidence) -> Evidence:
    first = np.array(evidence.tasks[1][0].rows)
    again = first[[a_finished(first)]].copy()
    again["attempt"] = 2
    start = evidence.boots[1].ready_ns or 0
    for place, name in enumerate(("accepted_ns", "flushed_ns", "started_ns", "finished_ns")):
        again[name] = start + place
    return with_task_rows(evidence, 2, lambda rows: np.concatenate([rows, again]))


def skipped_after_a_start(rows: Rows) -> None:
    row = a_finished(rows)
    rows["dropped_ns"][row], rows["reason"][row] = rows["finished_ns"][row], DropReason.SKIPPED
    rows["finished_ns"][row] = 0


def effect_of(evidence: Evidence, op: int) -> Evidence:
    def edit(rows: Rows) -> Rows:
        extra = rows[:1].copy()
        extra["op"] = op
        return np.concatenate([rows, extra])

    return replace_effects(evidence, edit)


def never_started_op(evidence: Evidence) -> int:
    rows = evidence.tasks[1][0].rows
    return int(rows["op"][(rows["started_ns"] == 0) & (rows["dropped_ns"] == 0)][0])


def missing_ack(evidence: Evidence) -> Evidence:
    """The server's row of an acknowledged operation is not there at all, and neither is its effect."""
    gone = int(evidence.tasks[2][0].rows["op"][a_finished(evidence.tasks[2][0].rows)])
    without = with_task_rows(evidence, 2, lambda rows: rows[rows["op"] != gone])
    return replace_effects(without, lambda rows: rows[rows["op"] != gone])


def gauge_off(evidence: Evidence, boot: int, gauge: Gauge, by: int) -> Evidence:
    gauges = list(evidence.tasks[boot][0].gauges)
    gauges[gauge] += by
    return replace_file(evidence, boot, gauges=tuple(gauges))


def late_instant(evidence: Evidence) -> Evidence:
    rows = evidence.tasks[2][0].rows
    return replace_boot(evidence, 2, reaped_ns=int(rows["finished_ns"].max()) - 1)


def early_start(rows: Rows) -> None:
    row = a_finished(rows)
    rows["flushed_ns"][row] = rows["started_ns"][row] + 1


PLANTS: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "a client that silently resends": ("1", lambda run: with_task_rows(run, 2, a_copy_without_a_start)),
    "a task of an operation that was never sent": ("1", lambda run: with_task_rows(run, 2, an_unknown_op)),
    "an answer before the record": ("1", lambda run: with_task_rows(run, 2, recorded_late)),
    "an acknowledged operation without a record": ("1", missing_ack),
    "a counter that is one more than the rows of a closed boot": ("2", lambda run: gauge_off(run, 2, Gauge.ACCEPTED, 1)),
    "a counter of finished tasks that is one less": ("2", lambda run: gauge_off(run, 2, Gauge.FINISHED, -1)),
    "a counter of a killed boot that no thread explains": ("2", lambda run: gauge_off(run, 1, Gauge.ACCEPTED, 6)),
    "a finished task that a later boot runs again": ("3", rerun_of_a_finished_task),
    "a started task that counts as skipped": ("4", lambda run: with_task_rows(run, 2, skipped_after_a_start)),
    "an effect of a task that never started": ("5", lambda run: effect_of(run, never_started_op(run))),
    "two effects of one start": ("5", lambda run: effect_of(run, int(run.effects[0].rows["op"][0]))),
    "a finished task without its effect": (
        "5",
        lambda run: replace_effects(
            run, lambda rows: rows[rows["op"] != run.tasks[2][0].rows["op"][a_finished(run.tasks[2][0].rows)]]
        ),
    ),
    "an instant after the boot's death": ("6", late_instant),
    "an effect of another run": ("7", lambda run: effect_of(run, (RUN_TAG + 1) << 32 | 5)),
    "an effect of nobody": ("7", lambda run: effect_of(run, 1 << 63 | 5)),
    "a truncated task file": ("8", lambda run: replace_file(run, 2, missing=3)),
    "rows that found no room on the disk": ("8", lambda run: replace_file(run, 2, unwritten=1)),
    "a hole in a closed file": ("8", lambda run: replace_file(run, 2, holes=1)),
    "more holes than threads in a killed boot's file": ("8", lambda run: replace_file(run, 1, holes=6)),
    "a load process that never closed its file": (
        "8",
        lambda run: dataclasses.replace(run, requests=[dataclasses.replace(run.requests[0], closed_ns=0)]),
    ),
    "a world that never closed its file": (
        "8",
        lambda run: dataclasses.replace(run, effects=[dataclasses.replace(run.effects[0], closed_ns=0)]),
    ),
    "a ready boot without a file": (
        "8",
        lambda run: dataclasses.replace(run, boots=[*run.boots, Boot(3, 4003, 1, 2, "SIGTERM", False, None, 3, 4, 0)]),
    ),
    "a start before the answer was sent": ("9", lambda run: with_task_rows(run, 2, early_start)),
    "a request that was sent before it was due": (
        "9",
        lambda run: replace_request(run, lambda rows: np.copyto(rows["sent_ns"], rows["due_ns"] - 1)),
    ),
    "a wrong prediction of what is queued": (
        "10",
        lambda run: replace_boot(run, 1, predicted_queued=(run.boots[0].predicted_queued or 0) + 1),
    ),
    "a server that says it abandoned more than it did": ("10", lambda run: replace_boot(run, 2, said_abandoned_running=2)),
}


def test_the_run_itself_is_true(evidence: Evidence) -> None:
    result = account(evidence)
    assert broken(evidence) == []
    assert Verdict("PASS", ()) == verdict_of(evidence)
    assert result.lost
    assert result.interrupted
    assert result.never_started


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_violation_is_seen_by_exactly_its_invariant(evidence: Evidence, name: str) -> None:
    number, plant = PLANTS[name]
    planted = plant(evidence)

    assert [number] == broken(planted)
    verdict = verdict_of(planted)
    assert verdict.verdict == "INCONCLUSIVE"
    assert any(reason.startswith(f"Invariant {number} is broken") for reason in verdict.reasons)


def test_every_invariant_has_a_plant() -> None:
    assert {str(number) for number in range(1, 11)} == {number for number, _ in PLANTS.values()}


def test_a_row_in_no_state_breaks_the_sums(evidence: Evidence) -> None:
    """A task dropped for an unknown reason is in no state, and nobody may guess one."""

    def edit(rows: Rows) -> None:
        row = a_finished(rows)
        rows["finished_ns"][row], rows["started_ns"][row] = 0, 0
        rows["dropped_ns"][row], rows["reason"][row] = rows["accepted_ns"][row], 77

    planted = with_task_rows(evidence, 2, edit)
    assert {"2", "3"} <= set(broken(planted))
    assert account(planted).malformed == 1


def test_a_row_that_finished_and_failed_is_counted_twice_by_the_sums(evidence: Evidence) -> None:
    planted = with_task_rows(evidence, 2, lambda rows: np.copyto(rows["failed_ns"], rows["finished_ns"]))
    assert {"2", "4", "9"} <= set(broken(planted))


def test_examples_name_the_operations(evidence: Evidence) -> None:
    """Whoever reads of a violation can look the operation up in the rows."""
    planted = effect_of(evidence, never_started_op(evidence))
    detail = next(each.detail for each in check(planted, account(planted)) if each.id == "5")
    assert f"{never_started_op(evidence):016x}" in detail


def test_a_client_that_says_that_it_sent_again_may_be_accepted_again(evidence: Evidence) -> None:
    """Two attempts, two accepted rows: no silent resend. Two effects are then a duplicate, and no contradiction."""
    rows = evidence.tasks[2][0].rows
    op = rows["op"][a_finished(rows)]

    def send_again(requests: Rows) -> Rows:
        extra = requests[requests["op"] == op].copy()
        extra["attempt"] = 2
        return np.concatenate([requests, extra])

    twice = with_task_rows(evidence, 2, lambda rows: np.concatenate([rows, rows[rows["op"] == op]]))
    twice = effect_of(replace_request(twice, send_again), int(op))
    result = account(twice)
    assert broken(twice) == []
    assert (result.duplicated, result.n_attempted) == (1, 150)
    assert result.accepted + 1 == result.accepted_rows


def one_request(outcome: Outcome, *, rows: list[dict[str, Any]] | None = None, effects: int = 0) -> Evidence:
    """One operation and an undisturbed server."""
    start = 10_000 * MS
    task = {"op": op_id(1), "kind": 1, "attempt": 1, "accepted_ns": start + 2, "flushed_ns": start + 3, "started_ns": start + 4}
    tasks = [{**task, "finished_ns": start + 5}] if rows is None else rows
    answered = outcome == Outcome.ACK
    gauges = {Gauge.POOL_SIZE: 1, Gauge.ACCEPTED: len(tasks), Gauge.STARTED: len(tasks), Gauge.FINISHED: len(tasks)}
    requests = [
        {
            "op": op_id(number),
            "outcome": Outcome.ACK if number > 1 else outcome,
            "error": RequestError.NONE if answered or number > 1 else RequestError.TIMED_OUT,
            "attempt": 1,
            "due_ns": start,
            "sent_ns": start + 1,
            "done_ns": start + 9 if outcome or number > 1 else 0,
        }
        for number in (1, 2)
    ]
    other = {**task, "op": op_id(2), "finished_ns": start + 5}
    if rows is None:
        tasks = [*tasks, other]
        gauges = {Gauge.POOL_SIZE: 1, Gauge.ACCEPTED: 2, Gauge.STARTED: 2, Gauge.FINISHED: 2}
    file: RowFile = row_file(Kind.TASKS, tasks, boot=1, gauges=gauges)
    effect_rows = [{"op": op_id(1 + number), "arrived_ns": start + 5} for number in range(effects)]
    return Evidence(
        run_tag=RUN_TAG,
        load_start_ns=start - 1,
        load_end_ns=start + 1,
        planned_requests=2,
        expectation=Expectation(tasks_per_request=1, effects_per_request=1 if effects else 0),
        requests=[row_file(Kind.REQUESTS, requests, closed_ns=start + 10)],
        tasks={1: [file]},
        effects=[row_file(Kind.EFFECTS, effect_rows)] if effects else [],
        boots=[Boot(1, 1, start - 5, start - 4, "SIGTERM", False, None, start + 10**13, start + 10**13 + 1, 0, port_free=True)],
    )


@pytest.mark.parametrize("outcome", [Outcome.IND, Outcome.OPEN])
def test_recorded_and_never_answered_without_an_outage_is_no_pass(outcome: Outcome) -> None:
    evidence = one_request(outcome, effects=2)
    result = account(evidence)
    verdict = verdict_of(evidence)

    assert broken(evidence) == []
    assert (result.n_indeterminate, result.recovered) == (1, 1)
    assert verdict.verdict == "INCONCLUSIVE"
    assert "1 request was never answered although the server was up" in verdict.reasons[0]


def test_an_unanswered_request_in_an_outage_is_explained(evidence: Evidence) -> None:
    result = account(evidence)
    last = evidence.boots[0].signalled_ns
    assert last is not None

    def lose(rows: Rows) -> None:
        row = int(np.flatnonzero(rows["sent_ns"] < last)[-1])
        rows["outcome"][row], rows["error"][row], rows["done_ns"][row] = Outcome.IND, RequestError.RESET, last + MS

    lost = replace_request(evidence, lose)
    assert account(lost).n_indeterminate == result.n_indeterminate + 1
    assert verdict_of(lost).verdict == "PASS"


def test_without_a_world_the_interrupted_tasks_leave_an_interval(evidence: Evidence) -> None:
    """An interrupted task may have had its effect: nobody saw, and nobody guesses."""
    blind = dataclasses.replace(evidence, expectation=Expectation(1, 0), effects=[])
    result = account(blind)

    assert result.never_started == result.lost_low
    assert result.never_started + result.interrupted == result.lost_high
    assert broken(blind) == []


def test_nobody_but_the_client_is_no_witness_of_a_loss(evidence: Evidence) -> None:
    blind = dataclasses.replace(evidence, expectation=Expectation(0, 0), effects=[], tasks={})
    result = account(blind)

    assert not result.server_is_witness
    assert (result.lost_low, result.lost) == (0, result.n_acked + result.n_indeterminate)
    assert (result.broken_promises_low, result.broken_promises) == (0, result.n_acked)
    assert broken(blind) == []
