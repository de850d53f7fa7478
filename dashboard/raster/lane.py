"""What happened, in words below the instant at which it did. Labels never overlap: the weightier one stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.inks import Ink
from dashboard.raster.overlay import WEIGHT, ink_of, symbol_of
from dashboard.raster.window import Window, gutter_of
from harness.live.frame import Mark, MarkKind

__all__ = ["Lane", "draw_lane"]


@dataclass(frozen=True, slots=True)
class Lane:
    """Events, in one row or several."""

    window: Window
    marks: tuple[Mark, ...]
    label: str = "events"


def draw_lane(lane: Lane, width: int, height: int, glyphs: GlyphSet) -> Grid:
    """The labels that have room, weightiest first, then newest; a mark without room keeps its symbol if it can."""
    grid = Grid(width, height, glyphs)
    gutter = gutter_of(width)
    columns = width - gutter
    if columns < 1 or height < 1:
        return grid
    if gutter:
        grid.put(0, gutter - 1 - len(lane.label[: gutter - 1]), lane.label[: gutter - 1], Ink.MUTED)
    is_taken = np.zeros((height, columns), np.bool_)
    placed = [(mark, place) for mark in lane.marks if (place := lane.window.column(mark.at_s, columns)) is not None]
    placed.sort(key=lambda found: (-WEIGHT[found[0].kind], -found[0].at_s))
    places = np.zeros(columns, np.bool_)
    places[[place for _, place in placed]] = True
    left = [(mark, place) for mark, place in placed if not _put_label(grid, is_taken, places, mark, place, gutter)]
    for mark, place in left:
        # Beside a label it would be taken for the symbol of that one.
        if not is_taken[:, max(place - 1, 0) : place + 2].any():
            is_taken[0, place] = True
            grid.put(0, gutter + place, symbol_of(mark.kind, glyphs), ink_of(mark.kind))
    for mark, place in placed:
        if mark.until_s is not None:
            _, end = lane.window.covered(mark.at_s, mark.until_s, columns)
            _put_stretch(grid, is_taken, mark, place, end, gutter)
    grid.point(lane.window, column=gutter)
    return grid


def _put_label(grid: Grid, is_taken: NDArray[np.bool_], places: NDArray[np.bool_], mark: Mark, place: int, gutter: int) -> bool:
    """From the symbol to the right or ending at it: where it hides no other event, if there is such a place."""
    symbol = symbol_of(mark.kind, grid.glyphs)
    label = grid.glyphs.plain(mark.label)
    columns = is_taken.shape[1]
    if mark.kind is MarkKind.PHASE and not label:
        return True
    forms = ((f"{symbol} {label}".rstrip(), place), (f"{label} {symbol}".lstrip(), place - len(f"{label} ".lstrip())))
    for may_hide in (False, True):
        for row in range(is_taken.shape[0]):
            for text, start in forms:
                end = start + len(text)
                if start < 0 or end > columns or is_taken[row, max(start - 1, 0) : end + 1].any():
                    continue
                if not may_hide and places[start:place].any() | places[place + 1 : end].any():
                    continue
                is_taken[row, start:end] = True
                grid.put(row, gutter + start, text, ink_of(mark.kind))
                return True
    return False


def _put_stretch(grid: Grid, is_taken: NDArray[np.bool_], mark: Mark, place: int, end: int, gutter: int) -> None:
    """A line for as long as it lasts, from the end of its label on."""
    row = next((row for row in range(is_taken.shape[0]) if is_taken[row, place]), None)
    if row is None:
        return
    start = place
    while start < end and is_taken[row, start]:
        start += 1
    for column in range(start, end):
        if is_taken[row, column]:
            break
        grid.put(row, gutter + column, grid.glyphs.rest, ink_of(mark.kind))
