"""The time axis below all panels."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.inks import Ink
from dashboard.raster.window import Window, gutter_of, time_ticks

__all__ = ["Ruler", "draw_ruler"]


@dataclass(frozen=True, slots=True)
class Ruler:
    """The window whose times are told."""

    window: Window
    label: str = ""  # in the gutter


def draw_ruler(ruler: Ruler, width: int, height: int, glyphs: GlyphSet) -> Grid:
    """Labels in the first row, each with its middle at its instant, as far as the edges allow; "now" goes before all others."""
    grid = Grid(width, height, glyphs)
    gutter = gutter_of(width)
    columns = width - gutter
    if columns < 1 or height < 1:
        return grid
    if gutter:
        grid.put(0, gutter - 1 - len(ruler.label[: gutter - 1]), ruler.label[: gutter - 1], Ink.MUTED)
    taken: list[tuple[int, int]] = []
    for at_s, label in reversed(list(time_ticks(ruler.window, columns))):
        place = ruler.window.column(at_s, columns)
        if place is None or len(label) > columns:
            continue
        start = min(max(place - len(label) // 2, 0), columns - len(label))
        if all(start + len(label) < left or start > right for left, right in taken):
            taken.append((start, start + len(label)))
            grid.put(0, gutter + start, label, Ink.TITLE if label == "now" else Ink.MUTED)
    grid.point(ruler.window, column=gutter)
    return grid
