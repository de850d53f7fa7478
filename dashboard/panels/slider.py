"""Where in a recording one is: a row that shows it, and takes one elsewhere by a click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from dashboard.panels.textpanel import TextPanel
from dashboard.panels.texts import slider_instant, slider_line
from harness.live.frame import Frame, Mark

__all__ = ["Slider"]


class Slider(TextPanel):
    """Shown with a recording only."""

    @dataclass
    class Picked(Message):
        """Somebody wants to be there."""

        at_s: float

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._frame: Frame | None = None
        self._at_s = 0.0
        self._playing = 0.0

    def show_at(self, frame: Frame, marks: Sequence[Mark], at_s: float, playing: float) -> None:
        """Another instant."""
        self._frame, self._at_s, self._playing = frame, at_s, playing
        self.show([slider_line(frame, marks, at_s, self.size.width, playing=playing)])

    def on_click(self, event: events.Click) -> None:
        """Goes there."""
        if self._frame is None:
            return
        at_s = slider_instant(self._frame, event.x, self._at_s, self.size.width, playing=self._playing)
        if at_s is not None:
            self.post_message(self.Picked(at_s))
