"""Row files in memory, and copies of evidence with something changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from harness.model import Evidence
from harness.rows import ROW_TYPES, Gauge, Kind, RowFile


def row_file(kind: Kind, rows: list[dict[str, Any]] | np.ndarray, **changes: Any) -> RowFile:
    """A row file in memory. `gauges` may be a dict by Gauge."""
    if isinstance(rows, list):
        array = np.zeros(len(rows), ROW_TYPES[kind])
        for place, row in enumerate(rows):
            for name, value in row.items():
                array[name][place] = value
    else:
        array = rows
    gauges = changes.pop("gauges", {})
    known: dict[str, Any] = {
        "path": Path("memory.rows"),
        "kind": kind,
        "pid": 1,
        "boot": 0,
        "created_ns": 1,
        "closed_ns": 6 * 10**12,
        "unwritten": 0,
        "claimed": len(array),
        "missing": 0,
        "holes": 0,
        "names": ("",),
        "gauges": tuple(gauges.get(gauge, 0) for gauge in Gauge),
        "rows": array,
    }
    return RowFile(**{**known, **changes})


def edit_rows(file: RowFile, edit: Any) -> RowFile:
    """The file with its rows changed: `edit` gets a copy and changes it, or returns another array."""
    rows = np.array(file.rows)
    changed = edit(rows)
    rows = rows if changed is None else changed
    return dataclasses.replace(file, rows=rows, claimed=file.holes + file.missing + len(rows))


def with_task_rows(evidence: Evidence, boot: int, edit: Any, *, gauges: bool = True) -> Evidence:
    """The evidence with the task rows of a boot changed, and its gauges made to agree unless told otherwise."""
    file = edit_rows(evidence.tasks[boot][0], edit)
    if gauges:
        file = dataclasses.replace(file, gauges=gauges_of(file.rows, file.gauges[Gauge.POOL_SIZE]))
    return dataclasses.replace(evidence, tasks={**evidence.tasks, boot: [file]})


def gauges_of(rows: np.ndarray, pool: int) -> tuple[int, ...]:
    values = {
        Gauge.POOL_SIZE: pool,
        Gauge.LANES: 1,
        Gauge.ACCEPTED: len(rows),
        Gauge.STARTED: int((rows["started_ns"] != 0).sum()),
        Gauge.FINISHED: int((rows["finished_ns"] != 0).sum()),
        Gauge.FAILED: int((rows["failed_ns"] != 0).sum()),
        Gauge.DROPPED: int((rows["dropped_ns"] != 0).sum()),
    }
    return tuple(values.get(gauge, 0) for gauge in Gauge)
