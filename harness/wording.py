"""Numbers and durations in words, as every text of afterload shows them. Pure functions."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence

__all__ = [
    "about",
    "at_s",
    "bytes_of",
    "counted",
    "counted_between",
    "duration_ms",
    "duration_s",
    "figure",
    "lines_of",
    "listed",
    "most_busy",
    "number_between",
    "per_second",
    "roughly_s",
    "share",
]

_NO_BREAK = "\N{NO-BREAK SPACE}"


def duration_ms(value_ms: float | None, none: str = "never") -> str:
    """Three significant digits and the unit that fits: `0.82 ms`, `3.10 ms`, `142 ms`, `1.24 s`, `12 min 5 s`.

    What is infinite never ended: `never`, whatever is said of None.
    """
    if value_ms is None:
        return none
    if value_ms < 999.5:
        return f"{_digits(value_ms)} ms"
    return duration_s(value_ms / 1e3)


def duration_s(value_s: float | None, none: str = "never") -> str:
    """As `duration_ms`, of seconds."""
    if value_s is None:
        return none
    if math.isinf(value_s):
        return "never"
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


def about(number: float) -> str:
    """Two significant digits: `about 19,000`. Exact up to a hundred."""
    if number < 99.5:
        return f"{number:.0f}"
    size = 10 ** (len(f"{number:.0f}") - 2)
    return f"about {round(number / size) * size:,}"


def bytes_of(number: float) -> str:
    """`812 bytes`, `12 kB`, `1.4 MB`, `44 MB`, `2.1 GB`: powers of ten, two digits or three."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(number) >= 0.9995 * size:
            value = number / size
            return f"{value:,.0f} {unit}" if abs(value) >= 9.95 else f"{value:.1f} {unit}"
    return f"{number:,.0f} bytes"


def per_second(rate: float, what: str = "") -> str:
    """Two or three digits: `104/s`, `9.8/s`, `0.5/s`, `104 tasks/s`."""
    number = f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.1f}" if rate >= 0.095 else f"{rate:.2g}"
    return f"{number}{' ' if what else ''}{what}/s"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 task`, `1,204 tasks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def counted_between(low: int, high: int, one: str, many: str | None = None) -> str:
    """`1 task`, or where it is not known how many, `between 0 and 12 tasks`."""
    return counted(high, one, many) if low == high else f"between {low:,} and {counted(high, one, many)}"


def number_between(low: int, high: int) -> str:
    """`1,204`, or where it is not known how many, `0 to 12`."""
    return f"{high:,}" if low == high else f"{low:,} to {high:,}"


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


def lines_of(text: str, width: int) -> list[str]:
    """The text in lines; a number stays with its unit, and short brackets in one piece."""
    kept = re.sub(r"\([^)]{,30}\)|\d (?:s|ms|min|h)\b", lambda found: found[0].replace(" ", _NO_BREAK), text)
    return [line.replace(_NO_BREAK, " ") for line in textwrap.wrap(kept, width, break_on_hyphens=False)]


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def most_busy(busy_max: int, size: int) -> str:
    """How many threads of a pool worked at most. For a while there may have been more of them than its size says."""
    if busy_max > size:
        return f"at most {busy_max:,} threads busy; the size is {size:,}, and was more for a while"
    return f"at most {busy_max:,} of {size:,} threads busy"


def roughly_s(value_s: float) -> str:
    """What is only an estimate: `4.3 s`, `52 s`, `4 min`, `3 h`."""
    if value_s < 90:
        return f"{value_s:.1f} s" if value_s < 9.95 else f"{value_s:.0f} s"
    return f"{value_s / 60:.0f} min" if value_s < 90 * 60 else f"{value_s / 3600:.0f} h"


def share(value: float, digits: int = 0) -> str:
    """`92 %`."""
    return f"{value * 100:.{digits}f} %"


def _digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
