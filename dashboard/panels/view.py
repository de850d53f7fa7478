"""Which part of a run is looked at: window, instant, zoom, play. Pure: an immutable value, and a look made from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dashboard.raster.window import Window, bin_for, window_for
from harness.bins import nice_bin_s
from harness.live.frame import Frame, Look, Mark, TaskStatus

__all__ = ["SPANS_S", "SPEEDS", "View"]

SPANS_S: Final = (10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0)
SPEEDS: Final = (1.0, 2.0, 5.0, 10.0)
_LEAST_BIN_S: Final = 0.5
_LEAST_WHOLE_S: Final = 5.0
_LEAST_S: Final = 10.0
_MOST_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class View:
    """What the user looks at. Times in s since load start."""

    columns: int = 80  # of the plots
    span_s: float | None = None  # length of the window; None: `default_s` says it
    is_whole: bool | None = None  # from load start until the newest instant; None: if the run is over
    at_s: float | None = None  # the instant that is shown; None: the newest
    is_replay: bool = False  # the run is over: it is a recording
    heat: bool = True
    tasks: TaskStatus | None = None
    n_tasks: int = 50

    def look(self, frame: Frame | None) -> Look:
        """What to ask for, once `frame` is the newest that there is."""
        window = self.window(frame)
        half_s = bin_for(window, self.columns)
        bin_s = round(max(1, math.ceil(_LEAST_BIN_S / half_s - 1e-6)) * half_s, 9)
        return Look(
            from_s=math.floor(window.from_s / bin_s + 1e-6) * bin_s,
            until_s=math.ceil(window.until_s / bin_s - 1e-6) * bin_s,
            bin_s=bin_s,
            at_s=self.at_s,
            heat=self.heat,
            tasks=self.tasks,
            n_tasks=self.n_tasks,
        )

    def window(self, frame: Frame | None) -> Window:
        """The part of the time axis that is drawn."""
        newest_s = max(frame.newest_s, 0.0) if frame is not None else 0.0
        at_s = newest_s if self.at_s is None else max(self.at_s, 0.0)
        span_s = self.length_s(frame)
        if self.shows_whole and self.is_replay:
            # Nothing moves any more: it fits exactly.
            return Window(0.0, span_s, cursor_s=self.at_s)
        is_live = self.at_s is None and not self.is_replay
        found = window_for(max(at_s, 0.0), span_s, self.columns, live=is_live)
        return found if is_live else replace(found, cursor_s=self.at_s)

    @property
    def shows_whole(self) -> bool:
        """From load start to the newest instant."""
        return self.is_whole if self.is_whole is not None else self.is_replay

    def length_s(self, frame: Frame | None) -> float:
        """How long the window is."""
        if self.shows_whole:
            newest_s = frame.newest_s if frame is not None else 0.0
            if not self.is_replay:
                newest_s = nice_bin_s(newest_s * 1.02, 24) * 24  # in steps: the picture need not be drawn anew each time
            return max(newest_s, _LEAST_WHOLE_S)
        if self.span_s is not None:
            return self.span_s
        planned_s = frame.about.for_s if frame is not None else 0.0
        return min(max(planned_s, _LEAST_S), _MOST_S)

    def closer(self, frame: Frame | None) -> View:
        """A shorter window."""
        now_s = self.length_s(frame)
        return replace(self, is_whole=False, span_s=max((s for s in SPANS_S if s < now_s * 0.999), default=SPANS_S[0]))

    def farther(self, frame: Frame | None) -> View:
        """A longer window; what is longer than the run is the whole run."""
        now_s, newest_s = self.length_s(frame), frame.newest_s if frame is not None else 0.0
        longer = min((s for s in SPANS_S if s > now_s * 1.001), default=SPANS_S[-1])
        is_whole = self.shows_whole or (now_s >= newest_s > 0 and longer > max(newest_s, _MOST_S))
        return replace(self, is_whole=is_whole, span_s=self.span_s if is_whole else longer)

    def whole_or_back(self) -> View:
        """The whole run, or the window as it was before."""
        return replace(self, is_whole=not self.shows_whole)

    def held(self, frame: Frame | None) -> View:
        """The instant that is shown stays, whatever comes; or goes on. Before the load begins no instant has a name yet."""
        if self.at_s is not None:
            return self.live()
        return replace(self, at_s=frame.at_s) if frame is not None and frame.newest_s > 0 else self

    def why_not_held(self, frame: Frame | None) -> str:
        """Why the instant that is shown cannot be kept, in one sentence; empty: it can, or is."""
        if self.is_replay:
            return "A recording stands still: , and . go through it."
        if frame is None:
            return "Nothing is known of the run yet."
        if self.at_s is None and frame.newest_s <= 0:
            return "The load has not begun: there is nothing to freeze yet."
        return ""

    def live(self) -> View:
        """The newest instant again."""
        return replace(self, at_s=None)

    def at(self, at_s: float, frame: Frame | None) -> View:
        """Another instant. In a run that goes on, what is as new as can be is the newest."""
        newest_s = frame.newest_s if frame is not None else 0.0
        if at_s >= newest_s or newest_s <= 0:
            return replace(self, at_s=newest_s) if self.is_replay else self.live()
        return replace(self, at_s=max(at_s, 0.0))

    def stepped(self, steps: int, frame: Frame | None) -> View:
        """Steps of a nice length, about a fortieth of the window, to whole multiples of it."""
        step_s = nice_bin_s(self.length_s(frame), 40, 0.5)
        here_s = self.instant(frame) / step_s
        whole = math.floor(here_s + 1e-6) if steps > 0 else math.ceil(here_s - 1e-6)
        return self.at((whole + steps) * step_s, frame)

    def to_event(self, forwards: bool, marks: Sequence[Mark], frame: Frame | None) -> View:
        """The next mark, or the one before, when it is told first; without one, the newest instant or the beginning."""
        here_s = self.instant(frame)
        if forwards:
            later = [mark.from_s for mark in marks if mark.from_s > here_s + 0.05]
            return self.at(min(later), frame) if later else self.at(math.inf, frame)
        return self.at(max((mark.from_s for mark in marks if 0 <= mark.from_s < here_s - 0.05), default=0.0), frame)

    def instant(self, frame: Frame | None) -> float:
        """What is shown now."""
        if self.at_s is not None:
            return self.at_s
        return frame.newest_s if frame is not None else 0.0
