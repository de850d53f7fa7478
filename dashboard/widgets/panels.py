"""The drawings that screens are made of, one for each kind of value.

What draws them is imported with the first value: the first picture has none, and need not wait for numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.widgets.drawing import Drawing

if TYPE_CHECKING:
    from dashboard.raster.chart import Chart
    from dashboard.raster.glyphs import GlyphSet
    from dashboard.raster.grid import Grid
    from dashboard.raster.heat import Heat
    from dashboard.raster.lane import Lane
    from dashboard.raster.ruler import Ruler
    from dashboard.raster.spark import Spark
    from dashboard.raster.tile import Bar, Tile
    from dashboard.raster.window import Window

__all__ = ["BarView", "EventLane", "HeatMapView", "SparkView", "TileView", "TimeAxis", "TimeChart"]


class TimeChart(Drawing["Chart"]):
    """Curves and areas over time."""

    SHARES_CURSOR = True
    DEFAULT_CSS = "TimeChart { height: 1fr; }"

    def draw(self, data: Chart, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The chart."""
        from dashboard.raster.chart import draw_chart

        return draw_chart(data, width, height, glyphs)

    def window_of(self, data: Chart) -> Window:
        """The chart's."""
        return data.window


class HeatMapView(Drawing["Heat"]):
    """Durations by time and length. Levels are told by colour, or by a ramp of characters where there is none."""

    SHARES_CURSOR = True
    DEFAULT_CSS = "HeatMapView { height: 1fr; }"

    def draw(self, data: Heat, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The map."""
        from dashboard.raster.heat import draw_heat

        return draw_heat(data, width, height, glyphs, is_colored=self.is_colored)

    def window_of(self, data: Heat) -> Window:
        """The map's."""
        return data.window


class EventLane(Drawing["Lane"]):
    """What happened, below its instants."""

    DEFAULT_CSS = "EventLane { height: 1; }"

    def draw(self, data: Lane, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The labels."""
        from dashboard.raster.lane import draw_lane

        return draw_lane(data, width, height, glyphs)

    def window_of(self, data: Lane) -> Window:
        """The lane's."""
        return data.window


class TimeAxis(Drawing["Ruler"]):
    """The axis that all panels above it share."""

    DEFAULT_CSS = "TimeAxis { height: 1; }"

    def draw(self, data: Ruler, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The labels."""
        from dashboard.raster.ruler import draw_ruler

        return draw_ruler(data, width, height, glyphs)

    def window_of(self, data: Ruler) -> Window:
        """The ruler's."""
        return data.window


class TileView(Drawing["Tile"]):
    """A verdict in a box."""

    DEFAULT_CSS = "TileView { height: 4; width: 1fr; }"

    def draw(self, data: Tile, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The box."""
        from dashboard.raster.tile import draw_tile

        return draw_tile(data, width, height, glyphs)


class BarView(Drawing["Bar"]):
    """A level in one row."""

    DEFAULT_CSS = "BarView { height: 1; }"

    def draw(self, data: Bar, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The bar."""
        from dashboard.raster.tile import draw_bar

        return draw_bar(data, width, height, glyphs)


class SparkView(Drawing["Spark"]):
    """A curve in one row."""

    DEFAULT_CSS = "SparkView { height: 1; }"

    def draw(self, data: Spark, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The curve."""
        from dashboard.raster.spark import draw_spark

        return draw_spark(data, width, height, glyphs)
