"""Watches event loops and their thread pools: beats, tokens, who blocks. One daemon thread for a process, at work every 50 ms."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from asyncio import AbstractEventLoop
from contextvars import Context
from time import monotonic_ns
from types import FrameType
from typing import TYPE_CHECKING, Any

from .blocked import Blocked
from .frames import culprit
from .rows import Gauge, Page

if TYPE_CHECKING:
    from .process import Process

__all__ = ["Sampler"]

BEAT_S = 0.02
_BEAT_NS = int(BEAT_S * 1e9)
_EVERY_S = 0.05
_BLOCKED_NS = 100_000_000


class _Watched:
    """One event loop, its thread, and anyio's limiter of its pool."""

    def __init__(self, loop: AbstractEventLoop, limiter: Any, page: Page) -> None:
        self.loop = loop
        self.limiter = limiter
        self.thread = threading.get_ident()
        self.beat_ns = monotonic_ns()
        self.runner: FrameType | None = None
        self.blocked_since_ns = 0
        self._page = page
        loop.call_later(BEAT_S, self.beat, context=Context())

    def beat(self) -> None:
        """Called by the loop itself, again and again."""
        if self.runner is None:
            self.runner = sys._getframe().f_back  # noqa: SLF001  # asyncio's own, or whoever runs a loop written in C
        self.beat_ns = now = monotonic_ns()
        if self._page.is_open:
            self._page.words[Gauge.LOOP_BEAT] = now
            self.loop.call_later(BEAT_S, self.beat)


class Sampler:
    """Keeps the gauges of pool and loop, changes the pool when asked to, and names what blocks a loop."""

    def __init__(self, process: Process, pool: int) -> None:
        """`pool`: tokens to give each pool at its start; 0: leave it."""
        page, notes = process.page, process.notes
        self.loops: dict[AbstractEventLoop, _Watched] = {}
        self._page = page
        self._notes = notes
        self._process = process
        self._pool = pool
        self._asked_pool = 0
        self._blocked = Blocked(notes)
        self._is_closed = False
        self._is_late = False
        self._pause_s = _EVERY_S
        page.words[Gauge.LOOP_BEAT_PERIOD] = _BEAT_NS
        self._last_ns = monotonic_ns()
        self._last_cpu_ns = time.process_time_ns()
        self._thread = threading.Thread(target=self._run, name="afterload-probe", daemon=True)
        self._thread.start()

    def watch(self, loop: AbstractEventLoop) -> None:
        """Begins to watch the running loop; in its own thread, inside a task."""
        limiter = None
        try:
            from anyio.to_thread import current_default_thread_limiter

            limiter = current_default_thread_limiter()
            if self._pool:
                limiter.total_tokens = self._pool
        except Exception as error:  # noqa: BLE001  # an anyio of another make: then the rest is watched
            self._notes.once("unhooked", f"the thread pool: {type(error).__name__}: {error}", what="pool")
        self.loops[loop] = _Watched(loop, limiter, self._page)
        if limiter is not None:
            self._sample_pools()

    def close(self) -> None:
        """Ends the thread, and says what is left to be said."""
        self._is_closed = True
        self._blocked.say_the_worst()

    def _run(self) -> None:
        seen = -1
        while True:
            n_requests = self._page.words[Gauge.REQUESTS]
            # Where nothing is asked and nothing late, half as often is enough.
            self._pause_s = _EVERY_S if n_requests != seen or self._is_late else 2 * _EVERY_S
            seen = n_requests
            time.sleep(self._pause_s)
            if self._is_closed or not self._page.is_open:
                return
            try:
                self._sample()
            except Exception as error:  # noqa: BLE001  # the next sample may work again
                self._notes.once("unhooked", f"a sample: the probe raised {type(error).__name__}: {error}", what="sampler")

    def _sample(self) -> None:
        for watched in list(self.loops.values()):
            if watched.loop.is_closed():
                self.loops.pop(watched.loop, None)
        wanted = self._page.wanted_pool()
        if wanted and wanted != self._asked_pool:
            self._asked_pool = wanted
            for watched in list(self.loops.values()):
                # In the loop's own thread: those who wait for a token are woken there.
                watched.loop.call_soon_threadsafe(self._resize, watched, wanted)
        self._sample_pools()
        self._sample_beats()
        self._page.make_ready()
        words, process = self._page.words, self._process
        words[Gauge.IN_FLIGHT] = max(0, words[Gauge.REQUESTS] - process.n_answered)
        if self._page.is_full:
            self._notes.once(
                "note", "task rows could not be written: the disk is full, or one request has more than 32,768 tasks"
            )
        if self._page.is_out_of_names:
            self._notes.once("note", "more than 191 names of task functions: the later ones have rows without a name")

    def _resize(self, watched: _Watched, size: int) -> None:
        try:
            watched.limiter.total_tokens = size
        except Exception as error:  # noqa: BLE001  # said, and the pool stays as it is
            self._notes.once("unhooked", f"the pool size {size}: {type(error).__name__}: {error}", what="pool")
        self._sample_pools()

    def _sample_pools(self) -> None:
        size = busy = waiting = 0
        for watched in list(self.loops.values()):
            if watched.limiter is not None:
                found = watched.limiter.statistics()
                # A pool without a limit has infinitely many tokens.
                size += int(min(found.total_tokens, 1 << 32))
                busy += int(found.borrowed_tokens)
                waiting += found.tasks_waiting
        words = self._page.words
        words[Gauge.POOL_SIZE], words[Gauge.POOL_BUSY], words[Gauge.POOL_WAITING] = size, busy, waiting

    def _sample_beats(self) -> None:
        now, cpu_ns = monotonic_ns(), time.process_time_ns()
        slept_ns, used_ns = now - self._last_ns, cpu_ns - self._last_cpu_ns
        self._last_ns, self._last_cpu_ns = now, cpu_ns
        # This thread has come late as well, and nobody here used the time: the process was stopped, or the machine is overloaded.
        was_away = slept_ns > (self._pause_s + _EVERY_S) * 1e9 and used_ns < slept_ns // 4
        running = [watched for watched in list(self.loops.values()) if watched.loop.is_running()]
        if not running:
            self._page.words[Gauge.LOOP_BEAT] = 0
        elif len(running) > 1:
            # The page has room for one: the worst.
            self._page.words[Gauge.LOOP_BEAT] = min(watched.beat_ns for watched in running)
        frames = None
        self._is_late = False
        for watched in running:
            late_ns = now - watched.beat_ns - _BEAT_NS
            if late_ns < _BLOCKED_NS:
                if watched.blocked_since_ns:
                    self._blocked.ended(watched.thread, watched.beat_ns - watched.blocked_since_ns - _BEAT_NS)
                    watched.blocked_since_ns = 0
                continue
            if was_away and not watched.blocked_since_ns:
                continue
            self._is_late = True
            if frames is None:
                frames = sys._current_frames()  # noqa: SLF001  # the only way to see what another thread does
            watched.blocked_since_ns = watched.beat_ns
            sight = culprit(frames.get(watched.thread), watched.runner, self._process.packages)
            self._blocked.seen(watched.thread, sight, late_ns, starting=not self._page.words[Gauge.REQUESTS])


def running_loop() -> AbstractEventLoop | None:
    """The loop that runs in this thread, if it is one of asyncio's kind."""
    return asyncio._get_running_loop()  # noqa: SLF001  # the public one raises, which costs more than all the rest
