"""The row files of a run, each read as it grows, and what they have said so far."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from harness.live.columns import Effects, Requests, Works
from harness.live.rowtail import RowTail
from harness.rows import Kind, RowFile, RowFileError, Rows

__all__ = ["Shelf"]


class Shelf:
    """All files of one run directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[Path, RowTail] = {}
        self._samples: dict[RowTail, _Samples] = {}
        self.requests, self.works, self.effects = Requests(), Works(), Effects()

    def refresh(self, run_tag: int, over: Collection[int]) -> None:
        """Reads what is new. `over`: boots that are known to be dead, whose rows change no more once they have been read."""
        self._open_new()
        order = sorted(self._tails.values(), key=lambda tail: (tail.kind, str(tail.path)))
        for tail in order:
            # A file that cannot be read stays as it was read last.
            with contextlib.suppress(OSError):
                self._read(tail, run_tag)
                if tail.kind is Kind.TASKS and tail.boot in over:
                    self.works.settle(tail)
        self.works.resolve(self.requests, run_tag)

    def files(self, at_ns: int) -> list[RowFile]:
        """What their pages say, without rows, but for samples: those up to the instant."""
        return [
            tail.as_file(self._samples[tail].until(at_ns) if tail in self._samples else None)
            for _, tail in sorted(self._tails.items())
        ]

    def last_ns(self) -> int:
        """The last thing that any row tells; 0: nothing."""
        columns = (self.requests.sent, self.requests.done, self.effects.arrived)
        of_works = (self.works.accepted, self.works.started, self.works.finished, self.works.failed, self.works.dropped)
        found = [int(column.now.max(initial=0)) for column in (*columns, *of_works)]
        return max(0, *found, *(samples.last_ns for samples in self._samples.values()))

    def close(self) -> None:
        """Lets all files go."""
        for tail in self._tails.values():
            tail.close()

    def _open_new(self) -> None:
        try:
            paths = sorted(self._folder.glob("*.rows"))
        except OSError:
            return
        for path in paths:
            if path not in self._tails:
                # Its writer is still filling in the header, or it is damaged, which the judgement tells.
                with contextlib.suppress(OSError, RowFileError):
                    self._tails[path] = RowTail(path)

    def _read(self, tail: RowTail, run_tag: int) -> None:
        match tail.kind:
            case Kind.REQUESTS:
                self.requests.read(tail, run_tag)
            case Kind.TASKS:
                self.works.read(tail, self.requests, run_tag)
            case Kind.EFFECTS:
                self.effects.read(tail, run_tag)
            case _:
                self._samples.setdefault(tail, _Samples(tail)).read()


class _Samples:
    """Rows of samples, in order."""

    def __init__(self, tail: RowTail) -> None:
        self._tail = tail
        self._rows: Rows | None = None
        self._n = 0

    @property
    def last_ns(self) -> int:
        return int(self._rows["t_ns"][self._n - 1]) if self._rows is not None and self._n else 0

    def read(self) -> None:
        _, rows = self._tail.read_new()
        if self._rows is None:
            self._rows = np.empty(256, rows.dtype)
        if self._n + len(rows) > len(self._rows):
            grown = np.empty(max(self._n + len(rows), len(self._rows) * 3 // 2), self._rows.dtype)
            grown[: self._n] = self._rows[: self._n]
            self._rows = grown
        self._rows[self._n : self._n + len(rows)] = rows
        self._n += len(rows)

    def until(self, at_ns: int) -> Rows | None:
        if self._rows is None:
            return None
        rows = self._rows[: self._n]
        return rows[: int(np.searchsorted(rows["t_ns"], np.uint64(max(at_ns, 0)), side="right"))]
