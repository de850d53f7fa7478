"""A widget that shows lines of text with meanings, and draws again only the rows that have changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from dashboard.panels.lines import Line, Role, cut
from dashboard.widgets import glyphs_of

__all__ = ["TextPanel"]


class TextPanel(Widget):
    """Lines of text, cut at its right and lower edge."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "text--title",
        "text--muted",
        "text--good",
        "text--warn",
        "text--bad",
        "text--response",
        "text--done",
        "text--key",
        "text--chosen",
    }
    DEFAULT_CSS = """
    TextPanel {
        height: 1;
        & > .text--title { text-style: bold; }
        & > .text--muted { color: $text-muted; }
        & > .text--good { color: $good; text-style: bold; }
        & > .text--warn { color: $done; text-style: bold; }
        & > .text--bad { color: $bad; text-style: bold; }
        & > .text--response { color: $response; }
        & > .text--done { color: $done; }
        & > .text--key { color: $primary; text-style: bold; }
        & > .text--chosen { text-style: bold reverse; }
    }
    """
    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """What it shows."""
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Another text."""
        before, self._lines = self._lines, tuple(lines)
        n_rows = max(len(before), len(self._lines))
        changed = [row for row in range(n_rows) if before[row : row + 1] != self._lines[row : row + 1]]
        if changed:
            self.refresh(*(Region(0, row, self.size.width, 1) for row in changed if row < self.size.height))

    def render_line(self, y: int) -> Strip:
        """One row of it."""
        width, base = self.size.width, self.rich_style
        if y >= len(self._lines):
            return Strip.blank(width, base)
        glyphs = glyphs_of(self.app)
        segments = [
            Segment(glyphs.plain(text), base + self._style(role) + Style(meta=meta) if meta else base + self._style(role))
            for text, role, meta in self._runs(cut(self._lines[y], width), y)
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _runs(self, one: Line, _row: int) -> Sequence[tuple[str, Role, dict[str, str] | None]]:
        return [(text, role, None) for text, role in one]

    def _style(self, role: Role) -> Style:
        return self.get_component_rich_style(f"text--{role}") if role else Style.null()
