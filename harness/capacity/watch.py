"""Watches a stage while it goes on: says how it stands, and ends it early when what waits grows beyond doubt.

What waits is what has no answer and what has not been started. Tasks that run are left out: more of them may be what fills up,
and how many there are goes up and down with chance for as long as each takes, which may be longer than what is looked at here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from harness.errors import RunError
from harness.growth import growth_of
from harness.progress import Progress, Standing
from harness.settling import least_s

__all__ = ["Hopeless", "StageProgress"]

_LOOK_EVERY_S: Final = 0.25
_LEAST_S: Final = 2.0
_LEAST_SHARE: Final = 0.08
_LEAST_RISE: Final = 30
_TIMES: Final = 3
_N_BINS: Final = 40

_SETTLED: Final = 1.05
"""Times as long as it took to settle it may take now. A stage that was ended before so much is left of it would say nothing."""


class Hopeless(RunError):
    """Ends a stage in which what waits grows and grows: what it could still show is known."""


class StageProgress(Progress):
    """Of one stage. What happens in the session is not told but for its errors: there are many stages."""

    def __init__(
        self, rate: float, warm_up_s: float, for_s: float, tell: Callable[[str], None], *, settling_s: float, may_end: bool
    ) -> None:
        """`settling_s`: for so long after the warm-up what waits for an answer is expected to fill up."""
        super().__init__()
        self._rate = rate
        self._from_s, self._for_s = warm_up_s + settling_s, for_s
        self._least_s = max(self._from_s + _LEAST_S, warm_up_s + _SETTLED * least_s(settling_s))
        self._tell = tell
        self._may_end = may_end
        self._next_look_s = 0.0
        self._at_s: list[float] = []
        self._waiting: list[int] = []
        self._alarms = 0
        self.notes: list[str] = []
        """What the session had to say."""
        self.ended_ns: int | None = None
        """When it was ended early, monotonic ns."""

    def event(self, text: str) -> None:
        """Keeps it; an error is said at once."""
        self.notes.append(text)
        if text.startswith(("error:", "note:")) and self.ended_ns is None:
            self._tell(text)

    def standing(self, now: Standing) -> None:
        """Raises Hopeless if the rest of the stage is not worth its time."""
        waiting = max(now.sent - now.answered, 0) + (now.queued or 0)
        if now.phase == "load" and self._from_s <= now.at_s <= self._for_s:
            self._at_s.append(now.at_s)
            self._waiting.append(waiting)
            self._look(now.at_s)
        # Elsewhere than in a terminal the lines of the search are enough.
        if self._renews:
            super().standing(now)

    def close(self) -> None:
        """Takes the line away that renewed itself: what the stage came to is told in its place."""
        if self._open:
            self._write("\r\x1b[2K")
            self._open = False

    def _look(self, at_s: float) -> None:
        if not self._may_end or at_s < self._next_look_s:
            return
        self._next_look_s = at_s + _LOOK_EVERY_S
        # Near the end there is nothing left to win.
        if not self._least_s <= at_s <= self._for_s - 1.0:
            return
        edges = np.linspace(self._at_s[0], at_s, _N_BINS)
        growth = growth_of(np.interp(edges, self._at_s, self._waiting), float(edges[1] - edges[0]))
        is_alarm = growth is not None and growth.rise >= _LEAST_RISE and growth.surely.low >= _LEAST_SHARE * self._rate
        self._alarms = self._alarms + 1 if is_alarm else 0
        if self._alarms >= _TIMES:
            self.ended_ns = time.monotonic_ns()
            raise Hopeless("the stage was ended: what waits grows and grows")
