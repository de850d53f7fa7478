"""Writing a row file from Python, one writer per file. The format is docs/rows.md; the server has a writer of its own in Rust."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from types import TracebackType

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
    VERSION,
    HeaderField,
    Kind,
)

__all__ = ["RowWriter"]


class RowWriter:
    """Appends rows of one kind to a new file. Not thread-safe: one thread (or one gevent hub) writes.

    `append` takes the row as 8-byte words and publishes it by storing word 0 last. `store` fills in a later instant
    by one 8-byte store.
    When the disk is full, rows are counted in the header as unwritten instead of raising in the middle of a measurement.
    """

    def __init__(self, path: Path, kind: Kind, *, boot: int = 0, label: str = "", segment_rows: int = 16_384) -> None:
        """Creates `path`. Raises FileExistsError if it is there (an account is never overwritten) or another OSError."""
        self.path = path
        self.row_bytes = ROW_TYPES[kind].itemsize
        self._row_words = self.row_bytes // 8
        self._segment_rows = segment_rows
        self._capacity = 0
        self._claimed = 0
        self._names: dict[str, int] = {"": 0}
        self._file = path.open("x+b")
        os.posix_fallocate(self._file.fileno(), 0, HEADER_BYTES)
        self._map = mmap.mmap(self._file.fileno(), HEADER_BYTES)
        self._words = memoryview(self._map).cast("B").cast("Q")
        for offset, value in ((8, VERSION), (12, int(kind)), (16, self.row_bytes), (20, HEADER_BYTES)):
            self._map[offset : offset + 4] = value.to_bytes(4, "little")
        self._header(HeaderField.PID, os.getpid())
        self._header(HeaderField.BOOT, boot)
        self._header(HeaderField.CREATED, time.monotonic_ns())
        self._header(HeaderField.CREATED_UNIX, time.time_ns())
        self._header(HeaderField.NAMES_USED, 1)
        encoded = label.encode()[:LABEL_BYTES]
        self._map[LABEL_OFFSET : LABEL_OFFSET + len(encoded)] = encoded
        self._words[0] = int.from_bytes(MAGIC, "little")

    def append(self, words: tuple[int, ...]) -> int:
        """Writes one row, shorter ones padded with zeros, and returns its index; -1 if there was no room on the disk."""
        index = self._claimed
        if index == self._capacity and not self._grow():
            offset = HeaderField.UNWRITTEN // 8
            self._words[offset] = self._words[offset] + 1
            return -1
        self._claimed = index + 1
        store = self._words
        store[HeaderField.CLAIMED // 8] = self._claimed
        base = HEADER_BYTES // 8 + index * self._row_words
        for position in range(1, len(words)):
            store[base + position] = words[position]
        store[base] = words[0]
        return index

    def store(self, index: int, word: int, value: int) -> None:
        """Stores one 8-byte word of row `index`; a row that had no room (-1) is passed over."""
        if index >= 0:
            self._words[HEADER_BYTES // 8 + index * self._row_words + word] = value

    def gauge(self, number: int, value: int) -> None:
        """Sets gauge word `number`."""
        self._words[GAUGES_OFFSET // 8 + number] = value

    def name(self, text: str) -> int:
        """The id of a name, entered at first use; 0 once the table is full."""
        known = self._names.get(text)
        if known is not None:
            return known
        number = len(self._names)
        if number >= N_NAMES:
            return 0
        encoded = text.encode()[:NAME_BYTES]
        offset = NAMES_OFFSET + number * NAME_BYTES
        self._map[offset : offset + len(encoded)] = encoded
        self._names[text] = number
        self._header(HeaderField.NAMES_USED, number + 1)
        return number

    def close(self) -> None:
        """Marks the file as closed in good order and unmaps it."""
        if self._file.closed:
            return
        self._header(HeaderField.CLOSED, time.monotonic_ns())
        self._words.release()
        self._map.close()
        self._file.close()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _header(self, field: HeaderField, value: int) -> None:
        self._words[field // 8] = value

    def _grow(self) -> bool:
        rows = self._capacity + self._segment_rows
        size = HEADER_BYTES + rows * self.row_bytes
        try:
            # Allocated, not sparse: a store into a hole on a full disk would end the process with SIGBUS.
            os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError:
            return False
        self._words.release()
        self._map.close()
        self._map = mmap.mmap(self._file.fileno(), size)
        self._words = memoryview(self._map).cast("B").cast("Q")
        self._capacity = rows
        return True
