"""Curves, areas and what lies between two curves, over time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.heading import Piece, put_heading
from dashboard.raster.inks import Ink
from dashboard.raster.overlay import bins_in, outage_columns, put_kills, put_lines
from dashboard.raster.restarts import apart, held
from dashboard.raster.scale import Scale, Unit, label_of, linear_scale, log_scale, value_text
from dashboard.raster.tracks import Track, track_of
from dashboard.raster.window import Window, gutter_of
from harness.live.frame import Mark, Outage

__all__ = ["Band", "Chart", "Curve", "chart_limits", "draw_chart", "has_bad", "plot_top", "values_at"]

Figures = NDArray[np.float64]
Where = NDArray[np.bool_]

_DASH_DOTS = 4  # columns of dots of a dash, and of the gap after it


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One value per bin. NaN: there is none, a gap that is never joined; inf: above the axis, whatever it shows."""

    values: Figures
    ink: Ink
    label: str = ""  # in the legend
    dashed: bool = False
    thick: bool = False
    filled: bool = False  # down to the axis
    is_of_process: bool = False  # the most that the server's process held in each bin: it is gone while that is dead
    at_end: Figures | None = None  # the same at the right edge of each bin, for one in which it was dead and is back


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """What lies between two curves is shaded where the upper one is above."""

    lower: Figures
    upper: Figures
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """Everything on one pair of axes."""

    window: Window
    from_s: float  # left edge of the first bin
    bin_s: float
    curves: tuple[Curve, ...]  # the last one wins a cell that several go through
    unit: Unit = Unit.COUNT
    is_log: bool = False
    low: float | None = None  # None: from the values
    high: float | None = None
    least_high: float = 0.0  # a linear axis goes at least up to here
    band: Band | None = None
    stressed: Where | None = None  # per bin: something is at its limit there; the area shows it
    stressed_label: str = ""
    bad: Where | None = None  # per bin: something went wrong there; a row of its own, below the axis, if there is any to be seen
    bad_label: str = ""
    keeps_bad_row: bool = False  # also where there is nothing: the chart beside it has one
    marks: tuple[Mark, ...] = ()
    outages: tuple[Outage, ...] = ()
    title: str = ""
    short_title: str = ""
    note: str = ""
    short_note: str = ""


def plot_top(chart: Chart, height: int) -> int:
    """How many rows the heading takes."""
    return 1 if height >= 3 and (chart.title or chart.short_title) else 0


def scale_of(chart: Chart) -> Scale:
    """Its upright axis: as given, the rest from the values that are visible."""
    values = [_visible(chart, curve.values) for curve in chart.curves]
    if chart.is_log:
        return log_scale(chart.low, chart.high, values, chart.unit)
    return linear_scale(chart.low, chart.high, values, chart.unit, chart.least_high)


def chart_limits(*charts: Chart) -> tuple[float, float]:
    """One `low` and `high` that suit all of them: charts that are compared have the same axis."""
    scales = [scale_of(chart) for chart in charts]
    return min(scale.low for scale in scales), max(scale.high for scale in scales)


def values_at(chart: Chart, at_s: float) -> Iterator[tuple[str, str]]:
    """What the curves say at an instant: label and value, in words."""
    number = math.floor((at_s - chart.from_s) / chart.bin_s)
    for curve in chart.curves:
        if curve.label and 0 <= number < len(curve.values):
            yield curve.label, value_text(float(curve.values[number]), chart.unit)


def has_bad(chart: Chart) -> bool:
    """Whether anything went wrong in what is visible."""
    return chart.bad is not None and bool(np.any(_visible_bins(chart, chart.bad)))


def draw_chart(chart: Chart, width: int, height: int, glyphs: GlyphSet) -> Grid:
    """The chart in `width` x `height` cells; whatever has no room is left out."""
    grid = Grid(width, height, glyphs)
    top, gutter = plot_top(chart, height), gutter_of(width)
    bad_rows = _bad_rows(chart, height - top)
    columns, rows = width - gutter, height - top - bad_rows
    if columns < 1 or rows < 1:
        return grid
    if top:
        put_heading(grid, chart.title, chart.short_title, _legend(chart, glyphs, bad_rows), chart.note, chart.short_note)
    scale = scale_of(chart)
    _axis(grid, scale, top, gutter, rows)
    inside = _Plot(grid, chart, scale, top, gutter, rows)
    grid.fill(
        np.broadcast_to(outage_columns(chart.outages, chart.window, columns), (rows + bad_rows, columns)),
        glyphs.outage,
        Ink.OUTAGE,
        column=gutter,
        row=top,
    )
    if chart.band is not None:
        inside.shade(chart.band)
    put_lines(grid, chart.marks, chart.window, column=gutter, row=top)
    inside.areas()
    inside.lines()
    if chart.bad is not None and bad_rows:
        where = _columns_of(chart.bad, chart, columns)
        grid.fill(where[None, :], glyphs.lost, Ink.BAD, column=gutter, row=top + rows)
        if gutter:
            grid.put(top + rows, gutter - 4, f"bad{glyphs.tick}", Ink.BAD)
    put_kills(grid, chart.marks, chart.window, column=gutter, row=top)
    grid.point(chart.window, column=gutter, row=top)
    return grid


@dataclass(frozen=True, slots=True, eq=False)
class _Plot:
    """The part of a grid in which curves are drawn."""

    grid: Grid
    chart: Chart
    scale: Scale
    top: int
    gutter: int
    rows: int

    @property
    def _size(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.rows, self.grid.width - self.gutter

    @property
    def _part(self) -> tuple[slice, slice]:
        """Where they are in the grid."""
        return slice(self.top, self.top + self.rows), slice(self.gutter, None)

    def _track(self, values: Figures, columns: int, n: int) -> Track:
        chart = self.chart
        separate = apart(chart.outages, chart.from_s, chart.bin_s, len(values))
        return track_of(values, chart.from_s, chart.bin_s, chart.window, self.scale, columns, n, separate)

    def _of(self, curve: Curve, columns: int, n: int) -> Track:
        chart = self.chart
        if not curve.is_of_process:
            return self._track(curve.values, columns, n)
        return held(
            curve.values,
            curve.at_end,
            lambda values: self._track(values, columns, n),
            chart.outages,
            chart.from_s,
            chart.bin_s,
            chart.window,
            columns,
        )

    def _put(self, where: Where, codes: NDArray[np.uint32], ink: int | NDArray[np.uint16]) -> None:
        np.copyto(self.grid.codes[self._part], codes, where=where)
        np.copyto(self.grid.inks[self._part], np.uint16(ink) if isinstance(ink, int) else ink, where=where)

    def shade(self, band: Band) -> None:
        """Between two curves, in whole cells: the curves are drawn over it."""
        height, width = self._size
        dots = self.grid.glyphs.rows
        lower, upper = (self._track(values, width, height * dots) for values in (band.lower, band.upper))
        from_row = height - 1 - np.maximum(upper.high, 0) // dots
        to_row = height - 1 - np.minimum(lower.low, height * dots - 1) // dots
        there = lower.is_there & upper.is_there & (from_row < to_row)
        row = np.arange(height)[:, None]
        where = there & (row >= from_row) & (row <= to_row)
        self.grid.fill(where, self.grid.glyphs.shade, Ink.SHADE, column=self.gutter, row=self.top)

    def areas(self) -> None:
        """Down to the axis. Where something is at its limit, full cells have another texture, and all of them another colour."""
        height, width = self._size
        glyphs = self.grid.glyphs
        n_levels = len(glyphs.levels) - 1
        if glyphs.area_columns > 1:
            return  # as dots, with the lines: both are seen in one cell
        codes = _codes(glyphs.levels)
        base = np.arange(height - 1, -1, -1)[:, None] * n_levels
        for curve in self.chart.curves:
            if curve.filled:
                track = self._of(curve, width, height * n_levels)
                levels = np.clip(track.high + 1 - base, 0, n_levels)
                self._put(levels > 0, codes[levels], curve.ink)
                self._stress(levels == n_levels, levels > 0)
                self._over(track.is_over, curve.ink)

    def lines(self) -> None:
        """Lines, and areas as well where they are made of dots. Their dots are put together; the last curve gives the colour."""
        height, width = self._size
        glyphs = self.grid.glyphs
        n_rows, n_columns = height * glyphs.rows, width * glyphs.columns
        level = np.arange(n_rows - 1, -1, -1, dtype=np.int32)[:, None]
        has_dots = glyphs.area_columns > 1
        together = np.zeros((height, width), np.uint8)
        full = (1 << glyphs.rows * glyphs.columns) - 1
        for curve in self.chart.curves:
            if curve.filled and not has_dots:
                continue
            track = self._of(curve, n_columns, n_rows)
            low, high, there = track.low, track.high, track.is_there
            if curve.filled:
                low = np.zeros_like(low)
            elif curve.thick and glyphs.thin == glyphs.thick:
                # To both sides alike would need an odd number of dots: upwards, but at the upper edge.
                high = np.minimum(high + 1, n_rows - 1)
                low = np.where(high > low, low, low - 1)
            if curve.dashed:
                there = there & self._dashes(n_columns)
            dots = (level >= low) & (level <= high) & there
            weights = _weights(dots, height, width, glyphs)
            if glyphs.thin == glyphs.thick:
                together |= weights
                shown = _codes(glyphs.thin)[together]
            else:
                shown = _codes(glyphs.thick if curve.thick else glyphs.thin)[weights]
            self._put(weights > 0, shown, curve.ink)
            if curve.filled:
                self._stress(together == full, weights > 0)
            self._over(np.logical_or.reduce(track.is_over.reshape(width, glyphs.columns), axis=1), curve.ink)

    def _dashes(self, n_columns: int) -> Where:
        """Dashes that move with the time they stand for, not with the window."""
        window = self.chart.window
        first = round(window.from_s / window.span_s * n_columns)
        dots = _DASH_DOTS if self.grid.glyphs.columns > 1 else 1
        return (np.arange(n_columns) + first) % (2 * dots) < dots

    def _stress(self, is_full: Where, is_there: Where) -> None:
        stressed = self.chart.stressed
        if stressed is None or not len(stressed):
            return
        _, width = self._size
        columns = _columns_of(stressed, self.chart, width)
        self.grid.inks[self._part][is_there & columns] = Ink.WARN
        self.grid.fill(is_full & columns, self.grid.glyphs.stressed, Ink.WARN, column=self.gutter, row=self.top)

    def _over(self, is_over: Where, ink: int) -> None:
        self.grid.fill(is_over[None, :], self.grid.glyphs.over, ink, column=self.gutter, row=self.top)


def _weights(dots: Where, height: int, width: int, glyphs: GlyphSet) -> NDArray[np.uint8]:
    """The dots of each cell as the sum of their weights."""
    found = np.zeros((height, width), np.uint8)
    for row in range(glyphs.rows):
        for column in range(glyphs.columns):
            weight = np.uint8(1 << (row * glyphs.columns + column))
            found |= dots[row :: glyphs.rows, column :: glyphs.columns].view(np.uint8) * weight
    return found


def _columns_of(bins: Where, chart: Chart, columns: int) -> Where:
    """In which columns one of the bins is that are true."""
    found = np.zeros(columns, np.bool_)
    middles = chart.from_s + (np.flatnonzero(bins) + 0.5) * chart.bin_s
    places = np.floor((middles - chart.window.from_s) / chart.window.span_s * columns).astype(np.intp)
    found[places[(places >= 0) & (places < columns)]] = True
    numbers = bins_in(chart.window, chart.from_s, chart.bin_s, columns)
    known = (numbers >= 0) & (numbers < len(bins))
    found[known] |= bins[numbers[known]]
    return found


def _visible(chart: Chart, values: Figures) -> Figures:
    first = math.floor((chart.window.from_s - chart.from_s) / chart.bin_s + 1e-6)
    last = math.ceil((chart.window.until_s - chart.from_s) / chart.bin_s - 1e-6)
    return values[max(first, 0) : max(last, 0)]


def _bad_rows(chart: Chart, height: int) -> int:
    return 1 if height >= 3 and (chart.keeps_bad_row or has_bad(chart)) else 0


def _axis(grid: Grid, scale: Scale, top: int, gutter: int, height: int) -> None:
    ticks = {scale.row(value, height, grid.glyphs.rows): value for value in scale.ticks(height)}
    if grid.glyphs.dot:
        for row in ticks:
            grid.codes[top + row, gutter::4] = ord(grid.glyphs.dot)
            grid.inks[top + row, gutter::4] = Ink.GRID
    if not gutter:
        return
    for row in range(height):
        grid.put(top + row, gutter - 1, grid.glyphs.tick if row in ticks else grid.glyphs.axis, Ink.MUTED)
    for row, value in ticks.items():
        label = label_of(value, scale.unit)[: gutter - 1]
        grid.put(top + row, gutter - 1 - len(label), label, Ink.MUTED)


def _legend(chart: Chart, glyphs: GlyphSet, bad_rows: int) -> list[Piece]:
    """What is what, the most important last."""
    pieces = [Piece(_sample(curve, glyphs), curve.ink, curve.label) for curve in chart.curves if curve.label]
    if chart.stressed is not None and chart.stressed_label and bool(np.any(_visible_bins(chart, chart.stressed))):
        pieces.append(Piece(glyphs.stressed, Ink.WARN, chart.stressed_label))
    if chart.band is not None and chart.band.label:
        pieces.append(Piece(glyphs.shade, Ink.SHADE, chart.band.label))
    if chart.bad_label and bad_rows and has_bad(chart):
        pieces.append(Piece(glyphs.lost, Ink.BAD, chart.bad_label, is_extra=True))
    return pieces


def _visible_bins(chart: Chart, bins: Where) -> Where:
    return _visible(chart, bins.astype(np.float64)) > 0


def _sample(curve: Curve, glyphs: GlyphSet) -> str:
    if curve.filled:
        return glyphs.levels[-1] * 2
    middle = glyphs.rows // 2 - (glyphs.rows % 2 == 0)
    row = ((1 << glyphs.columns) - 1) << (middle * glyphs.columns)
    if curve.thick:
        row |= row << glyphs.columns
        return glyphs.thick[row] * 2
    return f"{glyphs.thin[row]} {glyphs.thin[row]}" if curve.dashed else glyphs.thin[row] * 2


def _codes(characters: str) -> NDArray[np.uint32]:
    return np.frombuffer(characters.encode("utf-32-le"), np.uint32)
