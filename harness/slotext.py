"""The objectives of a run as lines of text: name, value, and what stands in the way where it cannot be told. Pure functions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.schema import SloSummary, Summary
from harness.wording import at_s, counted, duration_s, figure, lines_of

__all__ = ["SloLine", "reasons_beside_limits", "slo_heading", "slo_lines", "slo_table"]

_NAME_COLUMNS: Final = 30  # a longer name has lines of its own


@dataclass(frozen=True, slots=True)
class SloLine:
    """One objective in words."""

    holds: bool | None
    name: str
    words: str


def slo_heading(summary: Summary) -> str:
    """What the objectives come to, behind the verdict's name."""
    n = len(summary.slos)
    broken = sum(slo.holds is False for slo in summary.slos)
    unknown = sum(slo.holds is None for slo in summary.slos)
    if not summary.trusted:
        return "the figures cannot be trusted:"
    if broken:
        return f"{broken:,} of {counted(n, 'limit')} {'is' if broken == 1 else 'are'} broken:"
    if unknown:
        return f"whether {unknown:,} of {counted(n, 'limit')} {'holds' if unknown == 1 else 'hold'} cannot be told:"
    if summary.verdict == "INCONCLUSIVE":
        return "the figures can be trusted, and are not those of what was planned:"
    if n:
        return "the limit holds:" if n == 1 else f"all {n:,} limits hold:"
    return "the figures can be trusted (no limits were set)."


def reasons_beside_limits(summary: Summary) -> list[str]:
    """The verdict's reasons, without those about limits: these are told by the limits themselves."""
    return [reason for reason in summary.reasons if not any(reason.startswith(f"{slo.text} ") for slo in summary.slos)]


def slo_lines(summary: Summary) -> Iterator[SloLine]:
    """One line for each objective; one for all of them if nobody looked at them."""
    if summary.interrupted_by and summary.slos:
        yield SloLine(None, "", f"{counted(len(summary.slos), 'limit was', 'limits were')} not looked at")
        return
    for slo in summary.slos:
        yield SloLine(slo.holds, slo.text, _words(slo))


def slo_table(summary: Summary, width: int) -> Iterator[tuple[bool | None, list[str]]]:
    """Whether each objective holds, and its lines in two columns."""
    limits = list(slo_lines(summary))
    column = max((len(limit.name) for limit in limits if len(limit.name) <= _NAME_COLUMNS), default=0)
    gap = "  " if column else ""
    for limit in limits:
        words = lines_of(limit.words, width - column - len(gap)) or [""]
        if len(limit.name) <= column:
            yield limit.holds, [f"{limit.name if number == 0 else '':<{column}}{gap}{line}" for number, line in enumerate(words)]
        else:
            yield limit.holds, [*textwrap.wrap(limit.name, width), *(f"{'':<{column}}{gap}{line}" for line in words)]


def _words(slo: SloSummary) -> str:
    value = figure(slo.value, slo.unit, none="never ended" if slo.never else "")
    if "%" in slo.text and slo.unit != "%" and slo.limit is not None:
        value += f" (the limit is {figure(slo.limit, slo.unit)})"
    windows = slo.windows
    if windows is not None and windows.worst_from_s is not None:
        value += f" in the {duration_s(windows.length_s)} from {at_s(windows.worst_from_s)} on"
        if windows.broken:
            value += f"; broken in {windows.broken:,} of {counted(windows.n, 'window')}"
        elif windows.n > 1:
            value += f", the worst of {counted(windows.n, 'window')}"
    return ": ".join(filter(None, (value, slo.why)))
