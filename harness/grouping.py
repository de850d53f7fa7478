"""Rows of a run grouped by operation and by task, and the state of each task. Arrays only: no clock, no files, no processes.

A *task* is (op, index). Inside a run an op is told by its lower 32 bits (`local op`); the task's key is `local op << 16 | index`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.model import Evidence
from harness.rows import DropReason, Outcome, RequestError, RowFile, Rows, TaskKind
from harness.rows.layout import N_NAMES
from harness.rows.reader import release

__all__ = [
    "NEVER_NS",
    "EffectTable",
    "OpTable",
    "Tables",
    "TaskState",
    "TaskTable",
    "chunks",
    "denied",
    "group",
    "is_cancelled",
    "is_own",
    "is_refused",
    "key_of",
    "op_of",
    "positions",
    "states",
]

CHUNK_ROWS: Final = 1 << 16
"""Rows looked at together: 4 MiB, so that reading several fields of a chunk reads memory once."""

NEVER_NS: Final = np.iinfo(np.int64).max
"""Stands for an instant that never came where the earliest of several is wanted."""


_N_KINDS: Final = len(TaskKind) + 1

_Name = TypeVar("_Name", bound=Hashable)


class TaskState(IntEnum):
    """Where a task is at the end of the run (docs/accounting.md). Each row, and each task, is in exactly one."""

    MALFORMED = 0  # dropped, and the reason is none that the format knows
    FINISHED = 1
    FAILED = 2
    SKIPPED = 3
    REJECTED = 4
    DISCARDED = 5
    INTERRUPTED = 6
    NEVER_STARTED = 7
    AWAITING = 8


@dataclass(frozen=True, slots=True)
class OpTable:
    """Operations that were sent, one entry each, sorted by local op."""

    op: NDArray[np.uint32]
    n_sends: NDArray[np.uint32]
    idle: NDArray[np.bool_]  # it has neither tasks nor effects
    route: NDArray[np.uint16]  # of the first send, as an index of `route_names`
    route_names: tuple[str, ...]
    outcome: NDArray[np.uint8]  # ACK if any send was acknowledged, else IND if any is open or indeterminate, else REJ
    refused: NDArray[np.bool_]  # REJ, and told so: in no percentile, as nobody waits for more
    due_ns: NDArray[np.int64]  # of the first send
    sent_ns: NDArray[np.int64]  # of the first send
    ack_ns: NDArray[np.int64]  # done of the first ACK; NEVER_NS without one
    unanswered: NDArray[np.int64]  # where the indeterminate operations stand in these arrays
    unanswered_end_ns: NDArray[np.int64]  # of each of them: done of the last send; NEVER_NS while one is open
    unanswered_error: NDArray[np.uint8]  # of each of them: why its last send has no answer
    unconnected: NDArray[np.int64]  # where those stand that are REJ and not refused: no connection was made in time
    unconnected_end_ns: NDArray[np.int64]  # of each of them: when that was given up
    last_done_ns: int  # of all sends; 0 if none has ended
    n_sent_rows: int
    n_unsent_rows: int  # shed, or published and never handed to the client library
    n_unsent_measured: int  # of them: due after the warm-up
    n_own_limit: int  # the generator itself could make no connection for them, and at last told so
    n_foreign_rows: int


@dataclass(frozen=True, slots=True)
class TaskTable:
    """Published task rows of this run, sorted by key, then boot, then the order in which they were claimed."""

    key: NDArray[np.uint64]
    boot: NDArray[np.uint16]
    state: NDArray[np.uint8]  # a TaskState
    cancelled: NDArray[np.bool_]  # by the app itself: FAILED if it was running, SKIPPED if it waited
    function: NDArray[np.uint16]  # an index of `function_names`
    rerun: NDArray[np.bool_]  # a later attempt at a task that an earlier boot had accepted
    accepted_ns: NDArray[np.int64]
    started_ns: NDArray[np.int64]  # 0: it has not
    ended_ns: NDArray[np.int64]  # finished or failed; 0: neither
    first: NDArray[np.uint32]  # where each task's rows begin: shape (n_tasks,)
    function_names: tuple[tuple[str, int], ...]  # name and TaskKind

    @property
    def started(self) -> NDArray[np.bool_]:
        """Which rows' attempts started."""
        begun: NDArray[np.bool_] = self.started_ns != 0
        return begun

    @property
    def task_key(self) -> NDArray[np.uint64]:
        """The key of each task: shape (n_tasks,), sorted."""
        return self.key[self.first]

    @property
    def last(self) -> NDArray[np.uint32]:
        """Where the last row of each task is: shape (n_tasks,)."""
        return np.append(self.first[1:], np.uint32(len(self.key))) - np.uint32(1) if len(self.first) else self.first

    def task_state(self) -> NDArray[np.uint8]:
        """The state of each task: finished if any of its rows is, else the state of its last row. Shape (n_tasks,)."""
        state = self.state[self.last]
        if len(self.key) != len(self.first):
            finished = np.logical_or.reduceat(self.state == TaskState.FINISHED, self.first)
            state = np.where(finished, np.uint8(TaskState.FINISHED), state)
        return state

    def per_task(self, of_row: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many rows of each task have the property. Shape (n_tasks,)."""
        if len(self.first) == len(self.key):
            return of_row.astype(np.int64)
        return np.add.reduceat(of_row.astype(np.int64), self.first)


@dataclass(frozen=True, slots=True)
class EffectTable:
    """Effects of this run that reached the world, one entry per key, sorted."""

    key: NDArray[np.uint64]
    n: NDArray[np.uint32]
    n_own: int  # rows
    foreign_ops: NDArray[np.uint64]  # one per row whose op is not of this run, as it stands in the row

    def of(self, key: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The number of effects of each key: shape of `key`, which must be sorted."""
        where, found = positions(self.key, key)
        count = np.zeros(len(key), np.int64)
        count[found] = self.n[where[found]]
        return count


@dataclass(frozen=True, slots=True)
class Tables:
    """The three witnesses, grouped."""

    ops: OpTable
    tasks: TaskTable
    effects: EffectTable


def group(evidence: Evidence) -> Tables:
    """Groups the rows of all witnesses. It keeps about 46 bytes per task row, 32 per request and 12 per effect."""
    return Tables(ops=_ops(evidence), tasks=_tasks(evidence), effects=_effects(evidence))


def denied(tables: Tables) -> NDArray[np.bool_]:
    """Which tasks were put aside (discarded, rejected) although their request was acknowledged: shape (n_tasks,).

    Whoever gets no 2xx knows that it may not be done. But a response with a background of its own makes FastAPI drop the tasks
    that were added, and a handler can turn an error into a 200: then nobody knows.
    """
    ops, tasks = tables.ops, tables.tasks
    found = np.isin(tasks.task_state(), (TaskState.REJECTED, TaskState.DISCARDED))
    if found.any() and len(ops.op):
        where, known = positions(ops.op, op_of(tasks.task_key[found]))
        found[found] = known & (ops.outcome[where] == Outcome.ACK)
    else:
        found[:] = False
    return found


def is_own(op: NDArray[np.uint64], run_tag: int) -> NDArray[np.bool_]:
    """Which of these operations are of this run."""
    own: NDArray[np.bool_] = (op >> np.uint64(32)) == np.uint64(run_tag)
    return own


def is_refused(outcome: NDArray[np.uint8], error: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which requests were refused, by an answer or at once. One that waited for a connection in vain was not: nobody said no."""
    refused: NDArray[np.bool_] = (outcome == Outcome.REJ) & (error != RequestError.CONNECT_TIMED_OUT)
    return refused


def key_of(op: NDArray[np.uint64], index: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """The key of a task: local op and index."""
    return ((op & np.uint64(0xFFFF_FFFF)) << np.uint64(16)) | index.astype(np.uint64)


def op_of(key: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The local op of each key."""
    return (key >> np.uint64(16)).astype(np.uint32)


def positions(
    known: NDArray[np.unsignedinteger], wanted: NDArray[np.unsignedinteger]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each of `wanted` stands in the sorted `known` (without repetitions), and whether it is there at all."""
    if not len(known):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    first, last = int(known[0]), int(known[-1])
    if last - first + 1 == len(known):  # a counter without gaps needs no search
        where = wanted.astype(np.int64) - first
        found = (where >= 0) & (where < len(known))
        where[~found] = 0
        return where, found
    where = np.searchsorted(known, wanted).astype(np.int64)
    where[where == len(known)] = 0
    return where, known[where] == wanted


def chunks(*files: RowFile) -> Iterator[Rows]:
    """The rows of files, one after another, some at a time, as plain arrays."""
    for file in files:
        rows = np.asarray(file.rows)
        for start in range(0, len(rows), CHUNK_ROWS):
            yield rows[start : start + CHUNK_ROWS]
            release(file.rows, start, start + CHUNK_ROWS)


def states(rows: Rows, *, reaped: bool) -> NDArray[np.uint8]:
    """The TaskState of each task row: shape (n_rows,). `reaped`: the boot that wrote them is dead."""
    dropped = rows["dropped_ns"] != 0
    reason = np.where(dropped, rows["reason"], DropReason.ABANDONED)
    if reaped:
        undone = np.where(rows["started_ns"] != 0, np.uint8(TaskState.INTERRUPTED), np.uint8(TaskState.NEVER_STARTED))
    else:
        undone = np.full(len(rows), TaskState.AWAITING, np.uint8)
    state: NDArray[np.uint8] = np.select(
        [
            rows["finished_ns"] != 0,
            rows["failed_ns"] != 0,
            (reason == DropReason.SKIPPED) | (reason == DropReason.CANCELLED),
            reason == DropReason.REJECTED,
            reason == DropReason.DISCARDED,
            reason == DropReason.ABANDONED,
        ],
        [
            np.uint8(TaskState.FINISHED),
            np.uint8(TaskState.FAILED),
            np.uint8(TaskState.SKIPPED),
            np.uint8(TaskState.REJECTED),
            np.uint8(TaskState.DISCARDED),
            undone,
        ],
        default=np.uint8(TaskState.MALFORMED),
    )
    return state


def is_cancelled(rows: Rows) -> NDArray[np.bool_]:
    """Which task rows say that the app itself cancelled them: while they ran (they have failed), or before (they are dropped)."""
    ended = (rows["failed_ns"] != 0) | (rows["dropped_ns"] != 0)
    chosen: NDArray[np.bool_] = (rows["reason"] == DropReason.CANCELLED) & ended & (rows["finished_ns"] == 0)
    return chosen


def _ops(evidence: Evidence) -> OpTable:
    columns: list[tuple[NDArray[Any], ...]] = []
    numbers: dict[str, int] = {}
    n_unsent = n_unsent_measured = n_foreign = 0
    measured_from_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
    for file in evidence.requests:
        number_of = _numbers(file.names, numbers)
        for rows in chunks(file):
            own = is_own(rows["op"], evidence.run_tag)
            sent = own & (rows["sent_ns"] != 0)
            n_foreign += len(rows) - int(np.count_nonzero(own))
            unsent = own & ~sent
            n_unsent += int(np.count_nonzero(unsent))
            n_unsent_measured += int(np.count_nonzero(unsent & (rows["due_ns"].astype(np.int64) >= measured_from_ns)))
            columns.append(
                (
                    rows["op"][sent].astype(np.uint32),
                    rows["outcome"][sent],
                    rows["due_ns"][sent].astype(np.int64),
                    rows["sent_ns"][sent].astype(np.int64),
                    rows["done_ns"][sent].astype(np.int64),
                    rows["error"][sent],
                    number_of[np.minimum(rows["route"][sent], N_NAMES)],
                )
            )
    op = np.concatenate([np.empty(0, np.uint32), *(part[0] for part in columns)])
    outcome = np.concatenate([np.empty(0, np.uint8), *(part[1] for part in columns)])
    due, sent_at, done = (
        np.concatenate([np.empty(0, np.int64), *times])
        for times in ([part[2] for part in columns], [part[3] for part in columns], [part[4] for part in columns])
    )
    error = np.concatenate([np.empty(0, np.uint8), *(part[5] for part in columns)])
    route = np.concatenate([np.empty(0, np.uint16), *(part[6] for part in columns)])
    columns.clear()
    if np.any(op[1:] < op[:-1]):
        order = np.argsort(op, kind="stable")
        op, outcome, due, sent_at, done, error, route = (each[order] for each in (op, outcome, due, sent_at, done, error, route))
    is_ack, refused = outcome == Outcome.ACK, is_refused(outcome, error)
    is_open = (outcome == Outcome.OPEN) | (done == 0)
    is_unknown = (outcome == Outcome.OPEN) | (outcome == Outcome.IND)
    acked_at = np.where(is_ack & (done != 0), done, NEVER_NS)
    ended_at = np.where(is_open, NEVER_NS, done)
    first = _group_starts(op)
    n_sends = _group_sizes(first, len(op))
    if len(first) != len(op):
        route = route[first]
        op, due, sent_at = op[first], np.minimum.reduceat(due, first), np.minimum.reduceat(sent_at, first)
        acked_at, ended_at = np.minimum.reduceat(acked_at, first), np.maximum.reduceat(ended_at, first)
        error = error[first + n_sends - 1]
        refused = np.logical_and.reduceat(refused, first)
        is_ack, is_unknown = np.logical_or.reduceat(is_ack, first), np.logical_or.reduceat(is_unknown, first)
    last_done = int(done.max(initial=0))
    del done
    merged = np.where(is_ack, Outcome.ACK, np.where(is_unknown, Outcome.IND, Outcome.REJ)).astype(np.uint8)
    unanswered = np.flatnonzero(merged == Outcome.IND)
    unconnected = np.flatnonzero((merged == Outcome.REJ) & ~refused)
    is_idle = np.array([name in evidence.expectation.idle for name in numbers] or [False])
    return OpTable(
        op=op,
        n_sends=n_sends,
        idle=is_idle[route],
        route=route,
        route_names=tuple(numbers),
        outcome=merged,
        refused=refused,
        due_ns=due,
        sent_ns=sent_at,
        ack_ns=acked_at,
        unanswered=unanswered,
        unanswered_end_ns=ended_at[unanswered],
        unanswered_error=error[unanswered],
        unconnected=unconnected,
        unconnected_end_ns=ended_at[unconnected],
        last_done_ns=last_done,
        n_sent_rows=int(n_sends.sum()),
        n_unsent_rows=n_unsent,
        n_unsent_measured=n_unsent_measured,
        n_own_limit=int(np.count_nonzero((merged == Outcome.REJ) & refused & (error == RequestError.OWN_LIMIT))),
        n_foreign_rows=n_foreign,
    )


def _tasks(evidence: Evidence) -> TaskTable:
    room = sum(len(file.rows) for files in evidence.tasks.values() for file in files)
    key = np.empty(room, np.uint64)
    boot = np.empty(room, np.uint16)
    state = np.empty(room, np.uint8)
    cancelled = np.empty(room, np.bool_)
    function = np.empty(room, np.uint16)
    rerun = np.empty(room, np.bool_)
    accepted = np.empty(room, np.int64)
    started = np.empty(room, np.int64)
    ended = np.empty(room, np.int64)
    numbers: dict[tuple[str, int], int] = {}
    reaped = {each.boot for each in evidence.boots if each.reaped_ns is not None}
    end = 0
    files = [(number, file) for number in sorted(evidence.tasks) for file in evidence.tasks[number]]
    for number, file in files:
        number_of = np.stack([_numbers([(name, kind) for name in file.names], numbers) for kind in range(_N_KINDS)])
        for all_rows in chunks(file):
            own = is_own(all_rows["op"], evidence.run_tag)
            rows = all_rows if own.all() else all_rows[own]
            into = slice(end, end + len(rows))
            key[into] = key_of(rows["op"], rows["index"])
            boot[into] = number
            state[into] = states(rows, reaped=number in reaped)
            cancelled[into] = is_cancelled(rows)
            function[into] = number_of[np.where(rows["kind"] < _N_KINDS, rows["kind"], 0), np.minimum(rows["func"], N_NAMES)]
            rerun[into] = rows["attempt"] > 1
            accepted[into] = rows["accepted_ns"]
            started[into] = rows["started_ns"]
            ended[into] = np.where(rows["finished_ns"] != 0, rows["finished_ns"], rows["failed_ns"])
            end += len(rows)
    key, boot, state, function, rerun = key[:end], boot[:end], state[:end], function[:end], rerun[:end]
    cancelled, accepted, started, ended = cancelled[:end], accepted[:end], started[:end], ended[:end]
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        key, boot, state = key[order], boot[order], state[order]
        function, rerun, cancelled = function[order], rerun[order], cancelled[order]
        accepted, started, ended = accepted[order], started[order], ended[order]
    return TaskTable(
        key=key,
        boot=boot,
        state=state,
        cancelled=cancelled,
        function=function,
        rerun=rerun,
        accepted_ns=accepted,
        started_ns=started,
        ended_ns=ended,
        first=_group_starts(key),
        function_names=tuple(numbers),
    )


def _effects(evidence: Evidence) -> EffectTable:
    keys: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    foreign: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    for file in evidence.effects:
        for rows in chunks(file):
            own = is_own(rows["op"], evidence.run_tag)
            keys.append(key_of(rows["op"][own], rows["index"][own]))
            foreign.append(rows["op"][~own])
    key = np.sort(np.concatenate(keys))
    first = _group_starts(key)
    return EffectTable(key=key[first], n=_group_sizes(first, len(key)), n_own=len(key), foreign_ops=np.concatenate(foreign))


def _numbers(names: Sequence[_Name], numbers: dict[_Name, int]) -> NDArray[np.uint16]:
    """The number of each of a file's names in all files together: shape (N_NAMES + 1,). Ids that have no name are as id 0."""
    of_id = [numbers.setdefault(name, len(numbers)) for name in names]
    return np.array([*of_id, *[of_id[0]] * (N_NAMES + 1 - len(of_id))], np.uint16)


def _group_starts(values: NDArray[np.unsignedinteger]) -> NDArray[np.uint32]:
    """Where each run of equal values begins in a sorted array."""
    if not len(values):
        return np.empty(0, np.uint32)
    return np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1]))).astype(np.uint32)


def _group_sizes(first: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """How many values each group has, of `n` in all."""
    ends = np.append(first[1:], np.uint32(n)) if len(first) else first
    sizes: NDArray[np.uint32] = ends - first
    return sizes
