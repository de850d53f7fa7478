"""Follows a run in a thread of its own: makes a frame again and again, less often if one costs much."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.live.allocating import give_back_at_once
from harness.live.folding import Folding
from harness.live.frame import Frame, Look, Phase
from harness.live.history import History
from harness.live.pace import Pace

__all__ = ["Follower"]

_CLOSE_S: Final = 5.0
_SOON_S: Final = 0.25
"""Between two frames until there is something to be seen, for whoever waits for it."""

_FIRST: Final = Look(0.0, 60.0, 1.0)

Wanted = Look | Callable[[Frame], Look]


class Follower:
    """Tells frames of one run, from its own thread. After a new look the next frame comes at once."""

    def __init__(
        self, path: Path, *, tell: Callable[[Frame], None], every_s: float = 0.25, folding: Folding | None = None
    ) -> None:
        """`folding`: as in History. Raises UsageError if there is no such run directory."""
        self._history = History(path, folding)
        self._tell = tell
        self._every_s = every_s
        self._wanted: Wanted = _FIRST
        self._newest: Frame | None = None
        self._is_told_last = False  # the newest frame is of a run in which nothing moves any more
        self._is_asked = threading.Event()
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begins. The first frame comes at once."""
        give_back_at_once()
        self._thread.start()

    def look(self, wanted: Wanted) -> None:
        """What to show from now on; a function is asked before each frame, in the follower's thread, with the newest frame."""
        with self._lock:
            self._wanted = wanted
        self._is_asked.set()

    def close(self) -> None:
        """Ends it. When this returns, `tell` is not called any more."""
        self._is_closed = True
        self._is_asked.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_S)

    def _follow(self) -> None:
        try:
            self._make_frames()
        finally:
            self._history.close()

    def _make_frames(self) -> None:
        pace = Pace(self._every_s)
        while not self._is_closed:
            began = time.monotonic()
            cost_s = self._make_or_tell()
            every_s = pace.after(cost_s)
            wait_s = every_s if self._has_figures else min(every_s, _SOON_S)
            # Asked meanwhile: again at once. A screen that asks with every key must not keep a core busy, though.
            self._is_asked.wait(max(began + wait_s - time.monotonic(), 0.0))
            if self._is_asked.is_set():
                self._is_asked.clear()
                time.sleep(min(cost_s, every_s))

    @property
    def _has_figures(self) -> bool:
        frame = self._newest
        return frame is not None and (frame.totals.attempted > 0 or frame.phase in {Phase.ENDED, Phase.CRASHED})

    def _make_or_tell(self) -> float:
        began = time.thread_time()
        try:
            return self._make()
        except Exception as error:  # noqa: BLE001 - whatever it is, a screen that stands still without a word is worse
            trace = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(trace.filename).name}, line {trace.lineno}"
            problem = f"no newer picture can be made: {type(error).__name__}: {error} ({where}); the run itself goes on"
            if self._newest is not None and not self._is_closed:
                self._tell(replace(self._newest, problem=problem))
            return time.thread_time() - began

    def _make(self) -> float:
        """Makes a frame and tells it. Returns what it cost, in s of processor time."""
        began = time.thread_time()
        with self._lock:
            wanted = self._wanted
        if not self._history.is_final:
            self._history.refresh()
        look = self._look_of(wanted)
        if self._history.is_final and self._newest is not None and self._is_told_last and look == self._newest.look:
            return time.thread_time() - began
        self._is_told_last = self._history.is_final
        frame = self._history.frame(look)
        cost_s = time.thread_time() - began
        self._newest = frame = replace(frame, cost_ms=cost_s * 1e3)
        if not self._is_closed:
            self._tell(frame)
        return cost_s

    def _look_of(self, wanted: Wanted) -> Look:
        if isinstance(wanted, Look):
            return wanted
        return wanted(self._newest if self._newest is not None else self._history.frame(_FIRST))
