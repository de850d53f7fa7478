"""The table that the bench prints: 80 columns, plain text; and one finding a line for the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.duel import Duel, Spread

__all__ = ["WIDTH", "Finding", "duel_lines", "figure", "finding", "head", "range_of", "title"]

WIDTH = 80
DISTURBED = 10
"""Per cent of all cores taken by others: beyond that a slice is worth a remark."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the documentation's table."""

    what: str
    against: str  # whom, and at what value
    value: str  # of the bundled server
    ratio: str  # with least and most
    target: str  # empty: none is set
    met: bool | None  # by the median; None: none is set


def title(text: str) -> str:
    return f"\n{text}\n{'-' * min(WIDTH, len(text))}"


def figure(value: float) -> str:
    """Three digits that matter."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def range_of(spread: Spread) -> str:
    return f"{figure(spread.least)}..{figure(spread.most)}"


def head(text: str = "") -> str:
    """The column heads, after what is compared."""
    return f"  {text:<25}{'done/s':>9}  {'min..max':<16}{'p99 ms':>7}{'CPU s':>7}{'ctx':>6}{'wrk %':>6}"


def duel_lines(duel: Duel, target: str) -> Iterator[str]:
    """Both sides, then the ratio of the first to the second."""
    if not duel.valid:
        yield f"  {duel.a.label} : {duel.b.label}: no valid round"
    for side, contender in enumerate((duel.a, duel.b)) if duel.valid else ():
        rates, cpu, switches = duel.rates(side), duel.cpu_us(side), duel.switches(side)
        p99 = duel.over_slices(side, lambda found: found.p99_ms)
        wrk = duel.over_slices(side, lambda found: 100 * found.wrk_cpu_s / found.wrk_s)
        yield (
            f"  {contender.label:<25}{figure(rates.median):>9}  {range_of(rates):<16}{figure(p99.median):>7}"
            f"{figure(cpu.median / 10):>7}{switches.median:>6.2f}{wrk.median:>6.0f}"
        )
    if duel.valid:
        ratio, cpu_ratio = duel.ratio(), duel.cpu_ratio()
        yield f"  {'ratio':<25}{figure(ratio.median):>9}  {range_of(ratio):<16}{target}".rstrip()
        yield f"  {'ratio of CPU per request':<25}{figure(cpu_ratio.median):>9}  {range_of(cpu_ratio)}"
        others = 100 * max(found.others_share for sides in duel.valid for slices in sides for found in slices)
        if others > DISTURBED:
            yield f"  disturbed: other processes took {others:.0f} % of the cores in the worst slice"
    yield from (f"  invalid: {problem}" for problem in duel.problems)


def finding(what: str, duel: Duel, *, at_least: float | None = None, against: str | None = None) -> Finding | None:
    """A duel's rates as a line of the documentation. None: it has no valid round."""
    if not duel.valid:
        return None
    ratio = duel.ratio()
    return Finding(
        what=what,
        against=f"{against or duel.b.label}: {figure(duel.rates(1).median)}/s",
        value=f"{figure(duel.rates(0).median)}/s",
        ratio=f"{figure(ratio.median)} ({range_of(ratio)})",
        target="" if at_least is None else f">= {at_least:g}",
        met=None if at_least is None else ratio.median >= at_least,
    )
