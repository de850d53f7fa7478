"""What is to become of the run when the screen is left."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from dashboard.modals.modal import Modal

__all__ = ["Quit", "QuitModal"]


class Quit(StrEnum):
    """What somebody wants."""

    STOP = "stop"
    LEAVE = "leave"


class QuitModal(Modal[Quit]):
    """Asks. Staying is the same as escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "choose('stop')", "Stop it", id="quit.stop"),
        Binding("l", "choose('leave')", "Leave it running", id="quit.leave"),
    ]

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(classes="box") as box:
            box.border_title = "The run goes on"
            yield Static(
                "Stopped now, it is judged by what it has measured so far, and the summary is printed.\n"
                "Left running, it ends by itself; `afterload attach` shows it again."
            )
            with Horizontal(classes="buttons"):
                yield Button("[u]S[/u]top it now", id="stop", variant="primary", compact=True)
                yield Button("[u]L[/u]eave it running", id="leave", compact=True)
                yield Button("Stay (esc)", id="stay", compact=True)

    def on_mount(self) -> None:
        """Nothing is stopped by an enter too many."""
        self.query_one("#stay").focus()

    def tell_end(self) -> None:
        """The run has ended while somebody looked at the question: there is nothing left to stop."""
        self.query_one(".box").border_title = "The run is over by now"
        self.query_one(Static).update("Its summary is printed when the screen is left.")
        self.query_one("#stop", Button).label = "[u]L[/u]eave"
        self.query_one("#leave").display = False

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        self.action_choose(event.button.id or "stay")

    def action_choose(self, choice: str) -> None:
        """An answer by its name."""
        self.dismiss(None if choice == "stay" else Quit(choice))
