"""The invariants of the accounting: what must hold between and within the witnesses, whatever the server did. Pure functions.

Described in docs/accounting.md: 1 to 7 are about tasks; 8 to 10 ask whether the witnesses themselves can be believed. Each
one compares two things that were counted separately, so that it can fail. A violation is a bug in afterload, or a server that
does not do what its rows say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.clocks import tolerance_ns
from harness.grouping import TaskState, op_of, positions
from harness.model import Evidence
from harness.rowless import has_no_row, process_of
from harness.rows import UNTAGGED, Outcome
from harness.rowscan import FileScan, RequestScan, scan_requests, scan_tasks
from harness.witnesses import after_death_of_workers, gauge_contradictions, missing_parts, wrong_predictions

__all__ = ["Invariant", "check"]

N_EXAMPLES: Final = 5
_OP_BITS: Final = np.uint64(0xFFFF_FFFF_0000)  # of a task's key


@dataclass(frozen=True, slots=True)
class Invariant:
    """One statement about the evidence, and whether it is true."""

    id: str
    title: str  # the statement, in words
    holds: bool
    detail: str  # the numbers; where it does not hold, what contradicts it, with examples


def check(evidence: Evidence, account: Account) -> tuple[Invariant, ...]:
    """Checks all ten invariants, in the order of their ids. `account` must be that of the same evidence."""
    scans = {boot: scan_tasks(files, evidence, boot) for boot, files in sorted(evidence.tasks.items())}
    requests = [scan_requests(file, evidence) for file in evidence.requests]
    return (
        _acked_accepted_attempted(evidence, account),
        _each_boot_adds_up(evidence, account, scans),
        _the_run_adds_up(evidence, account, scans),
        _starts_have_ends(account, scans),
        _effects_match_attempts(evidence, account),
        _nothing_after_death(evidence, scans),
        _effects_were_asked_for(evidence, account, scans),
        _witnesses_complete(evidence),
        _instants_in_order(scans, requests),
        _predictions_were_right(evidence, account),
    )


def _acked_accepted_attempted(evidence: Evidence, account: Account) -> Invariant:
    title = "acknowledged ⊆ accepted ⊆ attempted, and recorded before it was answered"
    ops, tasks = account.tables.ops, account.tables.tasks
    contradictions: list[str] = []
    op = op_of(tasks.task_key)
    where, was_sent = positions(ops.op, op)
    never_sent = ~was_sent & ~has_no_row(evidence, op)
    _note(contradictions, "tasks accepted, though the client never sent their operation", evidence, op[never_sent])
    contradictions += _counts_of_rowless(evidence, op)
    n_sends = np.zeros(len(op), np.int64)
    n_sends[was_sent] = ops.n_sends[where[was_sent]]
    too_often = was_sent & (tasks.per_task(~tasks.rerun) > n_sends)
    _note(contradictions, "tasks accepted more often than the client sent their operation", evidence, op[too_often])
    expected = evidence.expectation.tasks_per_request
    if expected:
        promised = was_sent & ((tasks.task_key & np.uint64(0xFFFF)) < expected)
        n_accepted = np.bincount(where[promised], minlength=len(ops.op))
        short = (ops.outcome == Outcome.ACK) & ~ops.idle & (n_accepted < expected)
        # Those that the server had no room to write down are missing in invariant 8.
        unwritten = sum(file.unwritten for files in evidence.tasks.values() for file in files)
        if int((expected - n_accepted[short]).sum()) > unwritten:
            _note(contradictions, "operations acknowledged, but not all of their tasks were accepted", evidence, ops.op[short])
        earliest = np.minimum.reduceat(tasks.accepted_ns, tasks.first) if len(tasks.first) else tasks.accepted_ns
        acked_ns = ops.ack_ns[where] if len(ops.op) else np.zeros(len(op), np.int64)
        # Of two machines' clocks; added on the other side, for an answer that never came is the largest number that there is.
        late = promised & (earliest - tolerance_ns(evidence, op) > np.where(was_sent, acked_ns, 0))
        _note(contradictions, "tasks recorded only after their operation was acknowledged", evidence, op[late])
    numbers = (
        f"{account.n_acked:,} acknowledged operations, {account.accepted:,} accepted tasks, {account.n_attempted:,} attempted"
    )
    return _judged("1", title, numbers, contradictions)


def _counts_of_rowless(evidence: Evidence, op: NDArray[np.uint32]) -> Iterator[str]:
    """Where requests came back as histograms, numbers are all that can be compared. `op`: of each task, sorted."""
    process = process_of(evidence, op)
    for each in evidence.counted:
        n_accepted = len(np.unique(op[process == each.process]))
        who = f"load process {each.process}, of which there are no rows,"
        if n_accepted > each.sent:
            yield f"{who} sent {each.sent:,} operations, and tasks of {n_accepted:,} were accepted"
        if each.acked > n_accepted and evidence.expectation.tasks_per_request and not evidence.expectation.idle:
            yield f"{who} had {each.acked:,} operations acknowledged, and tasks of {n_accepted:,} were accepted"


def _each_boot_adds_up(evidence: Evidence, account: Account, scans: dict[int, FileScan]) -> Invariant:
    title = "in each boot: accepted = finished + failed + skipped + rejected + discarded + interrupted + never started"
    contradictions: list[str] = []
    parts: list[str] = []
    for boot in account.boots:
        scan = scans.get(boot.boot)
        if scan is None:
            continue
        # Each term of the sum is counted by its own condition, so a row that meets two of them, or none, breaks it.
        if scan.n_rows != scan.sum_of_states:
            contradictions.append(f"boot {boot.boot}: {scan.n_rows:,} rows, but the states add up to {scan.sum_of_states:,}")
        if scan.n_rows - scan.n_foreign != boot.accepted - boot.malformed:
            counted = boot.accepted - boot.malformed
            contradictions.append(
                f"boot {boot.boot}: {scan.n_rows - scan.n_foreign:,} rows of this run, {counted:,} accounted for"
            )
        parts.append(f"boot {boot.boot}: {boot.accepted:,}")
    contradictions += gauge_contradictions(evidence, scans)
    return _judged("2", title, ", ".join(parts) or "no task rows", contradictions)


def _the_run_adds_up(evidence: Evidence, account: Account, scans: dict[int, FileScan]) -> Invariant:
    title = "in the whole run: accepted = the sum of the states, each task in exactly one"
    tasks = account.tables.tasks
    contradictions: list[str] = []
    total = (
        account.finished
        + account.failed
        + account.skipped
        + account.rejected
        + account.discarded
        + account.interrupted
        + account.never_started
        + account.awaiting
    )
    n_rows = sum(scan.n_rows - scan.n_foreign for scan in scans.values())
    n_further = int(np.count_nonzero(tasks.key[1:] == tasks.key[:-1]))
    if n_rows - n_further != total:
        contradictions.append(f"{n_rows:,} rows of {n_rows - n_further:,} tasks, but the states add up to {total:,}")
    # A later boot may run a task again only if an earlier one left it over; else the task would be in two states.
    again = np.flatnonzero(tasks.rerun)
    before = np.maximum(again - 1, 0)
    left_over = (tasks.state[before] == TaskState.INTERRUPTED) | (tasks.state[before] == TaskState.NEVER_STARTED)
    allowed = (again > 0) & (tasks.key[before] == tasks.key[again]) & (tasks.boot[before] < tasks.boot[again]) & left_over
    wrong = op_of(tasks.key[again[~allowed]])
    _note(contradictions, "later attempts at tasks that no earlier boot had left over", evidence, wrong)
    return _judged("3", title, f"{n_rows - n_further:,} tasks = {total:,}", contradictions)


def _starts_have_ends(account: Account, scans: dict[int, FileScan]) -> Invariant:
    title = "started = finished + failed + interrupted"
    started = sum(scan.n_started for scan in scans.values())
    ended = sum(scan.n_finished + scan.n_failed + scan.n_interrupted + scan.n_running for scan in scans.values())
    contradictions: list[str] = []
    if started != ended:
        contradictions.append(f"{started:,} started, but finished + failed + interrupted is {ended:,}")
    # Two opposite errors would cancel in the sums.
    without_end = sum(scan.n_started_without_end for scan in scans.values())
    without_start = sum(scan.n_ended_without_start for scan in scans.values())
    if without_end:
        contradictions.append(
            f"{without_end:,} started, then dropped as if they never had {_first(scans, 'started_without_end')}"
        )
    if without_start:
        contradictions.append(f"{without_start:,} ended without a start {_first(scans, 'ended_without_start')}")
    running = sum(scan.n_running for scan in scans.values())
    return _judged("4", title, f"{started:,} started" + (f", {running:,} of them running" if running else ""), contradictions)


def _effects_match_attempts(evidence: Evidence, account: Account) -> Invariant:
    title = "effects <= attempts; none is missing where a task finished, none is there without a start"
    tasks, effects, ops = account.tables.tasks, account.tables.effects, account.tables.ops
    n_tasks, n_effects = evidence.expectation.tasks_per_request, evidence.expectation.effects_per_request
    most = evidence.expectation.most_effects_per_start
    contradictions: list[str] = []
    if n_effects and n_tasks:
        finished = (tasks.task_state() == TaskState.FINISHED).astype(np.int64)
        starts = tasks.per_task(tasks.started)
        owners, arrived_of, arrived = tasks.task_key, effects.key, effects.n.astype(np.int64)
        needed_finished = needed_effects = effects_per_start = 1
        if n_effects != n_tasks:  # which effect is whose can't be told, so whole operations are compared
            _, finished = _summed(owners & _OP_BITS, finished)
            owners, starts = _summed(owners & _OP_BITS, starts)
            arrived_of, arrived = _summed(arrived_of & _OP_BITS, arrived)
            needed_finished, needed_effects, effects_per_start = n_tasks, n_effects, -(-n_effects // n_tasks)
        where, known = positions(owners, arrived_of)
        allowed = np.zeros(len(arrived), np.int64)
        allowed[known] = starts[where[known]] * effects_per_start * most
        n_arrived = np.zeros(len(owners), np.int64)
        n_arrived[where[known]] = arrived[known]
        missing = (finished >= needed_finished) & (n_arrived < needed_effects)
        _note(contradictions, "tasks with an effect in the world and no start", evidence, op_of(arrived_of[allowed == 0]))
        _note(
            contradictions,
            "tasks with more effects than starts" if most == 1 else f"tasks with more than {most} effects for each start",
            evidence,
            op_of(arrived_of[(allowed > 0) & (arrived > allowed)]),
        )
        _note(contradictions, "tasks finished, and no effect arrived", evidence, op_of(owners[missing]))
    elif n_effects:
        arrived_of, arrived = _summed(effects.key & _OP_BITS, effects.n)
        where, known = positions(ops.op, op_of(arrived_of))
        allowed = np.full(len(arrived), np.iinfo(np.int64).max)  # of an operation that was never sent: that is invariant 7
        allowed[known] = ops.n_sends[where[known]].astype(np.int64) * n_effects * most
        _note(contradictions, "operations with more effects than sends", evidence, op_of(arrived_of[arrived > allowed]))
    numbers = f"{account.effects:,} effects" if n_effects else "the world is no witness here"
    return _judged("5", title, numbers, contradictions)


def _nothing_after_death(evidence: Evidence, scans: dict[int, FileScan]) -> Invariant:
    title = "no row of a boot has an instant later than that boot's reaping"
    contradictions = [
        f"boot {boot}: {scan.n_after_death:,} rows, up to {scan.latest_after_death_ns / 1e6:,.3f} ms after its death "
        f"(op {_hex(scan.examples.get('after_death', ()))})"
        for boot, scan in scans.items()
        if scan.n_after_death
    ]
    contradictions += after_death_of_workers(evidence)
    n_reaped = sum(boot.reaped_ns is not None for boot in evidence.boots)
    return _judged("6", title, f"{n_reaped} reaped boots", contradictions)


def _effects_were_asked_for(evidence: Evidence, account: Account, scans: dict[int, FileScan]) -> Invariant:
    title = "no effect belongs to an operation that this run did not send"
    effects = account.tables.effects
    contradictions: list[str] = []
    owners, _ = _summed(effects.key & _OP_BITS, effects.n)
    local = op_of(owners)
    _, was_sent = positions(account.tables.ops.op, local)
    never_sent = ~was_sent & ~has_no_row(evidence, local)
    _note(contradictions, "operations of this run with an effect, never sent", evidence, local[never_sent])
    untagged = (effects.foreign_ops & np.uint64(UNTAGGED)) != 0
    others = effects.foreign_ops[~untagged]
    if len(others):
        contradictions.append(f"{len(others):,} effects of another run (op {_hex(others.tolist())})")
    # A task without an operation id was asked for by somebody else, who may do so: a health check, a person with curl.
    n_started_untagged = sum(scan.n_untagged_started for scan in scans.values())
    n_untagged = int(np.count_nonzero(untagged))
    if n_untagged > n_started_untagged:
        contradictions.append(f"{n_untagged:,} effects without an operation id, and {n_started_untagged:,} such tasks started")
    return _judged("7", title, f"{account.effects:,} effects, all of operations that were sent", contradictions)


def _witnesses_complete(evidence: Evidence) -> Invariant:
    n_files = len(evidence.requests) + sum(map(len, evidence.tasks.values())) + len(evidence.effects)
    return _judged("8", "the witnesses are complete", f"{n_files} files, none with a part missing", missing_parts(evidence))


def _instants_in_order(scans: dict[int, FileScan], requests: Sequence[RequestScan]) -> Invariant:
    title = "the instants of each row are in order"
    contradictions: list[str] = []
    for boot, scan in scans.items():
        for words, number in scan.disorders.items():
            contradictions.append(f"boot {boot}: {number:,} tasks {words} (op {_hex(scan.examples.get(words, ()))})")
    for request_scan in requests:
        for words, number in request_scan.disorders.items():
            contradictions.append(f"{number:,} requests {words} (op {_hex(request_scan.examples.get(words, ()))})")
    n_rows = sum(scan.n_rows for scan in scans.values()) + sum(scan.n_rows for scan in requests)
    return _judged("9", title, f"{n_rows:,} rows", contradictions)


def _predictions_were_right(evidence: Evidence, account: Account) -> Invariant:
    title = "what was read before a boot's death equals what was found after it"
    contradictions, n_compared = wrong_predictions(evidence, account)
    return _judged("10", title, f"{n_compared} numbers compared" if n_compared else "nothing was predicted", contradictions)


def _judged(number: str, title: str, numbers: str, contradictions: Sequence[str]) -> Invariant:
    return Invariant(id=number, title=title, holds=not contradictions, detail="; ".join(contradictions) or numbers)


def _note(contradictions: list[str], words: str, evidence: Evidence, local_ops: NDArray[np.uint32]) -> None:
    """Adds "<n> <words> (op ...)" if there are any."""
    if not len(local_ops):
        return
    full = [(evidence.run_tag << 32) | int(op) for op in local_ops[:N_EXAMPLES]]
    contradictions.append(f"{len(local_ops):,} {words} (op {_hex(full)})")


def _hex(ops: Sequence[int]) -> str:
    return ", ".join(f"{op:016x}" for op in list(ops)[:N_EXAMPLES])


def _first(scans: dict[int, FileScan], what: str) -> str:
    found = [op for scan in scans.values() for op in scan.examples.get(what, ())]
    return f"(op {_hex(found)})"


def _summed(owners: NDArray[np.uint64], amounts: NDArray[np.integer]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The sum of the amounts of each owner; `owners` is sorted."""
    if not len(owners):
        return owners, amounts.astype(np.int64)
    first = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1])))
    return owners[first], np.add.reduceat(amounts.astype(np.int64), first)
