"""Few tasks with all that is known of them, out of the columns: a list of 50 must not cost a look at all rows. Arrays only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.grouping import op_of
from harness.live.columns import FOREIGN, Effects, Requests, Works
from harness.live.cutting import cut
from harness.live.frame import TaskStatus
from harness.model import Evidence
from harness.rows import ROW_TYPES, Kind, RowFile

__all__ = ["ended_positions", "only"]


def ended_positions(works: Works, status: TaskStatus, most: int, at_ns: int) -> NDArray[np.int64]:
    """Of the tasks that were done, or had failed, at the instant, those that had been accepted last."""
    ended = (works.finished if status is TaskStatus.DONE else works.failed).now
    chosen = np.flatnonzero((ended != 0) & (ended <= at_ns) & (works.request.now != FOREIGN))
    accepted = works.accepted.now[chosen]
    if len(chosen) > most:
        chosen = chosen[np.argpartition(accepted, len(chosen) - most)[-most:]]
    return chosen


def only(
    evidence: Evidence, chosen: NDArray[np.int64], requests: Requests, works: Works, effects: Effects, at_ns: int
) -> Evidence:
    """Evidence of these tasks, their requests and their effects alone, as they stood at the instant."""
    chosen = np.sort(chosen)
    of_file = works.file.now[chosen]
    tasks: dict[int, list[RowFile]] = {}
    for number in np.unique(of_file).tolist():
        tail = works.files[number]
        tasks.setdefault(tail.boot, []).append(tail.as_file(_tasks(works, chosen[of_file == number], evidence.run_tag)))
    known = chosen[works.request.now[chosen] >= 0]
    request, first = np.unique(works.request.now[known], return_index=True)
    asked = np.zeros(len(request), ROW_TYPES[Kind.REQUESTS])
    asked["op"] = _op(works.key.now[known][first], evidence.run_tag)
    for name, column in (("due_ns", requests.due), ("sent_ns", requests.sent), ("done_ns", requests.done)):
        asked[name] = column.now[request]
    asked["outcome"] = requests.outcome.now[request]
    arrived = np.flatnonzero(np.isin(effects.key.now, works.key.now[chosen]))
    seen = np.zeros(len(arrived), ROW_TYPES[Kind.EFFECTS])
    seen["op"], seen["index"] = _op(effects.key.now[arrived], evidence.run_tag), effects.key.now[arrived] & np.uint64(0xFFFF)
    seen["arrived_ns"] = effects.arrived.now[arrived]
    return cut(
        replace(
            evidence,
            requests=[replace(file, rows=asked) for file in evidence.requests[:1]],
            tasks=tasks,
            effects=[replace(file, rows=seen) for file in evidence.effects[:1]],
        ),
        at_ns,
    )


def _tasks(works: Works, chosen: NDArray[np.int64], run_tag: int) -> NDArray[np.void]:
    rows = np.zeros(len(chosen), ROW_TYPES[Kind.TASKS])
    rows["op"], rows["index"] = _op(works.key.now[chosen], run_tag), works.key.now[chosen] & np.uint64(0xFFFF)
    for name, column in (
        *(("func", works.func), ("reason", works.reason), ("accepted_ns", works.accepted), ("started_ns", works.started)),
        *(("finished_ns", works.finished), ("failed_ns", works.failed), ("dropped_ns", works.dropped)),
    ):
        rows[name] = column.now[chosen]
    return rows


def _op(key: NDArray[np.uint64], run_tag: int) -> NDArray[np.uint64]:
    return (np.uint64(run_tag) << np.uint64(32)) | op_of(key).astype(np.uint64)
