"""A search as text for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.capacity.schema import Capacity, Measured
from harness.wording import duration_ms, lines_of, per_second

__all__ = ["render"]


def render(found: Capacity, width: int = 80) -> str:
    """The answer, and a table of all rates."""
    return "\n".join(["", *lines_of(found.answer.text, width), "", *_table(found), ""]) + "\n"


def _table(found: Capacity) -> Iterator[str]:
    yield f"{'rate':>9}  {'p99':>9}  {'done p95':>9}  {'backlog grows':>18}  {'at a kill':>9}"
    for each in sorted(found.stages, key=lambda each: (each.rate, each.number)):
        yield _row(each)


def _row(each: Measured) -> str:
    growth = each.growth
    grows = "-" if growth is None else f"{growth.per_s:+.1f} ({growth.low:+.1f}..{growth.high:+.1f})"
    pending = "-" if each.pending_mean is None else f"{each.pending_mean:,.0f}"
    return (
        f"{per_second(each.rate):>9}  {duration_ms(each.response_p99_ms, '-'):>9}  {duration_ms(each.done_p95_ms, '-'):>9}"
        f"  {grows:>18}  {pending:>9}"
    )
