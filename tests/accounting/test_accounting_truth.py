"""The accounting of random runs, against a simulation that knows what really happened."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.accounting import Account, account
from harness.invariants import check
from harness.model import Expectation
from harness.rows import Outcome
from harness.statistics import measure
from harness.summary import Summary, build_summary
from harness.text import render
from harness.verdict import judge

from .memory import edit_rows, with_task_rows
from .world import Plan, Run, op_id, simulate


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A random run, idle or overloaded, with faults at any moment of its load, with or without a world that is a witness."""
    n_requests, gap_ms = draw(st.integers(1, 140)), draw(st.floats(0.05, 8.0))
    n_tasks, pool = draw(st.integers(0, 3)), draw(st.integers(1, 4))
    moments = st.floats(0.0, 1.1).map(lambda share: 0.1 + share * n_requests * gap_ms)
    plan = Plan(
        seed=draw(st.integers(0, 2**32)),
        n_requests=n_requests,
        gap_ms=gap_ms,
        processes=draw(st.integers(1, 3)),
        n_tasks=n_tasks,
        n_effects=draw(st.sampled_from([n_tasks, n_tasks, 0])) if n_tasks else draw(st.integers(0, 2)),
        pool=pool,
        run_ms=draw(st.sampled_from([0.2, 0.8, 2.0, 5.0])) * gap_ms * pool / max(n_tasks, 1),
        kills=tuple(draw(st.lists(st.tuples(st.sampled_from(["SIGKILL", "SIGSTOP", "SIGTERM"]), moments), max_size=3))),
        restart_ms=draw(st.floats(0.1, 10.0)) * gap_ms,
        drain_ms=draw(st.sampled_from([0.0, 2.0, 20.0])) * gap_ms,
        fail=draw(st.sampled_from([0.0, 0.2])),
        stop_on_error=draw(st.booleans()),
        cancel=draw(st.sampled_from([0.0, 0.0, 0.3])),
        discard=draw(st.sampled_from([0.0, 0.0, 0.1])),
        queue_limit=draw(st.sampled_from([None, None, 5])),
        deny=draw(st.sampled_from([0.0, 0.0, 0.1])) if n_tasks else 0.0,
        unconnected=draw(st.sampled_from([0.0, 0.0, 0.1])),
        requeue=draw(st.booleans()),
        foreign=draw(st.sampled_from([0, 0, 4])),
        ends_alive=draw(st.booleans()),
        warm_up_ms=draw(st.sampled_from([0.0, 10.0])) * gap_ms,
    )
    return simulate(plan)


def outcomes(run: Run, name: str) -> set[int]:
    """The ops with this outcome."""
    return {op for op, outcome in run.truth.outcome.items() if outcome == name}


def states_of(result: Account) -> Counter[str]:
    """The whole-run counts, by state, without zeros."""
    names = ("finished", "failed", "skipped", "rejected", "discarded", "interrupted", "never_started", "awaiting")
    return +Counter({name: getattr(result, name) for name in names})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(run=runs())
def test_the_account_of_a_random_run_is_the_truth(run: Run) -> None:
    """Counts, states, losses and duplicates equal those of the simulation, and every invariant holds."""
    truth, evidence = run.truth, run.evidence
    result = account(evidence)

    assert len(truth.outcome) == result.n_attempted
    assert len(outcomes(run, "ack")) == result.n_acked
    assert len(outcomes(run, "rej")) == result.n_rejected
    assert len(outcomes(run, "ind")) == result.n_indeterminate
    assert Counter(truth.state.values()) == states_of(result)
    by_state = Counter(truth.state[key] for key in truth.cancelled)
    assert (by_state["failed"], by_state["skipped"]) == (result.cancelled_running, result.cancelled_queued)
    assert truth.n_rows == result.accepted_rows
    for boot in result.boots:
        expected = truth.by_boot[boot.boot]
        assert (expected["finished"], expected["failed"], expected["skipped"]) == (boot.finished, boot.failed, boot.skipped)
        assert (expected["never_started"], expected["interrupted"]) == (boot.queued_at_death, boot.running_at_death)
        assert (expected["rejected"], expected["discarded"], expected["awaiting"]) == (
            boot.rejected,
            boot.discarded,
            boot.awaiting,
        )
        assert sum(expected.values()) == boot.accepted
    assert truth.effects.total() == result.effects
    assert truth.effects.total() - len(+truth.effects) == result.duplicated
    _losses_are_true(run, result)
    _recovered_is_true(run, result)
    broken = [each for each in check(evidence, result) if not each.holds]
    assert not broken


def _losses_are_true(run: Run, result: Account) -> None:
    truth, expectation = run.truth, run.evidence.expectation
    acked = outcomes(run, "ack")
    if expectation.tasks_per_request == 0:
        if expectation.effects_per_request:
            with_all = {
                op for op in truth.outcome if all(truth.effects[op, index] for index in range(expectation.effects_per_request))
            }
            assert len(acked - with_all) == result.lost == result.broken_promises
        return
    witness = expectation.effects_per_request > 0
    assert truth.lost(witness=witness) == (result.lost_low, result.lost_high)
    without_effect = {key: state for key, state in truth.state.items() if key[0] in acked and not truth.effects[key]}
    queued = sum(state == "never_started" for state in without_effect.values())
    running = sum(state == "interrupted" for state in without_effect.values())
    assert (queued, running) == (result.broken_promises_queued, result.broken_promises_running)
    denied = truth.denied()
    assert denied == result.lost_discarded
    assert queued + denied + (running if witness else 0) == result.broken_promises_low
    assert queued + denied + running == result.broken_promises


def _recovered_is_true(run: Run, result: Account) -> None:
    truth, expectation = run.truth, run.evidence.expectation
    n = expectation.tasks_per_request or expectation.effects_per_request
    recovered = {
        op
        for op in outcomes(run, "ind")
        if n and all(truth.state.get((op, index)) == "finished" or truth.effects[op, index] for index in range(n))
    }
    assert len(recovered) == result.recovered
    # Of an app of somebody's own nobody knows how many tasks a request should have: all that it had must be done.
    unknown = dataclasses.replace(run.evidence, expectation=Expectation(0, 0), effects=[])
    tasks_of: dict[int, list[str]] = {}
    for (op, _), state in truth.state.items():
        tasks_of.setdefault(op, []).append(state)
    done = {op for op in outcomes(run, "ind") if tasks_of.get(op) and set(tasks_of[op]) == {"finished"}}
    assert len(done) == account(unknown).recovered


def test_a_request_whose_second_task_was_lost_is_not_done_all_the_same() -> None:
    """Its client has no answer, and half of the work is missing: an own app, whose requests may have any number of tasks."""
    evidence = simulate(Plan(n_requests=20, n_tasks=2, n_effects=0, run_ms=0.5)).evidence
    silent = 7

    def leave(rows: np.ndarray) -> None:
        rows["outcome"][silent], rows["done_ns"][silent] = Outcome.IND, rows["sent_ns"][silent] + 1

    def lose(rows: np.ndarray) -> None:
        chosen = (rows["op"] == op_id(silent + 1)) & (rows["index"] == 1)
        for name in ("started_ns", "finished_ns", "failed_ns"):
            rows[name][chosen] = 0

    unknown = dataclasses.replace(
        evidence, requests=[edit_rows(evidence.requests[0], leave)], expectation=Expectation(0, 0), effects=[]
    )
    assert account(unknown).recovered == 1
    assert account(with_task_rows(unknown, 1, lose)).recovered == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(run=runs(), width=st.integers(40, 120), glyphs=st.sampled_from(["blocks", "ascii"]))
def test_every_run_has_a_summary_that_survives_json_and_a_text_that_fits(run: Run, width: int, glyphs: str) -> None:
    """No infinity reaches the JSON, and no line of the text is wider than was asked for (from 70 columns on)."""
    summary = build_summary(run.evidence, {"scenario": "email"}, {"python": "3.11"})

    assert summary == Summary.model_validate_json(summary.model_dump_json())
    text = render(summary, width=width, glyphs="ascii" if glyphs == "ascii" else "blocks")
    assert max(len(line) for line in text.splitlines()) <= max(width, 70)
    assert all(line == line.rstrip() for line in text.splitlines())
    assert glyphs == "blocks" or text.isascii()
    assert sum(summary.timeline.arrivals) == summary.requests.attempted


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(run=runs())
def test_a_true_run_whose_requests_were_answered_passes(run: Run) -> None:
    """Kills, failures and losses make no run inconclusive; what remains of reasons is nothing that the simulation did not do."""
    result = account(run.evidence)
    verdict = judge(run.evidence, result, check(run.evidence, result), measure(run.evidence, result))

    expected = [] if result.n_acked else ["No request was acknowledged"]
    # A simulated load may be shorter than the moment of its fault.
    reasons = [reason for reason in verdict.reasons if "landed only after the end of the load" not in reason]
    assert len(expected) == len(reasons)
    assert all(reason.startswith(words) for reason, words in zip(reasons, expected, strict=True))
