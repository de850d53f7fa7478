"""Lists of tasks as they stood at an instant, oldest first, each with its whole life. Arrays in, plain values out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS, chunks, is_own, key_of, positions
from harness.live.figures import leaving
from harness.live.frame import TaskLine, TaskStatus
from harness.model import Evidence
from harness.rows import DropReason, Outcome, RowFile, Rows

__all__ = ["status_of", "task_lines"]

_STATUSES = tuple(TaskStatus)
_REASONS: dict[int, str] = {
    DropReason.SKIPPED: "skipped: an earlier task of its request raised",
    DropReason.REJECTED: "refused by admission",
    DropReason.DISCARDED: "discarded: the endpoint raised, or its response had another background",
    DropReason.ABANDONED: "given up when the drain ended",
    DropReason.CANCELLED: "cancelled by the app before it started",
}
_DENIED = frozenset({DropReason.REJECTED, DropReason.DISCARDED})


def status_of(rows: Rows, dead_ns: int | None, has_effect: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Where each task row is, as an index of `TaskStatus`. One that was lost but has had its effect is neither."""
    left, is_lost = leaving(rows, dead_ns)
    found = np.full(len(rows), _STATUSES.index(TaskStatus.OTHER), np.uint8)
    is_open = left == NEVER_NS
    for status, chosen in (
        (TaskStatus.QUEUED, is_open & (rows["started_ns"] == 0)),
        (TaskStatus.RUNNING, is_open & (rows["started_ns"] != 0)),
        (TaskStatus.LOST, is_lost & ~has_effect),
        (TaskStatus.FAILED, rows["failed_ns"] != 0),
        (TaskStatus.DONE, rows["finished_ns"] != 0),
    ):
        found[chosen] = _STATUSES.index(status)
    return found


def task_lines(evidence: Evidence, status: TaskStatus, most: int, at_ns: int) -> tuple[TaskLine, ...]:
    """The oldest tasks of a status, of evidence that was cut at the instant; of those that have ended, the newest."""
    effects = _effects(evidence)
    is_over = status not in {TaskStatus.QUEUED, TaskStatus.RUNNING}
    chosen: list[tuple[int, RowFile, np.void, int | None]] = []
    for boot in sorted(evidence.tasks):
        for file in evidence.tasks[boot]:
            dead_ns = evidence.death_ns(boot, file.pid, file.created_ns)
            for rows in chunks(file):
                own = rows[is_own(rows["op"], evidence.run_tag)]
                keys = key_of(own["op"], own["index"])
                has_effect = np.isin(keys, key_of(effects["op"], effects["index"])) if _decided_by_effects(status) else _none(own)
                of_status = own[status_of(own, dead_ns, has_effect) == _STATUSES.index(status)]
                order = np.argsort(of_status["accepted_ns"], kind="stable")
                picked = of_status[order[-most:] if is_over else order[:most]]
                chosen += [(int(row["accepted_ns"]), file, row, dead_ns) for row in picked]
    chosen.sort(key=lambda each: each[0])
    chosen = chosen[-most:] if is_over else chosen[:most]
    requests = _requests(evidence, [int(row["op"]) for _, _, row, _ in chosen])
    return tuple(_line(evidence, each, requests, effects, status, at_ns) for each in chosen)


def _decided_by_effects(status: TaskStatus) -> bool:
    """Whether effects decide who has it."""
    return status in {TaskStatus.LOST, TaskStatus.OTHER}


def _none(rows: Rows) -> NDArray[np.bool_]:
    return np.zeros(len(rows), np.bool_)


def _effects(evidence: Evidence) -> Rows:
    parts = [np.asarray(file.rows) for file in evidence.effects]
    found = np.concatenate(parts) if parts else np.empty(0, np.dtype([("op", "<u8"), ("index", "<u2"), ("arrived_ns", "<u8")]))
    return found[np.argsort(found["op"], kind="stable")]


def _requests(evidence: Evidence, ops: Sequence[int]) -> dict[int, np.void]:
    wanted = np.unique(np.array(ops, np.uint64))
    found: dict[int, np.void] = {}
    for file in evidence.requests:
        for rows in chunks(file):
            _, is_wanted = positions(wanted, rows["op"])
            found |= {int(row["op"]): row for row in rows[is_wanted]}
    return found


def _line(
    evidence: Evidence,
    chosen: tuple[int, RowFile, np.void, int | None],
    requests: dict[int, np.void],
    effects: Rows,
    status: TaskStatus,
    at_ns: int,
) -> TaskLine:
    accepted_ns, file, row, dead_ns = chosen
    op, index, func = int(row["op"]), int(row["index"]), int(row["func"])
    request = requests.get(op)

    def since(instant_ns: int) -> float:
        return (instant_ns - evidence.load_start_ns) / 1e9

    def at(record: np.void | None, name: str) -> float | None:
        return since(int(record[name])) if record is not None and record[name] else None

    begin, end = np.searchsorted(effects["op"], np.array([op, op + 1], np.uint64))
    arrived = sorted(int(each["arrived_ns"]) for each in effects[begin:end] if each["index"] == index)
    ended_ns = int(row["finished_ns"] or row["failed_ns"] or row["dropped_ns"]) or dead_ns
    due_s = at(request, "due_ns")
    age_from = accepted_ns if request is None else int(request["due_ns"])
    return TaskLine(
        op=op,
        index=index,
        function=file.names[func] if func < len(file.names) else "",
        boot=file.boot,
        status=status,
        detail=_detail(row, request, dead_ns, status),
        due_s=since(accepted_ns) if due_s is None else due_s,
        sent_s=at(request, "sent_ns"),
        answered_s=at(request, "done_ns"),
        accepted_s=since(accepted_ns),
        started_s=at(row, "started_ns"),
        ended_s=None if ended_ns is None else since(ended_ns),
        effects_s=tuple(since(each) for each in arrived),
        age_s=((at_ns if ended_ns is None else ended_ns) - age_from) / 1e9,
    )


def _detail(row: np.void, request: np.void | None, dead_ns: int | None, status: TaskStatus) -> str:
    if row["failed_ns"] and row["reason"] == DropReason.CANCELLED:
        return "cancelled by the app while it ran"
    if row["failed_ns"]:
        return "it raised: the log of the server says what"
    if row["dropped_ns"] and not row["finished_ns"]:
        is_acked = request is not None and request["outcome"] == Outcome.ACK and row["reason"] in _DENIED
        promised = ", although its request was acknowledged" if is_acked else ""
        return _REASONS.get(int(row["reason"]), "put aside") + promised
    if status in {TaskStatus.LOST, TaskStatus.OTHER} and dead_ns is not None:
        was = "running" if row["started_ns"] else "queued"
        promised = ", and its request had been acknowledged" if request is not None and request["outcome"] == Outcome.ACK else ""
        had = ", yet its effect arrived" if status is TaskStatus.OTHER else ""
        return f"{was} when its process died{promised}{had}"
    return ""
