"""Verdicts and levels in words, with a shape for each tone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.inks import Ink

__all__ = ["Bar", "Tile", "Tone", "draw_bar", "draw_tile"]


class Tone(StrEnum):
    """How good it is."""

    IDLE = "idle"  # nothing to say yet
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


_INKS = {Tone.IDLE: Ink.MUTED, Tone.GOOD: Ink.GOOD, Tone.WARN: Ink.WARN, Tone.BAD: Ink.BAD}


@dataclass(frozen=True, slots=True)
class Tile:
    """A box with a verdict."""

    title: str
    headline: str
    tone: Tone
    lines: tuple[str, ...] = ()
    bar: float | None = None  # a share, before the first line


@dataclass(frozen=True, slots=True)
class Bar:
    """A level in one row."""

    label: str
    share: float  # NaN: not known
    words: str
    tone: Tone = Tone.GOOD


def draw_tile(tile: Tile, width: int, height: int, glyphs: GlyphSet) -> Grid:
    """In a box, a heavy one where it is bad; without one where there is no room for it."""
    grid = Grid(width, height, glyphs)
    ink, has_box = _INKS[tile.tone], height >= 3 and width >= 8
    row, column, inner = (1, 2, width - 4) if has_box else (0, 0, width)
    if has_box:
        _put_box(grid, glyphs.heavy if tile.tone is Tone.BAD else glyphs.box, ink if tile.tone is Tone.BAD else Ink.GRID)
    verdict = f"{_symbol(tile.tone, glyphs)} {glyphs.plain(tile.headline)}".rstrip()
    # The verdict is what is read first: the name gives way to it.
    title = _cut(tile.title, inner - len(verdict) - 1, glyphs)
    grid.put(row, column, title, Ink.TITLE)
    place = column + (len(title) + 1 if title else 0)
    # Verdicts of tiles side by side stand at the same place, whatever their names are.
    grid.put(row, max(place, min(column + 12, column + inner - len(verdict))), verdict[: max(inner, 0)], ink)
    for number, line in enumerate(tile.lines or (("",) if tile.bar is not None else ())):
        place = row + 1 + number
        if place >= height - (1 if has_box else 0):
            break
        left = column
        if number == 0 and tile.bar is not None:
            left += _put_bar(grid, place, column, min(inner - len(line) - 1, inner), tile.bar, ink)
        grid.put(place, left, _cut(line, column + inner - left, glyphs), Ink.TEXT)
    return grid


def draw_bar(bar: Bar, width: int, height: int, glyphs: GlyphSet) -> Grid:
    """Label, bar and words, in the first row."""
    grid = Grid(width, height, glyphs)
    words = f"{bar.words} {_symbol(bar.tone, glyphs)}" if bar.tone in (Tone.BAD, Tone.WARN) else bar.words
    column = grid.put(0, 0, bar.label, Ink.TITLE) + (1 if bar.label else 0)
    column += _put_bar(grid, 0, column, width - column - len(words) - 1, bar.share, _INKS[bar.tone])
    grid.put(0, column, words, _INKS[bar.tone] if bar.tone in (Tone.BAD, Tone.WARN) else Ink.TEXT)
    return grid


def _put_bar(grid: Grid, row: int, column: int, width: int, share: float, ink: int) -> int:
    """The cells that it took with the space after it; none if there is no room to tell anything."""
    if width < 3:
        return 0
    known = 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0)
    # Full only if it is, empty only if it is.
    full = 0 if known <= 0 else width if known >= 1 else min(max(round(known * width), 1), width - 1)
    grid.put(row, column, grid.glyphs.full * full, ink)
    grid.put(row, column + full, ("?" if math.isnan(share) else grid.glyphs.empty) * (width - full), Ink.GRID)
    return width + 1


def _put_box(grid: Grid, box: str, ink: int) -> None:
    left, top, right, side, low_left, low_right = tuple(box)
    middle = grid.width - 2
    grid.put(0, 0, f"{left}{top * middle}{right}", ink)
    for row in range(1, grid.height - 1):
        grid.put(row, 0, side, ink)
        grid.put(row, grid.width - 1, side, ink)
    grid.put(grid.height - 1, 0, f"{low_left}{top * middle}{low_right}", ink)


def _symbol(tone: Tone, glyphs: GlyphSet) -> str:
    return {Tone.GOOD: glyphs.good, Tone.WARN: glyphs.warn, Tone.BAD: glyphs.bad, Tone.IDLE: glyphs.idle}[tone]


def _cut(text: str, room: int, glyphs: GlyphSet) -> str:
    text = glyphs.plain(text)
    return text if len(text) <= room else text[: max(room - 1, 0)] + glyphs.plain("…") if room > 0 else ""
