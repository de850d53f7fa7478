"""All runs that there are, the newest first: what each was, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from rich.cells import cell_len
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.screen import Screen
from textual.widgets import DataTable, Input, Static

from dashboard.modals.error import ErrorModal
from dashboard.panels.keybar import KeyBar
from dashboard.refusing import require_run
from dashboard.shelf import Item, Row, read_shelf, rows_of
from dashboard.unforeseen import attempt
from dashboard.watching import Mode, Watching
from harness.errors import UsageError
from harness.runs import RunEntry
from harness.wording import bytes_of, counted, duration_ms

if TYPE_CHECKING:
    from dashboard.app import Dashboard

__all__ = ["HistoryScreen"]

_COLUMNS: Final = ("", "run", "what", "verdict", "broken", "p95 done", "age", "size")
_MADE_OF_RUNS: Final = ("comparisons", "capacities")
"""Beside the folder of the runs."""

_VERDICTS: Final = {"PASS": ("✔", "good"), "FAIL": ("✖", "bad"), "INCONCLUSIVE": ("▲", "done")}


class HistoryScreen(Screen[Path | None]):
    """Enter shows a run, or the runs of a comparison; two that are marked can be compared side by side.

    With `beside` it asks for a run to be compared with that one.
    """

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
        self._items: list[Item] = []
        self._rows: dict[str, Row] = {}
        self._opened: set[Path] = set()
        self._marked: dict[Path, RunEntry] = {}

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
        for label in _COLUMNS:
            # Columns that find their width themselves do so too late now and then, and what was drawn before stays cut off
            # (Textual's issues 3533 and 4470).
            table.add_column(label, width=cell_len(label))
        table.focus()
        self.action_refresh()

    @work(thread=True, exclusive=True, group="runs")
    def action_refresh(self) -> None:
        """Reads the folders again."""

        def read() -> None:
            folders = [self._folder, *(self._folder.with_name(name) for name in _MADE_OF_RUNS)]
            self.app.call_from_thread(self._read, read_shelf(folders))

        if not attempt(self.app, "The runs cannot be read", read):
            self.app.call_from_thread(self._tell_unread)

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
        row = self._current
        if row is None:
            text = ""
        elif row.is_folder:
            text = f"{row.entry.path}: enter {'closes' if row.is_open else 'opens'} it"
        else:
            text = row.entry.problem or f"{row.entry.path}: {row.entry.configuration}"
        self.query_one("#detail", Static).update(text)

    def action_filter(self) -> None:
        """To the filter."""
        self.query_one("#filter").focus()

    def action_open(self) -> None:
        """Shows the run, or answers with it; what holds runs is opened, or closed."""
        row = self._current
        if row is None:
            return
        entry = row.entry
        if row.is_folder:
            self._opened ^= {entry.path}
            self._show()
        elif not self._can_be_shown(entry):
            return
        elif self._beside is not None:
            self.dismiss(entry.path)
        elif self._is_shown(entry):
            self.dismiss(None)
        else:
            self.app.show_run(self._watching(entry))

    def action_mark(self) -> None:
        """Marks a run for a comparison; a third one takes the place of the first."""
        row = self._current
        if row is None or row.is_folder or self._beside is not None:
            return
        entry = row.entry
        if entry.path in self._marked:
            del self._marked[entry.path]
        elif self._can_be_shown(entry):
            self._marked = dict([*self._marked.items()][-1:]) | {entry.path: entry}
        self._show()

    def action_compare(self) -> None:
        """The two that are marked, side by side; or the one under the cursor beside the one that is marked."""
        chosen, row = list(self._marked.values()), self._current
        if len(chosen) == 1 and row is not None and not row.is_folder and row.entry.path not in self._marked:
            chosen.append(row.entry)
        if len(chosen) != 2:
            self.notify("mark two runs with space first", severity="warning")
        elif all(self._can_be_shown(each) for each in chosen):
            self.app.show_pair(self._watching(chosen[0]), chosen[1].path)

    def action_back(self) -> None:
        """Out of the filter, then out of the screen."""
        field = self.query_one("#filter", Input)
        if field.has_focus or field.value:
            field.value = ""
            self.query_one(DataTable).focus()
        elif len(self.app.screen_stack) > 2:
            self.dismiss(None)

    def _can_be_shown(self, entry: RunEntry) -> bool:
        """If not, why is told."""
        try:
            if entry.state == "damaged":
                raise UsageError(entry.problem)
            if not entry.path.is_dir():
                raise UsageError(f"{entry.path} is not there any more", "r reads the list again")
            require_run(entry.path)
        except UsageError as error:
            self.app.push_screen(ErrorModal("The run cannot be shown", str(error), hint=error.hint))
            return False
        return True

    def _watching(self, entry: RunEntry) -> Watching:
        if self._is_shown(entry):
            assert self.app.watching is not None
            return self.app.watching
        child = self.app.child
        is_own = child is not None and child.path.resolve() == entry.path.resolve()
        mode = Mode.REPLAY if entry.state != "going on" else Mode.OWN if is_own else Mode.ATTACHED
        return Watching(entry.path, mode, is_read_only=self.app.options.read_only)

    def _is_shown(self, entry: RunEntry) -> bool:
        """Whether it is the run that goes on behind this screen, which nobody would like to lose."""
        watching = self.app.watching
        return watching is not None and watching.mode is Mode.OWN and watching.path.resolve() == entry.path.resolve()

    @property
    def _current(self) -> Row | None:
        table: DataTable[Text] = self.query_one(DataTable)
        if not table.row_count:
            return None
        key = table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value
        return self._rows.get(str(key))

    def _read(self, items: list[Item]) -> None:
        if self.is_attached:  # nobody has left meanwhile
            self._items = items
            self._show()

    def _tell_unread(self) -> None:
        if self.is_attached:
            self.query_one("#detail", Static).update("✖ the runs cannot be read; r tries again")

    def _show(self) -> None:
        table: DataTable[Text] = self.query_one(DataTable)
        at = self._current
        shown = rows_of(self._items, self._opened, self.query_one("#filter", Input).value.lower().split())
        self._rows = {each.key: each for each in shown}
        cells = [_cells(each, each.entry.path in self._marked, self.app.theme_variables) for each in shown]
        table.clear()
        for column, texts in zip(table.ordered_columns, zip(*cells, strict=True), strict=False):
            column.width = max(column.width, *(text.cell_len for text in texts))
        for each, row in zip(shown, cells, strict=True):
            table.add_row(*row, key=each.key)
        if at is not None and at.key in self._rows:
            table.move_cursor(row=list(self._rows).index(at.key))
        if not shown:
            self.query_one("#detail", Static).update(
                f"no run in {self._folder}/ matches" if self._items else f"there are no runs in {self._folder}/ yet"
            )
        self.query_one("#title", Static).update(self._title(sum(not each.is_folder for each in shown)))

    def _title(self, n_shown: int) -> str:
        if self._beside is not None:
            return f"[b]Which run beside {self._beside.name}?[/b]  enter takes it"
        marked = f"  {len(self._marked)} marked, c compares" if self._marked else ""
        return f"[b]Runs[/b]  {counted(n_shown, 'run')} in {self._folder}/{marked}"


def _cells(row: Row, is_marked: bool, colours: Mapping[str, str]) -> list[Text]:
    entry = row.entry
    if row.is_folder:
        runs = counted(len(row.item.members), "run")
        figures = [Text(row.item.what), Text(runs), Text(), Text()]
    else:
        symbol, colour = _VERDICTS.get(entry.verdict or "", ("…" if entry.state == "going on" else "✖", ""))
        done = duration_ms(entry.done_p95_ms, none="none") if entry.state == "done" else ""
        figures = [
            Text(f"{entry.title} {entry.configuration}".strip()),
            Text(f"{symbol} {entry.verdict or entry.state}", style=colours.get(colour, "")),
            Text(entry.broken_in_words, justify="right"),
            Text(done, justify="right"),
        ]
    age, size = _age(time.time() - entry.began_s), bytes_of(entry.size_bytes)
    return [Text("●" if is_marked else " "), Text(row.name), *figures, Text(age, justify="right"), Text(size, justify="right")]


def _age(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
