"""Figures of a frame in words, the same as in the summary; what nobody saw is a dash, never a zero. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.wording import bytes_of, figure, per_second, roughly_s

__all__ = ["UNKNOWN", "clock", "count", "elided", "ladder_step", "ms", "rate", "seconds", "setting", "share", "size"]

UNKNOWN = "–"
_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def clock(at_s: float, tenths: bool = False) -> str:
    """An instant since load start: `01:14`, `01:14.2`, `1:02:14`, `-00:03`."""
    unit = 10 if tenths else 1
    whole = math.floor(abs(at_s) * unit + 1e-6)
    minutes, rest = divmod(whole, 60 * unit)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / unit:04.1f}" if tenths else f"{rest:02d}"
    front = f"{hours}:{minutes:02d}" if hours else f"{minutes:02d}"
    return f"{'-' if at_s < 0 and whole else ''}{front}:{text}"


def ms(value_ms: float | None) -> str:
    """A duration: `18.2 ms`, `43.0 s`; `never`: that share of them never ended."""
    if value_ms is None or math.isnan(value_ms):
        return UNKNOWN
    return figure(value_ms, "ms", never="never")


def seconds(value_s: float | None) -> str:
    """An estimate: `42 s`, `4 min`."""
    return UNKNOWN if value_s is None or not math.isfinite(value_s) else roughly_s(value_s)


def rate(per_s: float | None) -> str:
    """Something per second."""
    return UNKNOWN if per_s is None else per_second(per_s)


def count(number: int | None) -> str:
    """`1,842`."""
    return UNKNOWN if number is None else f"{number:,}"


def share(value: float | None) -> str:
    """`31 %`."""
    return UNKNOWN if value is None else f"{value * 100:.0f} %"


def size(n_bytes: int | None) -> str:
    """`88 MB`."""
    return UNKNOWN if n_bytes is None else bytes_of(n_bytes)


def setting(value: float | str | None) -> str:
    """The value of a setting: `120`, `0.5`, `async`."""
    if value is None:
        return UNKNOWN
    return value if isinstance(value, str) else f"{value:,g}" if value < 1e6 else f"{value:,.0f}"


def elided(text: str, width: int, ellipsis: str = "…") -> str:
    """The text, in at most `width` columns; what is cut off is shown to be."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    return text[: max(0, width - len(ellipsis))].rstrip() + ellipsis if width > len(ellipsis) else text[: max(width, 0)]


def ladder_step(value: float, up: bool, *, whole: bool = False) -> float:
    """The next value above or below on a ladder of round ones: 80, 100, 120, 150 ... `whole`: integers from 1 on."""
    if value < 0.01:
        return 1.0 if up or whole else 0.0
    ladder = _ladder(value)
    if whole:
        ladder = sorted({float(round(step)) for step in ladder if step >= 1})
    if up:
        return next((step for step in ladder if step > value * (1 + 1e-9)), value)
    return next((step for step in reversed(ladder) if step < value * (1 - 1e-9)), ladder[0] if whole else 0.0)


def _ladder(value: float) -> Sequence[float]:
    power = math.floor(math.log10(value))
    return sorted({round(step * 10.0**p, 6) for p in range(power - 1, power + 2) for step in _STEPS})
