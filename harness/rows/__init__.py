"""Row files: what each witness saw, in mapped files that outlive their writer. Layout, reader, writer."""

from harness.rows.layout import (
    ROW_TYPES,
    UNTAGGED,
    DropReason,
    Gauge,
    HeaderField,
    Kind,
    Outcome,
    RequestError,
    TaskKind,
)
from harness.rows.reader import LivePage, NotBegun, RowFile, RowFileError, Rows, read_rows
from harness.rows.trimming import trim
from harness.rows.writer import RowWriter

__all__ = [
    "ROW_TYPES",
    "UNTAGGED",
    "DropReason",
    "Gauge",
    "HeaderField",
    "Kind",
    "LivePage",
    "NotBegun",
    "Outcome",
    "RequestError",
    "RowFile",
    "RowFileError",
    "RowWriter",
    "Rows",
    "TaskKind",
    "read_rows",
    "trim",
]
