"""The row files of a run, each read as it grows, and what they have said so far."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.live.columns import Effects, Renumbered, Requests, Works
from harness.live.framing import NEWEST_SAMPLES
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
        self.is_folded = False  # some of what was read has been let go
        self._gone_ns = 0  # the last thing that it told

    @property
    def n_rows(self) -> int:
        """That are in memory, but for samples."""
        return len(self.requests.due) + len(self.works.key) + len(self.effects.key)

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
        """The last thing that any row tells, or told; 0: nothing."""
        columns = (self.requests.sent, self.requests.done, self.effects.arrived)
        of_works = (self.works.accepted, self.works.started, self.works.finished, self.works.failed, self.works.dropped)
        found = [int(column.now.max(initial=0)) for column in (*columns, *of_works)]
        return max(self._gone_ns, *found, *(samples.last_ns for samples in self._samples.values()))

    def keep(
        self,
        requests: Renumbered,
        works: Renumbered,
        effects: NDArray[np.bool_],
        *,
        samples_from_ns: int,
        load_start_ns: int,
        died_ns: Mapping[int, int],
    ) -> None:
        """Lets all other rows go; of earlier samples all but those with which something began or ended.

        `died_ns`: by boot, when it was dead.
        """
        self._gone_ns, self.is_folded = self.last_ns(), True
        self.works.keep(works, requests)
        self.requests.keep(requests)
        self.effects.keep(effects)
        for samples in self._samples.values():
            samples.keep(samples_from_ns, load_start_ns, died_ns)

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

    def keep(self, from_ns: int, load_start_ns: int, died_ns: Mapping[int, int]) -> None:
        """Lets earlier ones go, but for the last, and for the first and last of each stretch in which nothing changed.

        So for how long a pool was full, and when it got another size, comes out of them as it did.
        """
        if self._rows is None:
            return
        rows = self._rows[: self._n]
        t_ns = rows["t_ns"].astype(np.int64)
        is_kept = t_ns >= from_ns
        is_kept[max(int(np.searchsorted(t_ns, from_ns)) - 1, 0) :] = True
        is_kept[-NEWEST_SAMPLES:] = True
        if self._tail.kind is Kind.GAUGES and self._n:
            is_alive = np.ones(self._n, np.bool_)
            for boot, ended_ns in died_ns.items():
                is_alive &= (rows["boot"] != boot) | (t_ns <= ended_ns)
            is_full = (rows["pool_busy"] >= rows["pool_size"]) & (rows["pool_size"] > 0)
            states = (rows["boot"], rows["pool_size"], is_full, is_alive, t_ns >= load_start_ns)
            changes = np.logical_or.reduce([state[1:] != state[:-1] for state in states])
            is_kept |= np.append(True, changes) | np.append(changes, True)
        kept = rows[is_kept]
        self._rows = np.empty(max(len(kept) * 3 // 2, 256), rows.dtype)
        self._rows[: len(kept)] = kept
        self._n = len(kept)
