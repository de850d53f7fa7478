"""Numbers and durations in words, as every text of afterload shows them. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["at_s", "counted", "duration_ms", "duration_s", "figure", "listed"]


def duration_ms(value_ms: float | None, none: str = "never") -> str:
    """Three significant digits and the unit that fits: `0.82 ms`, `3.10 ms`, `142 ms`, `1.24 s`, `12 min 5 s`."""
    if value_ms is None:
        return none
    if value_ms < 999.5:
        return f"{_digits(value_ms)} ms"
    return duration_s(value_ms / 1e3)


def duration_s(value_s: float | None, none: str = "never") -> str:
    """As `duration_ms`, of seconds."""
    if value_s is None:
        return none
    if value_s < 0.9995:
        return f"{_digits(value_s * 1e3)} ms"
    if value_s < 600:
        return f"{_digits(value_s)} s"
    minutes, seconds = divmod(round(value_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def at_s(value_s: float | None, none: str = "never") -> str:
    """An instant, in s since load start: `6.0 s`."""
    return none if value_s is None else f"{value_s:.1f} s"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 task`, `1,204 tasks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def figure(value: float | None, unit: str, none: str = "none", never: str = "never ended") -> str:
    """A figure of the summary in its unit (`ms`, `s`, `/s`, `%`, `bytes`, or `` of a count): `12.3 ms`, `1,204`, `0.40 %`."""
    if value is None:
        return none
    if math.isinf(value):
        return never
    if unit in {"ms", "s"}:
        return duration_ms(value) if unit == "ms" else duration_s(value)
    if unit == "%":
        return f"{value:.0f} %" if value >= 99.95 or not value else f"{_digits(value)} %"
    if unit == "/s":
        return f"{value:,.1f}/s" if value < 999.95 else f"{value:,.0f}/s"
    return f"{value:,.0f}{' bytes' if unit else ''}" if float(value).is_integer() else f"{value:,.2f}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
