"""What the row files of a run have said so far, as columns in memory: about 30 bytes a request and 60 a task.

Rows that may still change are read again; those that can't are not. Nothing here knows of instants: harness/live/ledger.py does.
What nobody needs any more can be let go (`keep`); harness/live/folding.py decides what that is.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.grouping import is_own, is_refused, key_of
from harness.live.rowtail import RowTail
from harness.rows import DropReason, Outcome, Rows, TaskKind
from harness.rows.layout import N_NAMES

__all__ = ["Effects", "Growing", "Renumbered", "Requests", "Works"]

_MOST_OPS: Final = 1 << 27
_NO_BIT: Final = 64
_INSTANTS: Final = ("started_ns", "finished_ns", "failed_ns", "dropped_ns")
_Kind = TypeVar("_Kind", bound=np.generic)

FOREIGN: Final = -2
UNKNOWN: Final = -1
GONE: Final = -3  # it was there, and has been let go


class Growing(Generic[_Kind]):
    """An array that grows at its end."""

    def __init__(self, kind: type[_Kind]) -> None:
        self._all: NDArray[_Kind] = np.empty(1024, kind)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def now(self) -> NDArray[_Kind]:
        """What there is: to be looked at and changed, not to be kept."""
        return self._all[: self._n]

    def extend(self, values: NDArray[Any]) -> None:
        """Adds values at the end."""
        end = self._n + len(values)
        if end > len(self._all):
            # Half as much again: what is not used yet is little of what there is.
            grown = np.empty(max(end, len(self._all) * 3 // 2), self._all.dtype)
            grown[: self._n] = self._all[: self._n]
            self._all = grown
        self._all[self._n : end] = values
        self._n = end

    def keep(self, is_kept: NDArray[np.bool_]) -> None:
        """Lets the others go. Shape (len,)."""
        kept = self.now[is_kept]
        self._all = np.empty(max(len(kept) * 3 // 2, 1024), self._all.dtype)
        self._all[: len(kept)] = kept
        self._n = len(kept)


class Renumbered:
    """Which positions of a column are kept, and what they are then."""

    def __init__(self, is_kept: NDArray[np.bool_]) -> None:
        self.is_kept = is_kept
        self._new = np.where(is_kept, np.cumsum(is_kept) - 1, GONE).astype(np.int32)

    def __len__(self) -> int:
        """How many are kept."""
        return int(np.count_nonzero(self.is_kept))

    def of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions that are kept, as they are then."""
        new: NDArray[np.int64] = self._new[positions].astype(np.int64)
        return new

    def over(self, positions: NDArray[np.int32]) -> NDArray[np.int32]:
        """The same of a column of positions: those below 0 stand for something else, and stay."""
        return np.where(positions < 0, positions, self._new[np.maximum(positions, 0)] if len(self._new) else positions)

    def shortened(self, of_each: NDArray[_Kind], empty: int) -> NDArray[_Kind]:
        """What is known of each, perhaps not of the last ones yet."""
        known = of_each[: len(self.is_kept)]
        whole = np.concatenate([known, np.full(len(self.is_kept) - len(known), empty, of_each.dtype)])
        kept: NDArray[_Kind] = whole[self.is_kept]
        return kept


class Requests:
    """Requests of this run. Those that were never sent stand apart."""

    def __init__(self) -> None:
        self.due = Growing(np.int64)
        self.sent = Growing(np.int64)
        self.done = Growing(np.int64)  # 0: not yet
        self.outcome = Growing(np.uint8)
        self.refused = Growing(np.bool_)  # REJ, and told so
        self.unsent = Growing(np.int64)  # when it can have been known that they were not
        self.is_repeated = False  # an operation was sent twice, or has a number that nobody gives
        self.is_missed = False  # something came of an operation that has been let go
        self._first_op = 0  # those before it have been let go, or were never sent
        self._position = np.full(1024, UNKNOWN, np.int32)  # by local op, from the first one on
        self._open: dict[RowTail, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._last_sent: dict[RowTail, int] = {}

    def read(self, tail: RowTail, run_tag: int) -> None:
        """Reads what is new."""
        places, positions = self._open.get(tail, (np.empty(0, np.int64), np.empty(0, np.int64)))
        if len(places):
            places, positions = self._read_again(tail, places, positions)
        new_places, rows = tail.read_new()
        if len(rows):
            own = is_own(rows["op"], run_tag)
            sent = own & (rows["sent_ns"] != 0)
            self._unsent(tail, rows, own & ~sent)
            new = rows[sent]
            first = len(self.due)
            self._enter(new, first)
            is_open = ~_has_ended(new)
            # What was read in the middle of its end is read again.
            self.done.now[first + np.flatnonzero(is_open)] = 0
            new_ones = new_places[sent][is_open], first + np.flatnonzero(is_open)
            places, positions = _joined((places, positions), new_ones)
        self._open[tail] = places, positions

    def positions(self, op: NDArray[np.uint64], run_tag: int) -> NDArray[np.int32]:
        """Where operations stand; `UNKNOWN`, or `FOREIGN`: of another run."""
        local = (op & np.uint64(0xFFFF_FFFF)).astype(np.int64) - self._first_op
        found: NDArray[np.int32] = self._position[np.clip(local, 0, len(self._position) - 1)]
        found[local >= len(self._position)] = UNKNOWN
        found[local < 0] = GONE
        found[~is_own(op, run_tag)] = FOREIGN
        self.is_missed |= bool((found == GONE).any())
        return found

    def open_ones(self) -> NDArray[np.int64]:
        """Where those stand that may still change."""
        return np.concatenate([np.empty(0, np.int64), *(positions for _, positions in self._open.values())])

    def keep(self, kept: Renumbered) -> None:
        """Lets the others go."""
        for column in (self.due, self.sent, self.done, self.outcome, self.refused):
            column.keep(kept.is_kept)
        self._position = kept.over(self._position)
        there = np.flatnonzero(self._position >= 0)
        # Whoever is sent later than the oldest that is kept has a number of its own time, or is missed.
        first = int(there[0]) if len(there) else 0
        self._position, self._first_op = self._position[first:].copy(), self._first_op + first
        self._open = {tail: (places, kept.of(positions)) for tail, (places, positions) in self._open.items()}

    def _enter(self, rows: Rows, first: int) -> None:
        for column, name in ((self.due, "due_ns"), (self.sent, "sent_ns"), (self.done, "done_ns"), (self.outcome, "outcome")):
            column.extend(rows[name])
        self.refused.extend(is_refused(rows["outcome"], rows["error"]))
        local = (rows["op"] & np.uint64(0xFFFF_FFFF)).astype(np.int64) - self._first_op
        highest = int(local.max(initial=0))
        if highest >= _MOST_OPS:
            self.is_repeated = True
            return
        if int(local.min(initial=0)) < 0 or np.any(self._position[local[local < len(self._position)]] == GONE):
            # Sent twice, or very late: whoever reads everything again will know.
            self.is_missed = True
            return
        if highest >= len(self._position):
            grown = np.full(max(highest + 1, len(self._position) * 3 // 2), UNKNOWN, np.int32)
            grown[: len(self._position)] = self._position
            self._position = grown
        if np.any(self._position[local] != UNKNOWN):
            self.is_repeated = True
        self._position[local] = np.arange(first, first + len(local), dtype=np.int32)
        if np.any(self._position[local] != np.arange(first, first + len(local))):
            self.is_repeated = True

    def _unsent(self, tail: RowTail, rows: Rows, chosen: NDArray[np.bool_]) -> None:
        before = np.maximum.accumulate(np.maximum(rows["sent_ns"].astype(np.int64), self._last_sent.get(tail, 0)))
        self._last_sent[tail] = int(before[-1])
        if chosen.any():
            self.unsent.extend(np.maximum(rows["due_ns"].astype(np.int64), before)[chosen])

    def _read_again(
        self, tail: RowTail, places: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = tail.read_again(places)
        done = _has_ended(rows)
        self.done.now[positions[done]] = rows["done_ns"][done]
        self.outcome.now[positions[done]] = rows["outcome"][done]
        self.refused.now[positions[done]] = is_refused(rows["outcome"][done], rows["error"][done])
        return places[~done], positions[~done]


def _has_ended(rows: Rows) -> NDArray[np.bool_]:
    """Which requests have an answer, or never will. A row that is stored while it is read may have its end and no outcome yet."""
    ended: NDArray[np.bool_] = (rows["done_ns"] != 0) & (rows["outcome"] != Outcome.OPEN)
    return ended


class Works:
    """Task rows of all boots, also those of no operation of this run: they take threads too."""

    def __init__(self) -> None:
        self.key = Growing(np.uint64)
        self.request = Growing(np.int32)  # where its operation stands; UNKNOWN, FOREIGN
        self.file = Growing(np.uint16)  # number of its file
        self.accepted = Growing(np.int64)
        self.started = Growing(np.int64)
        self.finished = Growing(np.int64)
        self.failed = Growing(np.int64)
        self.dropped = Growing(np.int64)
        self.reason = Growing(np.uint8)
        self.is_def = Growing(np.bool_)
        self.func = Growing(np.uint8)  # of its file's names, of which there are 192 at most
        self.is_idle = Growing(np.bool_)  # accepted, and nothing else has ever been read of it
        self.files: list[RowTail] = []
        self.is_odd = False  # something in the rows is not as the format has it, or a task is there twice
        self._unresolved = np.empty(0, np.int64)
        self._unresolved_op = np.empty(0, np.uint64)
        self._idle: dict[RowTail, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._open: dict[RowTail, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}  # others that may still change
        self._seen = np.zeros(1024, np.uint64)  # by operation: a bit for each of its tasks
        self._others: set[int] = set()

    def read(self, tail: RowTail, requests: Requests, run_tag: int) -> None:
        """Reads what is new."""
        if tail not in self._open:
            self.files.append(tail)
        nowhere = np.empty(0, np.int64), np.empty(0, np.int64)
        idle, (places, positions) = self._idle.get(tail, nowhere), self._open.get(tail, nowhere)
        has_moved = tail.has_any(idle[0], _INSTANTS)
        if has_moved.any():
            moved = idle[0][has_moved], idle[1][has_moved]
            idle = idle[0][~has_moved], idle[1][~has_moved]
            self.is_idle.now[moved[1]] = False
            places, positions = _joined((places, positions), moved)
        if len(places):
            places, positions = self._read_again(tail, places, positions)
        new_places, rows = tail.read_new()
        if _may_lack_reason(rows).any():
            rows = tail.read_again(new_places)
        if len(rows):
            new = len(self.key) + np.arange(len(rows))
            self._enter(rows, requests, run_tag, self.files.index(tail))
            is_idle = self.is_idle.now[new]
            is_open = ~_is_settled(rows) & ~is_idle
            idle = _joined(idle, (new_places[is_idle], new[is_idle]))
            places, positions = _joined((places, positions), (new_places[is_open], new[is_open]))
        self._idle[tail], self._open[tail] = idle, (places, positions)

    def settle(self, tail: RowTail) -> None:
        """Nothing that is in the file changes any more: its process is dead, and it has been read since."""
        self._idle[tail] = self._open[tail] = np.empty(0, np.int64), np.empty(0, np.int64)

    def open_ones(self) -> NDArray[np.int64]:
        """Where those stand that may still change, or whose request is not known yet."""
        both = (*self._idle.values(), *self._open.values())
        return np.concatenate([self._unresolved, *(positions for _, positions in both)])

    def keep(self, kept: Renumbered, requests: Renumbered) -> None:
        """Lets the others go; those requests are gone, of which none has a task that is kept."""
        for column in (self.key, self.file, self.accepted, self.reason, self.is_def, self.func, self.is_idle):
            column.keep(kept.is_kept)
        for column, _ in self._instants():
            column.keep(kept.is_kept)
        self.request.keep(kept.is_kept)
        self.request.now[:] = requests.over(self.request.now)
        self._unresolved = kept.of(self._unresolved)
        self._idle, self._open = (
            {tail: (places, kept.of(positions)) for tail, (places, positions) in each.items()}
            for each in (self._idle, self._open)
        )
        self._seen = requests.shortened(self._seen, 0)
        bit = _bits(self.key.now)
        self._others &= set(self.key.now[bit == _NO_BIT].tolist())

    def resolve(self, requests: Requests, run_tag: int) -> None:
        """Finds the operations of tasks whose request had not been read yet when they were."""
        if not len(self._unresolved):
            return
        found = requests.positions(self._unresolved_op, run_tag)
        self.request.now[self._unresolved] = found
        self._count(self._unresolved[found >= 0])
        self._unresolved, self._unresolved_op = self._unresolved[found < 0], self._unresolved_op[found < 0]

    def _enter(self, rows: Rows, requests: Requests, run_tag: int, file: int) -> None:
        first, n = len(self.key), len(rows)
        self.key.extend(key_of(rows["op"], rows["index"]))
        request = requests.positions(rows["op"], run_tag)
        self.request.extend(request)
        self.file.extend(np.full(n, file, np.uint16))
        self.accepted.extend(rows["accepted_ns"])
        self.is_def.extend(rows["kind"] == TaskKind.DEF)
        self.reason.extend(rows["reason"])
        self.func.extend(np.minimum(rows["func"], N_NAMES).astype(np.uint8))
        self.is_idle.extend(np.logical_and.reduce([rows[name] == 0 for name in _INSTANTS]))
        for column, name in self._instants():
            column.extend(rows[name])
        self.is_odd |= bool((rows["accepted_ns"] == 0).any() | _is_odd(rows).any())
        unknown = np.flatnonzero(request == UNKNOWN)
        self._unresolved = np.concatenate([self._unresolved, first + unknown])
        self._unresolved_op = np.concatenate([self._unresolved_op, rows["op"][unknown]])
        self._count(first + np.flatnonzero(request >= 0))

    def _count(self, positions: NDArray[np.int64]) -> None:
        """Notices a task that is there twice."""
        if not len(positions):
            return
        request = self.request.now[positions].astype(np.int64)
        if (highest := int(request.max())) >= len(self._seen):
            grown = np.zeros(max(highest + 1, len(self._seen) * 3 // 2), np.uint64)
            grown[: len(self._seen)] = self._seen
            self._seen = grown
        bit = _bits(self.key.now[positions])
        for key in self.key.now[positions[bit == _NO_BIT]].tolist():
            self.is_odd |= key in self._others
            self._others.add(key)
        request, bit = request[bit < _NO_BIT], bit[bit < _NO_BIT]
        mask = np.left_shift(np.uint64(1), bit.astype(np.uint64))
        self.is_odd |= bool((self._seen[request] & mask).any())
        np.bitwise_or.at(self._seen, request, mask)
        self.is_odd |= len(request) > 1 and len(np.unique(request * 64 + bit)) != len(request)

    def _read_again(
        self, tail: RowTail, places: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = tail.read_again(places)
        if _is_odd(rows).any() or _may_lack_reason(rows).any():
            # Read in the middle of a store: what is stored first may come out second.
            rows = tail.read_again(places)
        is_there = rows["op"] != 0
        rows, places, positions = rows[is_there], places[is_there], positions[is_there]
        self.reason.now[positions] = rows["reason"]
        for column, name in self._instants():
            column.now[positions] = rows[name]
        self.is_odd |= bool(_is_odd(rows).any())
        is_open = ~_is_settled(rows)
        return places[is_open], positions[is_open]

    def _instants(self) -> tuple[tuple[Growing[np.int64], str], ...]:
        return tuple(zip((self.started, self.finished, self.failed, self.dropped), _INSTANTS, strict=True))


def _joined(
    some: tuple[NDArray[np.int64], NDArray[np.int64]], more: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places and positions, by rising places."""
    if not len(more[0]):
        return some
    places, positions = (np.concatenate(both) for both in zip(some, more, strict=True))
    if np.any(places[1:] < places[:-1]):
        order = np.argsort(places)
        places, positions = places[order], positions[order]
    return places, positions


class Effects:
    """Effects of this run."""

    def __init__(self) -> None:
        self.key = Growing(np.uint64)
        self.arrived = Growing(np.int64)

    def read(self, tail: RowTail, run_tag: int) -> None:
        """Reads what is new."""
        _, rows = tail.read_new()
        own = rows[is_own(rows["op"], run_tag)]
        self.key.extend(key_of(own["op"], own["index"]))
        self.arrived.extend(own["arrived_ns"])

    def keep(self, is_kept: NDArray[np.bool_]) -> None:
        """Lets the others go."""
        self.key.keep(is_kept)
        self.arrived.keep(is_kept)


def _bits(key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Which of the 64 bits of its operation stands for a task; `_NO_BIT`: none does."""
    # Those that an application spawned are counted from 32,768.
    index = (key & np.uint64(0xFFFF)).astype(np.int64)
    return np.where(index < 48, index, np.where((index >= 32_768) & (index < 32_784), index - 32_768 + 48, _NO_BIT))


def _is_settled(rows: Rows) -> NDArray[np.bool_]:
    """Which task rows do not change any more. The probe may take back that a task was dropped."""
    is_refused = (rows["dropped_ns"] != 0) & (rows["reason"] == DropReason.REJECTED)
    settled: NDArray[np.bool_] = (rows["finished_ns"] != 0) | (rows["failed_ns"] != 0) | is_refused
    return settled


def _may_lack_reason(rows: Rows) -> NDArray[np.bool_]:
    """Which task rows have failed, and may have been read between their reason, which is stored first, and the instant."""
    torn: NDArray[np.bool_] = (rows["failed_ns"] != 0) & (rows["reason"] == 0)
    return torn


def _is_odd(rows: Rows) -> NDArray[np.bool_]:
    ended = (rows["finished_ns"] != 0) | (rows["failed_ns"] != 0)
    both = (rows["finished_ns"] != 0) & (rows["failed_ns"] != 0)
    put_aside = (rows["dropped_ns"] != 0) & (rows["reason"] != DropReason.ABANDONED)
    is_malformed = (rows["dropped_ns"] != 0) & ((rows["reason"] == 0) | (rows["reason"] > max(DropReason)))
    odd: NDArray[np.bool_] = both | (ended & put_aside) | (ended & (rows["started_ns"] == 0)) | is_malformed
    return odd
