"""What the panels of a picture show of an instant: brings the figures, as charts and as texts, into its widgets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dashboard.panels import charts, tiles
from dashboard.panels.arrange import Arrangement, Panel
from dashboard.panels.aside import aside_lines
from dashboard.panels.slider import Slider
from dashboard.panels.status import status_line
from dashboard.panels.textpanel import TextPanel
from dashboard.panels.texts import event_lines, headline, log_lines, tiny_lines
from dashboard.widgets import EventLane, HeatMapView, TileView, TimeAxis, TimeChart

if TYPE_CHECKING:
    from dashboard.panels.picture import Picture, Shown

__all__ = ["paint"]

_TILES: Final = {"client": tiles.client, "work": tiles.work, "pool-tile": tiles.pool, "lost": tiles.lost}
_ALWAYS: Final = frozenset({"client", "work"})
_CHARTS: Final = {Panel.SCISSORS: charts.scissors, Panel.BACKLOG: charts.backlog, Panel.POOL: charts.pool}
_HEAT_MAPS: Final = {Panel.HEAT: charts.response_heat, Panel.DONE_HEAT: charts.done_heat}


def paint(picture: Picture, shown: Shown, found: Arrangement, width: int, height: int) -> None:
    """Shows it, as far as there is room. A widget that looks as before is not drawn again."""
    if found.is_tiny:
        picture.query_one("#tiny", TextPanel).show(tiny_lines(shown.frame, width, height))
        return
    _paint_texts(picture, shown, found, width)
    _paint_charts(picture, shown, found)


def _paint_texts(picture: Picture, shown: Shown, found: Arrangement, width: int) -> None:
    frame, rows, is_new = shown.frame, found.rows, picture.painted.is_new
    picture.query_one("#status", TextPanel).show([status_line(frame, shown.watch, width)])
    for name, tile in _TILES.items():
        if (name in _ALWAYS or found.n_tiles == len(_TILES)) and is_new(name, frame):
            picture.query_one(f"#{name}", TileView).show(tile(frame))
    if Panel.HEADLINE in rows and is_new("headline", frame, width):
        picture.query_one("#headline", TextPanel).show([headline(frame, width)])
    if Panel.EVENTS in rows and is_new("events", frame, rows[Panel.EVENTS], width):
        picture.query_one("#events", TextPanel).show(event_lines(frame, rows[Panel.EVENTS], width))
    if Panel.LOG in rows and is_new("log", frame, rows[Panel.LOG], width):
        picture.query_one("#log", TextPanel).show(log_lines(frame, rows[Panel.LOG], width))
    room = found.aside_columns - 2, found.chart_rows
    if found.aside_columns and is_new("aside", frame, room, shown.can_steer):
        picture.query_one("#aside", TextPanel).show(aside_lines(frame, *room, can_steer=shown.can_steer))
    if Panel.SLIDER in rows:
        picture.query_one(Slider).show_at(frame, shown.marks, shown.at_s, shown.watch.playing)


def _paint_charts(picture: Picture, shown: Shown, found: Arrangement) -> None:
    frame, window, rows = shown.frame, shown.window, found.rows
    stretch, is_new_of = (window.from_s, window.until_s), picture.painted.is_new
    for panel, chart in _CHARTS.items():
        if panel in rows:
            curves = picture.query_one(f"#{panel.value}", TimeChart)
            is_new, known = is_new_of(panel.value, frame, stretch), curves.data
            curves.show(chart(frame, window) if is_new or known is None else replace(known, window=window))
    for panel, heat_map in _HEAT_MAPS.items():
        if panel in rows:
            cells = picture.query_one(f"#{panel.value}", HeatMapView)
            is_new, of_before = is_new_of(panel.value, frame, stretch, shown.intensity), cells.data
            if not is_new and of_before is not None:
                cells.show(replace(of_before, window=window))
            elif (heat := heat_map(frame, window, intensity=shown.intensity)) is not None:
                cells.show(heat)
    if Panel.LANE in rows:
        picture.query_one(EventLane).show(charts.lane(frame, window))
        picture.query_one(TimeAxis).show(charts.ruler(window))
