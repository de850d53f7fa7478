"""A run as charts show it, made of sines: work falls behind, a kill, an outage, work falls behind faster."""

from __future__ import annotations

import numpy as np

from dashboard.raster.chart import Band, Chart, Curve
from dashboard.raster.heat import Heat
from dashboard.raster.inks import Ink
from dashboard.raster.scale import Unit
from dashboard.raster.window import Window, bin_for, gutter_of, window_for
from harness.grouping import NEVER_NS
from harness.heatmap import heat_map
from harness.live.frame import Mark, MarkKind, Outage

KILL_S, UP_S = 74.0, 82.0
MARKS = (
    Mark(KILL_S, MarkKind.FAULT, "KILL -1,146", "SIGKILL: 1,106 queued and 40 running tasks lost"),
    Mark(UP_S, MarkKind.UP, "up", "ready"),
    Mark(100.0, MarkKind.LOAD, "120/s", "60/s -> 120/s"),
)
OUTAGES = (Outage(KILL_S, UP_S, KILL_S),)


class Story:
    """What is seen at an instant in a window of 120 s, in panels of so many columns."""

    def __init__(self, width: int, now_s: float = 118.3, span_s: float = 120.0, *, live: bool = True) -> None:
        columns = max(width - gutter_of(width), 1)
        self.window: Window = window_for(now_s, span_s, columns, live=live)
        self.bin_s = bin_for(self.window, columns)
        n_bins = max(int(np.ceil((now_s - self.window.from_s) / self.bin_s)), 1)
        self.t_s = self.window.from_s + (np.arange(n_bins) + 0.5) * self.bin_s
        is_out = (self.t_s >= KILL_S) & (self.t_s < UP_S)
        wobble = np.sin(self.t_s * 1.7) + np.sin(self.t_s * 5.3) + np.sin(self.t_s * 11.9)
        self.response = np.where(is_out, np.nan, 18.0 * np.exp(0.15 * wobble))
        self.response[int(n_bins * 0.2)] = 900.0
        done = np.where(self.t_s < KILL_S, 60.0 * np.exp(self.t_s / 13), 60.0 * np.exp((self.t_s - UP_S) / 6))
        self.done = np.where(is_out | (self.t_s > 112), np.nan, np.minimum(done, 30e3))
        self.oldest = np.where(self.t_s > 112, 30e3 + (self.t_s - 112) * 1e3, np.nan)
        waiting = np.where(self.t_s < KILL_S, self.t_s * 14, np.maximum(0, (self.t_s - 90) * 60))
        self.backlog = np.where(is_out, 0, waiting)
        self.saturated = (self.t_s > 50) & (self.t_s < KILL_S)

    def scissors(self, **given: object) -> Chart:
        """What the client waits, and how long the work takes."""
        return Chart(
            self.window,
            self.window.from_s,
            self.bin_s,
            (
                Curve(self.oldest, Ink.DONE, dashed=True),
                Curve(self.done, Ink.DONE, "done", thick=True),
                Curve(self.response, Ink.RESPONSE, "response"),
            ),
            Unit.MS,
            is_log=True,
            band=Band(self.response, np.fmax(self.done, self.oldest), "hidden wait x2,700"),
            marks=MARKS,
            outages=OUTAGES,
            title="Response vs. time-to-done p95, log",
            short_title="Response vs. done p95",
            **given,  # type: ignore[arg-type]
        )

    def backlog_chart(self, **given: object) -> Chart:
        """What waits."""
        return Chart(
            self.window,
            self.window.from_s,
            self.bin_s,
            (Curve(self.backlog, Ink.DONE, filled=True, is_of_process=True, at_end=self.backlog),),
            stressed=self.saturated,
            stressed_label="pool saturated",
            marks=MARKS,
            outages=OUTAGES,
            title="Backlog queued tasks",
            **given,  # type: ignore[arg-type]
        )

    def heat(self, **given: object) -> Heat:
        """All requests one by one: two modes, and some that were never answered."""
        at_s = np.arange(0, self.t_s[-1], 0.01)
        at_s = at_s[(at_s < KILL_S) | (at_s >= UP_S)]
        number = np.arange(len(at_s))
        values_ms = 18.0 * np.exp(0.3 * np.sin(number * 7.1) + 0.3 * np.sin(number * 3.3))
        values_ms[::40] *= 20
        values_ns = (values_ms * 1e6).astype(np.int64)
        values_ns[(at_s > 73.5) & (at_s < KILL_S)] = NEVER_NS
        edges_ns = ((self.window.from_s + np.arange(len(self.t_s) + 1) * self.bin_s) * 1e9).astype(np.int64)
        found = heat_map((at_s * 1e9).astype(np.int64), values_ns, edges_ns)
        return Heat(
            self.window,
            self.window.from_s,
            self.bin_s,
            found.floors_ns / 1e6,
            found.counts,
            found.never,
            marks=MARKS,
            outages=OUTAGES,
            title="Response latency heat map",
            short_title="Response",
            **given,  # type: ignore[arg-type]
        )
