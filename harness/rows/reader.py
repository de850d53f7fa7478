"""Reading row files, finished or still growing, also those whose writer was killed. Nothing here writes a row."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.rows.layout import (
    GAUGES_OFFSET,
    HEADER_BYTES,
    LABEL_BYTES,
    LABEL_OFFSET,
    MAGIC,
    N_NAMES,
    NAME_BYTES,
    NAMES_OFFSET,
    ROW_TYPES,
    SETTINGS_OFFSET,
    VERSION,
    Gauge,
    HeaderField,
    Kind,
)

__all__ = ["LivePage", "NotBegun", "RowFile", "RowFileError", "Rows", "read_rows"]

Rows = NDArray[np.void]


class RowFileError(Exception):
    """A file that is no row file, or one of another version."""


class NotBegun(RowFileError):
    """A file whose writer has not finished the header, or was killed before it had: it holds no row."""


@dataclass(frozen=True, slots=True)
class RowFile:
    """What one witness wrote, as it was at the moment of reading."""

    path: Path
    kind: Kind
    pid: int
    boot: int
    created_ns: int
    closed_ns: int  # 0: its writer never closed it
    unwritten: int  # rows that the writer could not write
    claimed: int  # rows that the writer had claimed
    missing: int  # of them, cut off the file: it was truncated
    holes: int  # of them, claimed and never published
    names: tuple[str, ...]
    gauges: tuple[int, ...]  # as last seen, by `Gauge`
    rows: Rows  # published rows, in the order in which they were claimed
    clock_uncertainty_ns: int = 0  # they were written by another machine's clock, and how well that is known; 0: by ours


def read_rows(path: Path) -> RowFile:
    """Maps a row file read-only. Raises RowFileError if it is none, naming what was found, and OSError if it can't be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    # The magic is stored last: without it no row can have been claimed.
    if not any(header[:8]) and not any(header[HeaderField.CLAIMED : HeaderField.CLAIMED + 8]):
        msg = f"{path} has no header yet"
        raise NotBegun(msg)
    if size < HEADER_BYTES:
        msg = f"{path} is no row file: {size} bytes are less than the header of {HEADER_BYTES}"
        raise RowFileError(msg)
    kind = _checked_kind(path, header)
    row_type = ROW_TYPES[kind]

    def word(offset: int) -> int:
        return int.from_bytes(header[offset : offset + 8], "little")

    claimed = word(HeaderField.CLAIMED)
    present = min(claimed, (size - HEADER_BYTES) // row_type.itemsize)
    if present:
        rows: Rows = np.memmap(path, dtype=row_type, mode="r", offset=HEADER_BYTES, shape=(present,))
    else:
        rows = np.empty(0, dtype=row_type)
    is_published = rows[row_type.names[0] if row_type.names else "op"] != 0
    # Not copied where every row is published, which is every file of a writer that was not killed.
    published = rows if bool(is_published.all()) else rows[is_published]
    release(rows, 0, len(rows))
    n_names = min(word(HeaderField.NAMES_USED), N_NAMES)
    return RowFile(
        path=path,
        kind=kind,
        pid=word(HeaderField.PID),
        boot=word(HeaderField.BOOT),
        created_ns=word(HeaderField.CREATED),
        closed_ns=word(HeaderField.CLOSED),
        unwritten=word(HeaderField.UNWRITTEN),
        claimed=claimed,
        missing=claimed - present,
        holes=present - len(published),
        names=tuple(_text(header, NAMES_OFFSET + number * NAME_BYTES, NAME_BYTES) for number in range(n_names)),
        gauges=tuple(word(GAUGES_OFFSET + 8 * gauge) for gauge in Gauge),
        rows=published,
        clock_uncertainty_ns=word(HeaderField.CLOCK_UNCERTAINTY),
    )


def release(rows: Rows, start: int, stop: int) -> None:
    """Gives the memory of some mapped rows back, wherever their file is; whoever looks at them again gets them from there.

    Ten million rows are 610 MiB, which would all count as this process's own while they are mapped and have been looked at.
    """
    mapped = getattr(rows, "_mmap", None)
    if mapped is None:
        return
    # The mapping begins at the first row, which the header's size puts on a page of its own.
    begin, end = start * rows.itemsize, min(stop * rows.itemsize, len(mapped))
    begin += -begin % mmap.PAGESIZE
    if end > begin:
        mapped.madvise(mmap.MADV_DONTNEED, begin, end - begin)


class LivePage:
    """The header page of a file that is being written: gauges to read, settings to write.

    Stays readable after its writer died.
    """

    def __init__(self, path: Path) -> None:
        """Raises RowFileError if the header is not complete yet, OSError if there is no such file."""
        self.path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size < HEADER_BYTES:
                msg = f"{path} is no row file yet: its header is not complete"
                raise RowFileError(msg)
            self._map = mmap.mmap(descriptor, HEADER_BYTES)
        finally:
            os.close(descriptor)
        try:
            _checked_kind(path, self._map[:64])
        except RowFileError:
            self._map.close()
            raise
        self._words = memoryview(self._map).cast("B").cast("Q")

    def gauge(self, gauge: Gauge) -> int:
        """The gauge as it is now."""
        return self._words[GAUGES_OFFSET // 8 + gauge]

    def field(self, field: HeaderField) -> int:
        """A field of the header as it is now."""
        return self._words[field // 8]

    def set(self, setting: int, value: int) -> None:
        """Asks the server to change a setting (docs/rows.md)."""
        self._words[SETTINGS_OFFSET // 8 + setting] = value

    def label(self) -> str:
        """The writer's label."""
        return _text(self._map[:HEADER_BYTES], LABEL_OFFSET, LABEL_BYTES)

    def close(self) -> None:
        """Unmaps the page."""
        self._words.release()
        self._map.close()


def _checked_kind(path: Path, header: bytes) -> Kind:
    if header[:8] != MAGIC:
        msg = f"{path} is no row file: it begins with {header[:8]!r}, not {MAGIC!r}"
        raise RowFileError(msg)
    version = int.from_bytes(header[8:12], "little")
    if version != VERSION:
        msg = f"{path} is of version {version}; this afterload reads version {VERSION}"
        raise RowFileError(msg)
    number = int.from_bytes(header[12:16], "little")
    row_bytes = int.from_bytes(header[16:20], "little")
    try:
        kind = Kind(number)
    except ValueError:
        msg = f"{path} has kind {number}; allowed are {', '.join(f'{kind} ({kind.name.lower()})' for kind in Kind)}"
        raise RowFileError(msg) from None
    if row_bytes != ROW_TYPES[kind].itemsize:
        msg = f"{path} has rows of {row_bytes} bytes; {kind.name.lower()} have {ROW_TYPES[kind].itemsize}"
        raise RowFileError(msg)
    return kind


def _text(data: bytes, offset: int, length: int) -> str:
    return data[offset : offset + length].split(b"\0", 1)[0].decode("utf-8", "replace")
