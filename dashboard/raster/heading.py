"""The first row of a panel: what it shows, and what is what. Whatever matters least goes first where there is no room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dashboard.raster.grid import Grid
from dashboard.raster.inks import Ink

__all__ = ["Piece", "put_heading"]


@dataclass(frozen=True, slots=True)
class Piece:
    """An entry of a legend."""

    sample: str
    ink: int
    label: str
    is_extra: bool = False  # goes before anything else is shortened


def put_heading(grid: Grid, title: str, short_title: str, legend: Sequence[Piece], note: str, short_note: str) -> None:
    """Title, legend (the most important piece last) and note, in the fullest form that fits."""
    for shown_title, pieces, shown_note in _forms(title, short_title or title, legend, note, short_note or note):
        if _width(shown_title, pieces, shown_note) <= grid.width:
            break
    column = grid.put(0, 1 if grid.width > len(shown_title) else 0, shown_title, Ink.TITLE) + 2
    for piece in pieces:
        column = grid.put(0, column, piece.sample, piece.ink)
        column = grid.put(0, column + 1, piece.label, Ink.TEXT) + 2
    grid.put(0, column, shown_note, Ink.TEXT)


def _forms(
    title: str, short_title: str, legend: Sequence[Piece], note: str, short_note: str
) -> Iterator[tuple[str, Sequence[Piece], str]]:
    yield title, legend, note
    legend = [piece for piece in legend if not piece.is_extra]
    yield title, legend, note
    yield title, legend, short_note
    yield short_title, legend, short_note
    for first in range(1, len(legend)):
        yield short_title, legend[first:], short_note
    if legend:
        yield short_title, legend[-1:], ""
    yield short_title, (), ""


def _width(title: str, pieces: Sequence[Piece], note: str) -> int:
    words = sum(len(piece.sample) + len(piece.label) + 3 for piece in pieces)
    return 1 + len(title) + words + (2 + len(note) if note else 0)
