"""Puts the instants of a row file that was written on another machine on the clock of this one (docs/rows.md, "Another clock").

Each row keeps the difference that was taken off, so what was written there can be had again, to the nanosecond.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.load.machines.clock import Relation
from harness.rows.layout import GAUGES_OFFSET, HEADER_BYTES, REQUEST, Gauge, HeaderField

__all__ = ["translate"]

CHUNK_ROWS = 1 << 16
INSTANTS = ("due_ns", "sent_ns", "done_ns")


def translate(path: Path, relation: Relation) -> dict[str, Any]:
    """Changes a requests file in place, whose instants are of the other clock. What there is to say of it."""
    words = np.memmap(path, dtype="<u8", mode="r+", shape=(HEADER_BYTES // 8,))
    for offset in (HeaderField.CREATED, HeaderField.CLOSED, GAUGES_OFFSET + 8 * Gauge.READY):
        theirs = int(words[offset // 8])
        if theirs:
            words[offset // 8] = theirs - _offset(relation, theirs)
    words[HeaderField.CLOCK_OFFSET // 8] = relation.start_offset_ns % (1 << 64)
    # At least 1: with 0 the rows would be said to be of this machine's own clock.
    words[HeaderField.CLOCK_UNCERTAINTY // 8] = max(relation.uncertainty_ns, 1)
    words.flush()
    n_rows = (path.stat().st_size - HEADER_BYTES) // REQUEST.itemsize
    if n_rows:
        rows = np.memmap(path, dtype=REQUEST, mode="r+", offset=HEADER_BYTES, shape=(n_rows,))
        for start in range(0, n_rows, CHUNK_ROWS):
            _translate_rows(rows[start : start + CHUNK_ROWS], relation)
        rows.flush()
    return {"rows": n_rows, "clock_offset_ns": relation.start_offset_ns, "clock_uncertainty_ns": relation.uncertainty_ns}


def _translate_rows(rows: NDArray[np.void], relation: Relation) -> None:
    # One difference for a whole row, so that what lies between its instants stays what one clock measured.
    theirs = np.where(rows["sent_ns"] != 0, rows["sent_ns"], rows["due_ns"]).astype(np.int64)
    span = max(relation.end_ns - relation.start_ns, 1)
    since = np.clip(theirs - relation.start_offset_ns - relation.start_ns, 0, span)
    grown = np.rint(since / span * (relation.end_offset_ns - relation.start_offset_ns)).astype(np.int64)
    offset = (relation.start_offset_ns + grown).astype(np.int64)
    for name in INSTANTS:
        instants = rows[name].astype(np.int64)
        rows[name] = np.where(instants != 0, instants - offset, 0).astype(np.uint64)
    rows["spare"][:, 0] = offset.view(np.uint64)


def _offset(relation: Relation, theirs_ns: int) -> int:
    return relation.offset_at(theirs_ns - relation.start_offset_ns)
