"""The drawings that screens are made of, one for each kind of value."""

from __future__ import annotations

from dashboard.raster.chart import Chart, draw_chart
from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.heat import Heat, draw_heat
from dashboard.raster.lane import Lane, draw_lane
from dashboard.raster.ruler import Ruler, draw_ruler
from dashboard.raster.spark import Spark, draw_spark
from dashboard.raster.tile import Bar, Tile, draw_bar, draw_tile
from dashboard.raster.window import Window
from dashboard.widgets.drawing import Drawing

__all__ = ["BarView", "EventLane", "HeatMapView", "SparkView", "TileView", "TimeAxis", "TimeChart"]


class TimeChart(Drawing[Chart]):
    """Curves and areas over time."""

    DEFAULT_CSS = "TimeChart { height: 1fr; }"

    def draw(self, data: Chart, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The chart."""
        return draw_chart(data, width, height, glyphs)

    def window_of(self, data: Chart) -> Window:
        """The chart's."""
        return data.window


class HeatMapView(Drawing[Heat]):
    """Durations by time and length. Levels are told by colour, or by a ramp of characters where there is none."""

    DEFAULT_CSS = "HeatMapView { height: 1fr; }"

    def draw(self, data: Heat, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The map."""
        return draw_heat(data, width, height, glyphs, is_colored=self.is_colored)

    def window_of(self, data: Heat) -> Window:
        """The map's."""
        return data.window


class EventLane(Drawing[Lane]):
    """What happened, below its instants."""

    DEFAULT_CSS = "EventLane { height: 1; }"

    def draw(self, data: Lane, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The labels."""
        return draw_lane(data, width, height, glyphs)

    def window_of(self, data: Lane) -> Window:
        """The lane's."""
        return data.window


class TimeAxis(Drawing[Ruler]):
    """The axis that all panels above it share."""

    DEFAULT_CSS = "TimeAxis { height: 1; }"

    def draw(self, data: Ruler, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The labels."""
        return draw_ruler(data, width, height, glyphs)

    def window_of(self, data: Ruler) -> Window:
        """The ruler's."""
        return data.window


class TileView(Drawing[Tile]):
    """A verdict in a box."""

    DEFAULT_CSS = "TileView { height: 4; width: 1fr; }"

    def draw(self, data: Tile, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The box."""
        return draw_tile(data, width, height, glyphs)


class BarView(Drawing[Bar]):
    """A level in one row."""

    DEFAULT_CSS = "BarView { height: 1; }"

    def draw(self, data: Bar, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The bar."""
        return draw_bar(data, width, height, glyphs)


class SparkView(Drawing[Spark]):
    """A curve in one row."""

    DEFAULT_CSS = "SparkView { height: 1; }"

    def draw(self, data: Spark, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The curve."""
        return draw_spark(data, width, height, glyphs)
