"""Charts of characters over the time of a run: bars, log-scale strips, faults and outages. Pure functions; one column per bin.

A fault is a line through all rows, and an outage is hatched in every column where there is nothing to show: a gap never looks
like a measured zero, nor like a line that goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.schema import Summary

__all__ = [
    "ASCII",
    "BLOCKS",
    "Columns",
    "Glyphs",
    "Mark",
    "bars",
    "columns_of",
    "marks_row",
    "nice_ceiling",
    "strip",
    "time_axis",
]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of a chart."""

    levels: str  # of a bar's topmost cell, from least to full
    fault: str
    outage: str
    axis: str  # left
    tick: str  # left, at a number
    corner: str
    load: str  # the time axis while load was sent
    rest: str  # and after it
    mark: str  # a number's place on the time axis
    good: str
    bad: str
    unsure: str
    dot: str
    none: str
    leads_to: str


BLOCKS: Final = Glyphs(
    levels="▁▂▃▄▅▆▇█",
    fault="┃",
    outage="╱",
    axis="│",
    tick="┤",
    corner="└",
    load="━",
    rest="─",
    mark="┴",
    good="✔",
    bad="✖",
    unsure="▲",
    dot="·",
    none="–",
    leads_to="→",
)
ASCII: Final = Glyphs(
    levels=".:|#",
    fault="!",
    outage="/",
    axis="|",
    tick="+",
    corner="+",
    load="=",
    rest="-",
    mark="'",
    good="OK",
    bad="X",
    unsure="?",
    dot="-",
    none="-",
    leads_to=">",
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A fault on the time axis."""

    column: int
    words: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The run in columns: what to draw in each."""

    column_s: float
    backlog_max: Sequence[int]
    response_p95_ms: Sequence[float | None]
    done_p95_ms: Sequence[float | None]
    is_outage: Sequence[bool]
    faults: Sequence[Mark]
    n_load: int  # columns in which load was sent
    other_faults: bool = False  # some of the faults are no end of a boot


def columns_of(summary: Summary, n_columns: int) -> Columns:
    """The timeline in at most `n_columns` columns: bins are put together by their largest value."""
    timeline = summary.timeline
    n_bins = len(timeline.t_s)
    per_column = max(1, math.ceil(n_bins / max(n_columns, 1)))
    column_s = (timeline.bin_s or 0.0) * per_column
    starts = range(0, n_bins, per_column)
    n = len(starts)

    def column(instant_s: float) -> int:
        return min(max(int(instant_s / column_s), 0), n - 1) if column_s else 0

    # A killed server's backlog counts until it was reaped, some milliseconds later. Where a column ends between the two, the line
    # stands at the reaping, or the next column would show the backlog of a dead server.
    struck = {
        boot.boot: column(boot.died_s if boot.signal == "SIGKILL" and boot.died_s is not None else boot.signalled_s)
        for boot in summary.boots
        if boot.signalled_s is not None
    }
    is_outage = [False] * n
    for outage in timeline.outages:
        if outage.from_s is None:
            continue
        last = n - 1 if outage.until_s is None else column(outage.until_s)
        # The column in which the next boot was ready has something to show.
        for number in range(struck.get(outage.boot, column(outage.from_s)), last + (outage.until_s is None)):
            is_outage[number] = True
    faults = [
        Mark(column=struck[boot.boot], words=f"{boot.signal} {boot.signalled_s:.1f} s")
        for boot in summary.boots
        if boot.fault and boot.signalled_s is not None
    ]
    faults += [
        Mark(column=column(boot.died_s), words=f"boot {boot.boot} died {boot.died_s:.1f} s")
        for boot in summary.boots
        if boot.signal is None and boot.died_s is not None
    ]
    # What did not end a boot: a line where it landed, and for a stop nobody answers until it is over.
    for fault in summary.faults:
        if fault.ends_boot or fault.landed_s is None:
            continue
        faults.append(Mark(column=column(fault.landed_s), words=f"{fault.kind} {fault.landed_s:.1f} s"))
        if fault.kind == "stop":
            last = n - 1 if fault.ended_s is None else column(fault.ended_s)
            for number in range(column(fault.landed_s), last + (fault.ended_s is None)):
                is_outage[number] = True
    return Columns(
        column_s=column_s,
        backlog_max=[max(timeline.backlog_max[start : start + per_column]) for start in starts],
        response_p95_ms=[_highest(timeline.response_p95_ms[start : start + per_column]) for start in starts],
        done_p95_ms=[_highest(timeline.done_p95_ms[start : start + per_column]) for start in starts],
        is_outage=is_outage,
        faults=sorted(faults, key=lambda fault: fault.column),
        other_faults=any(not fault.ends_boot and fault.landed_s is not None for fault in summary.faults),
        n_load=min(n, math.ceil((summary.load_s or 0.0) / column_s)) if column_s else n,
    )


def bars(columns: Columns, n_rows: int, top: int, glyphs: Glyphs) -> list[str]:
    """The backlog as bars: `n_rows` rows, the uppermost first, `top` being the value of a full bar."""
    n_levels = len(glyphs.levels)
    faults = {fault.column for fault in columns.faults}
    rows = []
    for row in range(n_rows - 1, -1, -1):
        cells = []
        for number, value in enumerate(columns.backlog_max):
            steps = math.ceil(value / top * n_rows * n_levels) if top else 0  # a single waiting task is seen
            level = min(max(steps - row * n_levels, 0), n_levels)
            if number in faults:
                cells.append(glyphs.fault)
            elif level:
                cells.append(glyphs.levels[level - 1])
            else:
                cells.append(glyphs.outage if columns.is_outage[number] else " ")
        rows.append("".join(cells))
    return rows


def strip(values_ms: Sequence[float | None], columns: Columns, low_ms: float, high_ms: float, glyphs: Glyphs) -> str:
    """Durations as one row of levels on a logarithmic scale from low to high; nothing where there is no value."""
    faults = {fault.column for fault in columns.faults}
    span = math.log(high_ms / low_ms) if high_ms > low_ms > 0 else 0.0
    cells = []
    for number, value in enumerate(values_ms):
        if number in faults:
            cells.append(glyphs.fault)
        elif value is None:
            cells.append(glyphs.outage if columns.is_outage[number] else " ")
        else:
            share = math.log(max(value, low_ms) / low_ms) / span if span else 0.0
            cells.append(glyphs.levels[min(int(share * len(glyphs.levels)), len(glyphs.levels) - 1)])
    return "".join(cells)


def marks_row(columns: Columns, width: int) -> str:
    """The faults in words, each beginning (or, at the right edge, ending) at its column; one that has no room is left out."""
    row = [" "] * width
    for fault in columns.faults:
        start = fault.column if fault.column + len(fault.words) <= width else fault.column - len(fault.words) + 1
        if start >= 0 and all(cell == " " for cell in row[max(start - 1, 0) : start + len(fault.words) + 1]):
            row[start : start + len(fault.words)] = fault.words
    return "".join(row).rstrip()


def time_axis(columns: Columns, glyphs: Glyphs) -> tuple[str, str]:
    """The axis, and below it the numbers in s since load start."""
    n = len(columns.backlog_max)
    line = [glyphs.load] * columns.n_load + [glyphs.rest] * (n - columns.n_load)
    numbers = [" "] * (n + 2)
    total_s = n * columns.column_s
    step_s = nice_ceiling(total_s / 6) if total_s else 0.0
    number = 0
    while step_s and number * step_s < total_s:
        place = min(int(number * step_s / columns.column_s + 1e-9), n - 1)
        words = f"{number * step_s:g} s"
        if all(cell == " " for cell in numbers[max(place - 1, 0) : place + len(words) + 1]) and place + len(words) <= n + 2:
            line[place] = glyphs.mark
            numbers[place : place + len(words)] = words
        number += 1
    return "".join(line), "".join(numbers).rstrip()


def nice_ceiling(value: float, factors: Sequence[float] = (1.0, 2.0, 4.0, 5.0, 10.0)) -> float:
    """The smallest of `factors` (up to 10) times a power of ten that is not below the value (> 0)."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in factors if value <= factor * power * (1 + 1e-9))


def _highest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
