"""Requests without rows: of a load machine that was lost, or of which only histograms were kept. Pure: no clock, no files.

The schedule says which load process sends which operation: arrival k, whose local op is k + 1, is sent by process k modulo their
number. So what a server or a world tells of such an operation is of this run, and what the client saw of it is not known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.grouping import TaskState
from harness.model import CountedLoad, Evidence

__all__ = ["denied_bounds", "has_no_row", "process_of", "promised_at_most"]

_TAKEN = (TaskState.FINISHED, TaskState.FAILED, TaskState.INTERRUPTED, TaskState.NEVER_STARTED, TaskState.AWAITING)
"""Of a task that the server took on, whatever became of it."""


def process_of(evidence: Evidence, local_op: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.int64]:
    """The load process that sends each operation: shape of `local_op`."""
    return (local_op.astype(np.int64) - 1) % max(evidence.n_load_processes, 1)


def has_no_row(evidence: Evidence, local_op: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.bool_]:
    """Which operations may have been sent although there is no row of them: shape of `local_op`."""
    without = {*evidence.lost_rows_of, *(each.process for each in evidence.counted)}
    if not without:
        return np.zeros(len(local_op), np.bool_)
    is_without = np.zeros(max(evidence.n_load_processes, 1), np.bool_)
    is_without[[number for number in without if number < len(is_without)]] = True
    found: NDArray[np.bool_] = is_without[process_of(evidence, local_op)]
    return found


def promised_at_most(evidence: Evidence, local_op: NDArray[np.uint32]) -> int:
    """Of tasks of requests that have no row (the request of each, shape (n,)): how many may have been promised.

    Histograms say how many requests were acknowledged: no more than the tasks of so many, those with the most, have been.
    """
    process, acked = process_of(evidence, local_op), {each.process: each.acked for each in evidence.counted}
    found = 0
    for number in np.unique(process):
        _, n_tasks = np.unique(local_op[process == number], return_counts=True)
        found += int(np.sort(n_tasks)[::-1][: acked.get(int(number))].sum())
    return found


def denied_bounds(
    evidence: Evidence, local_op: NDArray[np.uint32], task_state: NDArray[np.uint8], has_effect: NDArray[np.bool_]
) -> tuple[int, int]:
    """Tasks that were put aside without effect although their request, which has no row, was acknowledged: at least, at most.

    The arrays have the shape of the tasks. A request that was sent was acknowledged, rejected or left open, and histograms say
    how many were: what was put aside for more requests than were rejected or left open is a broken promise. At most all of it is,
    for an app of one's own, or what stands in front of it, may answer 200 to a request whose tasks were refused, and 504 to one
    whose tasks run. A bundled scenario does neither.
    """
    is_known = evidence.expectation.answers_are_known
    without = has_no_row(evidence, local_op)
    is_refused = task_state == TaskState.REJECTED
    is_aside = (is_refused | (task_state == TaskState.DISCARDED)) & ~has_effect & without
    if not is_aside.any():
        return 0, 0
    process, counts = process_of(evidence, local_op), {each.process: each for each in evidence.counted}
    low = high = 0
    for number in np.unique(process[is_aside]):
        ours = process == number
        owners, n_tasks = np.unique(local_op[is_aside & ours], return_counts=True)
        n_discarded = len(np.unique(local_op[is_aside & ours & ~is_refused]))
        n_low, n_high = 0, n_discarded if is_known else len(owners)
        if (count := counts.get(int(number))) is not None:
            taken = np.unique(local_op[ours & np.isin(task_state, _TAKEN)])
            n_taken = len(np.setdiff1d(taken, owners, assume_unique=True)) if is_known else None
            n_low, n_high = _acknowledged(count, len(owners) - n_discarded, n_discarded, n_taken)
        by_size = np.sort(n_tasks)
        low += int(by_size[:n_low].sum())
        high += int(by_size[len(by_size) - n_high :].sum())
    return low, high


def _acknowledged(count: CountedLoad, n_refused: int, n_discarded: int, n_taken: int | None) -> tuple[int, int]:
    """How many of one process's requests whose tasks were refused or discarded were acknowledged: at least, at most.

    `n_taken` others have tasks that the server took on; None: it is not known how this app answers whom.
    """
    low, high = max(n_refused + n_discarded - count.rejected - count.indeterminate, 0), n_refused + n_discarded
    if n_taken is not None:
        room = count.acked + count.indeterminate - n_taken
        # Where fewer were rejected than refused, or more than were not taken on, answers are not as they are known to be.
        if n_refused <= count.rejected + count.indeterminate and room >= 0:
            high = min(n_discarded, room)
    return low, max(min(high, count.acked), low)
