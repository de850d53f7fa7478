"""What the figures mean, in words, with what to do next: all findings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from dashboard.panels.lines import SYMBOLS
from dashboard.widgets import glyphs_of
from harness.schema import Finding

__all__ = ["FindingsModal"]

_STYLES = {"bad": "bold $bad", "warn": "bold $done", "muted": "$text-muted"}


class FindingsModal(ModalScreen[None]):
    """Stays as it was when it was opened: nothing moves under the reader's eyes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f,q,enter", "dismiss", "Back", id="findings.back"),
    ]
    DEFAULT_CSS = """
    FindingsModal {
        align: center middle;
        & VerticalScroll {
            width: 90%; max-width: 100; height: auto; max-height: 90%;
            border: round $primary; background: $surface; padding: 0 1;
        }
        & Static { width: 100%; height: auto; margin-bottom: 1; }
        &.-ascii VerticalScroll { border: ascii $primary; }
    }
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self._findings = findings

    def on_mount(self) -> None:
        """Borders that this terminal has."""
        self.set_class(glyphs_of(self.app).is_ascii, "-ascii")

    def compose(self) -> ComposeResult:
        """One block each, the worst first."""
        with VerticalScroll() as scroll:
            scroll.border_title = f"Findings: {len(self._findings)}"
            scroll.border_subtitle = "escape: back"
            for finding in self._findings:
                yield Static(self._block(finding))
            if not self._findings:
                yield Static("None so far: nothing stands out in the figures.")

    def _block(self, finding: Finding) -> Content:
        symbol, role = SYMBOLS[finding.severity]
        plain = glyphs_of(self.app).plain
        parts: list[tuple[str, str]] = [
            (f"{plain(symbol)} {finding.severity.upper()}  ", _STYLES.get(role, "")),
            (f"{finding.id}\n", "$text-muted"),
            (plain(finding.text), ""),
        ]
        if finding.next:
            parts += [("\nWhat to try: ", "bold"), (plain(finding.next), "")]
        return Content.assemble(*parts)
