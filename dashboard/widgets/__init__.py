"""Widgets that draw with characters. They get values, never files."""

from dashboard.widgets.drawing import Drawing, glyphs_of, redraw
from dashboard.widgets.panels import BarView, EventLane, HeatMapView, SparkView, TileView, TimeAxis, TimeChart

__all__ = [
    "BarView",
    "Drawing",
    "EventLane",
    "HeatMapView",
    "SparkView",
    "TileView",
    "TimeAxis",
    "TimeChart",
    "glyphs_of",
    "redraw",
]
