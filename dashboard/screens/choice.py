"""One of a few words: `◂ rust ▸`. Arrows, space or a click take the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

__all__ = ["Choice"]


class Choice(Widget, can_focus=True):
    """Shows one of `choices`."""

    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; }
    Choice:focus { background: $primary 30%; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "step(1)", "Next", show=False),
        Binding("left", "step(-1)", "Previous", show=False),
    ]
    value: reactive[str] = reactive("")

    class Changed(Message):
        """Another one is chosen."""

    def __init__(self, choices: Sequence[str], value: str = "", *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._choices = list(choices)
        self.set_reactive(Choice.value, value if value in self._choices else self._choices[0])

    def render(self) -> Content:
        """One row."""
        left, right = ("◂", "▸") if getattr(self.app, "glyphs", "braille") != "ascii" else ("<", ">")
        return Content(f"{left} {self.value} {right}")

    def watch_value(self) -> None:
        """Tells it."""
        self.post_message(self.Changed())

    def on_click(self) -> None:
        """The next one."""
        self.action_step(1)

    def action_step(self, by: int) -> None:
        """Onwards, around."""
        self.value = self._choices[(self._choices.index(self.value) + by) % len(self._choices)]
