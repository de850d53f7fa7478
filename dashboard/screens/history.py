"""All runs that there are, the newest first: what each was, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.screen import Screen
from textual.widgets import DataTable, Input, Static

from dashboard.modals.error import ErrorModal
from dashboard.panels.keybar import KeyBar
from dashboard.watching import Mode, Watching
from harness.errors import RunError
from harness.runs import RunEntry, list_runs
from harness.wording import bytes_of, counted, duration_ms

if TYPE_CHECKING:
    from dashboard.app import Dashboard

__all__ = ["HistoryScreen"]

_COLUMNS: Final = ("", "run", "what", "verdict", "lost", "p95 done", "age", "size")
_VERDICTS: Final = {"PASS": ("✔", "good"), "FAIL": ("✖", "bad"), "INCONCLUSIVE": ("▲", "done")}


class HistoryScreen(Screen[Path | None]):
    """Enter shows a run; two that are marked can be compared. With `beside` it asks for a run to be compared with that one."""

    app: Dashboard
    DEFAULT_CSS = """
    HistoryScreen { layout: vertical; }
    HistoryScreen #title { height: 1; padding: 0 1; background: $panel; }
    HistoryScreen #filter { height: 1; border: none; padding: 0 1; background: $surface; }
    HistoryScreen DataTable { height: 1fr; background: $background; }
    HistoryScreen #detail { height: auto; max-height: 2; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.leave", "Quit", id="app.leave"),
        Binding("enter", "open", "Show", id="history.open"),
        Binding("space", "mark", "Mark", id="history.mark"),
        Binding("c", "compare", "Compare", id="history.compare"),
        Binding("slash", "filter", "Filter", id="history.filter"),
        Binding("r", "refresh", "Read again", id="history.refresh"),
        Binding("escape", "back", "Back", id="history.back"),
    ]

    def __init__(self, *, beside: Path | None = None, folder: Path = Path("runs")) -> None:
        super().__init__()
        self._beside = beside
        self._folder = folder
        self._entries: list[RunEntry] = []
        self._marked: list[Path] = []

    def compose(self) -> ComposeResult:
        """Title, filter, table, and a line on the run under the cursor."""
        title = "Runs" if self._beside is None else f"Which run beside {self._beside.name}?"
        yield Static(f"[b]{title}[/b]", id="title")
        yield Input(placeholder="/ to filter by name, scenario, configuration or verdict", id="filter", compact=True)
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Static("reading ...", id="detail", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Reads them."""
        table = self.query_one(DataTable)
        table.add_columns(*_COLUMNS)
        table.focus()
        self.action_refresh()

    @work(thread=True, exclusive=True, group="runs")
    def action_refresh(self) -> None:
        """Reads the folder again."""
        try:
            entries = [each for each in list_runs(self._folder) if each.state != "no run"] if self._folder.exists() else []
        except (RunError, OSError) as error:
            self.app.call_from_thread(self._cannot_read, str(error))
            return
        self.app.call_from_thread(self._read, entries)

    def on_input_changed(self) -> None:
        """Filters while it is typed."""
        self._show()

    def on_input_submitted(self) -> None:
        """Back to the table."""
        self.query_one(DataTable).focus()

    def on_data_table_row_selected(self) -> None:
        """Enter or a click."""
        self.action_open()

    def on_data_table_row_highlighted(self) -> None:
        """A line on the run under the cursor."""
        entry = self._current
        text = "" if entry is None else (entry.problem or f"{entry.path}: {entry.configuration}")
        self.query_one("#detail", Static).update(text)

    def action_filter(self) -> None:
        """To the filter."""
        self.query_one("#filter").focus()

    def action_open(self) -> None:
        """Shows the run, or answers with it."""
        entry = self._current
        if entry is None:
            return
        if entry.state == "damaged":
            self.app.push_screen(ErrorModal("The run cannot be shown", entry.problem))
        elif self._beside is not None:
            self.dismiss(entry.path)
        elif self._is_shown(entry):
            self.dismiss(None)
        else:
            self.app.show_run(self._watching(entry))

    def action_mark(self) -> None:
        """Marks a run for a comparison; a third one takes the place of the first."""
        entry = self._current
        if entry is None or self._beside is not None:
            return
        if entry.path in self._marked:
            self._marked.remove(entry.path)
        else:
            self._marked = [*self._marked[-1:], entry.path]
        self._show()

    def action_compare(self) -> None:
        """The two that are marked, side by side; or the one under the cursor beside the one that is marked."""
        chosen = list(self._marked)
        if len(chosen) == 1 and self._current is not None and self._current.path not in chosen:
            chosen.append(self._current.path)
        if len(chosen) != 2:
            self.notify("mark two runs with space first", severity="warning")
            return
        one = next((each for each in self._entries if each.path == chosen[0]), None)
        if one is None:
            self.notify(f"{chosen[0].name} is not there any more", severity="warning")
            self._marked.clear()
            return
        self.app.show_pair(self._watching(one), chosen[1])

    def action_back(self) -> None:
        """Out of the filter, then out of the screen."""
        field = self.query_one("#filter", Input)
        if field.has_focus or field.value:
            field.value = ""
            self.query_one(DataTable).focus()
        elif len(self.app.screen_stack) > 2:
            self.dismiss(None)

    def _watching(self, entry: RunEntry) -> Watching:
        mode = Mode.ATTACHED if entry.state == "going on" else Mode.REPLAY
        if self._is_shown(entry):
            assert self.app.watching is not None
            return self.app.watching
        return Watching(entry.path, mode, is_read_only=self.app.options.read_only)

    def _is_shown(self, entry: RunEntry) -> bool:
        """Whether it is the run that goes on behind this screen, which nobody would like to lose."""
        watching = self.app.watching
        return watching is not None and watching.mode is Mode.OWN and watching.path.resolve() == entry.path.resolve()

    @property
    def _current(self) -> RunEntry | None:
        table: DataTable[Text] = self.query_one(DataTable)
        if not table.row_count:
            return None
        key = table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value
        return next((each for each in self._entries if each.name == key), None)

    def _cannot_read(self, text: str) -> None:
        self.query_one("#detail", Static).update(f"✖ {text}")

    def _read(self, entries: list[RunEntry]) -> None:
        self._entries = entries
        self._show()

    def _show(self) -> None:
        table: DataTable[Text] = self.query_one(DataTable)
        at = self._current
        wanted = self.query_one("#filter", Input).value.lower().split()
        shown = [each for each in self._entries if all(word in _searched(each) for word in wanted)]
        table.clear()
        for each in shown:
            table.add_row(*_row(each, each.path in self._marked, self.app.theme_variables), key=each.name)
        if at is not None and at in shown:
            table.move_cursor(row=shown.index(at))
        if not shown:
            self.query_one("#detail", Static).update(
                f"no run in {self._folder}/ matches" if self._entries else f"there are no runs in {self._folder}/ yet"
            )
        self.query_one("#title", Static).update(self._title(len(shown)))

    def _title(self, n_shown: int) -> str:
        if self._beside is not None:
            return f"[b]Which run beside {self._beside.name}?[/b]  enter takes it"
        marked = f"  {len(self._marked)} marked, c compares" if self._marked else ""
        return f"[b]Runs[/b]  {counted(n_shown, 'run')} in {self._folder}/{marked}"


def _searched(entry: RunEntry) -> str:
    return f"{entry.name} {entry.title} {entry.configuration} {entry.verdict or entry.state}".lower()


def _row(entry: RunEntry, is_marked: bool, colours: Mapping[str, str]) -> list[Text]:
    symbol, colour = _VERDICTS.get(entry.verdict or "", ("…" if entry.state == "going on" else "✖", ""))
    lost = "" if entry.broken_promises is None else f"{entry.broken_promises:,}"
    done = duration_ms(entry.done_p95_ms, none="none") if entry.state == "done" else ""
    return [
        Text("●" if is_marked else " "),
        Text(entry.name),
        Text(f"{entry.title} {entry.configuration}".strip()),
        Text(f"{symbol} {entry.verdict or entry.state}", style=colours.get(colour, "")),
        Text(lost, justify="right"),
        Text(done, justify="right"),
        Text(_age(time.time() - entry.began_s), justify="right"),
        Text(bytes_of(entry.size_bytes), justify="right"),
    ]


def _age(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
