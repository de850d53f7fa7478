"""One row file, read as it grows: each row once when it is published, and again, when asked, what may have changed in it since.

Nothing is mapped: a file that is cut off under a reader ends in missing rows, and not in a signal that ends the reader.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.rows import ROW_TYPES, Gauge, HeaderField, Kind, NotBegun, RowFile, RowFileError, Rows
from harness.rows.layout import GAUGES_OFFSET, HEADER_BYTES, MAGIC, N_NAMES, NAME_BYTES, NAMES_OFFSET, VERSION

__all__ = ["RowTail"]

_PAGE: Final = 1024  # of the header: what changes all the time
_AT_ONCE: Final = 1 << 16
_NEAR: Final = 64
"""Rows that are no further apart are read in one piece."""

_IN_CACHE: Final = 1 << 12
"""Of at most so many."""


class RowTail:
    """A file and how far it has been read."""

    def __init__(self, path: Path) -> None:
        """Raises NotBegun if its header is not complete, RowFileError if it is none of ours, OSError if it can't be read."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._page = os.pread(self._fd, _PAGE, 0)
            self.kind = self._checked_kind()
        except BaseException:
            os.close(self._fd)
            raise
        self._type = ROW_TYPES[self.kind]
        self._names: tuple[str, ...] = ()
        self._read = 0
        self._holes = np.empty(0, np.int64)
        self.pid = self._word(HeaderField.PID)
        self.boot = self._word(HeaderField.BOOT)
        self.created_ns = self._word(HeaderField.CREATED)

    def close(self) -> None:
        """Lets the file go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def closed_ns(self) -> int:
        """When its writer closed it; 0: it has not."""
        return self._word(HeaderField.CLOSED)

    def read_new(self) -> tuple[NDArray[np.int64], Rows]:
        """Rows that have been published since, and where they stand in the file. The page is read first: it is never ahead."""
        self._page = os.pread(self._fd, _PAGE, 0) or self._page
        claimed, size = self._word(HeaderField.CLAIMED), os.fstat(self._fd).st_size
        present = min(claimed, max(size - HEADER_BYTES, 0) // self._type.itemsize)
        found, places = [], []
        if len(self._holes):
            late = self.read_again(self._holes)
            is_published = self._is_published(late)
            found.append(late[is_published])
            places.append(self._holes[is_published])
            self._holes = self._holes[~is_published]
        while self._read < present:
            rows = self._rows(self._read, min(present - self._read, _AT_ONCE))
            if not len(rows):
                break
            where = np.arange(self._read, self._read + len(rows))
            self._read += len(rows)
            is_published = self._is_published(rows)
            if not is_published.all():
                self._holes = np.concatenate([self._holes, where[~is_published]])
                rows, where = rows[is_published], where[is_published]
            found.append(rows)
            places.append(where)
        if not found:
            return np.empty(0, np.int64), np.empty(0, self._type)
        return np.concatenate(places), np.concatenate(found)

    def read_again(self, places: NDArray[np.int64]) -> Rows:
        """Rows at rising places, as they are now. What is not there any more is zeros."""
        found = np.zeros(len(places), self._type)
        for begin, inside, rows in self._pieces(places):
            found[begin : begin + len(inside)] = rows[inside]
        return found

    def has_any(self, places: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.bool_]:
        """In which rows at rising places one of these fields, which are of one type, is not 0. What is not there has none."""
        found = np.zeros(len(places), np.bool_)
        for begin, inside, rows in self._pieces(places):
            together = rows[names[0]].copy()
            for name in names[1:]:
                together |= rows[name]
            found[begin : begin + len(inside)] = (together != 0)[inside]
        return found

    def as_file(self, rows: Rows | None = None) -> RowFile:
        """What its page says, with these rows."""
        n_names = self._word(HeaderField.NAMES_USED)
        if n_names > len(self._names):
            data = os.pread(self._fd, min(n_names, N_NAMES) * NAME_BYTES, NAMES_OFFSET)
            parts = [data[at : at + NAME_BYTES] for at in range(0, len(data), NAME_BYTES)]
            self._names = tuple(part.split(b"\0", 1)[0].decode("utf-8", "replace") for part in parts)
        return RowFile(
            path=self.path,
            kind=self.kind,
            pid=self.pid,
            boot=self.boot,
            created_ns=self.created_ns,
            closed_ns=self.closed_ns,
            unwritten=self._word(HeaderField.UNWRITTEN),
            claimed=self._word(HeaderField.CLAIMED),
            missing=0,
            holes=len(self._holes),
            names=self._names,
            gauges=tuple(self._word(GAUGES_OFFSET + 8 * gauge) for gauge in Gauge),
            rows=np.empty(0, self._type) if rows is None else rows,
            clock_uncertainty_ns=self._word(HeaderField.CLOCK_UNCERTAINTY),
        )

    def _pieces(self, places: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], Rows]]:
        """Rows that stand near each other, in pieces that a processor's cache holds: (number of the first place, where the places
        are in the piece, as far as they are there, the piece). It holds until the next one is asked for.
        """
        if not len(places):
            return
        cuts = np.flatnonzero(np.diff(places) > _NEAR) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(places)], strict=True):
            while begin < end:
                first = int(places[begin])
                until = min(begin + int(np.searchsorted(places[begin:end], first + _IN_CACHE)), end)
                rows = self._rows(first, int(places[until - 1]) - first + 1)
                inside = places[begin:until] - first
                yield begin, inside[: int(np.searchsorted(inside, len(rows)))], rows
                begin = until

    def _is_published(self, rows: Rows) -> NDArray[np.bool_]:
        published: NDArray[np.bool_] = rows[(self._type.names or ("op",))[0]] != 0
        return published

    def _rows(self, first: int, n: int) -> Rows:
        data = os.pread(self._fd, n * self._type.itemsize, HEADER_BYTES + first * self._type.itemsize)
        return np.frombuffer(data, self._type, len(data) // self._type.itemsize)

    def _word(self, offset: int) -> int:
        return int.from_bytes(self._page[offset : offset + 8], "little")

    def _checked_kind(self) -> Kind:
        if len(self._page) < _PAGE or not any(self._page[:8]):
            msg = f"{self.path} has no header yet"
            raise NotBegun(msg)
        version, number = (int.from_bytes(self._page[at : at + 4], "little") for at in (8, 12))
        if self._page[:8] != MAGIC or version != VERSION or number not in set(Kind):
            msg = f"{self.path} is no row file of version {VERSION}"
            raise RowFileError(msg)
        if int.from_bytes(self._page[16:20], "little") != ROW_TYPES[Kind(number)].itemsize:
            msg = f"{self.path} has rows of another size"
            raise RowFileError(msg)
        return Kind(number)
