"""Something that is wanted or not: `[x] label`. Textual's own box shows the difference by its colour alone."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

__all__ = ["Tick"]


class Tick(Widget, can_focus=True):
    """Space, enter or a click changes it."""

    DEFAULT_CSS = """
    Tick { height: 1; width: 100%; }
    Tick:focus { text-style: reverse; }
    Tick:disabled { color: $text-disabled; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space,enter", "change", "Wanted or not", show=False)]
    value: reactive[bool] = reactive(False)

    def __init__(self, label: str, *, value: bool, id: str, disabled: bool = False) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, disabled=disabled)
        self._label = label
        self.set_reactive(Tick.value, value)

    def render(self) -> Content:
        """One row."""
        return Content(f"[{'x' if self.value else ' '}] {self._label}")

    def on_click(self) -> None:
        """The other one."""
        self.action_change()

    def action_change(self) -> None:
        """The other one."""
        self.value = not self.value
