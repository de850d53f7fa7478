"""Which part of a run is shown, and where an instant of it is: the one axis that all panels share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["GUTTER", "Window", "bin_for", "gutter_of", "time_ticks", "window_for"]

GUTTER: Final = 8
"""Cells to the left of every plot: labels and the axis."""

_LEAST_PLOT: Final = 8  # a plot narrower than this has no gutter
_COLUMNS_S: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # lengths of a column, times a power of ten
_TICKS_S: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Window:
    """From when until when, in s since load start."""

    from_s: float
    until_s: float
    now_s: float | None = None  # labels count back from here; None: they are those of the run
    cursor_s: float | None = None  # the column that is lit up

    @property
    def span_s(self) -> float:
        """More than nothing."""
        span = self.until_s - self.from_s
        return span if math.isfinite(span) and span > 1e-9 else 1.0

    def column(self, at_s: float, columns: int) -> int | None:
        """In which of so many columns an instant is. None: in none of them."""
        share = (at_s - self.from_s) / self.span_s
        if not (0 <= share <= 1) or columns < 1:
            return None
        # A length such as 0.1 s is no binary fraction: an instant at an edge belongs to the column that begins there.
        return min(int(share * columns + 1e-6), columns - 1)

    def at_s(self, column: int, columns: int) -> float:
        """The instant in the middle of a column."""
        return self.from_s + (column + 0.5) / max(columns, 1) * self.span_s

    def covered(self, from_s: float, until_s: float | None, columns: int) -> tuple[int, int]:
        """The columns of a stretch of time: first, and the one after the last; equal if it is outside."""
        end_s = self.until_s if until_s is None else until_s
        if columns < 1 or end_s < self.from_s or from_s > self.until_s:
            return 0, 0
        first = max((from_s - self.from_s) / self.span_s * columns, 0.0)
        last = min((end_s - self.from_s) / self.span_s * columns, float(columns))
        return min(int(first + 1e-6), columns - 1), max(math.ceil(last - 1e-6), min(int(first + 1e-6), columns - 1) + 1)


def gutter_of(width: int) -> int:
    """What is left free for labels: nothing where that would leave no plot."""
    return GUTTER if width >= GUTTER + _LEAST_PLOT else 0


def window_for(newest_s: float, span_s: float, columns: int, *, live: bool = True) -> Window:
    """About `span_s` that end with the newest instant, in whole columns of a nice length; at first they fill from the left.

    Columns begin at multiples of their length, so the picture moves by whole cells, and most frames change its last column alone.
    """
    columns = max(columns, 1)
    column_s = _nice_column_s(max(span_s, 0.1) / columns)
    whole_s = columns * column_s
    until_s = max(math.ceil(newest_s / column_s - 1e-9) * column_s, whole_s)
    return Window(round(until_s - whole_s, 9), round(until_s, 9), now_s=newest_s if live else None)


def bin_for(window: Window, columns: int) -> float:
    """The length of a bin that suits a window made for so many columns: half of one."""
    return round(window.span_s / max(columns, 1) / 2, 9)


def time_ticks(window: Window, columns: int, *, least_cells: int = 12) -> Iterator[tuple[float, str]]:
    """Instants that carry a label, from left to right, at least so many cells apart."""
    least_s = least_cells * window.span_s / max(columns, 1)
    step_s = next((step for step in _TICKS_S if step >= least_s), _TICKS_S[-1])
    origin = window.now_s if window.now_s is not None else 0.0
    first = math.ceil((window.from_s - origin) / step_s - 1e-9)
    last = 0 if window.now_s is not None else math.floor((window.until_s - origin) / step_s + 1e-9)
    for number in range(first, min(last, first + 10_000) + 1):
        yield origin + number * step_s, _label(number * step_s, step_s, is_ago=window.now_s is not None)


def _label(seconds: float, step_s: float, *, is_ago: bool) -> str:
    digits = 1 if step_s < 1 else 0
    if is_ago:
        if abs(seconds) < 1e-9:
            return "now"
        if step_s >= 3600:
            return f"-{-seconds / 3600:,.0f} h"
        if step_s >= 60:
            return f"-{-seconds / 60:,.0f} min"
        return f"-{-seconds:,.{digits}f} s"
    sign, size = "-" if seconds < -1e-9 else "", abs(seconds)
    if size >= 3600:
        return f"{sign}{int(size // 3600)}:{int(size % 3600 // 60):02}:{int(size % 60):02}"
    return f"{sign}{int(size // 60)}:{size % 60:0{3 + digits if digits else 2}.{digits}f}"


def _nice_column_s(wanted_s: float) -> float:
    power = 10.0 ** math.floor(math.log10(wanted_s))
    return next(round(factor * power, 9) for factor in (*_COLUMNS_S, 10.0) if factor * power >= wanted_s * (1 - 1e-9))
