"""From a frame to what the chart widgets draw. Pure functions: plain values in, plain values out.

The to-done percentile of a bin is known once all but a twentieth of its tasks are settled. Before that the ones that are
finished already would make it look better than it is, so the age of the oldest unfinished task is drawn, dashed: it is at
least this long. Where more than a twentieth was lost with the server, it is never.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from dashboard.panels.words import UNKNOWN, ms
from dashboard.raster.chart import Band, Chart, Curve
from dashboard.raster.heat import Heat
from dashboard.raster.inks import Ink
from dashboard.raster.lane import Lane
from dashboard.raster.ruler import Ruler
from dashboard.raster.scale import Unit
from dashboard.raster.window import Window
from harness.live.frame import Frame, Mark, MarkKind, Outage

if TYPE_CHECKING:
    from harness.heatmap import HeatMap

__all__ = [
    "at_least_ms",
    "backlog",
    "done_heat",
    "done_p95_ms",
    "fixed",
    "hidden_wait",
    "lane",
    "pool",
    "read_out",
    "response_heat",
    "ruler",
    "scissors",
]

P95: Final = 1  # row of the percentiles of a series
_KNOWN_SHARE: Final = 0.95
_BLOCKED_MS: Final = 100.0
_LEAST_BACKLOG: Final = 10.0
"""The axis goes at least up to here: one or two tasks that wait are nothing, and should not look like a mountain."""
_RECENT_BINS: Final = 5
_LEAST_RATE_S: Final = 0.2
"""Of less time a rate says nothing."""

Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stage:
    """What all the panels of a picture have in common."""

    window: Window
    from_s: float
    bin_s: float


def stage_of(frame: Frame, window: Window) -> Stage:
    """Of the bins that the frame has."""
    edges_ns = frame.series.edges_ns
    return Stage(window, float(edges_ns[0]) / 1e9, float(edges_ns[1] - edges_ns[0]) / 1e9)


def done_p95_ms(frame: Frame) -> Figures:
    """Per bin, of tasks done or lost: NaN: not known yet, or there was nothing to do; inf: more than a twentieth was lost."""
    found = frame.series.of_done.astype(np.float64)
    whole = found + frame.unsettled + frame.lost
    with np.errstate(invalid="ignore", divide="ignore"):
        is_known = found >= _KNOWN_SHARE * whole
        is_lost = frame.lost > (1 - _KNOWN_SHARE) * whole
    return np.where(is_lost, math.inf, np.where(is_known & (whole > 0), frame.series.done_ms[P95], math.nan))


def at_least_ms(frame: Frame, known: Figures) -> Figures:
    """The age of the oldest unfinished task, where the percentile is not known; with the last known value, so that they meet."""
    return np.where(np.isfinite(known), math.nan, frame.oldest_ms)


def hidden_wait(frame: Frame) -> float | None:
    """How many times longer the work takes than the answer: the median of the last bins where both are known. None: nowhere.

    Of a run that is over, of the whole run, as in its report; unless so many were never answered that this has no p95.
    """
    work_ms, client_ms = frame.totals.done_p95_ms, frame.totals.response_p95_ms
    if frame.summary is not None and work_ms and client_ms and math.isfinite(work_ms) and math.isfinite(client_ms):
        return work_ms / client_ms
    response, done = frame.series.response_ms[P95], _known_or_least(frame)
    both = np.flatnonzero(np.isfinite(response) & np.isfinite(done) & (response > 0))[-_RECENT_BINS:]
    return float(np.median(done[both] / response[both])) if len(both) else None


def scissors(frame: Frame, window: Window) -> Chart:
    """What the client waits, how long the work takes, and the gap between them."""
    stage = stage_of(frame, window)
    response = _until(frame, frame.series.response_ms[P95])
    if not frame.about.has_server_witness:
        known, least = np.full_like(response, math.nan), np.full_like(response, math.nan)
    else:
        known = _until(frame, done_p95_ms(frame))
        least = _until(frame, at_least_ms(frame, known))
    times = hidden_wait(frame) if frame.about.has_server_witness else None
    gap = f"hidden wait {_times(times)}" if times is not None and times >= 1.5 else ""
    if not frame.about.has_server_witness:
        gap = "to-done: the server is not seen"
    return Chart(
        window=stage.window,
        from_s=stage.from_s,
        bin_s=stage.bin_s,
        curves=(
            Curve(least, Ink.DONE, label="at least", dashed=True),
            Curve(known, Ink.DONE, label="done", thick=True),
            Curve(response, Ink.RESPONSE, label="response"),
        ),
        unit=Unit.MS,
        is_log=True,
        band=Band(response, np.where(np.isfinite(known), known, least), label=gap) if gap else None,
        bad=_shown(frame, frame.series.rejected + frame.series.indeterminate > 0),
        bad_label="refused, no answer",
        marks=_lines(frame),
        outages=_outages(frame),
        title="Response and to-done, p95",
        short_title="p95",
    )


def backlog(frame: Frame, window: Window) -> Chart:
    """Tasks accepted and not started; where the pool or the event loop was at its limit, it is told apart."""
    stage = stage_of(frame, window)
    values, at_end = (_until(frame, each.astype(np.float64)) for each in (frame.series.backlog_max, frame.series.backlog_end))
    stressed, word = _stressed(frame)
    if not frame.about.has_server_witness:
        values = np.full_like(values, math.nan)
    return Chart(
        window=stage.window,
        from_s=stage.from_s,
        bin_s=stage.bin_s,
        curves=(Curve(values, Ink.DONE, label="queued", filled=True, is_of_process=True, at_end=at_end),),
        unit=Unit.COUNT,
        low=0.0,
        least_high=_LEAST_BACKLOG,
        stressed=stressed,
        stressed_label=word,
        bad=_shown(frame, frame.series.failed > 0),
        bad_label="tasks failed",
        marks=_lines(frame),
        outages=_outages(frame),
        title=f"Backlog, tasks that wait{'' if frame.about.has_server_witness else ': the server is not seen'}",
        short_title="Backlog",
    )


def pool(frame: Frame, window: Window) -> Chart:
    """Threads at work, below the line of how many there are; or tasks that run, where there is no pool."""
    stage, series, (stressed, word) = stage_of(frame, window), frame.series, _stressed(frame)
    busy = _until(frame, series.busy_max.astype(np.float64))
    curves = [Curve(busy, Ink.RESPONSE, label="busy", filled=True, is_of_process=True)]
    if series.sampled is not None and np.isfinite(series.sampled.pool_size).any():
        curves.append(Curve(_until(frame, series.sampled.pool_size), Ink.MUTED, label="size", dashed=True, is_of_process=True))
    return Chart(
        window=stage.window,
        from_s=stage.from_s,
        bin_s=stage.bin_s,
        curves=tuple(curves),
        unit=Unit.COUNT,
        low=0.0,
        stressed=stressed,
        stressed_label=word,
        marks=_lines(frame),
        outages=_outages(frame),
        title="Tasks that run",
        short_title="Busy",
    )


def response_heat(frame: Frame, window: Window, *, intensity: bool = False) -> Heat | None:
    """How often a response took how long."""
    found = frame.response_heat
    return None if found is None else _heat(frame, window, found, found.never, "Responses", intensity=intensity)


def done_heat(frame: Frame, window: Window, *, intensity: bool = False) -> Heat | None:
    """How often it took how long until the work was done; what was lost never is."""
    found = frame.done_heat
    if found is None:
        return None
    made = _heat(frame, window, found, found.never + frame.lost, "Time to done", intensity=intensity)
    return replace(made, what="tasks", ink=Ink.DONE)


def lane(frame: Frame, window: Window) -> Lane:
    """The events, on the axis of the charts."""
    return Lane(window, tuple(mark for mark in frame.marks if mark.label))


def ruler(window: Window) -> Ruler:
    """The axis."""
    return Ruler(window)


def _heat(frame: Frame, window: Window, found: HeatMap, never: NDArray[np.int64], name: str, *, intensity: bool) -> Heat:
    stage = stage_of(frame, window)
    what = "time spent" if intensity else "how many"
    return Heat(
        window=stage.window,
        from_s=stage.from_s,
        bin_s=stage.bin_s,
        floors_ms=found.floors_ns / 1e6,
        counts=found.counts,
        never=never,
        intensity=intensity,
        marks=_lines(frame),
        outages=_outages(frame),
        title=f"{name} by duration: {what}",
        short_title=f"{name}, {what}",
    )


def _until(frame: Frame, values: Figures) -> Figures:
    """Before load start, and after the instant shown, there is nothing: a gap, where a count would be zero."""
    shown: Figures = np.where(_is_known(frame), values, math.nan)
    return shown


def _shown(frame: Frame, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return where & _is_known(frame)


def _is_known(frame: Frame) -> NDArray[np.bool_]:
    edges_ns = frame.series.edges_ns
    return (edges_ns[:-1] <= frame.at_s * 1e9) & (edges_ns[1:] > 0)


def _known_or_least(frame: Frame) -> Figures:
    known = done_p95_ms(frame)
    return np.where(np.isfinite(known), known, frame.oldest_ms)


def _stressed(frame: Frame) -> tuple[NDArray[np.bool_] | None, str]:
    """Bins where the pool was full or the event loop late; of tasks that run on the loop, where that was."""
    sampled = frame.series.sampled
    if sampled is None:
        return None, ""
    with np.errstate(invalid="ignore"):
        is_late = sampled.loop_lag_max_ms >= _BLOCKED_MS
        is_full = (sampled.pool_busy_max >= sampled.pool_size) & (sampled.pool_size > 0)
    kind = next((each.value for each in frame.settings if each.name == "tasks"), frame.about.tasks)
    if kind in {"async", "blocking", "inline"}:
        is_full = np.zeros_like(is_full)
    words = ("pool saturated",) * bool(is_full.any()) + ("event loop late",) * bool(is_late.any())
    return is_full | is_late, " or ".join(words)


def _lines(frame: Frame) -> tuple[Mark, ...]:
    """Marks that are lines through the charts; what only names a phase has its place in the lane alone."""
    return tuple(mark for mark in frame.marks if mark.kind is not MarkKind.PHASE)


def _outages(frame: Frame) -> tuple[Outage, ...]:
    """One that lasts still, lasts until the instant shown: what comes after is not known."""
    return tuple(
        each if each.until_s is not None else replace(each, until_s=max(frame.at_s, each.from_s)) for each in frame.outages
    )


def _times(ratio: float | None) -> str:
    if ratio is None:
        return UNKNOWN
    return f"×{ratio:,.0f}" if ratio >= 9.5 else f"×{ratio:.1f}"


def read_out(frame: Frame, at_s: float) -> str:
    """What there was at an instant, in words; empty where there is no bin."""
    edges_ns = frame.series.edges_ns
    index, bin_s = int(np.searchsorted(edges_ns, at_s * 1e9, side="right")) - 1, float(edges_ns[1] - edges_ns[0]) / 1e9
    if not 0 <= index < len(frame.series.due) or at_s > frame.at_s:
        return ""
    done = done_p95_ms(frame)[index]
    parts = [f"response {ms(float(frame.series.response_ms[P95][index]))}"]
    if math.isfinite(done) or math.isinf(done):
        parts.append(f"done {ms(float(done))}")
    elif math.isfinite(frame.oldest_ms[index]):
        parts.append(f"done at least {ms(float(frame.oldest_ms[index]))}")
    # The newest bin is not over yet.
    seen_s = min(bin_s, frame.at_s - float(edges_ns[index]) / 1e9)
    if frame.about.has_server_witness:
        parts.append(f"queued {frame.series.backlog_max[index]:,}")
    if seen_s > _LEAST_RATE_S:
        parts += [f"{frame.series.due[index] / seen_s:,.0f} requests/s"]
    sampled = frame.series.sampled
    if sampled is not None and sampled.loop_lag_max_ms[index] >= _BLOCKED_MS:
        parts.append(f"event loop late {ms(float(sampled.loop_lag_max_ms[index]))}")
    bad = {"refused": frame.series.rejected, "no answer": frame.series.indeterminate, "tasks failed": frame.series.failed}
    parts += [f"{what} {counts[index]:,}" for what, counts in bad.items() if counts[index]]
    return "  ".join(parts)


def fixed(chart: Chart, limits: tuple[float, float]) -> Chart:
    """The same with a scale that is given, so that two can be compared."""
    return replace(chart, low=limits[0], high=limits[1])
