"""All rows of a run as Parquet files, one per witness. Needs pyarrow (extra: parquet). Columns and units: docs/report.md.

Rows go through memory some at a time, whatever their number. Instants are nanoseconds since load start; null: it has not come.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.grouping import is_own
from harness.model import Evidence
from harness.rows import DropReason, Outcome, RequestError, RowFile, Rows, TaskKind
from harness.rows.reader import release

__all__ = ["write_rows"]

GROUP_ROWS: Final = 1 << 18

_INSTANTS: Final = {
    "requests": ("due_ns", "sent_ns", "done_ns"),
    "tasks": ("accepted_ns", "flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"),
    "effects": ("arrived_ns",),
    "gauges": ("t_ns",),
}
_CODES: Final[dict[str, type[IntEnum]]] = {"outcome": Outcome, "error": RequestError, "reason": DropReason}


def write_rows(evidence: Evidence, folder: Path) -> None:
    """Writes requests, tasks, effects and gauges into `folder`, which it makes. Raises OSError if it can't."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(boot, file) for boot in sorted(evidence.tasks) for file in evidence.tasks[boot]]
    witnesses: dict[str, Sequence[tuple[int, RowFile]]] = {
        "requests": list(enumerate(evidence.requests)),
        "tasks": tasks,
        "effects": list(enumerate(evidence.effects)),
        "gauges": [(0, evidence.gauges)] if evidence.gauges is not None else [],
    }
    for name, files in witnesses.items():
        with contextlib.ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            for table in _tables(name, files, evidence):
                if writer is None:
                    writer = stack.enter_context(pq.ParquetWriter(folder / f"{name}.parquet", table.schema, compression="zstd"))
                writer.write_table(table)


def _tables(name: str, files: Sequence[tuple[int, RowFile]], evidence: Evidence) -> Iterator[pa.Table]:
    for number, file in files:
        for start in range(0, len(file.rows), GROUP_ROWS):
            rows = np.asarray(file.rows[start : start + GROUP_ROWS])
            columns = _columns(name, rows, file, number, evidence)
            about = {"run_tag": str(evidence.run_tag), "instants": "ns since load start"}
            yield pa.table(columns).replace_schema_metadata(about)
            release(file.rows, start, start + GROUP_ROWS)


def _columns(name: str, rows: Rows, file: RowFile, number: int, evidence: Evidence) -> Mapping[str, Any]:
    columns: dict[str, Any] = {}
    if name != "gauges":
        columns |= {"op": pa.array(rows["op"]), "is_own": pa.array(is_own(rows["op"], evidence.run_tag))}
    if name == "requests":
        columns["load_process"] = pa.array(np.full(len(rows), number, np.uint16))
        columns["route"] = _named(rows["route"], file.names)
    if name == "tasks":
        columns["boot"] = pa.array(np.full(len(rows), number, np.uint16))
        columns["pid"] = pa.array(np.full(len(rows), file.pid, np.uint32))
        columns["function"] = _named(rows["func"], file.names)
        kinds = {int(kind): kind.name.lower() for kind in TaskKind}
        columns["kind"] = _named(rows["kind"], [kinds.get(code, "unknown") for code in range(max(kinds) + 1)])
    if name == "effects":
        columns["kind"] = pa.array(rows["kind"])
    shown = rows.dtype.names or ()
    for field in shown:
        if field in _INSTANTS[name]:
            columns[field] = _instant(rows[field], evidence.load_start_ns)
        elif field in _CODES:
            names = {int(code): code.name.lower() for code in _CODES[field]}
            columns[field] = _named(rows[field], [names.get(code, "unknown") for code in range(max(names) + 1)])
        elif field not in {"op", "route", "func", "kind", "pad", "spare", "flags"}:
            columns[field] = pa.array(np.ascontiguousarray(rows[field]))
    return columns


def _instant(values: NDArray[np.uint64], start_ns: int) -> pa.Array:
    return pa.array(values.astype(np.int64) - start_ns, mask=values == 0)


def _named(codes: NDArray[Any], names: Sequence[str]) -> pa.Array:
    """Codes as the names that they stand for; a code without a name is null."""
    known = codes < len(names)
    indices = pa.array(np.where(known, codes, 0).astype(np.int16), mask=~known)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string())).cast(pa.string())
