"""Cells: a character and an ink each, as two arrays. What all charts are drawn on, and compared by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.inks import CURSOR, Ink
from dashboard.raster.window import Window

__all__ = ["Grid", "Run"]

Run = tuple[str, int]
"""Text, and the ink of all of it."""

_SPACE = ord(" ")


class Grid:
    """`height` rows of `width` cells, uppermost first. At first all are spaces."""

    __slots__ = ("_plot", "codes", "glyphs", "inks")

    def __init__(self, width: int, height: int, glyphs: GlyphSet) -> None:
        self.glyphs = glyphs
        self.codes: NDArray[np.uint32] = np.full((max(height, 0), max(width, 0)), _SPACE, np.uint32)
        self.inks: NDArray[np.uint16] = np.zeros(self.codes.shape, np.uint16)
        self._plot: tuple[int, int] | None = None  # its first column and row, if instants can be pointed at

    @property
    def width(self) -> int:
        """In cells."""
        return int(self.codes.shape[1])

    @property
    def height(self) -> int:
        """In rows."""
        return int(self.codes.shape[0])

    def put(self, row: int, column: int, text: str, ink: int = Ink.TEXT) -> int:
        """Writes `text`, as far as it is inside. The column after it."""
        text = self.glyphs.plain(text)
        end = column + len(text)
        if 0 <= row < self.height and end > 0 and column < self.width and text:
            text = text[max(-column, 0) : max(self.width - column, 0)]
            column = max(column, 0)
            self.codes[row, column : column + len(text)] = _codes(text)
            self.inks[row, column : column + len(text)] = ink
        return end

    def fill(self, where: NDArray[np.bool_], character: str, ink: int, *, column: int = 0, row: int = 0) -> None:
        """One character in all cells of a part that begins at `row` and `column`, where `where` is true."""
        height, width = where.shape
        self.codes[row : row + height, column : column + width][where] = ord(character)
        self.inks[row : row + height, column : column + width][where] = ink

    def point(self, window: Window, *, column: int, row: int = 0) -> None:
        """Lights the column up that the window's cursor is in, from `row` down. The plot begins at `column`."""
        self._plot = column, row
        place = None if window.cursor_s is None else window.column(window.cursor_s, self.width - column)
        if place is not None:
            self.inks[row:, column + place] |= CURSOR

    def pointed(self, window: Window) -> Grid:
        """The same with the cursor of another window, which is of the same stretch of time."""
        found = Grid(0, 0, self.glyphs)
        found.codes, found.inks = self.codes, self.inks & ~np.uint16(CURSOR)
        if self._plot is not None:
            found.point(window, column=self._plot[0], row=self._plot[1])
        return found

    def rows(self) -> Iterator[list[Run]]:
        """Each row as runs of one ink."""
        for row in range(self.height):
            yield self.row(row)

    def row(self, row: int) -> list[Run]:
        """One row as runs of one ink."""
        if not self.width:
            return []
        inks = self.inks[row]
        text = self.codes[row].astype("<u4").tobytes().decode("utf-32-le")
        changes = (np.flatnonzero(inks[1:] != inks[:-1]) + 1).tolist()
        starts = [0, *changes]
        shown = inks[starts].tolist()
        return [(text[start:end], ink) for start, end, ink in zip(starts, [*changes, len(text)], shown, strict=True)]

    def text(self) -> str:
        """The characters alone: one line a row, without spaces at the ends."""
        return "\n".join("".join(text for text, _ in row).rstrip() for row in self.rows()) + "\n"

    def changed(self, before: Grid) -> list[tuple[int, int, int]]:
        """Which cells are not as they were in a grid of the same size: (row, first column, column after the last)."""
        found = (self.codes != before.codes) | (self.inks != before.inks)
        rows = np.flatnonzero(found.any(axis=1))
        firsts = found[rows].argmax(axis=1)
        lasts = self.width - found[rows, ::-1].argmax(axis=1)
        return [(int(row), int(first), int(last)) for row, first, last in zip(rows, firsts, lasts, strict=True)]

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Grid) and np.array_equal(self.codes, other.codes) and np.array_equal(self.inks, other.inks)

    __hash__ = None  # type: ignore[assignment]


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)
