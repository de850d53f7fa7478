"""The picture of one run: all panels of the live screen, in the rows that an arrangement gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from dashboard.metrics import tooltip
from dashboard.panels import charts, tiles
from dashboard.panels.arrange import Arrangement, Panel
from dashboard.panels.aside import aside_lines
from dashboard.panels.slider import Slider
from dashboard.panels.status import Watch, status_line
from dashboard.panels.textpanel import TextPanel
from dashboard.panels.texts import event_lines, headline, log_lines, tiny_lines
from dashboard.raster.window import Window
from dashboard.widgets import EventLane, HeatMapView, TileView, TimeAxis, TimeChart
from harness.live.frame import Frame, Mark

__all__ = ["Picture", "Shown"]

_TILES: Final = {
    "client": ("client", tiles.client),
    "work": ("work", tiles.work),
    "pool-tile": ("pool", tiles.pool),
    "lost": ("lost", tiles.lost),
}
_CHARTS: Final = {
    Panel.SCISSORS,
    Panel.BACKLOG,
    Panel.POOL,
    Panel.HEAT,
    Panel.DONE_HEAT,
    Panel.LANE,
    Panel.RULER,
    Panel.SLIDER,
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be seen."""

    frame: Frame
    window: Window
    watch: Watch
    marks: Sequence[Mark]  # all that are known, also those that are later than the frame
    at_s: float  # where the slider stands
    intensity: bool
    can_steer: bool


class Picture(Vertical):
    """Draws; decides nothing."""

    DEFAULT_CSS = """
    Picture {
        height: 1fr;
        overflow: hidden;
        & #tiles { height: 4; }
        & #tiles TileView { width: 1fr; height: 100%; }
        & #middle { height: 1fr; }
        & #charts { width: 1fr; height: 100%; }
        & #charts > * { width: 100%; }
        & #aside { width: 30; height: 100%; border-left: solid $muted-grid; padding-left: 1; }
        & #tiny { height: 1fr; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._found = Arrangement(is_tiny=False)
        self._rooms: dict[Panel, Widget] = {}

    def compose(self) -> ComposeResult:
        """Every panel there is; which of them are shown depends on the room."""
        yield TextPanel(id="status")
        yield TextPanel(id="tiny")
        with Horizontal(id="tiles"):
            for name, (metric, _) in _TILES.items():
                tile = TileView(id=name)
                tile.tooltip = tooltip(metric)
                yield tile
        yield TextPanel(id="headline")
        with Horizontal(id="middle"):
            with Vertical(id="charts"):
                yield TimeChart(id="scissors")
                yield TimeChart(id="backlog")
                yield HeatMapView(id="heat")
                yield HeatMapView(id="done-heat")
                yield TimeChart(id="pool")
                yield EventLane(id="lane")
                yield TimeAxis(id="ruler")
                yield Slider(id="slider")
            yield TextPanel(id="aside")
        yield TextPanel(id="events")
        yield TextPanel(id="log")

    def on_mount(self) -> None:
        """All panels are there now."""
        self._rooms = {panel: self.query_one(f"#{panel.value}") for panel in Panel}
        self.arrange_as(self._found)

    def arrange_as(self, found: Arrangement) -> None:
        """Gives each panel its rows."""
        self._found = found
        if not self._rooms:
            return
        with self.app.batch_update():
            for panel, widget in self._rooms.items():
                widget.display = panel in found.rows
                if panel in found.rows:
                    widget.styles.height = found.rows[panel]
            middle = self.query_one("#middle")
            middle.display = bool(_CHARTS & found.rows.keys())
            middle.styles.height = self._chart_rows
            aside = self.query_one("#aside")
            aside.display = bool(found.aside_columns)
            aside.styles.width = found.aside_columns
            for name in ("pool-tile", "lost"):
                self.query_one(f"#{name}").display = found.n_tiles == len(_TILES)
            self.query_one("#tiny").display = found.is_tiny
            self.query_one("#status").display = not found.is_tiny

    def say(self, text: str) -> None:
        """In the place of the status, before there is any."""
        self.query_one("#status", TextPanel).show([((f" {text}", "muted"),)])

    def show(self, shown: Shown, width: int, height: int) -> None:
        """Another instant, or another look at it. What has not changed is not drawn again."""
        with self.app.batch_update():
            if self._found.is_tiny:
                self.query_one("#tiny", TextPanel).show(tiny_lines(shown.frame, width, height))
                return
            self._show_texts(shown, width)
            self._show_charts(shown)

    @property
    def _chart_rows(self) -> int:
        return sum(rows for panel, rows in self._found.rows.items() if panel in _CHARTS)

    def _show_texts(self, shown: Shown, width: int) -> None:
        frame, found, rows = shown.frame, self._found, self._found.rows
        self.query_one("#status", TextPanel).show([status_line(frame, shown.watch, width)])
        for name, (_, tile) in _TILES.items():
            if name in {"client", "work"} or found.n_tiles == len(_TILES):
                self.query_one(f"#{name}", TileView).show(tile(frame))
        if Panel.HEADLINE in rows:
            self.query_one("#headline", TextPanel).show([headline(frame, width)])
        if Panel.EVENTS in rows:
            self.query_one("#events", TextPanel).show(event_lines(frame, rows[Panel.EVENTS], width))
        if Panel.LOG in rows:
            self.query_one("#log", TextPanel).show(log_lines(frame, rows[Panel.LOG], width))
        if Panel.SLIDER in rows:
            self.query_one(Slider).show_at(frame, shown.marks, shown.at_s, shown.watch.playing)
        if found.aside_columns:
            lines = aside_lines(frame, found.aside_columns - 2, self._chart_rows, can_steer=shown.can_steer)
            self.query_one("#aside", TextPanel).show(lines)

    def _show_charts(self, shown: Shown) -> None:
        frame, window, rows = shown.frame, shown.window, self._found.rows
        for panel, chart in ((Panel.SCISSORS, charts.scissors), (Panel.BACKLOG, charts.backlog), (Panel.POOL, charts.pool)):
            if panel in rows:
                self.query_one(f"#{panel.value}", TimeChart).show(chart(frame, window))
        for panel, heat_map in ((Panel.HEAT, charts.response_heat), (Panel.DONE_HEAT, charts.done_heat)):
            heat = heat_map(frame, window, intensity=shown.intensity) if panel in rows else None
            if heat is not None:
                self.query_one(f"#{panel.value}", HeatMapView).show(heat)
        if Panel.LANE in rows:
            self.query_one(EventLane).show(charts.lane(frame, window))
            self.query_one(TimeAxis).show(charts.ruler(window))
