"""Keys and metrics: all that somebody has to know, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from dashboard.metrics import METRICS
from dashboard.panels.keybar import KeyBar
from dashboard.registry import screens
from dashboard.themes import THEME_NAMES

if TYPE_CHECKING:
    from dashboard.app import Dashboard

__all__ = ["HelpScreen"]


class HelpScreen(Screen[None]):
    """First the keys of the screen that asked, then all others, then the metrics."""

    app: Dashboard
    DEFAULT_CSS = """
    HelpScreen #title { height: 1; padding: 0 1; background: $panel; }
    HelpScreen VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    HelpScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.leave", "Quit", id="app.leave"),
        Binding("escape,question_mark", "app.pop_screen", "Back", id="help.back"),
        Binding("m", "metrics", "Metrics", id="help.metrics"),
        Binding("k", "keys", "Keys", id="help.keys"),
    ]

    def __init__(self, asked_by: type[Screen[Any]] | None = None) -> None:
        super().__init__()
        self._asked_by = asked_by

    def compose(self) -> ComposeResult:
        """One page."""
        yield Static("[b]Help[/b]  keys, and what each figure is", id="title")
        with VerticalScroll():
            yield Static(self._keys(), id="keys")
            yield Static(self._metrics(), id="metrics")
        yield KeyBar()

    def on_mount(self) -> None:
        """Arrows scroll."""
        self.query_one(VerticalScroll).focus()

    def action_metrics(self) -> None:
        """To the metrics."""
        self.query_one("#metrics").scroll_visible(top=True)

    def action_keys(self) -> None:
        """To the keys."""
        self.query_one(VerticalScroll).scroll_home()

    def _keys(self) -> Text:
        text = Text()
        everywhere = [each for each in type(self.app).BINDINGS if isinstance(each, Binding)]
        sections = [("Everywhere", everywhere)]
        ordered = sorted(screens().items(), key=lambda each: each[1] is not self._asked_by)
        for title, screen in ordered:
            known = {binding.id for binding in everywhere}
            own = [each for each in vars(screen).get("BINDINGS", []) if isinstance(each, Binding) and each.id not in known]
            sections.append((f"{title} screen", own))
        for title, bindings in sections:
            text.append(f"{title}\n", style="bold underline")
            for keys, description in self._lines(bindings):
                text.append(f"  {keys:<18}", style=self.app.theme_variables.get("response", ""))
                text.append(f"{description}\n")
            text.append("\n")
        text.append("ctrl+p has all of it by name; themes: " + ", ".join(THEME_NAMES) + ".\n\n")
        return text

    def _lines(self, bindings: list[Binding]) -> Iterator[tuple[str, str]]:
        """Keys as they are now, for what; a binding without words is told by none."""
        for binding in bindings:
            description = binding.tooltip or binding.description
            if not description:
                continue
            given = self.app.keys_of(binding)
            shown = " ".join(
                self.app.get_key_display(binding.with_key(key.strip(), None if given else binding.key_display))
                for key in (given or binding.key).split(",")
            )
            yield shown, description

    def _metrics(self) -> Text:
        text = Text()
        text.append("Figures\n", style="bold underline")
        for metric in METRICS:
            text.append(f"\n{metric.name}", style="bold")
            text.append(f"  {metric.what}\n")
            for label, words in (("measured", metric.how), ("normal", metric.normal), ("try", metric.tips)):
                text.append(f"  {label:<9}", style="dim")
                text.append(f"{words}\n")
        return text
