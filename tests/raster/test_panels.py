"""Heat maps, lanes, rulers, tiles, colours: what each owes its reader."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.color import Color
from textual.design import ColorSystem
from textual.theme import BUILTIN_THEMES

from dashboard.raster.glyphs import GLYPHS, RAMP, GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.heat import Heat, draw_heat, heat_limits
from dashboard.raster.inks import HEAT, HEAT_LEVELS, Ink, heat_ink, heat_levels_of
from dashboard.raster.lane import Lane, draw_lane
from dashboard.raster.palette import RGB, contrast, heat_colors, luminance, palette
from dashboard.raster.ruler import Ruler, draw_ruler
from dashboard.raster.spark import Spark, draw_spark
from dashboard.raster.tile import Bar, Tile, Tone, draw_bar, draw_tile
from dashboard.raster.window import GUTTER, Window
from harness.grouping import NEVER_NS
from harness.heatmap import heat_map
from harness.live.frame import Mark, MarkKind
from tests.raster.story import Story

BRAILLE = GLYPHS["braille"]
all_glyphs = pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=GLYPHS)


def heat_of(at_s: list[float], values_ms: list[float], span_s: float = 60.0, bin_s: float = 1.0, **given: object) -> Heat:
    edges_ns = (np.arange(0, span_s + bin_s, bin_s) * 1e9).astype(np.int64)
    values_ns = np.array([NEVER_NS if math.isinf(value) else int(value * 1e6) for value in values_ms], np.int64)
    found = heat_map((np.array(at_s) * 1e9).astype(np.int64), values_ns, edges_ns)
    return Heat(Window(0, span_s, None), 0.0, bin_s, found.floors_ns / 1e6, found.counts, found.never, **given)


def test_a_single_slow_request_among_thousands_is_seen() -> None:
    heat = heat_of([10.5] * 5000 + [40.5], [10.0] * 5000 + [3000.0])
    ramp = draw_heat(heat, 68, 12, BRAILLE, is_colored=False)
    assert [chr(code) for code in ramp.codes[:4, GUTTER + 40]].count(RAMP[1]) == 1
    assert [chr(code) for code in ramp.codes[:, GUTTER + 10]].count(RAMP[-1]) == 1
    colored = draw_heat(heat, 68, 12, BRAILLE)
    levels = [[max(heat_levels_of(int(ink))) for ink in colored.inks[:, GUTTER + column] if ink >= HEAT] for column in (40, 10)]
    assert levels == [[1], [HEAT_LEVELS - 1]]


@given(
    found=st.lists(st.tuples(st.floats(0, 59.9), st.floats(0.01, 1e5)), min_size=1, max_size=60),
    rows=st.integers(1, 40),
    columns=st.integers(8, 100),
)
@settings(max_examples=40, deadline=None)
def test_every_request_is_in_one_cell_of_the_map(found: list[tuple[float, float]], rows: int, columns: int) -> None:
    """At its instant."""
    heat = heat_of([at for at, _ in found], [value for _, value in found])
    grid = draw_heat(heat, columns + GUTTER, rows, BRAILLE, is_colored=False)
    drawn = [(row, column) for row in range(rows) for column in range(columns) if grid.inks[row, GUTTER + column] == Ink.RESPONSE]
    # A bin wider than a column is drawn in all of its columns.
    bins = {(row, math.floor((column + 0.5) / columns * 60) if columns > 60 else column) for row, column in drawn}
    expected = {math.floor(at) if columns > 60 else int((math.floor(at) + 0.5) / 60 * columns + 1e-6) for at, _ in found}
    assert {column for _, column in bins} == expected


@pytest.mark.parametrize("rows", [1, 2, 5, 13, 40])
def test_slower_is_never_below_faster(rows: int) -> None:
    values = np.geomspace(0.5, 50_000, 41)
    found = []
    for value in values:
        grid = draw_heat(heat_of([30.5], [value], low_ms=0.5, high_ms=51_000.0), 68, rows, BRAILLE, is_colored=False)
        found.append(int(np.flatnonzero(grid.inks[:, GUTTER + 30] == Ink.RESPONSE)[0]))
    assert found == sorted(found, reverse=True)
    assert found[0] == rows - 1
    assert found[-1] <= rows // 2


def test_what_was_never_answered_has_a_row_of_its_own() -> None:
    grid = draw_heat(heat_of([10.5, 20.5, 20.6], [10.0, math.inf, math.inf]), 68, 8, BRAILLE, is_colored=False)
    assert np.flatnonzero(grid.inks[0, GUTTER:] == Ink.BAD).tolist() == [20]
    assert "never" in grid.text().splitlines()[0]
    assert "never" not in draw_heat(heat_of([10.5], [10.0]), 68, 8, BRAILLE).text()


def test_intensity_shows_where_the_time_goes_and_frequency_where_the_requests_are() -> None:
    """A hundred of 1 ms take 0.1 s together, one of 10 s takes a hundred times as long."""
    at, values = [30.5] * 101, [1.0] * 100 + [10_000.0]
    by_count, by_time = (
        draw_heat(heat_of(at, values, intensity=flag), 68, 16, BRAILLE, is_colored=False) for flag in (False, True)
    )
    strongest = [
        [RAMP.index(chr(code)) for code in grid.codes[:, GUTTER + 30] if chr(code) in RAMP] for grid in (by_count, by_time)
    ]
    assert np.argmax(strongest[0]) > np.argmax(strongest[1])


def test_maps_that_are_compared_have_the_same_rows_and_levels() -> None:
    one, other = heat_of([5.5] * 10, [2.0] * 10), heat_of([5.5] * 400, [800.0] * 400)
    low, high, most = heat_limits(one, other, width=68, height=12, glyphs=BRAILLE)
    assert low <= 2.0
    assert high >= 800.0
    assert most == 400
    fixed = {"low_ms": low, "high_ms": high, "most": most}
    grids = [
        draw_heat(heat_of([5.5] * n, [value] * n, **fixed), 68, 12, BRAILLE, is_colored=False)
        for n, value in ((10, 2.0), (400, 800.0))
    ]
    found = [int(np.flatnonzero(grid.inks[:, GUTTER + 5] == Ink.RESPONSE)[0]) for grid in grids]
    assert found[0] > found[1]
    levels = [RAMP.index(chr(grid.codes[row, GUTTER + 5])) for grid, row in zip(grids, found, strict=True)]
    assert levels[0] < levels[1] == HEAT_LEVELS - 1


def test_levels_of_both_halves_of_a_cell_are_kept_in_its_ink() -> None:
    for upper in range(HEAT_LEVELS):
        for lower in range(HEAT_LEVELS):
            assert heat_levels_of(heat_ink(upper, lower)) == (upper, lower)


def lane_text(*marks: Mark, width: int = 68, height: int = 1) -> str:
    return draw_lane(Lane(Window(0, 60, None), marks), width, height, BRAILLE).text()


def test_where_two_labels_have_no_room_the_weightier_one_stays() -> None:
    text = lane_text(
        Mark(30, MarkKind.NOTE, "somebody wrote this", ""), Mark(31, MarkKind.FAULT, "KILL -212 with a long label", "")
    )
    assert "KILL -212 with a long label" in text
    assert "somebody" not in text


@given(
    marks=st.lists(st.tuples(st.floats(-5, 65), st.sampled_from(MarkKind), st.text("abc", min_size=0, max_size=14)), max_size=12),
    width=st.integers(0, 120),
    height=st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_labels_never_overlap(marks: list[tuple[float, MarkKind, str]], width: int, height: int) -> None:
    """Each label that is there at all is there whole, and ends or begins with its symbol."""
    named = [Mark(at, kind, f"{number}{label}{number}", "") for number, (at, kind, label) in enumerate(marks)]
    grid = draw_lane(Lane(Window(0, 60, None), tuple(named), label=""), width, height, BRAILLE)
    words = [word for line in grid.text().splitlines() for word in line.split()]
    labels = [word for word in words if any(letter.isalnum() for letter in word)]
    assert set(labels) <= {mark.label for mark in named}
    assert len(labels) == len(set(labels))


def test_what_lasts_is_underlined_for_as_long() -> None:
    text = lane_text(Mark(10, MarkKind.FAULT, "hog", "", until_s=30)).splitlines()[0]
    assert text[GUTTER + 10 :] == "✖ hog" + "─" * 15


def test_the_ruler_tells_now_where_it_is() -> None:
    text = draw_ruler(Ruler(Window(0, 60, 30.0)), 68, 1, BRAILLE).text().rstrip()
    assert text.endswith("now")
    assert abs(len(text) - (GUTTER + 31)) <= 2


@given(
    texts=st.tuples(st.text(max_size=40), st.text(max_size=40), st.text(max_size=60)),
    tone=st.sampled_from(Tone),
    share=st.sampled_from([math.nan, -1.0, 0.0, 0.3, 1.0, 7.0, math.inf]),
    size=st.tuples(st.integers(0, 60), st.integers(0, 8)),
    name=st.sampled_from(list(GLYPHS)),
    values=st.lists(st.sampled_from([math.nan, math.inf, -1.0, 0.0, 5.0, 1e300]), max_size=70),
    span=st.tuples(st.floats(-1e4, 1e4), st.floats(-1, 1e5)),
)
@settings(max_examples=50, deadline=None)
def test_no_words_and_no_size_are_too_much(
    texts: tuple[str, str, str],
    tone: Tone,
    share: float,
    size: tuple[int, int],
    name: str,
    values: list[float],
    span: tuple[float, float],
) -> None:
    glyphs = GLYPHS[name]
    window = Window(span[0], span[0] + span[1], span[0] + 1, span[0] + 2)
    counts = np.abs(np.nan_to_num(np.array([values], np.float64), nan=0, posinf=9)).clip(0, 1e6).astype(np.int64)
    heat = Heat(
        window, span[0], 0.7, np.array([1.0, 1.25]), counts, counts[0], intensity=tone is Tone.BAD, title=texts[0], most=share
    )
    grids: list[Grid] = [
        draw_tile(Tile(texts[0], texts[1], tone, (texts[2],), share if share == share else None), *size, glyphs),
        draw_bar(Bar(texts[0], share, texts[1], tone), *size, glyphs),
        draw_spark(Spark(np.array(values, np.float64)), *size, glyphs),
        draw_ruler(Ruler(window, texts[0]), *size, glyphs),
        draw_heat(heat, *size, glyphs),
        draw_heat(heat, *size, glyphs, is_colored=False),
    ]
    for grid in grids:
        assert (grid.width, grid.height) == size
        assert name != "ascii" or grid.text().isascii()
        assert all(character.isprintable() for character in grid.text().replace("\n", ""))


def test_a_bar_is_full_only_if_it_is() -> None:
    texts = [draw_bar(Bar("", share, "x"), 12, 1, BRAILLE).text() for share in (0.0, 0.001, 0.999, 1.0)]
    assert [text.count("█") for text in texts] == [0, 1, 9, 10]


def test_a_bad_tile_is_told_by_its_border_and_its_symbol_too() -> None:
    good, bad = (draw_tile(Tile("WORK", "X", tone), 20, 4, BRAILLE).text() for tone in (Tone.GOOD, Tone.BAD))
    assert "┏" in bad
    assert "✖" in bad
    assert "┏" not in good
    assert "✔" in good


@all_glyphs
def test_what_changed_between_two_pictures_is_all_that_changed(glyphs: GlyphSet) -> None:
    before, after = (draw_heat(Story(80, now_s).heat(), 80, 12, glyphs) for now_s in (118.3, 118.9))
    copied = Grid(80, 12, glyphs)
    copied.codes[:], copied.inks[:] = before.codes, before.inks
    changed = after.changed(before)
    for row, first, last in changed:
        copied.codes[row, first:last], copied.inks[row, first:last] = after.codes[row, first:last], after.inks[row, first:last]
    assert copied == after
    assert sum(last - first for _, first, last in changed) < 200
    assert after.changed(after) == []


def test_runs_put_together_are_the_row() -> None:
    grid = draw_heat(Story(80).heat(), 80, 12, BRAILLE)
    for row in range(12):
        runs = grid.row(row)
        assert sum(len(text) for text, _ in runs) == 80
        assert all(left[1] != right[1] for left, right in pairwise(runs))


THEMES = [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi]


def colors_of(name: str) -> tuple[RGB, RGB]:
    theme = BUILTIN_THEMES[name]
    shades = ColorSystem(
        theme.primary, background=theme.background, foreground=theme.foreground, dark=theme.dark, surface=theme.surface
    ).generate()
    return Color.parse(shades["background"]).rgb, Color.parse(shades["foreground"]).rgb


@pytest.mark.parametrize("name", THEMES)
def test_what_is_drawn_can_be_seen_and_what_is_written_can_be_read_in_every_theme(name: str) -> None:
    """WCAG 2: 4.5 for text, 3 for what is drawn."""
    background, foreground = colors_of(name)
    paints = palette(background, foreground)
    assert set(paints) == set(Ink)
    for ink in (Ink.TEXT, Ink.TITLE, Ink.MUTED, Ink.BAD, Ink.GOOD, Ink.WARN):
        assert contrast(paints[ink].color, background) >= 4.5, ink
    for ink in (Ink.RESPONSE, Ink.DONE, Ink.OTHER, Ink.OUTAGE):
        assert contrast(paints[ink].color, background) >= 3.0, ink
    for ink in (Ink.GRID, Ink.SHADE):
        assert contrast(paints[ink].color, background) >= 1.4, ink


@pytest.mark.parametrize("name", THEMES)
def test_a_heat_map_grows_away_from_the_background_in_brightness_alone(name: str) -> None:
    background, _ = colors_of(name)
    brightness = [luminance(color) for color in heat_colors(background)]
    steps = np.diff(brightness)
    assert (steps > 0).all() or (steps < 0).all()
    assert contrast(heat_colors(background)[1], background) >= 1.3


# Machado, Oliveira, Fernandes 2009: how colours look to people without red or without green cones (on linear RGB).
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("name", ["textual-dark", "textual-light"])
def test_the_two_curves_can_be_told_apart_by_people_who_see_fewer_colours(name: str, blindness: str) -> None:
    paints = palette(*colors_of(name))

    def seen(ink: Ink) -> np.ndarray:
        linear = (np.array(paints[ink].color) / 255) ** 2.2
        return (np.clip(np.array(BLINDNESS[blindness]) @ linear, 0, 1) ** (1 / 2.2)) * 255

    assert np.abs(seen(Ink.RESPONSE) - seen(Ink.DONE)).max() > 60
