"""Charts say what the values say: spikes and gaps survive, axes are true, panels agree on where an instant is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.raster.chart import Band, Chart, Curve, chart_limits, draw_chart, scale_of, values_at
from dashboard.raster.glyphs import GLYPHS, GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.heat import draw_heat
from dashboard.raster.inks import CURSOR, Ink
from dashboard.raster.scale import Scale, Unit, label_of, linear_scale, log_scale, nice_ceiling, value_text
from dashboard.raster.tracks import track_of
from dashboard.raster.window import GUTTER, Window, bin_for, time_ticks, window_for
from harness.live.frame import Mark, MarkKind, Outage
from tests.raster.story import KILL_S, UP_S, Story

all_glyphs = pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=GLYPHS)


def chart(values: list[float] | np.ndarray, *, until_s: float | None = None, bin_s: float = 1.0, **given: object) -> Chart:
    values = np.asarray(values, np.float64)
    window = Window(0, len(values) * bin_s if until_s is None else until_s, None)
    return Chart(window, 0, bin_s, (Curve(values, Ink.RESPONSE, "response"),), **given)


def rows_of(grid: Grid, column: int, ink: int | None = None) -> list[int]:
    """The rows in which a curve is at a column of the plot; of this ink."""
    inks = grid.inks[:, GUTTER + column]
    return np.flatnonzero(inks == (Ink.RESPONSE if ink is None else ink)).tolist()


@all_glyphs
def test_one_high_bin_among_thousands_is_seen_at_its_full_height(glyphs: GlyphSet) -> None:
    values = np.full(6000, 1.0)
    values[4321] = 100.0
    grid = draw_chart(chart(values, high=100.0), 68, 10, glyphs)
    column = int(4321 / 6000 * 60)
    assert 0 in rows_of(grid, column)
    assert all(rows_of(grid, other) == [9] for other in range(60) if abs(other - column) > 1)


@all_glyphs
def test_one_bin_in_which_something_went_wrong_is_seen_among_thousands(glyphs: GlyphSet) -> None:
    """In a row of its own below the axis, over which no curve goes; without any there is no such row."""
    bad = np.zeros(6000, np.bool_)
    bad[4321] = True
    plain = chart(np.full(6000, 1.0), high=100.0)
    grid = draw_chart(replace(plain, bad=bad, bad_label="refused"), 68, 10, glyphs)
    column = int(4321 / 6000 * 60)
    assert rows_of(grid, column, Ink.BAD) == [9]
    assert all(rows_of(grid, other, Ink.BAD) == [] for other in range(60) if abs(other - column) > 1)
    assert all(rows_of(grid, other) == [8] for other in range(60))
    assert all(rows_of(draw_chart(replace(plain, bad=~bad & bad), 68, 10, glyphs), other) == [9] for other in range(60))


@all_glyphs
def test_a_gap_is_never_joined(glyphs: GlyphSet) -> None:
    values = np.array([5.0] * 20 + [math.nan] * 20 + [5.0] * 20)
    grid = draw_chart(chart(values, high=10.0), 68, 9, glyphs)
    drawn = [bool(rows_of(grid, column)) for column in range(60)]
    assert drawn == [True] * 20 + [False] * 20 + [True] * 20


@all_glyphs
def test_a_single_value_between_gaps_is_as_long_as_its_bin(glyphs: GlyphSet) -> None:
    values = np.array([math.nan, 3.0, math.nan])
    grid = draw_chart(chart(values, high=10.0), 68, 9, glyphs)
    assert [bool(rows_of(grid, column)) for column in range(60)] == [False] * 20 + [True] * 20 + [False] * 20


@all_glyphs
def test_a_curve_goes_through_the_middle_of_its_bins_and_straight_between_them(glyphs: GlyphSet) -> None:
    grid = draw_chart(chart([0.0, 10.0], high=10.0), 8 + 40, 11, glyphs)
    for column, expected in ((0, 10), (9, 10), (20, 5), (30, 0), (39, 0)):
        assert any(abs(row - expected) <= 1 for row in rows_of(grid, column)), column


@all_glyphs
def test_an_empty_backlog_is_a_line_at_the_foot_and_no_value_is_nothing(glyphs: GlyphSet) -> None:
    window = Window(0, 60, None)
    values = np.concatenate([np.zeros(30), np.full(30, math.nan)])
    grid = draw_chart(Chart(window, 0, 1, (Curve(values, Ink.RESPONSE, filled=True),), high=10.0), 68, 6, glyphs)
    assert [rows_of(grid, column) for column in range(60)] == [[5]] * 30 + [[]] * 30


@all_glyphs
def test_what_is_above_the_axis_has_an_arrow_in_the_uppermost_row(glyphs: GlyphSet) -> None:
    grid = draw_chart(chart([1.0, math.inf, 1.0, 50.0, 1.0, math.nan], high=10.0), 68, 6, glyphs)
    arrows = [grid.codes[0, GUTTER + column] == ord(glyphs.over) for column in range(60)]
    assert arrows == [10 <= column < 20 or 30 <= column < 40 for column in range(60)]


@all_glyphs
def test_of_two_curves_in_one_cell_the_last_one_gives_the_colour_and_neither_is_erased(glyphs: GlyphSet) -> None:
    window = Window(0, 4, None)
    low, high = np.full(4, 0.0), np.full(4, 0.1)
    curves = (Curve(high, Ink.DONE), Curve(low, Ink.RESPONSE))
    both = draw_chart(Chart(window, 0, 1, curves, high=1.0), 48, 2, glyphs)
    assert {int(ink) for ink in both.inks[1, GUTTER:]} == {Ink.RESPONSE}
    if glyphs.name != "ascii":
        alone = draw_chart(Chart(window, 0, 1, curves[1:], high=1.0), 48, 2, glyphs)
        assert both.codes[1, GUTTER] != alone.codes[1, GUTTER] or glyphs.rows == 2


def test_a_kill_goes_through_everything_and_a_curve_crosses_other_events() -> None:
    marks = (Mark(10, MarkKind.FAULT, "KILL", ""), Mark(20, MarkKind.UP, "up", ""))
    grid = draw_chart(chart(np.full(60, 5.0), high=10.0, marks=marks), 68, 9, GLYPHS["braille"])
    assert {chr(code) for code in grid.codes[:, GUTTER + 10]} == {"┃"}
    column = [chr(code) for code in grid.codes[:, GUTTER + 20]]
    assert column.count("┊") == 8
    assert int(grid.inks[4, GUTTER + 20]) == Ink.RESPONSE


def test_an_outage_is_hatched_and_not_shaded() -> None:
    grid = draw_chart(Story(68).scissors(), 68, 12, GLYPHS["braille"])
    window = Story(68).window
    first, last = window.column(KILL_S, 60), window.column(UP_S, 60)
    assert first is not None
    assert last is not None
    inside = grid.codes[1:, GUTTER + first + 1 : GUTTER + last]
    assert {chr(code) for code in inside.flat} == {"╱"}


def test_an_outage_that_goes_on_is_hatched_until_now_and_not_beyond() -> None:
    window = Window(0, 60, 45.0)
    silent = Chart(window, 0, 1, (Curve(np.full(45, math.nan), Ink.RESPONSE),), outages=(Outage(30.0, None),))
    grid = draw_chart(silent, 68, 3, GLYPHS["braille"])
    assert [chr(code) == "╱" for code in grid.codes[1, GUTTER:]] == [30 <= column < 45 for column in range(60)]


def test_shade_lies_between_two_curves_and_only_where_the_upper_one_is_above() -> None:
    window = Window(0, 60, None)
    lower, upper = np.full(60, 3.0), np.concatenate([np.full(30, 9.0), np.full(20, 1.0), np.full(10, math.nan)])
    curves = (Curve(upper, Ink.DONE), Curve(lower, Ink.RESPONSE))
    grid = draw_chart(Chart(window, 0, 1, curves, high=10.0, band=Band(lower, upper)), 68, 21, GLYPHS["braille"])
    shaded = (grid.inks[:, GUTTER:] == Ink.SHADE).sum(axis=0)
    assert (shaded[:29] >= 9).all()
    assert not shaded[32:].any()


@all_glyphs
def test_a_bound_that_is_dashed_has_gaps_and_they_move_with_time(glyphs: GlyphSet) -> None:
    def drawn(from_s: float) -> list[bool]:
        data = Chart(Window(from_s, from_s + 60, None), 0, 1, (Curve(np.full(200, 5.0), Ink.RESPONSE, dashed=True),), high=10.0)
        grid = draw_chart(data, 68, 5, glyphs)
        return [bool(rows_of(grid, column)) for column in range(60)]

    now, later = drawn(10), drawn(11)
    assert 0.3 < sum(now) / 60 < 0.7
    assert later[:-1] == now[1:]


def test_time_goes_on_by_whole_cells() -> None:
    """Where a window has moved by some columns, what is seen of the same time is the same, cell by cell."""
    columns = 60
    before, after = (Story(columns + GUTTER, now_s) for now_s in (131.0, 137.0))
    moved = round((after.window.from_s - before.window.from_s) / (before.window.span_s / columns))
    assert moved > 0
    # A spike of the story stands in the middle of each window: it is not part of what is compared.
    for story in (before, after):
        story.response[:] = 18 + np.round(story.t_s, 6) % 7
    left, right = (draw_chart(story.scissors(low=1.0, high=1e5), 68, 20, GLYPHS["braille"]) for story in (before, after))
    n = round((131.0 - after.window.from_s) / (before.window.span_s / columns)) - 1
    part = np.s_[1:, GUTTER + moved + 1 : GUTTER + moved + n]
    other = np.s_[1:, GUTTER + 1 : GUTTER + n]
    is_grid = (left.inks[part] == Ink.GRID) | (right.inks[other] == Ink.GRID)
    assert ((left.codes[part] == right.codes[other]) | is_grid).all()
    assert n > 40


def test_all_panels_have_an_instant_in_the_same_column() -> None:
    story = Story(100)
    column = story.window.column(KILL_S, 92)
    assert column is not None
    for drawn in (story.scissors(), story.backlog_chart()):
        grid = draw_chart(drawn, 100, 12, GLYPHS["block"])
        assert {chr(code) for code in grid.codes[1:, GUTTER + column]} == {"┃"}


def test_the_lit_column_is_the_one_of_the_cursor_and_no_other() -> None:
    window = Window(0, 60, None, cursor_s=30.5)
    grid = draw_chart(Chart(window, 0, 1, (Curve(np.full(60, 5.0), Ink.RESPONSE),), title="x"), 68, 6, GLYPHS["braille"])
    assert np.flatnonzero((grid.inks & CURSOR).any(axis=0)).tolist() == [GUTTER + 30]
    assert not (grid.inks[0] & CURSOR).any()


@given(
    width=st.integers(1, 120),
    height=st.integers(0, 14),
    cursors_s=st.lists(st.none() | st.floats(-5, 130), min_size=2, max_size=4),
    is_colored=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_to_move_the_cursor_gives_what_drawing_anew_gives(
    width: int, height: int, cursors_s: list[float | None], is_colored: bool
) -> None:
    story, glyphs = Story(width), GLYPHS["braille"]

    def drawn(cursor_s: float | None) -> tuple[Grid, Grid]:
        window = replace(story.window, cursor_s=cursor_s)
        chart, heat = replace(story.scissors(), window=window), replace(story.heat(), window=window)
        return draw_chart(chart, width, height, glyphs), draw_heat(heat, width, height, glyphs, is_colored=is_colored)

    curves, cells = drawn(cursors_s[0])
    before = curves.inks.copy()
    for cursor_s in cursors_s[1:]:
        window = replace(story.window, cursor_s=cursor_s)
        assert (curves.pointed(window), cells.pointed(window)) == drawn(cursor_s)
        assert np.array_equal(curves.inks, before)
        curves, cells = curves.pointed(window), cells.pointed(window)
        before = curves.inks.copy()


def test_the_value_at_an_instant_is_said_in_words() -> None:
    story = Story(100)
    assert dict(values_at(story.scissors(), 20.0))["done"] == "277 ms"
    assert dict(values_at(story.scissors(), 78.0)) == {"done": "-", "response": "-"}
    assert dict(values_at(story.scissors(), 500.0)) == {}


def test_charts_that_are_compared_have_one_axis() -> None:
    one, other = chart([3.0, 17.0], unit=Unit.MS, is_log=True), chart([900.0, 40e3], unit=Unit.MS, is_log=True)
    low, high = chart_limits(one, other)
    assert low <= 3.0
    assert high >= 40e3
    assert scale_of(chart([3.0, 17.0], unit=Unit.MS, is_log=True, low=low, high=high)) == Scale(low, high, Unit.MS, is_log=True)


@given(
    least=st.floats(1e-3, 1e7),
    factor=st.floats(1, 1e8),
    height=st.integers(1, 70),
    unit=st.sampled_from(Unit),
    is_log=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_axes_hold_all_values_and_their_labels_stand_where_they_belong(
    least: float, factor: float, height: int, unit: Unit, is_log: bool
) -> None:
    values = [np.array([least, least * factor])]
    scale = log_scale(None, None, values, unit) if is_log else linear_scale(None, None, values, unit)
    assert scale.high >= min(least * factor, 1e13) * (1 - 1e-9)
    assert not is_log or scale.low <= least
    ticks = scale.ticks(height)
    rows = [scale.row(value, height, 4) for value in ticks]
    assert rows == sorted(set(rows), reverse=True)
    assert all(len(label_of(value, unit)) <= 7 for value in ticks if value < (100 if unit is Unit.SHARE else 1e11))
    if height > 1:
        assert (rows[0], rows[-1]) == (height - 1, 0)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.2, Unit.MS, "200 us"), (1, Unit.MS, "1 ms"), (10, Unit.MS, "10 ms"), (1000, Unit.MS, "1 s"), (1500, Unit.MS, "1.5 s"),
        (60e3, Unit.MS, "1 min"), (90e3, Unit.MS, "90 s"), (120e3, Unit.MS, "2 min"), (3600e3, Unit.MS, "1 h"), (0, Unit.MS, "0"),
        (0, Unit.COUNT, "0"), (1000, Unit.COUNT, "1,000"), (2.5e6, Unit.COUNT, "2.5M"), (0.25, Unit.SHARE, "25 %"),
        (1536 * 1024, Unit.BYTES, "1.5 MiB"), (512, Unit.BYTES, "512 B"),
    ],
)  # fmt: skip
def test_labels_are_in_units_of_people(value: float, unit: Unit, expected: str) -> None:
    assert label_of(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (17.849, Unit.MS, "17.8 ms"), (999.7, Unit.MS, "1 s"), (43_210, Unit.MS, "43.2 s"), (math.inf, Unit.MS, "never"),
        (math.nan, Unit.COUNT, "-"), (1842, Unit.COUNT, "1,842"), (98.23, Unit.PER_S, "98.2/s"), (1234, Unit.PER_S, "1,234/s"),
    ],
)  # fmt: skip
def test_values_are_said_with_the_digits_that_matter(value: float, unit: Unit, expected: str) -> None:
    assert value_text(value, unit) == expected


def test_a_ceiling_is_the_least_nice_value_that_holds_it() -> None:
    assert [nice_ceiling(value) for value in (0, 1, 7, 11, 999, 1001)] == [1, 1, 8, 12, 1000, 1200]


def test_a_window_fills_from_the_left_and_then_rolls_by_whole_columns() -> None:
    early, late, later = (window_for(newest, 120, 78) for newest in (10.0, 1000.0, 1000.9))
    assert early.from_s == 0
    assert early.span_s >= 120
    assert late.span_s == early.span_s
    column_s = late.span_s / 78
    assert late.until_s - column_s < 1000.0 <= late.until_s
    for window in (late, later):
        assert abs(window.from_s / column_s - round(window.from_s / column_s)) < 1e-6
    assert bin_for(late, 78) == pytest.approx(column_s / 2)


@given(at_s=st.floats(-1e5, 1e5), span_s=st.floats(0.01, 1e5), columns=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_the_middle_of_a_column_is_in_it(at_s: float, span_s: float, columns: int) -> None:
    window = Window(at_s, at_s + span_s, None)
    for column in {0, columns // 2, columns - 1}:
        assert window.column(window.at_s(column, columns), columns) == column
    assert window.column(at_s - 1, columns) is None


def test_times_are_told_backwards_from_now_or_as_those_of_the_run() -> None:
    assert [label for _, label in time_ticks(Window(60, 120, 120.0), 60)] == ["-60 s", "-45 s", "-30 s", "-15 s", "now"]
    assert [label for _, label in time_ticks(Window(60, 120, None), 60)] == ["1:00", "1:15", "1:30", "1:45", "2:00"]


figures = st.one_of(
    st.floats(0, 1e6), st.sampled_from([math.nan, math.inf, 0.0, 1e300, 1e-300, -5.0, -math.inf]), st.floats(1, 1e4)
)


@given(
    values=st.lists(figures, max_size=40),
    bin_s=st.sampled_from([1e-6, 0.05, 0.7, 1.0, 13.0, 1e6]),
    from_s=st.floats(-1e3, 1e3),
    window=st.tuples(st.floats(-1e3, 1e3), st.floats(-10, 1e3)),
    size=st.tuples(st.integers(0, 130), st.integers(0, 40)),
    name=st.sampled_from(list(GLYPHS)),
    is_log=st.booleans(),
    ends=st.tuples(st.none() | figures, st.none() | figures),
    shapes=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
@settings(max_examples=120, deadline=None)
def test_no_values_and_no_size_are_too_much(
    values: list[float],
    bin_s: float,
    from_s: float,
    window: tuple[float, float],
    size: tuple[int, int],
    name: str,
    is_log: bool,
    ends: tuple[float | None, float | None],
    shapes: tuple[bool, bool, bool],
) -> None:
    """A grid of the size that was asked for, of characters that the terminal has, one cell each."""
    found = np.array(values, np.float64)
    filled, thick, dashed = shapes
    curves = (
        Curve(found, Ink.DONE, "done", dashed=dashed, thick=thick, filled=filled),
        Curve(found / 2, Ink.RESPONSE, "response"),
    )
    data = Chart(
        Window(window[0], window[0] + window[1], window[0], window[0] + 1),
        from_s,
        bin_s,
        curves,
        Unit.MS,
        is_log,
        low=ends[0],
        high=ends[1],
        band=Band(found / 2, found, "between"),
        stressed=found > 10,
        stressed_label="at its limit",
        marks=(Mark(window[0] + 2, MarkKind.FAULT, "KILL", ""), Mark(from_s, MarkKind.UP, "up", "")),
        outages=(Outage(from_s, None), Outage(window[0], window[0] + 3)),
        title="a title\x1b[31m with 中 and ●",
    )
    grid = draw_chart(data, *size, GLYPHS[name])
    assert (grid.width, grid.height) == size
    text = grid.text()
    assert "\x1b" not in text
    assert "中" not in text
    assert name != "ascii" or text.isascii()


def test_a_curve_without_values_or_without_room_is_empty() -> None:
    scale = Scale(0, 1, Unit.COUNT, is_log=False)
    for values, columns, n in (([], 5, 5), ([1.0], 0, 5), ([1.0], 5, 0)):
        assert not track_of(np.array(values), 0, 1, Window(0, 1), scale, columns, n).is_there.any()
