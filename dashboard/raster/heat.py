"""Durations by time and by length: how many, or how much time they took together. What percentiles over time hide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.glyphs import RAMP, GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.heading import Piece, put_heading
from dashboard.raster.inks import HEAT, HEAT_LEVELS, Ink, heat_ink
from dashboard.raster.overlay import bins_in, outage_columns, put_kills, put_lines
from dashboard.raster.scale import Unit, label_of, value_text
from dashboard.raster.window import Window, gutter_of
from harness.live.frame import Mark, Outage

__all__ = ["Heat", "draw_heat", "heat_limits"]

Figures = NDArray[np.float64]

_LEAST_SHARE: Final = 1e-3  # of the greatest intensity: what is less has the lowest level
_LABELS_MS: Final = tuple(factor * 10.0**power for power in range(-3, 8) for factor in (1, 2, 5))
_DECADES_MS: Final = _LABELS_MS[::3]


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """Counts by bucket of duration and by bin of time."""

    window: Window
    from_s: float  # left edge of the first bin
    bin_s: float
    floors_ms: Figures  # shape (n_buckets + 1,), quarters of octaves of ns, rising
    counts: NDArray[np.int64]  # shape (n_buckets, n_bins)
    never: NDArray[np.int64]  # without an end: shape (n_bins,)
    intensity: bool = False  # count times duration instead of counts
    low_ms: float | None = None  # None: from the counts that are visible
    high_ms: float | None = None
    most: float | None = None  # what has the uppermost level
    ink: Ink = Ink.RESPONSE  # where there are no colours to tell levels by
    what: str = "requests"  # is counted
    marks: tuple[Mark, ...] = ()
    outages: tuple[Outage, ...] = ()
    title: str = ""
    short_title: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Merged into the rows and columns that there are: the lowest row first."""

    values: Figures  # shape (rows, columns)
    never: Figures  # shape (columns,)
    first: int  # the number of the lowest row's first bucket
    merged: int  # buckets in a row
    repeated: int  # rows of a bucket: one of the two is 1


def draw_heat(heat: Heat, width: int, height: int, glyphs: GlyphSet, *, is_colored: bool = True) -> Grid:
    """The map in `width` x `height` cells: two rows a cell where halves and colours are there, else a ramp of characters."""
    grid = Grid(width, height, glyphs)
    top, gutter, never_rows = _frame(heat, width, height)
    columns, rows = width - gutter, height - top - never_rows
    if columns < 1 or rows < 1:
        return grid
    halves = is_colored and glyphs.has_halves
    cells = _merge(heat, columns, rows * 2 if halves else rows)
    most = _most(heat, cells)
    levels = _levels(cells.values, most, heat.intensity)[::-1]
    plot_row = top + never_rows
    out = outage_columns(heat.outages, heat.window, columns)
    grid.fill(np.broadcast_to(out, (height - top, columns)), glyphs.outage, Ink.OUTAGE, column=gutter, row=top)
    put_lines(grid, heat.marks, heat.window, column=gutter, row=top)
    codes, inks = grid.codes[plot_row:, gutter:], grid.inks[plot_row:, gutter:]
    if halves:
        upper, lower = levels[::2], levels[1::2]
        there = (upper > 0) | (lower > 0)
        np.copyto(codes, np.uint32(ord("▀")), where=there)
        np.copyto(inks, (HEAT + (upper.astype(np.uint16) << 4) + lower).astype(np.uint16), where=there)
    else:
        np.copyto(codes, _RAMP[levels], where=levels > 0)
        np.copyto(inks, np.uint16(heat.ink), where=levels > 0)
    if never_rows:
        lost = _levels(cells.never, _scaled_never(heat, cells), intensity=False)
        np.copyto(grid.codes[top, gutter:], _RAMP[lost], where=lost > 0)
        np.copyto(grid.inks[top, gutter:], np.uint16(Ink.BAD), where=lost > 0)
    put_kills(grid, heat.marks, heat.window, column=gutter, row=top)
    _axis(grid, cells, rows, top, gutter, never_rows, per_row=2 if halves else 1)
    if top:
        put_heading(grid, heat.title, heat.short_title, _legend(heat, most, halves=halves), "", "")
    grid.point(heat.window, column=gutter, row=top)
    return grid


def heat_limits(*heats: Heat, width: int, height: int, glyphs: GlyphSet, is_colored: bool = True) -> tuple[float, float, float]:
    """`low_ms`, `high_ms` and `most` that suit all of them in panels of this size: for maps that are compared."""
    ranges = [found for heat in heats if (found := _range_ms(heat)) is not None]
    low, high = (min(each[0] for each in ranges), max(each[1] for each in ranges)) if ranges else (1.0, 1000.0)
    most = 1.0
    for heat in heats:
        top, gutter, never_rows = _frame(heat, width, height)
        columns, rows = max(width - gutter, 1), max(height - top - never_rows, 1)
        cells = _merge(heat, columns, rows * 2 if is_colored and glyphs.has_halves else rows, (low, high))
        most = max(most, float(cells.values.max(initial=0.0)))
    return low, high, most


def _frame(heat: Heat, width: int, height: int) -> tuple[int, int, int]:
    """Rows of the heading, columns of the gutter, rows for what never ended."""
    top = 1 if height >= 3 and (heat.title or heat.short_title) else 0
    return top, gutter_of(width), 1 if height - top >= 3 and bool(np.any(_visible(heat, heat.never))) else 0


def _visible(heat: Heat, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    first = math.floor((heat.window.from_s - heat.from_s) / heat.bin_s + 1e-6)
    last = math.ceil((heat.window.until_s - heat.from_s) / heat.bin_s - 1e-6)
    return counts[..., max(first, 0) : max(last, 0)]


def _range_ms(heat: Heat) -> tuple[float, float] | None:
    """The least and the greatest duration that is visible."""
    there = np.flatnonzero(_visible(heat, heat.counts).any(axis=1)) if heat.counts.size else np.empty(0, np.intp)
    if not len(there):
        return None
    return float(heat.floors_ms[there[0]]), float(heat.floors_ms[there[-1] + 1])


def _bucket(ms: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """The number of the quarter of an octave of ns in which a duration is."""
    ns = np.maximum(np.rint(np.asarray(ms, np.float64) * 1e6), 1.0)
    return np.asarray(np.atleast_1d(ns).view(np.int64) >> (52 - 2))


def _merge(heat: Heat, columns: int, rows: int, limits: tuple[float, float] | None = None) -> _Cells:
    found = limits or _range_ms(heat) or (1.0, 1000.0)
    low = heat.low_ms if heat.low_ms is not None and heat.low_ms > 0 else found[0]
    high = max(heat.high_ms if heat.high_ms is not None else found[1], low * 1.01)
    first, last = int(_bucket(low)[0]), int(_bucket(high * (1 - 1e-9))[0]) + 1
    merged = max(1, math.ceil((last - first) / rows))
    # Rows begin at multiples of what they hold: a map that grows does not shift by parts of them.
    first -= first % merged
    while (last - first) > merged * rows:
        merged += 1
        first = int(_bucket(low)[0])
        first -= first % merged
    repeated = max(1, rows // max(last - first, 1)) if merged == 1 else 1
    values = np.zeros((rows, columns))
    never = np.zeros(columns)
    n_bins = heat.counts.shape[1] if heat.counts.ndim == 2 else 0
    if n_bins:
        buckets = _bucket(heat.floors_ms[:-1])
        weights = heat.counts.astype(np.float64)
        if heat.intensity and len(buckets):
            weights *= ((heat.floors_ms[:-1] + heat.floors_ms[1:]) / 2)[:, None]
        row = np.clip((buckets - first) // merged, 0, rows - 1)
        by_row = np.zeros((rows, n_bins))
        np.add.at(by_row, row, weights)
        values, never = _in_columns(heat, by_row, columns), _in_columns(heat, heat.never[None, :].astype(np.float64), columns)[0]
        if repeated > 1:
            values = np.repeat(values[: math.ceil(rows / repeated)], repeated, axis=0)[:rows]
    return _Cells(values, never, first, merged, repeated)


def _in_columns(heat: Heat, by_bin: Figures, columns: int) -> Figures:
    """Bins put together by the column in which their middle is; where bins are wider, each column shows the bin that it is in."""
    n_bins = by_bin.shape[1]
    found = np.zeros((by_bin.shape[0], columns))
    if heat.bin_s > heat.window.span_s / columns * (1 + 1e-6):
        bins = bins_in(heat.window, heat.from_s, heat.bin_s, columns)
        known = (bins >= 0) & (bins < n_bins)
        found[:, known] = by_bin[:, bins[known]]
        return found
    middles = heat.from_s + (np.arange(n_bins) + 0.5) * heat.bin_s
    places = np.floor((middles - heat.window.from_s) / heat.window.span_s * columns + 1e-6).astype(np.intp)
    inside = (places >= 0) & (places < columns)
    np.add.at(found.T, places[inside], by_bin[:, inside].T)
    return found


def _most(heat: Heat, cells: _Cells) -> float:
    return max(heat.most if heat.most is not None else float(cells.values.max(initial=0.0)), 1e-9)


def _scaled_never(heat: Heat, cells: _Cells) -> float:
    """What never ended is counted, also beside intensities."""
    if heat.intensity or heat.most is None:
        return max(float(cells.never.max(initial=0.0)), 1.0)
    return heat.most


def _levels(values: Figures, most: float, intensity: bool) -> NDArray[np.uint8]:
    """From nothing (0) to `most`; equal steps of the level are equal factors. Whatever is there at all is seen."""
    least = most * _LEAST_SHARE if intensity else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (
            np.log(np.maximum(values, least) / least) / math.log(most / least) if most > least * 1.001 else np.ones_like(values)
        )
    levels = 1 + np.minimum((share * (HEAT_LEVELS - 1)).astype(np.int64), HEAT_LEVELS - 2)
    return np.where(values > 0, np.clip(levels, 1, HEAT_LEVELS - 1), 0).astype(np.uint8)


def _axis(grid: Grid, cells: _Cells, rows: int, top: int, gutter: int, never_rows: int, per_row: int) -> None:
    if not gutter:
        return
    glyphs = grid.glyphs
    for row in range(top, grid.height):
        grid.put(row, gutter - 1, glyphs.axis, Ink.MUTED)
    taken: dict[int, float] = {}
    for spacing, candidates in ((2, _DECADES_MS), (2, _LABELS_MS)):
        for value in candidates:
            place = (int(_bucket(value)[0]) - cells.first) // cells.merged * cells.repeated + cells.repeated // 2
            row = rows - 1 - place // per_row
            if place >= 0 and 0 <= row < rows and all(abs(row - other) >= spacing for other in taken):
                taken[row] = value
        if len(taken) >= 2:
            break
    for row, value in taken.items():
        label = label_of(value, Unit.MS)[: gutter - 1]
        grid.put(top + never_rows + row, gutter - 1 - len(label), f"{label}{glyphs.tick}", Ink.MUTED)
    if never_rows:
        grid.put(top, gutter - 6, f"never{glyphs.tick}", Ink.BAD)


def _legend(heat: Heat, most: float, *, halves: bool) -> list[Piece]:
    least = most * _LEAST_SHARE if heat.intensity else 1.0
    if not heat.counts.size or most <= least:
        return []
    words = [value_text(value, Unit.MS if heat.intensity else Unit.COUNT) for value in (least, most)]
    first, last = (f"<= {words[0]}", f"{words[1]} together") if heat.intensity else (words[0], f"{words[1]} {heat.what}")
    samples = (
        [("▀▀", heat_ink(level, level)) for level in (1, HEAT_LEVELS - 1)]
        if halves
        else [(RAMP[level], int(heat.ink)) for level in (1, HEAT_LEVELS - 1)]
    )
    return [Piece(sample, ink, label) for (sample, ink), label in zip(samples, (first, last), strict=True)]


_RAMP: Final = np.frombuffer(RAMP.encode("utf-32-le"), np.uint32)
assert len(RAMP) == HEAT_LEVELS
