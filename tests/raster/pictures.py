"""The pictures that are kept as text. `python -m tests.raster.pictures` draws them anew: look at what changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dashboard.raster.chart import Chart, Curve, draw_chart
from dashboard.raster.glyphs import GLYPHS, GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.heat import draw_heat
from dashboard.raster.inks import Ink
from dashboard.raster.lane import Lane, draw_lane
from dashboard.raster.ruler import Ruler, draw_ruler
from dashboard.raster.scale import Unit
from dashboard.raster.spark import Spark, draw_spark
from dashboard.raster.tile import Bar, Tile, Tone, draw_bar, draw_tile
from dashboard.raster.window import Window
from harness.live.frame import Mark, MarkKind, Outage
from tests.raster.story import MARKS, OUTAGES, Story

FOLDER = Path(__file__).parent / "goldens"


def panels(width: int, heights: tuple[int, int, int], glyphs: GlyphSet, *, is_colored: bool = False) -> str:
    """A whole column of a screen: the same instant is in the same column of all of them."""
    story = Story(width)
    grids = [
        draw_chart(story.scissors(), width, heights[0], glyphs),
        draw_chart(story.backlog_chart(), width, heights[1], glyphs),
        draw_heat(story.heat(), width, heights[2], glyphs, is_colored=is_colored),
        draw_lane(Lane(story.window, MARKS), width, 1, glyphs),
        draw_ruler(Ruler(story.window), width, 1, glyphs),
    ]
    return _text(*grids)


def ends() -> str:
    """What is above the axis, what is at its foot, and what is nothing at all."""
    values = np.array([1.0, 2, math.inf, math.inf, 3, 0, 0, math.nan, math.nan, 4, 500, math.nan, 0])
    window = Window(0, 26, None)
    grids = []
    for glyphs in GLYPHS.values():
        line = Chart(window, 0, 2, (Curve(values, Ink.RESPONSE, "response"),), Unit.MS, high=5.0, title="line")
        area = Chart(window, 0, 2, (Curve(values, Ink.DONE, "waiting", filled=True),), Unit.COUNT, high=5.0, title="area")
        grids += [draw_chart(line, 60, 5, glyphs), draw_chart(area, 60, 5, glyphs)]
    return _text(*grids)


def failures() -> str:
    """What was refused or failed has a row of its own, below the axis, also during an outage."""
    window = Window(0, 30, None)
    values = np.array([2.0, 3, 4, 9, math.nan, math.nan, 4, 3, 2, 2])
    bad = np.isin(np.arange(10), [2, 3, 4, 8])
    made = Chart(window, 0, 3, (Curve(values, Ink.RESPONSE, "response"),), Unit.MS, high=10.0, title="Response")
    made = replace(made, bad=bad, bad_label="refused, no answer", marks=MARKS[:0], outages=(Outage(12.0, 18.0),))
    return _text(*(draw_chart(made, 60, height, glyphs) for glyphs in GLYPHS.values() for height in (7, 4)))


def lanes() -> str:
    """More events than fit: the weightier ones keep their labels."""
    window = Window(0, 60, None)
    marks = (
        Mark(0, MarkKind.PHASE, "load", ""),
        Mark(10, MarkKind.FAULT, "squeeze", "", until_s=20),
        Mark(14, MarkKind.SETTING, "pool 8", ""),
        Mark(30, MarkKind.NOTE, "a note that somebody made", ""),
        Mark(31, MarkKind.DOWN, "KILL -212", ""),
        Mark(33, MarkKind.UP, "up", ""),
        Mark(35, MarkKind.LOAD, "120/s", ""),
        Mark(59, MarkKind.PROBLEM, "lagging", ""),
    )
    return _text(*(draw_lane(Lane(window, marks), width, height, GLYPHS["braille"]) for width in (60, 100) for height in (1, 2)))


def rulers() -> str:
    """Seconds, minutes, hours; counted from the start, and back from now."""
    spans = (0.5, 3, 12, 60, 300, 3600, 86400)
    grids = [draw_ruler(Ruler(Window(0, span, now)), 80, 1, GLYPHS["braille"]) for span in spans for now in (None, span)]
    grids.append(draw_ruler(Ruler(Window(-20, 60, None)), 80, 1, GLYPHS["braille"]))
    grids.append(draw_ruler(Ruler(Window(0, 60, 20.0)), 80, 1, GLYPHS["braille"]))
    return _text(*grids)


def tiles() -> str:
    """All tones, with and without a bar, and with too little room."""
    shown = [
        Tile("CLIENT SEES", "OK", Tone.GOOD, ("p95 18 ms  err 0.0 %",)),
        Tile("WORK SEES", "BEHIND", Tone.BAD, ("p95 43 s queue 1,842 ▲", "oldest waits for 41 s")),
        Tile("POOL", "SATURATED", Tone.WARN, ("40/40",), bar=1.0),
        Tile("LOST", "nothing yet", Tone.IDLE),
    ]
    grids = [draw_tile(tile, width, 4, glyphs) for glyphs in GLYPHS.values() for tile in shown for width in (30, 18)]
    grids += [draw_tile(tile, 30, height, GLYPHS["braille"]) for tile in shown for height in (1, 2, 5)]
    bars = [
        Bar("pool", share, words, tone)
        for share, words, tone in ((0.4, "16/40", Tone.GOOD), (1.0, "40/40", Tone.BAD), (math.nan, "?", Tone.IDLE))
    ]
    grids += [draw_bar(bar, 30, 1, glyphs) for bar in bars for glyphs in GLYPHS.values()]
    values = np.concatenate([np.arange(40.0), [np.nan] * 4, np.arange(20.0)])
    grids += [draw_spark(Spark(values), 30, 1, glyphs) for glyphs in GLYPHS.values()]
    return _text(*grids)


def scales() -> str:
    """Axes of many sizes."""
    grids = []
    for unit, most, is_log in (
        (Unit.COUNT, 0, False), (Unit.COUNT, 3, False), (Unit.COUNT, 4321, False), (Unit.COUNT, 7e6, False),
        (Unit.SHARE, 0.62, False), (Unit.SHARE, 1.7, False), (Unit.BYTES, 3e8, False), (Unit.MS, 0.3, False),
        (Unit.MS, 450, False), (Unit.MS, 250e3, False), (Unit.MS, 4, True), (Unit.MS, 90e3, True), (Unit.MS, 5e7, True),
        (Unit.COUNT, 1e6, True),
    ):  # fmt: skip
        values = np.geomspace(max(most, 1e-3) / 1e3, max(most, 1e-9), 20) if most else np.zeros(20)
        chart = Chart(Window(0, 20, None), 0, 1, (Curve(values, Ink.OTHER),), unit, is_log, title=f"{unit} {most:g}")
        grids.append(draw_chart(chart, 36, 9, GLYPHS["braille"]))
    return _text(*grids)


def comparison() -> str:
    """What is at its limit is seen in a low area too; given ends of the axis are kept; the whole run has times of its own."""
    story = Story(100, live=False)
    grids = [
        draw_chart(story.backlog_chart(high=20_000.0), 100, 6, GLYPHS["braille"]),
        draw_chart(story.scissors(low=1.0, high=600e3), 100, 12, GLYPHS["braille"]),
        draw_heat(story.heat(intensity=True, low_ms=1.0, high_ms=4000.0), 100, 12, GLYPHS["braille"], is_colored=False),
        draw_ruler(Ruler(story.window), 100, 1, GLYPHS["braille"]),
    ]
    assert OUTAGES
    return _text(*grids)


PICTURES: dict[str, Callable[[], str]] = {
    **{
        f"panels-{name}-{width}": (lambda glyphs=glyphs, width=width, heights=heights: panels(width, heights, glyphs))
        for name, glyphs in GLYPHS.items()
        for width, heights in ((52, (6, 4, 4)), (80, (8, 8, 6)), (192, (18, 14, 10)))
        if name == "braille" or width == 80
    },
    "panels-colored-80": lambda: panels(80, (8, 8, 6), GLYPHS["braille"], is_colored=True),
    "ends": ends,
    "failures": failures,
    "lanes": lanes,
    "rulers": rulers,
    "tiles": tiles,
    "scales": scales,
    "comparison": comparison,
}


def _text(*grids: Grid) -> str:
    return "\n".join(grid.text() for grid in grids)


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.txt").write_text(draw(), encoding="utf-8")
