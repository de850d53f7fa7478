"""A search as Markdown: short enough for a comment on a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.capacity.schema import Capacity, Configuration
from harness.capacity.words import interval, rate_of
from harness.report.markdown import plain_text
from harness.wording import duration_ms

__all__ = ["markdown"]

_SYMBOLS = {
    "holds": "✅",
    "seems to hold": "✅",
    "seems not to": "❌",
    "does not hold": "❌",
    "not sent": "⚠️",
    "not settled": "⚠️",
    "not tried": "·",
}


def markdown(found: Capacity) -> str:
    """A heading, a table of configurations where there are several, and for each an answer and a table of rates."""
    return "\n\n".join(part for part in _parts(found) if part) + "\n"


def _parts(found: Capacity) -> Iterator[str]:
    yield f"### afterload: capacity of {plain_text(found.title)}"
    limits = ", ".join(f"`{limit}`" for limit in ("backlog bounded", *found.limits))
    yield f"The highest rate that holds {limits}."
    if len(found.configurations) > 1:
        rows = [
            f"| {plain_text(each.label)} | {interval(each.answer)} | {each.answer.cause.kind if each.answer.cause else ''} |"
            for each in found.configurations
        ]
        yield "\n".join(["| configuration | capacity | gives way first |", "|---|---|---|", *rows])
    for each in found.configurations:
        yield from _configuration(each)


def _configuration(each: Configuration) -> Iterator[str]:
    if each.label:
        yield f"#### {plain_text(each.label)}"
    yield f"**{interval(each.answer)}**. {plain_text(each.answer.text)}"
    for said in (each.prediction, each.pool):
        if said is not None:
            yield plain_text(said.text)
    rows = []
    for point in each.curve:
        grows = "–"
        if point.growth_per_s is not None:
            grows = f"{point.growth_per_s:+.1f} ({point.growth_low:+.1f} to {point.growth_high:+.1f})"
        at_kill = "–" if point.at_kill is None else f"{point.at_kill:,.0f}"
        lost = "" if point.lost is None else f", {point.lost:,} measured"
        rows.append(
            f"| {_SYMBOLS[point.standing]} {rate_of(point.rate)} | {duration_ms(point.response_p99_ms, '–')}"
            f" | {duration_ms(point.done_p95_ms, '–')} | {grows} | {at_kill}{lost} |"
        )
    heads = "| rate | response p99 | time until done p95 | backlog grows, per s | a kill would lose |"
    yield "\n".join([heads, "|---:|---:|---:|---:|---:|", *rows])
