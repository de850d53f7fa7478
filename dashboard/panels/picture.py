"""The picture of one run: all panels of the live screen, in the rows that an arrangement gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from dashboard.metrics import tooltip
from dashboard.panels.arrange import Arrangement, Panel
from dashboard.panels.painted import Painted
from dashboard.panels.slider import Slider
from dashboard.panels.textpanel import TextPanel
from dashboard.widgets import EventLane, HeatMapView, TileView, TimeAxis, TimeChart

if TYPE_CHECKING:
    from dashboard.panels.status import Watch
    from dashboard.raster.window import Window
    from harness.live.frame import Frame, Mark

__all__ = ["Picture", "Shown"]

_TILES: Final = {"client": "client", "work": "work", "pool-tile": "pool", "lost": "lost"}
"""By their names, the figures that they show."""


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
        self.painted = Painted()

    def compose(self) -> ComposeResult:
        """Every panel there is; which of them are shown depends on the room."""
        yield TextPanel(id="status")
        yield TextPanel(id="tiny")
        with Horizontal(id="tiles"):
            for name, metric in _TILES.items():
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
            middle.display = bool(found.chart_rows)
            middle.styles.height = found.chart_rows
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
        # With the first figures, since the first picture has none and need not wait for numpy.
        from dashboard.panels.painting import paint

        with self.app.batch_update():
            paint(self, shown, self._found, width, height)
