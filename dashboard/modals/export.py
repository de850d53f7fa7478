"""Which files are wanted of a run: the report in its formats, the screen as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Static

from dashboard.messages import FrameArrived
from dashboard.modals.modal import Modal
from dashboard.modals.tick import Tick
from harness.live.frame import Phase

__all__ = ["SCREEN", "ExportModal"]

_FORMATS: Final = {
    "html": "report.html, the page for people",
    "json": "summary.json",
    "markdown": "report.md, short, for a pull request",
    "csv": "series.csv, what happened in each second",
    "junit": "junit.xml, limits and invariants as test cases",
}
SCREEN: Final = "screen.svg"


class ExportModal(Modal[tuple[str, ...]]):
    """Answers with the names of what is wanted. The report only of a run that is over: only then is there a verdict."""

    def __init__(self, path: Path, *, is_over: bool) -> None:
        super().__init__()
        self._path = path
        self._is_over = is_over

    def compose(self) -> ComposeResult:
        """The box."""
        with VerticalScroll(classes="box") as box:
            box.border_title = "Export"
            yield Static(f"Into {self._path}:", markup=False)
            yield Tick(f"{SCREEN}, this screen as a picture", value=True, id="screen")
            for name, label in _FORMATS.items():
                yield Tick(label, value=self._is_over and name == "html", id=name, disabled=not self._is_over)
            if not self._is_over:
                hint = "The report is made when the run is over: only then is there a verdict."
                yield Static(hint, classes="hint", id="why-not")
            with Horizontal(classes="buttons"):
                yield Button("Write", id="write", variant="primary", compact=True)
                yield Button("Back (esc)", id="back", compact=True)

    def on_mount(self) -> None:
        """Enter writes."""
        self.query_one("#write").focus()

    def on_frame_arrived(self, message: FrameArrived) -> None:
        """The run may end while somebody looks at the question."""
        if message.side == 0 and message.frame.newest.phase is Phase.ENDED and not self._is_over:
            self._is_over = True
            for name in _FORMATS:
                self.query_one(f"#{name}", Tick).disabled = False
            self.query_one("#why-not", Static).update("The run is over by now: the report can be made.")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        chosen = tuple(box.id or "" for box in self.query(Tick) if box.value)
        self.dismiss(chosen if event.button.id == "write" and chosen else None)
