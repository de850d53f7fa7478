"""What makes a run inconclusive, one reason at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.accounting import account
from harness.invariants import check
from harness.model import Evidence, Fault, GeneratorReport, SurvivingProcess
from harness.rows import Outcome, RequestError
from harness.statistics import measure
from harness.verdict import Verdict, judge

from .memory import edit_rows
from .world import MS, Plan, simulate


@pytest.fixture
def evidence() -> Evidence:
    return simulate(Plan(n_requests=100, kills=(("SIGTERM", 250.0),), seed=9)).evidence


def verdict_of(evidence: Evidence) -> Verdict:
    result = account(evidence)
    return judge(evidence, result, check(evidence, result), measure(evidence, result))


def boot(evidence: Evidence, number: int, **changes: Any) -> Evidence:
    boots = [dataclasses.replace(each, **changes) if each.boot == number else each for each in evidence.boots]
    return dataclasses.replace(evidence, boots=boots)


def generator(evidence: Evidence, **changes: Any) -> Evidence:
    return dataclasses.replace(evidence, generators=[dataclasses.replace(evidence.generators[0], **changes)])


def late(evidence: Evidence) -> Evidence:
    def edit(rows: Any) -> None:
        rows["due_ns"] -= 30 * MS

    return dataclasses.replace(evidence, requests=[edit_rows(evidence.requests[0], edit)])


def refused(evidence: Evidence) -> Evidence:
    def edit(rows: Any) -> None:
        rows["outcome"], rows["error"] = Outcome.REJ, RequestError.REFUSED

    return dataclasses.replace(evidence, requests=[edit_rows(evidence.requests[0], edit)])


def own_limit(evidence: Evidence) -> Evidence:
    def edit(rows: Any) -> None:
        # Of those that were refused, while the server was away: nobody knows of them.
        chosen = np.flatnonzero(rows["outcome"] == Outcome.REJ)[:3]
        rows["error"][chosen] = RequestError.OWN_LIMIT

    return dataclasses.replace(evidence, requests=[edit_rows(evidence.requests[0], edit)])


REASONS: dict[str, Callable[[Evidence], Evidence]] = {
    "The run was interrupted by SIGINT.": lambda run: dataclasses.replace(run, interrupted_by="SIGINT"),
    "The disk was full.": lambda run: dataclasses.replace(run, problems=["The disk was full."]),
    "The fault kill at 3 s did not land: no server.": lambda run: dataclasses.replace(
        run, faults=[Fault("kill", 3.0, None, None, "no server")]
    ),
    "The fault kill at 0.1 s landed only after the end of the load.": lambda run: dataclasses.replace(
        run, faults=[Fault("kill", 0.1, run.load_end_ns + 1, 1)]
    ),
    "The fault kill at -1.5 s landed 1.5 s late.": lambda run: dataclasses.replace(
        run, faults=[Fault("kill", -1.5, run.load_start_ns, 1)]
    ),
    "1 of 2 planned faults never happened.": lambda run: dataclasses.replace(
        run, planned_faults=("kill@1s", "term@2s"), faults=[Fault("kill", 0.0, run.load_start_ns, 1)]
    ),
    "Boot 1 (pid 4001) was sent SIGTERM, but ended with status -9: it had crashed.": lambda run: boot(run, 1, exit_status=-9),
    "Boot 1 (pid 4001) died on its own, with exit status -11.": lambda run: boot(run, 1, signal=None, exit_status=-11),
    "Boot 1 (pid 4001) was sent SIGTERM, but ended with status -11: it had crashed.": lambda run: boot(run, 1, exit_status=-11),
    "Boot 1 (pid 4001) was sent SIGKILL, but ended with status 1: it had crashed.": lambda run: boot(
        run, 1, exit_status=1, signal="SIGKILL"
    ),
    "1 processes of boot 1 outlived it: 77 worker.": lambda run: boot(run, 1, survivors=(SurvivingProcess(77, "worker"),)),
    "Something still listened on the port after boot 1 was dead.": lambda run: boot(run, 1, port_free=False),
    "The generator shed 3 requests: too many were in flight.": lambda run: generator(run, shed=3),
    "The generator shed 3 requests: it could not send them in time.": lambda run: generator(run, shed=3, overdue=3),
    "The generator stood still: load process 0 for": lambda run: generator(run, stalled_s=1000.0, longest_stall_s=1000.0),
    "Load process 0 ended with status 1.": lambda run: generator(run, exit_status=1),
    "Only 100 of 101 planned requests were sent.": lambda run: generator(run, planned=101),
    "The load processes say that they sent 102 requests, but wrote 100 rows.": lambda run: generator(run, sent=102),
    "The generator was late: it sent with a lag of p99": late,
    "The generator could make no connection for 3 requests: it had no file descriptor": own_limit,
    "No request was acknowledged, of 100 that were sent.": refused,
}


def test_a_true_run_passes(evidence: Evidence) -> None:
    assert Verdict("PASS", ()) == verdict_of(evidence)


@pytest.mark.parametrize("reason", REASONS)
def test_one_thing_wrong_is_one_reason(evidence: Evidence, reason: str) -> None:
    verdict = verdict_of(REASONS[reason](evidence))

    assert verdict.verdict == "INCONCLUSIVE"
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(reason)


def test_lag_is_compared_with_what_was_answered_and_told_so_where_the_p99_of_all_is_never(evidence: Evidence) -> None:
    killed = simulate(Plan(n_requests=100, kills=(("SIGKILL", 250.0),), seed=9)).evidence

    def leave(rows: Any) -> None:
        rows["outcome"][::20], rows["done_ns"][::20] = Outcome.IND, 0

    silent = dataclasses.replace(killed, requests=[edit_rows(killed.requests[0], leave)])
    assert "more than half of the response p99 of " in " ".join(verdict_of(late(evidence)).reasons)
    assert "more than half of the p99 of what was answered, " in " ".join(verdict_of(late(silent)).reasons)


def test_of_a_late_generator_that_nobody_answered_no_number_is_made_up(evidence: Evidence) -> None:
    """There is no response to compare its lag with."""
    reasons = " ".join(verdict_of(late(refused(evidence))).reasons)
    assert "and nothing was acknowledged. Send fewer" in reasons
    assert "nan" not in reasons


def test_an_interrupted_run_is_not_blamed_for_what_it_did_not_send(evidence: Evidence) -> None:
    cut = dataclasses.replace(generator(evidence, planned=1000), interrupted_by="SIGTERM")
    assert verdict_of(cut).reasons == ("The run was interrupted by SIGTERM.",)


@pytest.mark.parametrize(("status", "passes"), [(3, True), (0, True), (-1, True), (-9, True), (-11, False)])
def test_a_kill_that_meets_a_server_on_its_way_out_is_no_crash(evidence: Evidence, status: int, passes: bool) -> None:
    """Asked by an earlier fault to stop, it had chosen its own status; but a server that died of another signal has crashed."""
    asked = Fault("hup", 0.1, evidence.load_start_ns + 100_000_000, 1, receipt={"pid": 4001, "signal": "SIGHUP"})
    run = dataclasses.replace(boot(evidence, 1, exit_status=status, signal="SIGKILL"), faults=[asked])

    assert (verdict_of(run).verdict == "PASS") is passes


def test_a_server_may_end_by_the_signal_that_it_was_sent(evidence: Evidence) -> None:
    """Uvicorn raises SIGTERM again once it has drained."""
    for status in (0, -15, 143, 1):
        assert Verdict("PASS", ()) == verdict_of(boot(evidence, 1, exit_status=status))


def test_a_server_that_afterload_itself_had_to_kill_did_not_crash(evidence: Evidence) -> None:
    """That it would not stop is told by the session."""
    assert Verdict("PASS", ()) == verdict_of(boot(evidence, 1, exit_status=-9, forced=True))


def test_lag_beside_much_longer_responses_is_no_reason(evidence: Evidence) -> None:
    def slow(rows: Any) -> None:
        rows["due_ns"] -= 30 * MS
        rows["done_ns"][rows["outcome"] == Outcome.ACK] += 100 * MS

    slow_run = dataclasses.replace(evidence, requests=[edit_rows(evidence.requests[0], slow)])
    assert Verdict("PASS", ()) == verdict_of(slow_run)


def test_an_empty_run_is_no_pass() -> None:
    empty = simulate(Plan(n_requests=1)).evidence
    nothing = dataclasses.replace(
        empty,
        planned_requests=0,
        requests=[edit_rows(empty.requests[0], lambda rows: rows[:0])],
        generators=[GeneratorReport(0, 0, 0, 0, 0.0, 0)],
    )
    assert verdict_of(nothing).verdict == "INCONCLUSIVE"
    assert not np.isfinite(measure(nothing, account(nothing)).response.p50_ms)


def test_a_request_that_was_sent_again_counts_as_what_came_of_it() -> None:
    """Its first connection was refused by the generator's own limits, the second was made: nothing was refused in the end."""
    evidence = simulate(Plan(n_requests=100)).evidence

    def edit(rows: Any) -> Any:
        again = rows[:3].copy()
        again["outcome"], again["status"], again["error"] = Outcome.REJ, 0, RequestError.OWN_LIMIT
        rows["attempt"][:3] = 2
        return np.concatenate([again, rows])

    found = account(dataclasses.replace(evidence, requests=[edit_rows(evidence.requests[0], edit)]))
    assert (found.n_attempted, found.n_acked, found.n_rejected, found.n_own_limit) == (100, 100, 0, 0)
