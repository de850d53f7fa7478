"""Whether the witnesses can be believed: complete files, gauges that agree with rows, predictions that came true. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.accounting import Account
from harness.grouping import chunks
from harness.model import Evidence
from harness.rows import Gauge, RowFile
from harness.rowscan import FileScan, latest_ns, left_in

__all__ = ["after_death_of_workers", "gauge_contradictions", "missing_parts", "threads_of", "wrong_predictions"]


def threads_of(file: RowFile) -> int:
    """How many threads of a server can have been between two stores when it was killed: pool, lanes, event loop, one more."""
    return file.gauges[Gauge.POOL_SIZE] + file.gauges[Gauge.LANES] + 2


def missing_parts(evidence: Evidence) -> list[str]:
    """Everything that is missing from the files of the witnesses, in words; empty if they are a full account."""
    found: list[str] = []
    files = [
        *((f"requests file {number}", file) for number, file in enumerate(evidence.requests)),
        *((_name(boot, file, len(files)), file) for boot, files in sorted(evidence.tasks.items()) for file in files),
        *((f"effects file {number}", file) for number, file in enumerate(evidence.effects)),
    ]
    for name, file in files:
        # A writer may have claimed the rows that it then had no room for.
        if (cut := file.missing - file.unwritten) > 0:
            found.append(f"{name}: {cut:,} rows are cut off")
        if file.unwritten:
            found.append(f"{name}: {file.unwritten:,} rows could not be written")
    for name, file in files:
        is_tasks = name.startswith("the task file")
        if not is_tasks and not file.closed_ns:
            found.append(f"{name}: never closed by its writer")
        allowed = (threads_of(file) if is_tasks and not file.closed_ns else 0) + file.unwritten
        if file.holes > allowed:
            found.append(f"{name}: {file.holes:,} rows claimed and never published (at most {allowed} can be explained)")
    if not evidence.requests and not evidence.counted:
        found.append("no load process wrote a file")
    if evidence.expectation.effects_per_request and not evidence.effects:
        found.append("the world wrote no file")
    known = {boot.boot for boot in evidence.boots}
    if evidence.expectation.tasks_per_request or evidence.tasks:
        found.extend(
            f"boot {boot.boot} became ready and has no task file"
            for boot in evidence.boots
            if boot.ready_ns is not None and boot.boot not in evidence.tasks
        )
    for number, of_boot in sorted(evidence.tasks.items()):
        if number not in known:
            found.append(f"there is a task file of boot {number}, which was never started")
        found += [
            f"the task file of boot {number} says that it is of boot {file.boot}" for file in of_boot if file.boot != number
        ]
    return found


def _name(boot: int, file: RowFile, n_files: int) -> str:
    return f"the task file of boot {boot}" + (f" (process {file.pid})" if n_files > 1 else "")


def gauge_contradictions(evidence: Evidence, scans: Mapping[int, FileScan]) -> list[str]:
    """Where a server's own counters differ from its rows: not at all once it has closed its file, else by one per thread.

    Those of a boot that still runs are not compared: its page and its rows were read at different times.
    """
    found: list[str] = []
    reaped = {boot.boot for boot in evidence.boots if boot.reaped_ns is not None}
    for boot, scan in scans.items():
        files = evidence.tasks[boot]
        if boot not in reaped and not all(file.closed_ns for file in files):
            continue
        # A task without a row for want of room was counted all the same; that it is missing is said elsewhere.
        allowed = sum((0 if file.closed_ns else threads_of(file)) + file.unwritten for file in files)
        pairs = (
            ("accepted", Gauge.ACCEPTED, scan.n_rows),
            ("started", Gauge.STARTED, scan.n_started),
            ("finished", Gauge.FINISHED, scan.n_finished),
            ("failed", Gauge.FAILED, scan.n_failed),
            ("dropped", Gauge.DROPPED, scan.n_dropped),
        )
        for name, gauge, n_rows in pairs:
            said = sum(file.gauges[gauge] for file in files)
            if abs(said - n_rows) > allowed:
                found.append(f"boot {boot} counted {said:,} {name}, its rows show {n_rows:,} (difference allowed: {allowed})")
    return found


def wrong_predictions(evidence: Evidence, account: Account) -> tuple[list[str], int]:
    """What was said of a boot before its death and is not what was found after it, in words; and how many numbers were compared.

    Both sides count all rows of the boot, also those of operations of another run: neither a reader of gauges nor the server
    can tell them apart.
    """
    found: list[str] = []
    n_compared = 0
    accounts = {boot.boot: boot for boot in account.boots}
    for boot in evidence.boots:
        if boot.reaped_ns is None or boot.boot not in evidence.tasks:  # a missing file is invariant 8
            continue
        after = accounts[boot.boot]
        queued = after.never_started + after.foreign_never_started
        running = after.interrupted + after.foreign_interrupted
        for who, said, what, was in (
            ("predicted", boot.predicted_queued, "queued", queued),
            ("predicted", boot.predicted_running, "running", running),
            ("the server said that it abandoned", boot.said_abandoned_queued, "queued", queued),
            ("the server said that it abandoned", boot.said_abandoned_running, "running", running),
        ):
            if said is None:
                continue
            n_compared += 1
            if said != was:
                found.append(f"boot {boot.boot}: {who} {said:,} {what}, found {was:,}")
    for fault in evidence.faults:
        if "queued" not in fault.receipt:
            continue
        for file in evidence.files_at(fault, (fault.receipt.get("pid"),)):
            for what, was in zip(("queued", "running"), left_in([file]), strict=True):
                n_compared += 1
                if fault.receipt[what] != was:
                    found.append(
                        f"worker {file.pid} of boot {fault.boot}: predicted {fault.receipt[what]:,} {what}, found {was:,}"
                    )
    return found, n_compared


def after_death_of_workers(evidence: Evidence) -> list[str]:
    """Rows of processes that were killed while their boot went on, with an instant later than that, in words."""
    found: list[str] = []
    for fault in evidence.faults:
        dead_ns = fault.receipt.get("dead_ns")
        if dead_ns is None or fault.receipt.get("signal") != "SIGKILL":
            continue
        for file in evidence.files_at(fault, (fault.receipt["pid"],)):
            late = sum(int(np.count_nonzero(latest_ns(rows) > np.uint64(dead_ns))) for rows in chunks(file))
            if late:
                found.append(f"worker {file.pid} of boot {fault.boot}: {late:,} rows with an instant after its death")
    return found
