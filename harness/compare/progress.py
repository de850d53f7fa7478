"""What a comparison shows while it goes on: the run that runs, and how long it will take; a line for each that is over."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from harness.compare.record import RunRecord
from harness.compare.words import value_of
from harness.progress import Progress, Standing
from harness.wording import roughly_s

__all__ = ["ComparisonProgress", "Place"]

_SHOWN = (("p95", "p95"), ("done_p95", "done p95"), ("broken_promises", "broken"))


@dataclass(frozen=True, slots=True)
class Place:
    """Which run is being made."""

    block: int  # from 1
    blocks: int
    run: int  # from 1
    runs: int
    label: str
    left_s: float  # for this and all that follow


class ComparisonProgress(Progress):
    """Of many runs: their own events go to a file, where whoever has to know can read them."""

    def __init__(self, log: Path, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._log = log
        self._place: Place | None = None
        self._began_s = 0.0

    def begin(self, place: Place) -> None:
        """A run begins."""
        self._place, self._began_s = place, time.monotonic()
        self._note(f"--- block {place.block} of {place.blocks}, {place.label}")
        self._renew(self._head())

    def done(self, run: RunRecord, label: str, left_s: float) -> None:
        """A run is over."""
        place = self._place
        assert place is not None
        figures = ", ".join(
            f"{title} {value_of(float('inf') if name in run.never else run.values[name], name)}"
            for name, title in _SHOWN
            if name in run.never or run.values.get(name) is not None
        )
        what = figures if run.is_usable else f"cannot be used: {(run.reasons[0] if run.reasons else run.verdict).splitlines()[0]}"
        left = f"{roughly_s(left_s)} left  " if left_s else ""
        self._line(f"run {place.run:>{len(str(place.runs))}}/{place.runs}  {left}block {place.block}  {label}: {what}")

    def event(self, text: str) -> None:
        """What a run has to say goes to the log of the comparison."""
        self._note(text)

    def standing(self, now: Standing) -> None:
        """How the run stands, in a terminal; elsewhere a line at its end is enough."""
        clock = time.monotonic()
        if clock < self._next_s:
            return
        self._next_s = clock + self._every_s
        queued = f", backlog {now.queued:,}" if now.queued is not None else ""
        down = "" if now.up else ", DOWN"
        self._renew(f"{self._head()}: {max(now.at_s, 0):.0f} s {now.phase}{queued}{down}")

    def close(self) -> None:
        """Takes the open line away: a run that ends is told by a line of its own."""
        if self._open:
            self._write("\r\x1b[2K")
            self._open = False

    def _head(self) -> str:
        place = self._place
        if place is None:
            return ""
        left_s = max(0.0, place.left_s - (time.monotonic() - self._began_s))
        return f"run {place.run}/{place.runs}  {roughly_s(left_s)} left  block {place.block}/{place.blocks}  {place.label}"

    def _note(self, text: str) -> None:
        with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
