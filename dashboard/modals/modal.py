"""What all modals are: a box in the middle, at most as large as the terminal, left with escape."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

__all__ = ["Modal"]

Answer = TypeVar("Answer")


class Modal(ModalScreen[Answer | None]):
    """Answers None if somebody thinks better of it."""

    DEFAULT_CSS = """
    Modal {
        align: center middle;
        & > .box {
            width: 72; max-width: 100%; height: auto; max-height: 100%;
            padding: 0 2; border: round $primary; background: $surface;
            border-title-color: $foreground; border-title-style: bold;
            overflow-y: auto;
        }
        & .hint { color: $text-muted; height: auto; }
        & .problem { color: $error; height: auto; }
        & .buttons { height: auto; margin-top: 1; }
        & .buttons Button { margin-right: 2; min-width: 8; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss_it", "Back", id="modal.back")]

    def action_dismiss_it(self) -> None:
        """Away with it."""
        self.dismiss(None)
