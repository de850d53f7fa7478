"""A note for the time axis."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from dashboard.modals.modal import Modal

__all__ = ["MarkModal"]


class MarkModal(Modal[str]):
    """Asks for it. Enter sets the mark at the instant at which the run hears of it."""

    def compose(self) -> ComposeResult:
        """The box."""
        with Vertical(classes="box") as box:
            box.border_title = "Mark"
            yield Input(placeholder="what happens now, e.g., deploy 1.4", max_length=200, id="note")
            yield Static(
                "Enter sets it, escape goes back. It stands in the event lane, the report and events.jsonl.", classes="hint"
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """A note, if there is one."""
        if text := event.value.strip():
            self.dismiss(text)
