"""What the witnesses had written at an instant, from what they have written since. Pure: no clock, no files, no processes.

An instant that is later has not happened: a row that begins with it is not there, one that has begun has a zero in its place.
So a run that is played back says of any instant what it said then.

Not everything has an instant. Of a request that was never sent nobody wrote down when that was decided: it counts from when it
was due and the requests before it in its file had been sent. What a page counts is as it was last; its sizes, where the session
sampled them, are those of the sample.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.model import Evidence
from harness.rows import Gauge, Kind, RowFile, Rows

__all__ = ["cut", "cut_file"]

_INSTANTS = {
    Kind.REQUESTS: ("done_ns",),
    Kind.TASKS: ("flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"),
}
_BEGINNINGS = {Kind.TASKS: "accepted_ns", Kind.EFFECTS: "arrived_ns", Kind.GAUGES: "t_ns", Kind.MACHINE: "t_ns"}
_OWN_INSTANTS = (Gauge.READY, Gauge.DRAINING, Gauge.DRAINED)


def cut(evidence: Evidence, at_ns: int) -> Evidence:
    """Its rows as they stood. What comes from events is the caller's: those that were not written yet must not be in it."""
    gauges = None if evidence.gauges is None else cut_file(evidence.gauges, at_ns)
    over = {boot.boot for boot in evidence.boots if boot.reaped_ns is not None}
    return replace(
        evidence,
        load_end_ns=max(min(evidence.load_end_ns, at_ns), min(evidence.load_start_ns, evidence.load_end_ns)),
        requests=[cut_file(file, at_ns) for file in evidence.requests],
        tasks={
            boot: cut_files
            for boot, files in evidence.tasks.items()
            if (cut_files := [_cut_tasks(file, at_ns, gauges, files, over) for file in files if file.created_ns <= at_ns])
        },
        effects=[cut_file(file, at_ns) for file in evidence.effects],
        gauges=gauges,
        machine=None if evidence.machine is None else cut_file(evidence.machine, at_ns),
        notes=[note for note in evidence.notes if note.t_ns <= at_ns],
    )


def cut_file(file: RowFile, at_ns: int) -> RowFile:
    """The rows that had begun, with the instants that had come."""
    rows = np.asarray(file.rows)
    at = np.uint64(max(at_ns, 0))
    if file.kind is Kind.REQUESTS:
        there = (rows["sent_ns"] <= at) & (_known_ns(rows) <= at)
    else:
        there = rows[_BEGINNINGS[file.kind]] <= at
    # What is changed below must not be what others have; samples are only looked at.
    rows = rows if file.kind not in _INSTANTS and there.all() else rows[there]
    for name in _INSTANTS.get(file.kind, ()):
        late = rows[name] > at
        rows[name][late] = 0
        if name == "done_ns":
            for of_answer in ("status", "outcome", "error", "size_bytes"):
                rows[of_answer][late] = 0
        elif name == "dropped_ns":
            rows["reason"][late] = 0
    gauges = list(file.gauges)
    if gauges[Gauge.DRAINED] > at_ns:
        gauges[Gauge.ABANDONED_QUEUED] = gauges[Gauge.ABANDONED_RUNNING] = 0
    if file.kind is Kind.TASKS:
        for gauge in _OWN_INSTANTS:
            gauges[gauge] = gauges[gauge] if gauges[gauge] <= at_ns else 0
    closed_ns = file.closed_ns if file.closed_ns <= at_ns else 0
    return replace(file, rows=rows, gauges=tuple(gauges), closed_ns=closed_ns, claimed=len(rows), missing=0, holes=0)


def _known_ns(rows: Rows) -> NDArray[np.uint64]:
    """When each request's row can have been written: once it was sent, else not before it was due."""
    if bool((rows["sent_ns"] != 0).all()):
        known: NDArray[np.uint64] = rows["sent_ns"]
        return known
    before = np.maximum.accumulate(rows["sent_ns"])
    return np.where(rows["sent_ns"] != 0, rows["sent_ns"], np.maximum(rows["due_ns"], before))


def _cut_tasks(file: RowFile, at_ns: int, gauges: RowFile | None, files: Sequence[RowFile], over: Collection[int]) -> RowFile:
    """With the size of the pool as it was sampled last: of a boot that goes on, it may have been changed since."""
    found = cut_file(file, at_ns)
    if gauges is None or len(files) != 1 or file.boot in over or not file.gauges[Gauge.POOL_SIZE]:
        return found
    sampled = gauges.rows["pool_size"][(gauges.rows["boot"] == file.boot) & (gauges.rows["pool_size"] != 0)]
    if not len(sampled):
        return found
    words = list(found.gauges)
    words[Gauge.POOL_SIZE] = int(sampled[-1])
    return replace(found, gauges=tuple(words))
