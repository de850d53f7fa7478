"""One pass over a file of rows: what each row says by itself, counted and with examples. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import TaskState, chunks, is_own, key_of, states
from harness.model import Evidence
from harness.rows import UNTAGGED, DropReason, Outcome, RowFile, Rows

__all__ = ["FileScan", "RequestScan", "latest_ns", "left_in", "left_keys", "scan_requests", "scan_tasks"]

N_EXAMPLES: Final = 5

_TASK_INSTANTS: Final = ("accepted_ns", "flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns")


_COUNTED: Final = (
    *("rows", "foreign", "started", "finished", "failed", "skipped", "rejected", "discarded", "dropped"),
    *("interrupted", "never_started", "waiting", "running", "untagged_started"),
)


@dataclass(frozen=True, slots=True)
class FileScan:
    """What the task rows of one boot say, also those of no operation of this run. Each count has its own condition."""

    n_rows: int
    n_foreign: int
    n_started: int
    n_finished: int
    n_failed: int
    n_skipped: int
    n_rejected: int
    n_discarded: int
    n_dropped: int  # for whatever reason
    n_interrupted: int  # started, no end, and the boot is dead
    n_never_started: int  # no start, no end, and the boot is dead
    n_waiting: int  # no start, no end, and the boot lives
    n_running: int  # started, no end, and the boot lives
    n_started_without_end: int  # started, and then skipped, rejected or discarded
    n_ended_without_start: int
    n_after_death: int
    latest_after_death_ns: int  # how long after its boot's death the last of those was
    n_untagged_started: int
    disorders: Mapping[str, int]  # what is out of order, in words, and in how many rows
    examples: Mapping[str, Sequence[int]]  # ops, by what they are examples of

    @property
    def sum_of_states(self) -> int:
        """The right side of invariant 2."""
        ended = self.n_finished + self.n_failed + self.n_skipped + self.n_rejected + self.n_discarded
        return ended + self.n_interrupted + self.n_never_started + self.n_waiting + self.n_running


@dataclass(frozen=True, slots=True)
class RequestScan:
    """What the rows of one load process say, each by itself."""

    n_rows: int
    disorders: Mapping[str, int]
    examples: Mapping[str, Sequence[int]]


class _Tally:
    """Counts rows by what is true of them, and keeps the first few ops of each."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[int]] = {}

    def add(self, what: str, ops: NDArray[np.uint64], true: NDArray[np.bool_]) -> None:
        number = int(np.count_nonzero(true))
        if not number:
            return
        self.counts[what] = self.counts.get(what, 0) + number
        kept = self.examples.setdefault(what, [])
        if len(kept) < N_EXAMPLES:
            kept.extend(int(op) for op in ops[np.flatnonzero(true)[: N_EXAMPLES - len(kept)]])


def latest_ns(rows: Rows) -> NDArray[np.uint64]:
    """The last instant of each task row."""
    last: NDArray[np.uint64] = rows[_TASK_INSTANTS[0]]
    for name in _TASK_INSTANTS[1:]:
        last = np.maximum(last, rows[name])
    return last


def scan_tasks(files: Sequence[RowFile], evidence: Evidence, boot: int) -> FileScan:
    """Scans the task rows of one boot, of all its processes."""
    reaped_ns = next((each.reaped_ns for each in evidence.boots if each.boot == boot), None)
    counts = dict.fromkeys(_COUNTED, 0)
    single = _Tally()
    disorders = _Tally()
    latest = 0
    for rows in chunks(*files):
        op = rows["op"]
        is_started, is_finished, is_failed = rows["started_ns"] != 0, rows["finished_ns"] != 0, rows["failed_ns"] != 0
        is_dropped, reason = rows["dropped_ns"] != 0, rows["reason"]
        is_put_aside = is_dropped & (reason != DropReason.ABANDONED)
        is_open = ~(is_finished | is_failed | is_put_aside)
        started_open = int(np.count_nonzero(is_started & is_open))
        waiting_open = int(np.count_nonzero(~is_started & is_open))
        counts["rows"] += len(rows)
        counts["foreign"] += len(rows) - int(np.count_nonzero(is_own(op, evidence.run_tag)))
        counts["started"] += int(np.count_nonzero(is_started))
        counts["finished"] += int(np.count_nonzero(is_finished))
        counts["failed"] += int(np.count_nonzero(is_failed))
        counts["dropped"] += int(np.count_nonzero(is_dropped))
        for name, code in (
            ("skipped", DropReason.SKIPPED),
            ("skipped", DropReason.CANCELLED),
            ("rejected", DropReason.REJECTED),
            ("discarded", DropReason.DISCARDED),
        ):
            counts[name] += int(np.count_nonzero(is_dropped & (reason == code)))
        counts["interrupted" if reaped_ns is not None else "running"] += started_open
        counts["never_started" if reaped_ns is not None else "waiting"] += waiting_open
        counts["untagged_started"] += int(np.count_nonzero(is_started & ((op & np.uint64(UNTAGGED)) != 0)))
        single.add("started_without_end", op, is_started & is_put_aside & ~is_finished & ~is_failed)
        single.add("ended_without_start", op, ~is_started & (is_finished | is_failed))
        if reaped_ns is not None:
            last = latest_ns(rows)
            late = last > np.uint64(reaped_ns)
            single.add("after_death", op, late)
            latest = max(latest, int(last.max()) - reaped_ns if len(last) else 0)
        _order_of_tasks(disorders, rows)
    return FileScan(
        n_rows=counts["rows"],
        n_foreign=counts["foreign"],
        n_started=counts["started"],
        n_finished=counts["finished"],
        n_failed=counts["failed"],
        n_skipped=counts["skipped"],
        n_rejected=counts["rejected"],
        n_discarded=counts["discarded"],
        n_dropped=counts["dropped"],
        n_interrupted=counts["interrupted"],
        n_never_started=counts["never_started"],
        n_waiting=counts["waiting"],
        n_running=counts["running"],
        n_started_without_end=single.counts.get("started_without_end", 0),
        n_ended_without_start=single.counts.get("ended_without_start", 0),
        n_after_death=single.counts.get("after_death", 0),
        latest_after_death_ns=latest,
        n_untagged_started=counts["untagged_started"],
        disorders=disorders.counts,
        examples={**single.examples, **disorders.examples},
    )


def left_in(files: Iterable[RowFile]) -> tuple[int, int]:
    """Tasks that were accepted and not started, and that were started and have not ended, if nobody ends them any more."""
    queued = running = 0
    for rows in chunks(*files):
        found = states(rows, reaped=True)
        queued += int(np.count_nonzero(found == TaskState.NEVER_STARTED))
        running += int(np.count_nonzero(found == TaskState.INTERRUPTED))
    return queued, running


def left_keys(files: Iterable[RowFile], run_tag: int) -> NDArray[np.uint64]:
    """The keys of the tasks of this run among them."""
    found = [np.empty(0, np.uint64)]
    for rows in chunks(*files):
        chosen = np.isin(states(rows, reaped=True), (TaskState.NEVER_STARTED, TaskState.INTERRUPTED))
        chosen &= is_own(rows["op"], run_tag)
        found.append(key_of(rows["op"][chosen], rows["index"][chosen]))
    return np.concatenate(found)


def scan_requests(file: RowFile, evidence: Evidence) -> RequestScan:
    """Scans the rows of one load process."""
    tally = _Tally()
    n_rows = 0
    for rows in chunks(file):
        op, due, sent, done = rows["op"], rows["due_ns"], rows["sent_ns"], rows["done_ns"]
        n_rows += len(rows)
        tally.add("were sent without having been due", op, (sent != 0) & (due == 0))
        tally.add("were sent before they were due", op, (sent != 0) & (sent < due))
        tally.add("were done before they were sent", op, (sent != 0) & (done != 0) & (done < sent))
        tally.add("were acknowledged without an end", op, (rows["outcome"] == Outcome.ACK) & (done == 0))
        tally.add("were acknowledged without having been sent", op, (rows["outcome"] == Outcome.ACK) & (sent == 0))
        tally.add("belong to another run", op, ~is_own(op, evidence.run_tag))
    return RequestScan(n_rows=n_rows, disorders=tally.counts, examples=tally.examples)


def _order_of_tasks(tally: _Tally, rows: Rows) -> None:
    """Accepted <= flushed <= started <= finished or failed; 0 is an instant that has not come."""
    op, accepted, flushed, started = rows["op"], rows["accepted_ns"], rows["flushed_ns"], rows["started_ns"]
    finished, failed, dropped = rows["finished_ns"], rows["failed_ns"], rows["dropped_ns"]
    is_flushed, is_started, is_finished, is_failed = flushed != 0, started != 0, finished != 0, failed != 0
    is_dropped = dropped != 0
    tally.add("have no instant of acceptance", op, accepted == 0)
    tally.add("were answered before they were accepted", op, is_flushed & (flushed < accepted))
    tally.add("started before the answer was sent", op, is_started & (~is_flushed | (started < flushed)))
    tally.add("started before they were accepted", op, is_started & (started < accepted))
    tally.add("finished before they started", op, is_finished & (finished < started))
    tally.add("failed before they started", op, is_failed & (failed < started))
    tally.add("were dropped before they were accepted", op, is_dropped & (dropped < accepted))
    tally.add("both finished and failed", op, is_finished & is_failed)
    tally.add("ended and were dropped as well", op, is_dropped & (is_finished | is_failed))
