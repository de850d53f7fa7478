"""What goes through all panels at the same columns: events as lines, outages as hatching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.inks import Ink
from dashboard.raster.window import Window
from harness.live.frame import Mark, MarkKind, Outage

__all__ = ["WEIGHT", "bins_in", "ink_of", "outage_columns", "put_kills", "put_lines", "symbol_of"]

WEIGHT: Final = {
    MarkKind.FAULT: 8,
    MarkKind.DOWN: 7,
    MarkKind.PROBLEM: 6,
    MarkKind.UP: 5,
    MarkKind.LOAD: 4,
    MarkKind.SETTING: 3,
    MarkKind.NOTE: 2,
    MarkKind.FAULT_ENDED: 1,
    MarkKind.PHASE: 0,
}
"""How much an event matters where there is no room for all of them."""

_KILLS: Final = (MarkKind.FAULT, MarkKind.DOWN)
_INKS: Final = {
    MarkKind.FAULT: Ink.BAD,
    MarkKind.DOWN: Ink.BAD,
    MarkKind.PROBLEM: Ink.BAD,
    MarkKind.UP: Ink.GOOD,
    MarkKind.LOAD: Ink.WARN,
    MarkKind.SETTING: Ink.WARN,
    MarkKind.NOTE: Ink.TITLE,
    MarkKind.FAULT_ENDED: Ink.MUTED,
    MarkKind.PHASE: Ink.MUTED,
}


def ink_of(kind: MarkKind) -> Ink:
    """The colour of an event."""
    return _INKS[kind]


def symbol_of(kind: MarkKind, glyphs: GlyphSet) -> str:
    """The shape of an event, before its label."""
    if kind in _KILLS or kind is MarkKind.PROBLEM:
        return glyphs.lost
    if kind is MarkKind.UP:
        return glyphs.up
    if kind in (MarkKind.LOAD, MarkKind.SETTING):
        return glyphs.load
    return glyphs.note if kind is MarkKind.NOTE else glyphs.line


def outage_columns(outages: Sequence[Outage], window: Window, columns: int) -> NDArray[np.bool_]:
    """Which columns nobody answered in."""
    found = np.zeros(columns, np.bool_)
    now_s = window.until_s if window.now_s is None else min(window.now_s, window.until_s)
    for outage in outages:
        first, last = window.covered(outage.from_s, now_s if outage.until_s is None else outage.until_s, columns)
        found[first:last] = True
    return found


def put_lines(grid: Grid, marks: Sequence[Mark], window: Window, *, column: int, row: int) -> None:
    """Those events that a curve may cross, below whatever is drawn later. The plot begins at `column` and `row`."""
    for mark in sorted((mark for mark in marks if mark.kind not in _KILLS), key=lambda mark: WEIGHT[mark.kind]):
        place = window.column(mark.at_s, grid.width - column)
        if place is not None:
            grid.codes[row:, column + place] = ord(grid.glyphs.line)
            grid.inks[row:, column + place] = _INKS[mark.kind]


def put_kills(grid: Grid, marks: Sequence[Mark], window: Window, *, column: int, row: int) -> None:
    """Faults: a line through everything."""
    for mark in marks:
        if mark.kind in _KILLS:
            place = window.column(mark.at_s, grid.width - column)
            if place is not None:
                grid.codes[row:, column + place] = ord(grid.glyphs.kill)
                grid.inks[row:, column + place] = Ink.BAD


def bins_in(window: Window, from_s: float, bin_s: float, columns: int) -> NDArray[np.intp]:
    """Per column, the bin (of those that begin at `from_s`) in which its middle is; it may be outside of them."""
    middles = window.from_s + (np.arange(columns) + 0.5) / max(columns, 1) * window.span_s
    return np.floor((middles - from_s) / bin_s + 1e-9).astype(np.intp)
