"""Watches event loops and their thread pools: beats, tokens, who blocks.

What can be seen from the loop itself is looked at there, with its beat. A daemon thread is at work only while a beat is missing,
and when rows need memory: harness/probe/afterload_probe/alarm.py says why.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context
from time import monotonic_ns
from types import FrameType
from typing import TYPE_CHECKING, Any

from .alarm import make_alarm
from .blocked import Blocked
from .frames import culprit
from .rows import Gauge

if TYPE_CHECKING:
    from .process import Process

__all__ = ["Sampler"]

BEAT_S = 0.02
_BEAT_NS = int(BEAT_S * 1e9)
_BEATS_A_SAMPLE = 2
_EVERY_S = 0.05
_BLOCKED_NS = 100_000_000
_MISSING_NS = _BEAT_NS + _BLOCKED_NS


class _Watched:
    """One event loop, its thread, and anyio's limiter of its pool."""

    def __init__(self, loop: AbstractEventLoop, limiter: Any, sampler: Sampler) -> None:
        self.loop = loop
        self.limiter = limiter
        self.thread = threading.get_ident()
        self.has_served = False  # not as long as an app was only started in it
        self.beat_ns = monotonic_ns()
        self.cpu_ns = time.process_time_ns()
        self.runner: FrameType | None = None
        self.blocked_since_ns = 0
        self.back_ns = 0  # its first beat after it was blocked
        self._n_beats = 0
        self._sampler = sampler
        loop.call_later(BEAT_S, self.beat, context=Context())

    def beat(self) -> None:
        """Called by the loop itself, again and again."""
        if self.runner is None:
            self.runner = sys._getframe().f_back  # noqa: SLF001  # asyncio's own, or whoever runs a loop written in C
        self.beat_ns = now = monotonic_ns()
        self.cpu_ns = time.process_time_ns()
        if self.blocked_since_ns and not self.back_ns:
            self.back_ns = now
        sampler = self._sampler
        if sampler.has_beaten(self, now):
            self._n_beats += 1
            if self._n_beats % _BEATS_A_SAMPLE == 0:
                sampler.sample()
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
        self._alarm = make_alarm(_EVERY_S)
        page.words[Gauge.LOOP_BEAT_PERIOD] = _BEAT_NS
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
        self.loops[loop] = _Watched(loop, limiter, self)
        if limiter is not None:
            self._sample_pools()

    def close(self) -> None:
        """Ends the thread, and says what is left to be said."""
        self._is_closed = True
        self._alarm.ring()
        self._blocked.say_the_worst()

    def has_beaten(self, watched: _Watched, now: int) -> bool:
        """A loop has beaten. False: no more beats are wanted."""
        page = self._page
        if not page.is_open:
            return False
        page.words[Gauge.LOOP_BEAT] = now
        if page.wants_memory():
            self._alarm.ring()
        elif len(self.loops) == 1:
            self._alarm.put_off(_MISSING_NS)
        return True

    def sample(self) -> None:
        """What can be seen from any thread: pools, requests in flight, what is full. It changes the pool if that is asked for."""
        try:
            self._sample()
        except Exception as error:  # noqa: BLE001  # the next sample may work again
            self._notes.once("unhooked", f"a sample: the probe raised {type(error).__name__}: {error}", what="sampler")

    def _run(self) -> None:
        """The thread. With more than one loop it looks again and again: the beat of one would put off the alarm for all."""
        while True:
            if len(self.loops) > 1 or self._is_late:
                due_ns = monotonic_ns() + int(_EVERY_S * 1e9)
                time.sleep(_EVERY_S)
            else:
                self._alarm.wait()
                due_ns = min([monotonic_ns(), *(watched.beat_ns + _MISSING_NS for watched in list(self.loops.values()))])
            if self._is_closed or not self._page.is_open:
                return
            try:
                self._page.make_ready()
                self._look(due_ns)
                if self._is_late:
                    self._sample()
                elif any(watched.loop.is_running() for watched in list(self.loops.values())):
                    # It may have rung for memory alone, and the next beat, which would put it off again, may never come.
                    self._alarm.put_off(_MISSING_NS)
            except Exception as error:  # noqa: BLE001  # the next look may work again
                self._notes.once("unhooked", f"a look: the probe raised {type(error).__name__}: {error}", what="sampler")

    def _sample(self) -> None:
        wanted = self._page.wanted_pool()
        if wanted and wanted != self._asked_pool:
            self._asked_pool = wanted
            for watched in list(self.loops.values()):
                # In the loop's own thread: those who wait for a token are woken there.
                watched.loop.call_soon_threadsafe(self._resize, watched, wanted)
        self._sample_pools()
        words, process = self._page.words, self._process
        words[Gauge.IN_FLIGHT] = max(0, words[Gauge.REQUESTS] - process.answered())
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

    def _look(self, due_ns: int) -> None:
        """Which loops do not beat, and why. This thread was to be awake at `due_ns`."""
        for watched in list(self.loops.values()):
            if watched.loop.is_closed():
                self.loops.pop(watched.loop, None)
        running = [watched for watched in list(self.loops.values()) if watched.loop.is_running()]
        if not running:
            self._page.words[Gauge.LOOP_BEAT] = 0
        elif len(running) > 1:
            # The page has room for one: the worst.
            self._page.words[Gauge.LOOP_BEAT] = min(watched.beat_ns for watched in running)
        now, cpu_ns = monotonic_ns(), time.process_time_ns()
        is_late_itself = now - due_ns > _EVERY_S * 1e9
        frames = None
        self._is_late = False
        for watched in running:
            late_ns = now - watched.beat_ns - _BEAT_NS
            if late_ns < _BLOCKED_NS:
                if watched.blocked_since_ns:
                    until_ns = watched.back_ns or watched.beat_ns
                    self._blocked.ended(watched.thread, until_ns - watched.blocked_since_ns - _BEAT_NS)
                    watched.blocked_since_ns = 0
                continue
            # This thread has come late as well, and nobody here used the time: the process was stopped, or the machine is
            # overloaded.
            if is_late_itself and cpu_ns - watched.cpu_ns < late_ns // 4 and not watched.blocked_since_ns:
                continue
            self._is_late = True
            if frames is None:
                frames = sys._current_frames()  # noqa: SLF001  # the only way to see what another thread does
            watched.back_ns = 0
            watched.blocked_since_ns = watched.beat_ns
            sight = culprit(frames.get(watched.thread), watched.runner, self._process.packages)
            self._blocked.seen(watched.thread, sight, late_ns, starting=not self._page.words[Gauge.REQUESTS])


running_loop: Callable[[], AbstractEventLoop | None] = asyncio._get_running_loop  # noqa: SLF001  # the public one raises: dear
"""The loop that runs in this thread, if it is one of asyncio's kind."""
