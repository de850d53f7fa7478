"""What became of every operation and task of a run: counts from the three witnesses. Pure: no clock, no files, no processes.

See docs/accounting.md. A task is (op, index); its state is `finished` if any of its rows is, else that of its last row. Counts of
the whole run are of tasks, those of a boot are of rows; without re-runs and resends they add up to the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.grouping import Tables, TaskState, chunks, denied, group, is_own, op_of, positions, states
from harness.model import Boot, Evidence
from harness.rowless import denied_bounds, has_no_row, promised_at_most
from harness.rows import Gauge, Outcome, RowFile

__all__ = ["Account", "BootAccount", "account"]


@dataclass(frozen=True, slots=True)
class BootAccount:
    """What one boot had at its end: rows of this run, by state."""

    boot: int
    accepted: int
    finished: int
    failed: int
    skipped: int
    rejected: int
    discarded: int
    interrupted: int
    never_started: int
    awaiting: int
    malformed: int
    n_foreign: int  # rows of no operation of this run; in none of the counts above
    foreign_interrupted: int
    foreign_never_started: int

    @property
    def queued_at_death(self) -> int:
        """Accepted and not started when it died."""
        return self.never_started

    @property
    def running_at_death(self) -> int:
        """Started and not ended when it died."""
        return self.interrupted


@dataclass(frozen=True, slots=True)
class Account:
    """The account of a whole run. Where a witness is missing, `*_low` and `*_high` bound what remains; else they are equal."""

    server_is_witness: bool  # it writes task rows, and saw every request that was acknowledged
    world_is_witness: bool  # it shows for each task whether its effect arrived
    inline: bool  # the work is done before answering: no task rows, the world alone shows what was done

    n_attempted: int  # operations that were sent
    n_acked: int
    n_rejected: int
    n_unconnected: int  # of them: the server took no connection in time; never answered, and nothing was promised
    n_own_limit: int  # of them: the generator itself could make no connection
    n_indeterminate: int
    n_unsent: int  # request rows that never left: shed
    n_counted: int  # of n_attempted: known by histograms alone
    n_unseen: int  # acknowledged or indeterminate ones that no process of the server told of: what they left behind is unknown

    accepted: int  # tasks; the sum of the states below
    accepted_rows: int  # published rows; more than `accepted` if a task was accepted twice or run again by a later boot
    finished: int
    failed: int
    skipped: int
    rejected: int
    discarded: int
    interrupted: int
    never_started: int
    awaiting: int
    malformed: int
    cancelled_running: int  # of `failed`: they did not raise, the app itself cancelled them
    cancelled_queued: int  # of `skipped`: it cancelled them before they started

    lost_low: int
    lost_high: int
    lost_queued: int  # of lost_high: never started
    lost_running: int  # of lost_high: interrupted
    lost_discarded: int  # of lost_high: put aside although acknowledged, so that each is a broken promise
    lost_unknown: (
        int  # of lost_high: put aside, and it is not known whether acknowledged. Inline: work behind requests without rows
    )
    denied: int  # tasks that were put aside although acknowledged, with or without an effect
    broken_promises_low: int  # lost and acknowledged
    broken_promises_high: int
    broken_promises_queued: int
    broken_promises_running: int
    duplicated: int  # effects beyond the first, per task
    recovered: int  # operations: indeterminate for the client, yet done

    effects: int  # of operations of this run
    effects_finished: int  # tasks with an effect, by the task's state
    effects_failed: int
    effects_interrupted: int
    effects_other: int

    n_foreign_requests: int
    n_foreign_tasks: int
    n_foreign_effects: int
    boots: tuple[BootAccount, ...]
    tables: Tables = field(repr=False, compare=False)

    @property
    def lost(self) -> int:
        """Tasks (inline: operations) that were lost, at most."""
        return self.lost_high

    @property
    def broken_promises(self) -> int:
        """Lost and acknowledged, at most."""
        return self.broken_promises_high

    @property
    def raised(self) -> int:
        """Tasks that raised: failed, but for those that the app cancelled."""
        return self.failed - self.cancelled_running

    @property
    def cancelled(self) -> int:
        """Tasks that the app itself cancelled, whether they ran or waited."""
        return self.cancelled_running + self.cancelled_queued

    @property
    def never_done(self) -> int:
        """Accepted tasks that will never finish, at most: with those that were put aside and perhaps acknowledged."""
        return self.lost_high if self.inline else self.never_done_low + self.lost_unknown

    @property
    def never_done_low(self) -> int:
        """At least: failed, skipped, interrupted, never started, denied. Inline: lost operations."""
        if self.inline:
            return self.lost_low
        return self.failed + self.skipped + self.interrupted + self.never_started + self.denied


@dataclass(frozen=True, slots=True)
class _Losses:
    lost_queued: int
    lost_running_low: int
    lost_running: int
    broken_queued: int
    broken_running_low: int
    broken_running: int
    recovered: int
    discarded: int = 0  # without an effect, although acknowledged
    lost_unknown: int = 0  # may be lost: of operations without rows that may have been acknowledged
    broken_unknown: int = 0  # lost, and whether it was acknowledged is not known: there is no row of the request


def account(evidence: Evidence) -> Account:
    """Counts what the witnesses wrote: 4 s and 0.9 GiB for ten million tasks, with as many requests and effects."""
    tables = group(evidence)
    expectation = evidence.expectation
    inline = expectation.tasks_per_request == 0 and expectation.effects_per_request > 0
    # With one effect per task an effect has the index of its task; with other numbers it can't be told whose it is.
    world_is_witness = expectation.effects_per_request > 0 and (
        inline or expectation.effects_per_request == expectation.tasks_per_request
    )
    outcome = tables.ops.outcome
    counted = evidence.counted
    task_state = tables.tasks.task_state()
    cancelled = tables.tasks.cancelled[tables.tasks.last]
    by_state = np.bincount(task_state, minlength=len(TaskState))
    n_effects = tables.effects.of(tables.tasks.task_key)
    with_effect = np.bincount(task_state[n_effects > 0], minlength=len(TaskState))
    n_denied = 0
    if inline:
        losses = _losses_inline(evidence, tables)
    else:
        surely, at_most = denied_bounds(evidence, op_of(tables.tasks.task_key), task_state, n_effects > 0)
        n_denied = int(np.count_nonzero(denied(tables))) + surely
        losses = _losses(evidence, tables, task_state, n_effects, (surely, at_most), world_is_witness=world_is_witness)
    acked = int(np.count_nonzero(outcome == Outcome.ACK)) + sum(each.acked for each in counted)
    unanswered = int(np.count_nonzero(outcome == Outcome.IND)) + sum(each.indeterminate for each in counted)
    n_counted = sum(each.sent for each in counted)
    unseen_acked, unseen = _unseen(evidence, acked, unanswered)
    shown = (TaskState.FINISHED, TaskState.FAILED, TaskState.INTERRUPTED)
    boots = _boots(evidence)
    return Account(
        server_is_witness=not inline and unseen == 0,
        world_is_witness=world_is_witness,
        inline=inline,
        n_attempted=len(tables.ops.op) + n_counted,
        n_acked=acked,
        n_rejected=int(np.count_nonzero(outcome == Outcome.REJ)) + sum(each.rejected for each in counted),
        n_unconnected=len(tables.ops.unconnected) + sum(each.unconnected for each in counted),
        n_own_limit=tables.ops.n_own_limit + sum(each.own_limit for each in counted),
        n_indeterminate=unanswered,
        n_counted=n_counted,
        n_unseen=unseen,
        n_unsent=tables.ops.n_unsent_rows + sum(each.shed for each in counted),
        accepted=len(tables.tasks.first),
        accepted_rows=len(tables.tasks.key),
        finished=int(by_state[TaskState.FINISHED]),
        failed=int(by_state[TaskState.FAILED]),
        skipped=int(by_state[TaskState.SKIPPED]),
        rejected=int(by_state[TaskState.REJECTED]),
        discarded=int(by_state[TaskState.DISCARDED]),
        interrupted=int(by_state[TaskState.INTERRUPTED]),
        never_started=int(by_state[TaskState.NEVER_STARTED]),
        awaiting=int(by_state[TaskState.AWAITING]),
        malformed=int(by_state[TaskState.MALFORMED]),
        cancelled_running=int(np.count_nonzero(cancelled & (task_state == TaskState.FAILED))),
        cancelled_queued=int(np.count_nonzero(cancelled & (task_state == TaskState.SKIPPED))),
        lost_low=losses.lost_queued + losses.lost_running_low + losses.discarded,
        lost_high=losses.lost_queued + losses.lost_running + losses.discarded + losses.lost_unknown + unseen,
        lost_queued=losses.lost_queued,
        lost_running=losses.lost_running,
        lost_discarded=losses.discarded,
        lost_unknown=losses.lost_unknown,
        denied=n_denied,
        broken_promises_low=losses.broken_queued + losses.broken_running_low + losses.discarded,
        broken_promises_high=losses.broken_queued
        + losses.broken_running
        + losses.discarded
        + losses.broken_unknown
        + unseen_acked,
        broken_promises_queued=losses.broken_queued,
        broken_promises_running=losses.broken_running,
        duplicated=tables.effects.n_own - len(tables.effects.key),
        recovered=losses.recovered,
        effects=tables.effects.n_own,
        effects_finished=int(with_effect[TaskState.FINISHED]),
        effects_failed=int(with_effect[TaskState.FAILED]),
        effects_interrupted=int(with_effect[TaskState.INTERRUPTED]),
        effects_other=len(tables.effects.key) - int(sum(with_effect[state] for state in shown)),
        n_foreign_requests=tables.ops.n_foreign_rows,
        n_foreign_tasks=sum(boot.n_foreign for boot in boots),
        n_foreign_effects=len(tables.effects.foreign_ops),
        boots=boots,
        tables=tables,
    )


def _unseen(evidence: Evidence, acked: int, unanswered: int) -> tuple[int, int]:
    """How many acknowledged operations no witness in the server saw, and how many with those that got no answer.

    Each of them may have left work behind that was lost. Where it is known what to expect, a missing witness breaks an invariant.
    """
    if evidence.expectation.tasks_per_request or evidence.expectation.effects_per_request:
        return 0, 0
    seen = sum(file.gauges[Gauge.REQUESTS] for files in evidence.tasks.values() for file in files)
    if seen >= acked and (evidence.tasks or not acked + unanswered):
        return 0, 0
    return max(acked - seen, 0), max(acked + unanswered - seen, 0)


def _losses(
    evidence: Evidence,
    tables: Tables,
    task_state: NDArray[np.uint8],
    n_effects: NDArray[np.int64],
    denied_without_row: tuple[int, int],
    *,
    world_is_witness: bool,
) -> _Losses:
    """Lost tasks from the server's rows and the world's. A world that is no witness leaves the interrupted ones open.

    `denied_without_row`: the bounds of what was put aside although a request without a row was acknowledged.
    """
    ops = tables.ops
    op = op_of(tables.tasks.task_key)
    where, was_sent = positions(ops.op, op)
    outcome = np.zeros(len(where), np.uint8)
    outcome[was_sent] = ops.outcome[where[was_sent]]
    has_effect = n_effects > 0
    queued = (task_state == TaskState.NEVER_STARTED) & ~has_effect
    running = (task_state == TaskState.INTERRUPTED) & ~has_effect
    acked = outcome == Outcome.ACK
    done = ((task_state == TaskState.FINISHED) | has_effect) & (outcome == Outcome.IND)
    n_done = np.bincount(where[done], minlength=len(ops.op))
    # As many as are expected; of an app of somebody's own, all that the operation had.
    n_tasks = np.maximum(np.bincount(where[was_sent], minlength=len(ops.op)), max(evidence.expectation.tasks_per_request, 1))
    lost_running = int(np.count_nonzero(running))
    broken_running = int(np.count_nonzero(running & acked))
    may_be_acked = has_no_row(evidence, op)
    put_aside = np.isin(task_state, (TaskState.REJECTED, TaskState.DISCARDED)) & ~has_effect
    surely, at_most = denied_without_row
    left = (queued | running) & may_be_acked
    promised = min(int(np.count_nonzero(left)) + at_most, promised_at_most(evidence, op[left | (put_aside & may_be_acked)]))
    return _Losses(
        lost_queued=int(np.count_nonzero(queued)),
        lost_running_low=lost_running if world_is_witness else 0,
        lost_running=lost_running,
        broken_queued=int(np.count_nonzero(queued & acked)),
        broken_running_low=broken_running if world_is_witness else 0,
        broken_running=broken_running,
        recovered=int(np.count_nonzero(n_done >= n_tasks)),
        discarded=int(np.count_nonzero(put_aside & acked)) + surely,
        lost_unknown=at_most - surely,
        broken_unknown=max(promised - surely, 0),
    )


def _losses_inline(evidence: Evidence, tables: Tables) -> _Losses:
    """Lost operations where the work is done before answering: acknowledged, and an effect is missing."""
    ops, effects_per_request = tables.ops, evidence.expectation.effects_per_request
    op = op_of(tables.effects.key)
    where, was_sent = positions(ops.op, op)
    is_done = np.bincount(where[was_sent], minlength=len(ops.op)) >= effects_per_request
    broken = int(np.count_nonzero((ops.outcome == Outcome.ACK) & ~is_done & ~ops.idle))
    # Of operations without rows only numbers can be compared: those that were acknowledged, and those that are done.
    _, n_effects = np.unique(op[has_no_row(evidence, op)], return_counts=True)
    n_done = int(np.count_nonzero(n_effects >= effects_per_request))
    n_sent, n_acked = (sum(getattr(each, name) for each in evidence.counted) for name in ("sent", "acked"))
    unknown = max(min(n_acked, n_sent - n_done), 0)
    surely = max(n_acked - n_done, 0) if not evidence.expectation.idle else 0
    return _Losses(
        lost_queued=0,
        lost_running_low=broken + surely,
        lost_running=broken,
        broken_queued=0,
        broken_running_low=broken + surely,
        broken_running=broken,
        lost_unknown=unknown,
        broken_unknown=unknown,
        recovered=int(np.count_nonzero((ops.outcome == Outcome.IND) & is_done)),
    )


def _boots(evidence: Evidence) -> tuple[BootAccount, ...]:
    """One account per boot that the session started, also for one without a file, and for files of no known boot."""
    known = {boot.boot: boot for boot in evidence.boots}
    numbers = sorted({*known, *evidence.tasks})
    return tuple(_boot(number, known.get(number), evidence.tasks.get(number, ()), evidence.run_tag) for number in numbers)


def _boot(number: int, boot: Boot | None, files: Sequence[RowFile], run_tag: int) -> BootAccount:
    own = np.zeros(len(TaskState), np.int64)
    foreign = np.zeros(len(TaskState), np.int64)
    reaped = boot is not None and boot.reaped_ns is not None
    for rows in chunks(*files):
        state = states(rows, reaped=reaped)
        ours = is_own(rows["op"], run_tag)
        own += np.bincount(state[ours], minlength=len(TaskState))
        if not ours.all():
            foreign += np.bincount(state[~ours], minlength=len(TaskState))
    return BootAccount(
        boot=number,
        accepted=int(own.sum()),
        finished=int(own[TaskState.FINISHED]),
        failed=int(own[TaskState.FAILED]),
        skipped=int(own[TaskState.SKIPPED]),
        rejected=int(own[TaskState.REJECTED]),
        discarded=int(own[TaskState.DISCARDED]),
        interrupted=int(own[TaskState.INTERRUPTED]),
        never_started=int(own[TaskState.NEVER_STARTED]),
        awaiting=int(own[TaskState.AWAITING]),
        malformed=int(own[TaskState.MALFORMED]),
        n_foreign=int(foreign.sum()),
        foreign_interrupted=int(foreign[TaskState.INTERRUPTED]),
        foreign_never_started=int(foreign[TaskState.NEVER_STARTED]),
    )
