"""The table that the bench prints: 80 columns, plain text."""

from __future__ import annotations

from collections.abc import Iterator

from bench.instrument import Duel, Spread

__all__ = ["duel_lines", "figure", "head", "range_of", "title"]

WIDTH = 80
DISTURBED = 10
"""Per cent of all cores taken by others: beyond that a slice is worth a remark."""


def title(text: str) -> str:
    return f"\n{text}\n{'-' * min(WIDTH, len(text))}"


def figure(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def range_of(spread: Spread) -> str:
    return f"{figure(spread.least)}..{figure(spread.most)}"


def head(text: str = "") -> str:
    """The column heads, after what is compared."""
    return f"  {text:<30}{'done/s':>9}  {'min..max':<16}{'p99 ms':>7}{'CPU us':>8}{'wrk %':>6}"


def duel_lines(duel: Duel, target: str) -> Iterator[str]:
    """Both sides, then the ratio of the first to the second."""
    if not duel.valid:
        yield f"  {duel.a.label} : {duel.b.label}: no valid round"
        return
    for side, contender in enumerate((duel.a, duel.b)):
        rates, cpu = duel.rates(side), duel.cpu_us(side)
        p99 = duel.over_slices(side, lambda found: found.p99_ms)
        wrk = duel.over_slices(side, lambda found: 100 * found.wrk_cpu_s / found.wrk_s)
        yield (
            f"  {contender.label:<30}{figure(rates.median):>9}  {range_of(rates):<16}{figure(p99.median):>7}"
            f"{figure(cpu.median):>8}{wrk.median:>6.0f}"
        )
    ratio, cpu_ratio = duel.ratio(), duel.cpu_ratio()
    yield f"  {'ratio':<30}{figure(ratio.median):>9}  {range_of(ratio):<16}{target}".rstrip()
    yield f"  {'ratio of CPU per request':<30}{figure(cpu_ratio.median):>9}  {range_of(cpu_ratio)}"
    others = 100 * max(found.others_share for sides in duel.valid for slices in sides for found in slices)
    if others > DISTURBED:
        yield f"  disturbed: other processes took {others:.0f} % of the cores in the worst slice"
