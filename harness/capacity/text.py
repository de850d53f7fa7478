"""A search as text for a terminal: the answer, and a table of all rates with bars on one logarithmic scale. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.capacity.schema import Capacity, Configuration, Point
from harness.capacity.words import interval, rate_of
from harness.wording import about, duration_ms, lines_of

__all__ = ["render"]

_SYMBOLS: Final = {
    "holds": ("✔", "OK", "32"),
    "seems to hold": ("✔", "OK", "32"),
    "seems not to": ("✖", "X", "31"),
    "does not hold": ("✖", "X", "31"),
    "not sent": ("▲", "?", "33"),
    "not settled": ("▲", "?", "33"),
    "not tried": ("·", "-", "90"),
}
_BAR: Final = 8
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_BLUE, _ORANGE, _BOLD, _FAINT = "38;2;86;180;233", "38;2;230;159;0", "1", "90"


@dataclass(frozen=True, slots=True)
class _Style:
    width: int
    color: bool
    ascii_only: bool

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text

    def bar(self, share: float) -> str:
        """`_BAR` columns, of which this share is full."""
        eighths = round(min(max(share, 0.0), 1.0) * _BAR * 8)
        if self.ascii_only:
            return ("#" * round(eighths / 8)).ljust(_BAR)
        return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(_BAR)


def render(found: Capacity, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """The whole text."""
    style = _Style(width, color, ascii_only)
    lines: list[str] = []
    if len(found.configurations) > 1:
        lines += [*_side_by_side(found, style), ""]
    for each in found.configurations:
        lines += [*_configuration(found, each, style), ""]
    return "\n".join(lines)


def _side_by_side(found: Capacity, style: _Style) -> Iterator[str]:
    column = max(len(each.label) for each in found.configurations)
    highest = max((each.answer.found or 0.0 for each in found.configurations), default=0.0)
    yield style.paint(f"{found.title}: capacity of {len(found.configurations)} configurations", _BOLD)
    for each in found.configurations:
        bar = style.bar((each.answer.found or 0.0) / highest if highest else 0.0)
        why = f"  {each.answer.cause.kind}" if each.answer.cause is not None else ""
        yield f"  {each.label:<{column}}  {style.paint(bar, _BLUE)}  {interval(each.answer):<18}{why}"


def _configuration(found: Capacity, each: Configuration, style: _Style) -> Iterator[str]:
    head = " ".join(filter(None, (found.title, each.label)))
    limits = "".join(f", {limit}" for limit in found.limits)
    yield style.paint(f"{head}: {interval(each.answer)}", _BOLD) + style.paint(f"  (backlog bounded{limits})", _FAINT)
    yield ""
    for text in (each.answer.text, each.prediction.text if each.prediction else "", each.pool.text if each.pool else ""):
        if text:
            yield from (f"  {line}" for line in lines_of(text, style.width - 2))
            yield ""
    yield from _table(each, style)


def _table(each: Configuration, style: _Style) -> Iterator[str]:
    values = [value for point in each.curve for value in (point.response_p99_ms, point.done_p95_ms) if value]
    low, high = (min(values) / 2, max(values)) if values else (1.0, 10.0)
    has_lost = any(point.lost is not None for point in each.curve)
    heads = f"{'rate':>10}  {'response p99':<19}{'until done p95':<19}{'backlog, /s':>14}{'at a kill':>10}"
    yield style.paint(heads + ("  lost" if has_lost else ""), _FAINT)
    for point in each.curve:
        yield _row(point, low, high, style, is_found=point.rate == each.answer.found, has_lost=has_lost)
    yield style.paint("  at a kill: tasks accepted and not ended, on average: what a kill would lose", _FAINT)


def _row(point: Point, low: float, high: float, style: _Style, *, is_found: bool, has_lost: bool) -> str:
    symbol, plain, code = _SYMBOLS[point.standing]
    cells = []
    for value, ink in ((point.response_p99_ms, _BLUE), (point.done_p95_ms, _ORANGE)):
        share = math.log(value / low) / math.log(high / low) if value and high > low else 0.0
        cells.append(f"{duration_ms(value, '-'):>9} {style.paint(style.bar(share), ink)} ")
    grows = "-"
    if point.growth_per_s is not None and point.growth_high is not None and point.growth_low is not None:
        grows = f"{_slope(point.growth_per_s)} ±{_error((point.growth_high - point.growth_low) / 2)}"
    at_kill = "-" if point.at_kill is None else about(point.at_kill) if point.at_kill >= 10 else f"{point.at_kill:.1f}"
    lost = f"  {'-' if point.lost is None else f'{point.lost:,}':>4}" if has_lost else ""
    rate = f"{rate_of(point.rate):>8}"
    mark = style.paint(f"{plain if style.ascii_only else symbol:<2}", code)
    return f"{mark}{style.paint(rate, _BOLD) if is_found else rate}  {''.join(cells)}{grows:>14}{at_kill:>10}{lost}"


def _slope(per_s: float) -> str:
    if abs(per_s) < 0.05:
        return "0"
    return f"{per_s:+.1f}" if abs(per_s) < 99.5 else f"{per_s:+,.0f}"


def _error(half: float) -> str:
    """Two digits, as numbers are written."""
    return f"{half:,.0f}" if half >= 9.5 else f"{half:.2g}"
