"""The upright axis: from values to dots, and the labels that people read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scale", "Unit", "label_of", "linear_scale", "log_scale", "value_text"]

Figures = NDArray[np.float64]


class Unit(StrEnum):
    """What a value is."""

    MS = "ms"
    COUNT = "count"
    SHARE = "share"  # 1 is all
    BYTES = "bytes"
    PER_S = "per s"


_MOST: Final = 1e15  # beyond it there is nothing that could be shown
_LEAST: Final = 1e-9
_MIN, _H = 60e3, 3600e3
# What a logarithmic axis of durations may begin, end and be labelled at: people count in s, min and h from some size on.
_COARSE_MS: Final = (
    *(10.0**power for power in range(-3, 5)), _MIN, 10 * _MIN, _H, 10 * _H, *(_H * 10.0**power for power in range(2, 9))
)  # fmt: skip
_FINE_MS: Final = (
    *(round(factor * 10.0**power, 6) for power in range(-3, 4) for factor in (1, 2, 5)),
    10e3, 20e3, _MIN, 2 * _MIN, 5 * _MIN, 10 * _MIN, 20 * _MIN, _H, 2 * _H, 5 * _H,
    *(factor * _H * 10.0**power for power in range(1, 9) for factor in (1, 2, 5)),
)  # fmt: skip
_COARSE: Final = tuple(10.0**power for power in range(-3, 16))
_FINE: Final = tuple(factor * 10.0**power for power in range(-3, 15) for factor in (1, 2, 5))
_TOPS: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_BYTES_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` at the lowest dot to `high`, which is more, at the uppermost one. If it is logarithmic, `low` is above 0."""

    low: float
    high: float
    unit: Unit
    is_log: bool

    def dots(self, values: Figures, n: int) -> Figures:
        """Of `n` dots counted from the bottom: which one, as a fraction. NaN stays; what is outside is put to the edge."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            if self.is_log:
                share = np.log(np.maximum(values, self.low) / self.low) / math.log(self.high / self.low)
            else:
                share = (values - self.low) / (self.high - self.low)
            return np.clip(share, 0.0, 1.0) * (n - 1)

    def row(self, value: float, height: int, rows: int) -> int:
        """In which of `height` rows from the top, of so many dots each, a value is."""
        dot = round(float(self.dots(np.array([value]), height * rows)[0]))
        return height - 1 - dot // rows

    def ticks(self, height: int) -> list[float]:
        """Values that carry a label, from the lowest: both ends, and what fits between them with a row free in between."""
        if height < 2:
            return [self.high] if height == 1 else []
        inner = self._inner_log(height) if self.is_log else self._inner_linear(height)
        rows = {self.row(value, height, 4): value for value in inner}
        return [self.low, *(value for row, value in rows.items() if 0 < row < height - 1), self.high]

    def _inner_log(self, height: int) -> list[float]:
        """The finest regular choice that fits: all nice values, decades, every second decade, ..."""
        coarse, fine = (_COARSE_MS, _FINE_MS) if self.unit is Unit.MS else (_COARSE, _FINE)
        decades = [value for value in coarse if self.low < value < self.high]
        choices = [[value for value in fine if self.low < value < self.high]]
        choices += [decades[::step] for step in range(1, len(decades) + 1)]
        for values in choices:
            rows = [self.row(value, height, 4) for value in values]
            inside = [row for row in rows if 0 < row < height - 1]
            if all(lower - upper >= 2 for lower, upper in pairwise(inside)):
                return values
        return []

    def _inner_linear(self, height: int) -> list[float]:
        for pieces in (5, 4, 3, 2):
            step = (self.high - self.low) / pieces
            if height >= 3 * pieces + 1 and self._is_round(step):
                return [self.low + number * step for number in range(1, pieces)]
        return []

    def _is_round(self, step: float) -> bool:
        """Whether a step has few digits: a label in between says it exactly."""
        if step <= 0 or (self.unit is Unit.COUNT and not step.is_integer()):
            return False
        if self.unit is Unit.BYTES and step >= 1024:
            step /= 1024.0 ** math.floor(math.log(step, 1024.0))
        digits = step / 10.0 ** math.floor(math.log10(step))
        return any(abs(digits - nice) < 1e-9 for nice in (1, 2, 2.5, 3, 4, 5, 6, 8, 10))


def log_scale(low: float | None, high: float | None, values: list[Figures], unit: Unit) -> Scale:
    """From the next nice value below to the next one above all values; at least a decade. Given ends stay as they are."""
    nice = _FINE_MS if unit is Unit.MS else _FINE
    seen = [found[np.isfinite(found) & (found > 0)] for found in values]
    least = min((float(found.min()) for found in seen if len(found)), default=None)
    most = max((float(found.max()) for found in seen if len(found)), default=None)
    start = low if low is not None and _LEAST <= low < _MOST else None
    end = high if high is not None and 0 < high <= _MOST else None
    if start is None:
        start = max((value for value in nice if value <= (least if least is not None else nice[9])), default=nice[0])
    if end is None:
        end = min((value for value in nice if value >= (most if most is not None else start)), default=nice[-1])
    if end < start * 10 * (1 - 1e-9) and low is None and high is not None:
        start = max((value for value in nice if value <= end / 10), default=end / 10)
    if end < start * 10 * (1 - 1e-9) and high is None:
        end = min((value for value in nice if value >= start * 10 * (1 - 1e-9)), default=start * 10)
    return Scale(start, end if end > start else start * 10, unit, is_log=True)


def linear_scale(low: float | None, high: float | None, values: list[Figures], unit: Unit, least_high: float = 0.0) -> Scale:
    """From 0 to the next nice value above all values, and at least `least_high`. Given ends stay as they are."""
    seen = [found[np.isfinite(found)] for found in values]
    most = max((float(found.max()) for found in seen if len(found)), default=0.0)
    start = low if low is not None and abs(low) < _MOST else 0.0
    if high is not None and start < high <= _MOST:
        return Scale(start, high, unit, is_log=False)
    most = min(max(most, least_high, start), _MOST / 10)
    end = 1.0 if unit is Unit.SHARE and most <= 1 else nice_ceiling(most, unit)
    return Scale(start, end if end > start else start + 1.0, unit, is_log=False)


def nice_ceiling(value: float, unit: Unit = Unit.COUNT) -> float:
    """The smallest value that ends an axis well and is not below `value`."""
    if unit is Unit.BYTES:
        power = 1024.0 ** max(0, math.floor(math.log(max(value, 1.0), 1024.0)))
        return next((step * power for step in _BYTES_STEPS if step * power >= value), 1024.0 * power)
    if unit is Unit.MS and value > 10e3:
        return next((nice for nice in _FINE_MS if nice >= value), value)
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    found = next(round(top * power, 12) for top in (*_TOPS, 100.0) if top * power >= value * (1 - 1e-12))
    return max(math.ceil(found), 1.0) if unit is Unit.COUNT else found


def label_of(value: float, unit: Unit) -> str:
    """At most seven characters, for an axis, as long as the value is not absurd."""
    if unit is Unit.MS:
        text = _duration(value)
    elif unit is Unit.SHARE:
        text = f"{100 * value:.3g} %" if abs(value) < 10 else f"{100 * value:,.0f} %"
    elif unit is Unit.BYTES:
        text = _bytes(value)
    else:
        text = _count(value)
    return text if len(text) <= 7 else text.replace(" ", "")


def value_text(value: float, unit: Unit) -> str:
    """A value in a sentence: three digits that matter, with its unit."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never" if unit is Unit.MS else "-"
    if unit is Unit.MS:
        if abs(value) < 1000:
            return f"{value:.3g} ms" if abs(value) < 999.5 else "1 s"
        return _duration(float(f"{value:.3g}") if value < 120e3 else round(value, -3))
    if unit is Unit.PER_S:
        return f"{value:,.0f}/s" if abs(value) >= 100 else f"{value:.3g}/s"
    if unit is Unit.COUNT:
        return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"
    return label_of(value, unit)


def _duration(ms: float) -> str:
    for size, name in ((86400e3, "d"), (3600e3, "h"), (60e3, "min"), (1e3, "s"), (1.0, "ms")):
        # 90 s is easier to compare with 30 s than 1.5 min is.
        least = size if size <= 1e3 else 1000 * _H if name == "d" else 2 * size
        if abs(ms) >= least or (name in ("min", "h") and abs(ms) >= size and ms % size == 0):
            amount = ms / size
            return f"{amount:,.0f} {name}" if amount >= 100 or amount == int(amount) else f"{amount:.3g} {name}"
    return "0" if ms == 0 else f"{ms * 1e3:.3g} us"


def _count(value: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    if abs(value) >= 1 or value == 0:
        return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.2g}"


def _bytes(value: float) -> str:
    for power, name in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if abs(value) >= 1024.0**power:
            return f"{value / 1024.0**power:.3g} {name}"
    return f"{value:.0f} B"


assert all(left < right for left, right in pairwise(_FINE_MS))
