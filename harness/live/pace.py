"""How long it is from one frame to the next: as was asked for, and longer where making one takes too much of that."""

from __future__ import annotations

import statistics
from typing import Final

__all__ = ["Pace"]

_LARGE: Final = 0.07
"""Of the time between two frames: if making one usually takes more, they are made less often."""

_SMALL: Final = 0.034
"""If it takes less, twice as often: that is less than `_LARGE` still, whether or not a frame costs less for being sooner."""

_SLOWEST_S: Final = 8.0
_N_JUDGED: Final = 5
_N_ENOUGH: Final = 3


class Pace:
    """Judges by the median of the last costs. One frame in many looks for findings, and the first reads all that there is."""

    def __init__(self, every_s: float) -> None:
        self.every_s = self._least_s = every_s
        self._costs_s: list[float] = []

    def after(self, cost_s: float) -> float:
        """A frame has cost so much. Returns how long it is from its beginning to that of the next."""
        self._costs_s = [*self._costs_s[1 - _N_JUDGED :], cost_s]
        if len(self._costs_s) >= _N_ENOUGH:
            usual_s, slowest_s = statistics.median(self._costs_s), max(_SLOWEST_S, self._least_s)
            every_s = self.every_s
            while usual_s > _LARGE * every_s and every_s < slowest_s:
                every_s = min(every_s * 2, slowest_s)
            if usual_s < _SMALL * every_s:
                every_s = max(every_s / 2, self._least_s)
            self._change(every_s)
        return self.every_s

    def _change(self, every_s: float) -> None:
        if every_s != self.every_s:
            # What a frame costs depends on how long ago the last one was.
            self.every_s, self._costs_s = every_s, []
