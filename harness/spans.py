"""How long each task waited, ran and took until done, one entry per task row. Arrays only: no clock, no files, no processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS, Tables, TaskState, denied, op_of, positions

__all__ = ["NONE_NS", "TaskSpans", "task_spans"]

_LEFT: Final = (TaskState.INTERRUPTED, TaskState.NEVER_STARTED)
_UNDONE: Final = (TaskState.FAILED, TaskState.SKIPPED, *_LEFT)
NONE_NS: Final = -1
"""Stands for a duration that there is none of. Another malformed one may be negative as well: compare with this."""


@dataclass(frozen=True, slots=True)
class TaskSpans:
    """Rows of tasks whose operation was sent, in the order of the task table; and the operations, in the order of theirs."""

    function: NDArray[np.uint16]  # an index of the task table's `function_names`
    is_left: NDArray[np.bool_]  # given up, put aside though acknowledged, or its process ended before it; and no later one did it
    is_undone: NDArray[np.bool_]  # it ended in another way than by finishing: as `never_done` of the account
    due_ns: NDArray[np.int64]  # of the operation
    wait_ns: NDArray[np.int64]  # started - accepted; NONE_NS: it never started
    run_ns: NDArray[np.int64]  # finished or failed - started; NONE_NS: it did not end
    done_ns: NDArray[np.int64]  # finished - due; NONE_NS: it did not finish
    response_ns: NDArray[np.int64]  # of each operation, from due to the first full 2xx; NEVER_NS without one


def task_spans(tables: Tables) -> TaskSpans:
    """The spans of all task rows whose operation was sent."""
    tasks, ops = tables.tasks, tables.ops
    where, known = positions(ops.op, op_of(tasks.key))
    function, accepted, started, ended = tasks.function, tasks.accepted_ns, tasks.started_ns, tasks.ended_ns
    is_finished, is_left = tasks.state == TaskState.FINISHED, np.isin(tasks.state, _LEFT)
    is_undone = np.isin(tasks.state, _UNDONE)
    if (of_task := denied(tables)).any():
        is_denied = np.zeros(len(tasks.key), np.bool_)
        is_denied[tasks.last[of_task]] = True
        is_left, is_undone = is_left | is_denied, is_undone | is_denied
    if len(tasks.first) != len(tasks.key):
        # What a later process did after all is not left.
        n_rows = np.diff(np.append(tasks.first, len(tasks.key)))
        is_done_later = np.repeat(tasks.task_state() == TaskState.FINISHED, n_rows)
        is_left, is_undone = is_left & ~is_done_later, is_undone & ~is_done_later
        # A task counts once, as in the account: by its last row.
        is_last = np.zeros(len(tasks.key), np.bool_)
        is_last[tasks.last] = True
        is_left, is_undone = is_left & is_last, is_undone & is_last
    if not known.all():
        where, function = where[known], function[known]
        is_finished, is_left, is_undone = is_finished[known], is_left[known], is_undone[known]
        accepted, started, ended = accepted[known], started[known], ended[known]
    due = ops.due_ns[where] if len(ops.op) else np.empty(0, np.int64)
    return TaskSpans(
        function=function,
        is_left=is_left,
        is_undone=is_undone,
        due_ns=due,
        wait_ns=np.where(started != 0, started - accepted, NONE_NS),
        run_ns=np.where((started != 0) & (ended != 0), ended - started, NONE_NS),
        done_ns=np.where(is_finished, ended - due, NONE_NS),
        response_ns=np.where(ops.ack_ns == NEVER_NS, NEVER_NS, ops.ack_ns - ops.due_ns),
    )
