"""What the figures mean, in words, to be read in peace: all findings of a run; what differs between two runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from dashboard.panels.lines import SYMBOLS
from dashboard.widgets import glyphs_of

if TYPE_CHECKING:
    from harness.compare.record import Comparison
    from harness.schema import Finding

__all__ = ["DifferencesModal", "FindingsModal"]

_STYLES = {"bad": "bold $bad", "warn": "bold $done", "muted": "$text-muted"}


class BlocksModal(ModalScreen[None]):
    """Blocks of text, to be read in peace: it stays as it was when it was opened."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f,q,enter", "dismiss", "Back", id="findings.back"),
    ]
    DEFAULT_CSS = """
    BlocksModal {
        align: center middle;
        & VerticalScroll {
            width: 90%; max-width: 100; height: auto; max-height: 90%;
            border: round $primary; background: $surface; padding: 0 1;
        }
        & Static { width: 100%; height: auto; margin-bottom: 1; }
        &.-ascii VerticalScroll { border: ascii $primary; }
    }
    """

    def on_mount(self) -> None:
        """Borders that this terminal has."""
        self.set_class(glyphs_of(self.app).is_ascii, "-ascii")

    def compose(self) -> ComposeResult:
        """One below the other."""
        with VerticalScroll() as scroll:
            scroll.border_title = self.heading()
            scroll.border_subtitle = "escape: back"
            for block in self.blocks():
                yield Static(block)

    def heading(self) -> str:
        """On the border."""
        raise NotImplementedError

    def blocks(self) -> Iterator[Content]:
        """What there is to read."""
        raise NotImplementedError


class FindingsModal(BlocksModal):
    """The findings of a run, the worst first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self._findings = findings

    def heading(self) -> str:
        """How many there are."""
        return f"Findings: {len(self._findings)}"

    def blocks(self) -> Iterator[Content]:
        """What each means and what to do next."""
        plain = glyphs_of(self.app).plain
        if not self._findings:
            yield Content("None so far: nothing stands out in the figures.")
        for finding in self._findings:
            symbol, role = SYMBOLS[finding.severity]
            parts: list[tuple[str, str]] = [
                (f"{plain(symbol)} {finding.severity.upper()}  ", _STYLES.get(role, "")),
                (f"{finding.id}\n", "$text-muted"),
                (plain(finding.text), ""),
            ]
            if finding.next:
                parts += [("\nWhat to try: ", "bold"), (plain(finding.next), "")]
            yield Content.assemble(*parts)


class DifferencesModal(BlocksModal):
    """What a comparison of two runs says, and what that is worth."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self._comparison = comparison

    def heading(self) -> str:
        """Which of them is judged."""
        return "B against A"

    def blocks(self) -> Iterator[Content]:
        """The verdict, why, the figures, and how far they may be trusted."""
        plain = glyphs_of(self.app).plain
        for contrast in self._comparison.contrasts[:1]:
            yield Content.assemble((plain(contrast.sentence), "bold"))
            for why in contrast.why:
                yield Content.assemble((f"{'A' if why.of == 'base' else 'B'} alone: ", "bold"), plain(why.text))
        for note in self._comparison.notes:
            yield Content.assemble(("Note: ", "$text-muted"), plain(note))
