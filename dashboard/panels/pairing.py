"""Two runs beside each other: equal scales, what differs, and what may be said of it. Pure functions.

A pair of runs is one run each: it shows what happened in these two, never what the configurations are like. Only a comparison
with repeated blocks (`afterload compare`) tells a difference from chance, and the sentence says so. What chance does within
the two is told by harness.compare, once both have ended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dashboard.panels import charts
from dashboard.panels.lines import Line, Role, cut, line
from dashboard.panels.words import UNKNOWN, ms, rate
from dashboard.raster.chart import Chart, chart_limits, has_bad
from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.heat import Heat, heat_limits
from dashboard.raster.window import Window
from harness.live.frame import NOT_KNOWN, Frame, Phase
from harness.wording import at_s

if TYPE_CHECKING:
    from harness.compare.record import ContrastRecord, FigureRecord

__all__ = ["Delta", "Paper", "charts_of", "delta_lines", "deltas", "heats_of", "sentence", "title_line"]

_SAME: Final = 0.05
"""Less than this is called about the same: what two runs of one configuration differ by as a rule."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One figure of both runs. None: that run has none."""

    name: str
    unit: str  # ms, /s, or "" of a count
    a: float | None
    b: float | None
    is_better_lower: bool | None = True  # None: neither is better
    id: str = ""  # of the figure in a comparison; empty: it is in none
    figure: FigureRecord | None = None  # with an interval for what chance does within the two runs; None: not known (yet)

    @property
    def ratio(self) -> float | None:
        """Of the second to the first. None: one of them is nothing, or not known."""
        if not self.a or not self.b or math.isinf(self.a) or math.isinf(self.b):
            return None
        return self.b / self.a


def deltas(a: Frame, b: Frame, contrast: ContrastRecord | None = None) -> Sequence[Delta]:
    """The figures by which two runs are compared, as in their summaries; with intervals, if they were compared."""
    figures = {figure.id: figure for figure in contrast.figures} if contrast is not None else {}

    def server(frame: Frame, value: float | None) -> float | None:
        return value if frame.about.has_server_witness else None

    sent = a.totals.attempted, b.totals.attempted
    # Whoever was sent more has more to do.
    is_more_better = False if max(sent) <= (1 + _SAME) * min(sent) else None
    found = [
        Delta("response p95", "ms", a.totals.response_p95_ms, b.totals.response_p95_ms, id="p95"),
        Delta("done p95", "ms", server(a, a.totals.done_p95_ms), server(b, b.totals.done_p95_ms), id="done_p95"),
        Delta("most queued", "", server(a, a.totals.backlog_max), server(b, b.totals.backlog_max), id="backlog"),
        Delta("lost", "", server(a, _lost(a)), server(b, _lost(b))),
        # Not per second: to the end of a recording belongs the time in which nothing was asked of the server any more.
        Delta("finished", "tasks", server(a, a.totals.finished), server(b, b.totals.finished), is_better_lower=is_more_better),
    ]
    return [replace(delta, figure=figures.get(delta.id)) for delta in found]


def delta_lines(found: Sequence[Delta], names: tuple[str, str], width: int) -> Sequence[Line]:
    """A heading, and a row for each figure: both values, the ratio, and which way is better."""
    label, column = 14, max(10, min(20, (width - 14 - 22) // 2))
    head = line((f" {'':<{label}}{_fit(names[0], column)}{_fit(names[1], column)}   B against A", "title"))
    return [cut(each, width) for each in (head, *(_delta_line(delta, label, column) for delta in found))]


def sentence(a: Frame, b: Frame, found: Sequence[Delta], contrast: ContrastRecord | None = None) -> str:
    """What happened in these two runs, and that it is no more than that."""
    if contrast is not None:
        return f"{contrast.sentence} One run each: f says what that is worth."
    earlier = [each.at_s for each in (a, b) if each.at_s < each.newest_s]
    if earlier:
        return f"As they stood at {at_s(max(earlier))}, which says nothing of the whole runs: no verdict."
    if a.phase is not Phase.ENDED or b.phase is not Phase.ENDED:
        return "These runs go on, or did not end: so far, and no verdict."
    said = [words for delta in found if (words := _difference(delta))]
    unequal = _unequal(a, b)
    first = f"B against A: {', '.join(said)}." if said else "No figure differs by more than a twentieth."
    if unequal:
        return f"{first} Not alike besides: {unequal}."
    return f"{first} One run each: it may be chance; `afterload compare` tells."


def title_line(frame: Frame | None, letter: str, width: int) -> Line:
    """Which run it is."""
    if frame is None:
        return line((f" {letter}  ", "chosen"), (" waiting for its figures", "muted"))
    about = frame.about
    parts = [about.title, about.engine, about.tasks, f"pool {about.pool}" if about.pool is not None else None, about.load]
    verdict = f"  {frame.summary.verdict}" if frame.summary is not None else f"  {frame.phase.value}"
    return cut(line((f" {letter} ", "chosen"), " ", (" · ".join(str(each) for each in parts if each), "title"), verdict), width)


def charts_of(a: Frame, b: Frame, window: Window) -> tuple[tuple[Chart, Chart], tuple[Chart, Chart]]:
    """Durations and backlogs of both, with the same scales."""
    durations = _same(charts.scissors(a, window), charts.scissors(b, window))
    backlogs = _same(charts.backlog(a, window), charts.backlog(b, window))
    return durations, backlogs


@dataclass(frozen=True, slots=True)
class Paper:
    """What the heat maps are drawn on; both are drawn on the same."""

    width: int
    height: int
    glyphs: GlyphSet
    is_colored: bool


def heats_of(a: Frame, b: Frame, window: Window, paper: Paper, *, intensity: bool) -> tuple[Heat, Heat] | None:
    """Heat maps of both, with the same rows and the same greatest colour."""
    first = charts.response_heat(a, window, intensity=intensity)
    second = charts.response_heat(b, window, intensity=intensity)
    if first is None or second is None:
        return None
    low_ms, high_ms, most = heat_limits(
        first, second, width=paper.width, height=paper.height, glyphs=paper.glyphs, is_colored=paper.is_colored
    )
    return (
        replace(first, low_ms=low_ms, high_ms=high_ms, most=most),
        replace(second, low_ms=low_ms, high_ms=high_ms, most=most),
    )


def _same(first: Chart, second: Chart) -> tuple[Chart, Chart]:
    limits, is_bad = chart_limits(first, second), has_bad(first) or has_bad(second)
    return replace(charts.fixed(first, limits), keeps_bad_row=is_bad), replace(charts.fixed(second, limits), keeps_bad_row=is_bad)


def _lost(frame: Frame) -> int | None:
    """None: the run has crashed, and nobody knows what became of what its server held."""
    if frame.boot.in_words == NOT_KNOWN:
        return None
    return frame.totals.lost_queued + frame.totals.lost_running + frame.totals.lost_discarded


def _value(delta: Delta, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if delta.unit == "ms":
        return ms(value)
    return rate(value) if delta.unit == "/s" else f"{value:,.0f}"


def _fit(text: str, column: int) -> str:
    return f"{text[:column]:>{column}}"


def _delta_line(delta: Delta, label: int, column: int) -> Line:
    shown = line((f" {delta.name:<{label}}", "muted"), _fit(_value(delta, delta.a), column), _fit(_value(delta, delta.b), column))
    return (*shown, *_change(delta))


def _change(delta: Delta) -> Line:
    if delta.a is None or delta.b is None:
        return line((f"   {UNKNOWN}", "muted"))
    if delta.figure is not None and (told := _told(delta.figure)):
        return told
    if delta.a == delta.b or (delta.ratio is not None and abs(delta.ratio - 1) < _SAME):
        return line(("   = about the same", "muted"))
    higher = delta.b > delta.a
    role: Role = "muted" if delta.is_better_lower is None else "bad" if higher == delta.is_better_lower else "good"
    if math.isinf(delta.a) or math.isinf(delta.b):
        size = f"never in {'B' if higher else 'A'}:"
    elif delta.ratio is None:
        size = f"{'+' if higher else '-'}{_value(delta, abs(delta.b - delta.a))}"
    else:
        size = f"×{delta.ratio:.2f}"
    word = {"bad": " worse", "good": " better"}.get(role, "")
    return line((f"   {'▲' if higher else '▼'} {size}{word}", role))


_WORD = {"equal": "about the same"}


def _told(figure: FigureRecord) -> Line:
    """What the comparison says of it; empty: no more than the two values do."""
    word = "lost" if figure.id.startswith("done") else "no answer"
    if figure.scale == "never" and figure.direction:
        role: Role = "bad" if figure.direction == "worse" else "good"
        return line((f"   {'▲' if role == 'bad' else '▼'} never in {'B' if figure.never_other else 'A'}: {word}", role))
    if figure.scale == "never" and figure.never_base and figure.never_other:
        # The values beside it may be of what was done.
        return line((f"   = never in both: {word}", "muted"))
    if figure.scale != "ratio" or figure.estimate is None or figure.low is None:
        return ()
    high = "never" if figure.high is None else f"{figure.high:.2f}"
    size = f"×{figure.estimate:.2f} ({figure.low:.2f} to {high})"
    if not figure.direction or figure.decision not in {"seen", "different"}:
        # That it may be chance, or is too small to matter, is no proof that it is.
        return line((f"   {'=' if figure.decision == 'equal' else '?'} {size} {_WORD.get(figure.decision, 'unclear')}", "muted"))
    role = "bad" if figure.direction == "worse" else "good"
    return line((f"   {'▲' if figure.estimate > 1 else '▼'} {size} {figure.direction}", role))


def _difference(delta: Delta) -> str:
    if delta.a is None or delta.b is None or delta.a == delta.b:
        return ""
    if delta.ratio is None:
        a, b = _value(delta, delta.a), _value(delta, delta.b)
        return f"{delta.name} {b} against {a}" if delta.unit == "ms" else f"{b} {delta.name} against {a}"
    if abs(delta.ratio - 1) < _SAME:
        return ""
    return f"{delta.name} ×{delta.ratio:.2f}"


def _unequal(a: Frame, b: Frame) -> str:
    """What differs besides engine, kind, pool and load, which are what one compares; or makes a comparison idle."""
    found = []
    if a.about.title != b.about.title:
        found.append("the scenario")
    if a.about.for_s != b.about.for_s:
        found.append("the length")
    if a.totals.restarts != b.totals.restarts:
        found.append("the number of restarts")
    return ", ".join(found)
