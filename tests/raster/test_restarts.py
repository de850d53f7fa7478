"""A restart is seen as what it is: what the old process held is there until it dies, nothing while it is dead, and no slope."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.raster.chart import Chart, Curve, draw_chart
from dashboard.raster.glyphs import GLYPHS, GlyphSet
from dashboard.raster.inks import Ink
from dashboard.raster.restarts import apart, held
from dashboard.raster.scale import Scale, Unit
from dashboard.raster.tracks import Track, track_of
from dashboard.raster.window import GUTTER, Window
from harness.live.frame import Outage

all_glyphs = pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=GLYPHS)

N_BINS = 12
HEIGHTS = st.lists(st.integers(0, 90).map(float), min_size=N_BINS, max_size=N_BINS).map(np.array)


def drawn(chart: Chart, glyphs: GlyphSet) -> list[int]:
    """How many rows of each of 60 columns the curve fills; chart of 12 s in 10 rows."""
    grid = draw_chart(chart, 60 + GUTTER, 10, glyphs)
    assert grid.width - GUTTER == 60
    return (grid.inks[:, GUTTER:] == Ink.DONE).sum(axis=0).tolist()


def backlog(values: np.ndarray, at_end: np.ndarray | None, *outages: Outage) -> Chart:
    curve = Curve(values, Ink.DONE, filled=True, is_of_process=True, at_end=at_end)
    return Chart(Window(0, 12), 0, 1, (curve,), low=0.0, high=100.0, outages=outages)


@all_glyphs
def test_what_was_queued_is_there_until_the_kill_and_nothing_until_the_server_is_back(glyphs: GlyphSet) -> None:
    """The most of the bin of the kill is what was queued before it."""
    values = np.array([100.0] * 6 + [100.0, 0, 0, 20.0, 20, 20])
    rows = drawn(backlog(values, values, Outage(6.4, 9.2, 6.4)), glyphs)
    assert set(rows[:32]) == {10}
    assert set(rows[32:46]) == {0}
    assert set(rows[46:]) <= {2, 3}


@all_glyphs
@pytest.mark.parametrize("at_end", [None, 20.0])
def test_of_a_restart_within_one_bin_nobody_is_shown_the_old_backlog_as_the_new_one(
    glyphs: GlyphSet, at_end: float | None
) -> None:
    values = np.array([100.0] * 7 + [20.0] * 5)
    ends = None if at_end is None else np.array([100.0] * 6 + [at_end] + [20.0] * 5)
    rows = drawn(backlog(values, ends, Outage(6.2, 6.6, 6.2)), glyphs)
    assert set(rows[:31]) == {10}
    assert set(rows[31:33]) == {0}
    assert set(rows[33:35]) <= ({0} if at_end is None else {2, 3})
    assert set(rows[35:]) <= {2, 3}


@all_glyphs
def test_what_a_stopped_server_holds_is_there_all_the_while(glyphs: GlyphSet) -> None:
    values = np.full(12, 100.0)
    assert set(drawn(backlog(values, values, Outage(6.2, 8.6)), glyphs)) == {10}


@all_glyphs
def test_what_came_when_a_stopped_server_went_on_did_not_come_before(glyphs: GlyphSet) -> None:
    """The most of the bin in which it goes on is what it took then."""
    values = np.array([20.0] * 8 + [100.0] * 4)
    at_end = np.array([20.0] * 8 + [90.0] * 4)
    rows = drawn(backlog(values, at_end, Outage(4.2, 8.6)), glyphs)
    assert set(rows[:43]) <= {2, 3}
    assert set(rows[45:]) == {10}


@all_glyphs
def test_a_line_does_not_climb_to_what_never_ended(glyphs: GlyphSet) -> None:
    """It is level to the edge of the bin before; where nothing ended there is the mark above the axis alone."""
    line = Chart(Window(0, 12), 0, 1, (Curve(np.array([10.0] * 6 + [math.inf] * 6), Ink.DONE),), low=0.0, high=100.0)
    grid = draw_chart(line, 60 + GUTTER, 10, glyphs)
    rows = [np.flatnonzero(column).tolist() for column in (grid.inks[:, GUTTER:] == Ink.DONE).T]
    assert all(found in ([8], [9]) for found in rows[:30])
    assert all(found == [0] for found in rows[30:])


@all_glyphs
def test_no_line_leads_from_one_process_to_the_next(glyphs: GlyphSet) -> None:
    """The clients' figures go on to the edges of their bins, which are neighbours here."""
    values = np.array([90.0] * 6 + [10.0] * 6)
    line = Chart(Window(0, 12), 0, 1, (Curve(values, Ink.DONE),), low=0.0, high=100.0)
    grid = draw_chart(replace(line, outages=(Outage(5.7, 6.1, 5.7),)), 60 + GUTTER, 10, glyphs)
    rows = [np.flatnonzero(column).tolist() for column in (grid.inks[:, GUTTER:] == Ink.DONE).T]
    assert all(found in ([0], [1]) for found in rows[:30])
    assert all(found in ([8], [9]) for found in rows[30:])
    joined = draw_chart(line, 60 + GUTTER, 10, glyphs)
    assert (joined.inks[:, GUTTER:] == Ink.DONE).any(axis=1).sum() > 5


@given(
    values=HEIGHTS,
    at_end=st.none() | HEIGHTS,
    spans=st.lists(st.tuples(st.floats(-2, 14), st.none() | st.floats(0, 4)), max_size=4),
    columns=st.integers(1, 200),
)
def test_only_what_is_near_a_restart_is_drawn_otherwise(
    values: np.ndarray, at_end: np.ndarray | None, spans: list[tuple[float, float | None]], columns: int
) -> None:
    """While a process was dead nothing is there; a bin and more away from that all is as without."""
    outages = [Outage(gone_s, None if length is None else gone_s + length, gone_s) for gone_s, length in spans]
    window, scale = Window(0, 12), Scale(0, 100, Unit.COUNT, is_log=False)

    def plain(given: np.ndarray, separate: np.ndarray | None) -> Track:
        return track_of(given, 0, 1, window, scale, columns, 100, separate)

    separate = apart(outages, 0, 1, N_BINS)
    found = held(values, at_end, lambda given: plain(given, separate), outages, 0, 1, window, columns)
    without = plain(values, None)
    at_s = (np.arange(columns) + 0.5) / columns * 12
    ends = [(gone_s, math.inf if length is None else gone_s + length) for gone_s, length in spans]
    for gone_s, until_s in ends:
        assert not found.is_there[(at_s >= gone_s) & (at_s < until_s)].any()
    margin = 1.0 + 12 / columns
    is_far = np.ones(columns, np.bool_)
    for gone_s, until_s in ends:
        is_far &= (at_s < gone_s - margin) | (at_s > until_s + margin)
    assert (found.low[is_far] == without.low[is_far]).all()
    assert (found.high[is_far] == without.high[is_far]).all()
    assert (found.is_there <= without.is_there).all()
