"""Task rows and the gauge page in a mapped file that outlives this process: docs/rows.md. What kills us leaves true rows.

Reading needs no lock. Claiming a row needs one, because two threads must not share it; every later instant is one 8-byte
store by whoever runs the task.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import sys
import time
from _thread import allocate_lock
from collections.abc import Callable
from time import monotonic_ns
from types import FunctionType
from typing import Any

from . import accelerator

__all__ = [
    "ASYNC",
    "DEF",
    "FINISHED",
    "FLUSHED",
    "SPAWNED",
    "STARTED",
    "UNTAGGED",
    "Gauge",
    "Page",
    "Reason",
    "Row",
    "counter",
    "meta_of",
    "name_of",
]

DEF, ASYNC, SPAWNED = 1, 2, 3
UNTAGGED = 1 << 63

_HEADER_BYTES = 16_384
_ROW_BYTES = 64
_SEGMENT_BITS = 14
_SEGMENT_ROWS = 1 << _SEGMENT_BITS
_AHEAD_ROWS = 16_384
_FIRST_ROWS = 4096
_MADV_POPULATE_WRITE = 23  # Linux 5.14; the mmap module has no name for it
_LABEL, _LABEL_BYTES = 128, 64
_NAMES, _NAME_BYTES, _N_NAMES = 4096, 64, 192
_CLAIMED, _CLOSED, _UNWRITTEN, _NAMES_USED = 7, 8, 9, 10  # words of the header
_GAUGES, _SETTINGS = 256 // 8, 1024 // 8
_STOPPING = 1  # number of a setting

_META, _ACCEPTED, FLUSHED, STARTED, FINISHED, _FAILED, _DROPPED = 1, 2, 3, 4, 5, 6, 7  # words of a row
_N_ACCEPTED, _N_STARTED, _N_FINISHED = _GAUGES + 5, _GAUGES + 6, _GAUGES + 7
_REASON_BYTE, _FLAGS_BYTE = 14, 15
_EARLY = 2
_RETRY_NS = 100_000_000
_LOCK_S = 1.0


class Gauge:
    """Word numbers of the gauges that the probe keeps, counted from the beginning of the page."""

    POOL_SIZE = _GAUGES + 2
    POOL_BUSY = _GAUGES + 3
    POOL_WAITING = _GAUGES + 4
    ACCEPTED = _GAUGES + 5
    STARTED = _GAUGES + 6
    FINISHED = _GAUGES + 7
    FAILED = _GAUGES + 8
    DROPPED = _GAUGES + 9
    IN_FLIGHT = _GAUGES + 10
    REQUESTS = _GAUGES + 11
    LOOP_BEAT = _GAUGES + 15
    LOOP_BEAT_PERIOD = _GAUGES + 16
    SHARED_POOL = _GAUGES + 23


class Reason:
    """Why a task will not be run (to its end) by this process."""

    SKIPPED = 1
    DISCARDED = 3
    ABANDONED = 4
    CANCELLED = 5
    """By the app itself, while nobody stopped the process. What ran has an instant of failure, what waited one of a drop."""


class Page:
    """The file of one process."""

    def __init__(self, path: str, boot: int, label: str) -> None:
        """Creates `path`. Raises FileExistsError if it is there (an account is never overwritten) or another OSError."""
        self.path = path
        self.is_open = True
        self.is_full = False  # a row could not be written
        self.is_out_of_names = False  # a name could not: it is the empty one
        self._pid = os.getpid()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(self._file, 0, _HEADER_BYTES)
            self._map = mmap.mmap(self._file, _HEADER_BYTES)
        except OSError:
            os.close(self._file)
            os.unlink(path)  # noqa: PTH108  # pathlib is not worth its import here
            raise
        self.words = words = memoryview(self._map).cast("B").cast("Q")
        now, unix = monotonic_ns(), time.time_ns()
        struct.pack_into("<IIII6Q", self._map, 8, 1, 2, _ROW_BYTES, _HEADER_BYTES, self._pid, boot, now, unix, 0, 0)
        words[_NAMES_USED] = 1
        text = _cut(label, _LABEL_BYTES)
        self._map[_LABEL : _LABEL + len(text)] = text
        words[Gauge.SHARED_POOL] = 1
        self._lock = lock = allocate_lock()
        self._acquire, self._release = lock.acquire, lock.release
        self._capacity = 0
        self._retry_ns = 0
        self._segments: list[tuple[memoryview, mmap.mmap]] = []
        self._n_touched = 0  # rows whose memory the kernel has made ready
        self._names: dict[str, int] = {"": 0}
        self.functions: dict[Any, int] = {}
        self._n_dropped = 0
        self.next_started = counter()
        self.next_finished = counter()
        self.next_failed = counter()
        self.next_untagged = counter()
        self._kept: list[object] = []
        self.sheet: Any = None
        """What writes it where it is accelerated, and has its numbers."""
        if accelerator.module is not None:
            address, keep = accelerator.address_of(self._map)
            self._kept.append(keep)
            self.sheet = sheet = accelerator.module.Sheet(self, self.functions, address)
            self.next_started, self.next_finished = sheet.next_started, sheet.next_finished
            self.next_failed, self.next_untagged = sheet.next_failed, sheet.next_untagged
        self._grow()  # now, not in the first request
        self.make_ready(_FIRST_ROWS)
        words[0] = int.from_bytes(b"AFTROWS1", "little")

    def claim(self, row: Row, op: int, meta: int, accepted_ns: int, started_ns: int = 0) -> bool:
        """Writes a new row, publishes it, and ties `row` to it. False: there was no room, which is counted.

        `meta` is the row's second word: position, name and kind (`meta_of`).
        """
        # A lock held for longer than that can only be held by the code that this call has interrupted (a signal handler).
        if not self.is_open or not (self._acquire(False) or self._acquire(True, _LOCK_S)):
            return False
        try:
            words, sheet = self.words, self.sheet
            position = words[_CLAIMED]
            if position == self._capacity and not self._grow():
                words[_UNWRITTEN] = words[_UNWRITTEN] + 1
                self.is_full = True
                return False
            if sheet is None:
                words[_CLAIMED] = words[_N_ACCEPTED] = position + 1
            else:
                position = sheet.take()  # which others do without this lock
                if position < 0:
                    words[_UNWRITTEN] = words[_UNWRITTEN] + 1
                    return False
            rows = self._segments[position >> _SEGMENT_BITS][0]
        finally:
            self._release()
        base = (position % _SEGMENT_ROWS) * 8
        rows[base + _META] = meta
        rows[base + _ACCEPTED] = accepted_ns
        if started_ns:
            rows[base + _META] = meta | _EARLY << 56
            rows[base + FLUSHED] = started_ns
            rows[base + STARTED] = started_ns
            words[Gauge.STARTED] = self.next_started()
        rows[base] = op
        if sheet is not None and type(row) is not Row:
            row.tie(position)  # type: ignore[attr-defined]  # a compiled one
        else:
            row.words, row.base, row.page = rows, base, self
        return True

    def segment(self, position: int) -> memoryview:
        """The words of the segment in which a row is."""
        return self._segments[position >> _SEGMENT_BITS][0]

    def number_of(self, func: Any) -> int:
        """The id of the name of a function; 0 once the table is full."""
        if type(func) is FunctionType:
            number = self.functions.get(func)
            if number is not None:
                return number
            number = self.name(name_of(func))
            if "<locals>" not in func.__qualname__:
                self.functions[func] = number  # it stays; those made anew for each request must not
            return number
        return self.name(name_of(func))

    def name(self, text: str) -> int:
        """The id of a name, entered at first use; 0 once the table is full."""
        known = self._names.get(text)
        if known is not None:
            return known
        with self._lock:
            known = self._names.get(text)
            if known is not None:
                return known
            number = len(self._names)
            if number >= _N_NAMES:
                self.is_out_of_names = True
                return 0
            encoded = _cut(text, _NAME_BYTES)
            offset = _NAMES + number * _NAME_BYTES
            self._map[offset : offset + len(encoded)] = encoded
            self.words[_NAMES_USED] = number + 1
            self._names[text] = number
            return number

    def count_unwritten(self) -> None:
        """Counts a row that cannot be written."""
        with self._lock:
            self.words[_UNWRITTEN] = self.words[_UNWRITTEN] + 1
            self.is_full = True

    def drop(self, row: Row) -> None:
        """Stores that a row is dropped."""
        with self._lock:
            row.words[row.base + _DROPPED] = monotonic_ns()
            self._n_dropped += 1
            self.words[Gauge.DROPPED] = self._n_dropped

    def take_back(self, row: Row) -> None:
        """Stores that it is not."""
        with self._lock:
            if row.words[row.base + _DROPPED]:
                row.words[row.base + _DROPPED] = 0
                self._n_dropped -= 1
                self.words[Gauge.DROPPED] = self._n_dropped

    def wants_memory(self) -> bool:
        """Whether it is time for `make_ready`."""
        return 0 <= self._n_touched < self.words[_CLAIMED] + _AHEAD_ROWS // 2

    def make_ready(self, ahead: int = _AHEAD_ROWS) -> None:
        """Has the kernel make memory for the next rows, in the sampler's thread. Else each 64th request would wait for it."""
        while self.wants_memory():
            claimed = self.words[_CLAIMED]
            wanted = claimed + ahead
            if wanted > self._capacity:
                with self._lock:
                    if wanted > self._capacity and not self._grow():
                        return
            begin = max(self._n_touched, claimed) & ~63  # 64 rows a page
            end = min((wanted + 63) & ~63, (begin | (_SEGMENT_ROWS - 1)) + 1)
            if end <= self._n_touched:
                return
            first = (begin & (_SEGMENT_ROWS - 1)) * _ROW_BYTES
            self._n_touched = (
                end if _populate(self._segments[begin >> _SEGMENT_BITS][1], first, (end - begin) * _ROW_BYTES) else -1
            )
            if ahead < _AHEAD_ROWS:
                return

    def wanted_pool(self) -> int:
        """The pool size that the harness asks for; 0: none."""
        return self.words[_SETTINGS]

    def is_asked_to_end(self) -> bool:
        """Whether the harness has asked this process to end."""
        return self.words[_SETTINGS + _STOPPING] != 0

    def forget(self) -> None:
        """Writes nothing any more: the file belongs to the process that this one was forked from."""
        self.is_open = False
        if self.sheet is not None:
            self.sheet.close()

    def close(self) -> None:
        """Marks the file as closed in good order, if no task is left over."""
        if not self.is_open or os.getpid() != self._pid:
            return
        self.forget()
        words = self.words
        ended = words[Gauge.FINISHED] + words[Gauge.FAILED]
        if ended == words[Gauge.STARTED] and ended + words[Gauge.DROPPED] == words[_CLAIMED]:
            words[_CLOSED] = monotonic_ns()

    def _grow(self) -> bool:
        # Each segment has a mapping of its own, for good: another thread may be writing into an earlier one.
        now = monotonic_ns()
        if now < self._retry_ns:
            return False
        offset = _HEADER_BYTES + self._capacity * _ROW_BYTES
        length = _SEGMENT_ROWS * _ROW_BYTES
        try:
            # Allocated, not sparse: a store into a hole on a full disk would end the process with SIGBUS.
            os.posix_fallocate(self._file, offset, length)
            segment = mmap.mmap(self._file, length, offset=offset)
        except OSError:
            self._retry_ns = now + _RETRY_NS
            return False
        self._segments.append((memoryview(segment).cast("B").cast("Q"), segment))
        self._capacity += _SEGMENT_ROWS
        if self.sheet is not None:
            address, keep = accelerator.address_of(segment)
            self._kept.append(keep)
            self.sheet.add(address)
        return True


class _Nowhere:
    """Stands for the page of a row that could not be written."""

    is_open = False


NOWHERE: Page = _Nowhere()  # type: ignore[assignment]


class Row:
    """One task attempt. Every method is safe from any thread; without a page (or in a forked child) they do nothing."""

    WAITING, RUNNING, ENDED, DROPPED = range(4)

    __slots__ = ("base", "page", "state", "words")
    words: memoryview

    def __init__(self) -> None:
        self.page = NOWHERE
        self.base = 0
        self.state = Row.WAITING

    def flushed(self, now: int) -> None:
        """The server has taken the last byte of the answer."""
        if self.page.is_open and not self.words[self.base + FLUSHED]:
            self.words[self.base + FLUSHED] = now

    def start(self, has_left: bool) -> None:
        """Just before the first instruction of the function. `has_left`: the response has."""
        page = self.page
        if not page.is_open:
            return
        words, base = self.words, self.base
        if self.state == Row.DROPPED:
            page.take_back(self)
        self.state = Row.RUNNING
        now = monotonic_ns()
        if not words[base + FLUSHED]:
            if not has_left:
                words.cast("B")[base * 8 + _FLAGS_BYTE] |= _EARLY
            words[base + FLUSHED] = now
        words[base + STARTED] = now
        page.words[_N_STARTED] = page.next_started()
        if words[base + _DROPPED]:
            # Dropped meanwhile by the event loop, which looks for a start as we look for a drop: one of us sees the other.
            page.take_back(self)

    def finish(self) -> None:
        """Just after the last one."""
        self.state = Row.ENDED
        page = self.page
        if page.is_open:
            self.words[self.base + FINISHED] = monotonic_ns()
            page.words[_N_FINISHED] = page.next_finished()

    def fail(self, reason: int = 0) -> None:
        """It raised; or it was cancelled, which is said by the reason."""
        self.state = Row.ENDED
        page = self.page
        if page.is_open:
            # Stored in any case: it may have one from a drop that was taken back.
            self.words.cast("B")[self.base * 8 + _REASON_BYTE] = reason
            self.words[self.base + _FAILED] = monotonic_ns()
            page.words[Gauge.FAILED] = page.next_failed()

    def drop(self, reason: int) -> None:
        """It will not be run, or not to its end."""
        page = self.page
        was_running = self.state == Row.RUNNING
        self.state = Row.DROPPED
        if not page.is_open:
            return
        self.words.cast("B")[self.base * 8 + _REASON_BYTE] = reason
        page.drop(self)
        if not was_running and self.words[self.base + STARTED]:
            page.take_back(self)

    def take_back(self) -> None:
        """It will be run after all."""
        if self.state == Row.DROPPED:
            self.state = Row.WAITING
            if self.page.is_open:
                self.page.take_back(self)


def _populate(segment: mmap.mmap, offset: int, length: int) -> bool:
    """Makes the memory of a part of a mapping. False: this kernel cannot, and it is made page by page when it is written to."""
    try:
        import ctypes

        # Not by the mmap module, which keeps the interpreter's lock while a file system may have to wait for its journal.
        madvise = ctypes.CDLL(None).madvise
        address = ctypes.addressof(ctypes.c_char.from_buffer(segment, offset))
        return bool(madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), _MADV_POPULATE_WRITE) == 0)
    except (ImportError, AttributeError, OSError):
        try:
            segment.madvise(_MADV_POPULATE_WRITE, offset, length)
        except OSError:
            return False
        return True


def meta_of(index: int, number: int, kind: int) -> int:
    """The second word of a row."""
    return index | number << 16 | kind << 32 | 1 << 40


def name_of(func: Any) -> str:
    """What a person calls a callable: its name within its module, a partial's function's, or the name of its class."""
    while True:
        name = getattr(func, "__qualname__", None)
        inner = getattr(func, "func", None)
        if isinstance(name, str) or inner is None:
            break
        func = inner
    if not isinstance(name, str):
        name = type(func).__qualname__
    return name.rpartition("<locals>.")[2] if "<locals>" in name else name


def _cut(text: str, length: int) -> bytes:
    # A character is whole or not there.
    return text.encode("utf-8", "replace")[:length].decode("utf-8", "ignore").encode()


def counter() -> Callable[[], int]:
    """1, 2, 3, ...: each number once, also from several threads."""
    step = itertools.count(1).__next__
    has_gil = getattr(sys, "_is_gil_enabled", None)
    if has_gil is None or has_gil():
        return step  # one instruction of the interpreter
    lock = allocate_lock()

    def locked() -> int:
        with lock:
            return step()

    return locked
