"""Something went wrong: what, the last lines that were heard, and what to try."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Static

from dashboard.modals.modal import Modal

__all__ = ["ErrorModal"]


class ErrorModal(Modal[None]):
    """Read and put away."""

    DEFAULT_CSS = """
    ErrorModal > .box { border: heavy $error; width: 100; }
    ErrorModal .lines { height: auto; margin: 1 0; color: $foreground; }
    """

    def __init__(self, title: str, text: str, *, lines: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._lines = lines
        self._hint = hint

    def compose(self) -> ComposeResult:
        """The box."""
        with VerticalScroll(classes="box") as box:
            box.border_title = f"✖ {self._title}"
            yield Static(self._text, classes="text", markup=False)
            if self._lines:
                yield Static("\n".join(self._lines), classes="lines", markup=False)
            if self._hint:
                yield Static(self._hint, classes="hint", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("OK", id="ok", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Enter puts it away."""
        self.query_one("#ok").focus()

    def on_button_pressed(self) -> None:
        """Read."""
        self.dismiss(None)
