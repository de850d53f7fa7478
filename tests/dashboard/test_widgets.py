"""The widgets show what the rasteriser draws, send what changed, and follow size, theme, colours and characters."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot

from dashboard.caching import Caches
from dashboard.raster.chart import draw_chart
from dashboard.raster.glyphs import GLYPHS, RAMP
from dashboard.raster.grid import Grid
from dashboard.raster.lane import Lane
from dashboard.raster.palette import SKY
from dashboard.raster.ruler import Ruler
from dashboard.raster.spark import Spark
from dashboard.raster.tile import Bar, Tile, Tone
from dashboard.raster.window import GUTTER
from dashboard.widgets import BarView, Drawing, EventLane, HeatMapView, SparkView, TileView, TimeAxis, TimeChart, redraw
from tests.raster.story import MARKS, Story


class Panels(App[None]):
    """All of them under each other."""

    CSS = "TileView { height: 4; } TimeChart { height: 10; } HeatMapView { height: 8; }"
    glyphs = "braille"

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, float | None]] = []

    def compose(self) -> ComposeResult:
        yield TileView()
        yield TimeChart()
        yield HeatMapView()
        yield EventLane()
        yield TimeAxis()
        yield BarView()
        yield SparkView()

    def on_drawing_pointed(self, message: Drawing.Pointed) -> None:
        self.heard.append(("pointed", message.at_s))

    def on_drawing_picked(self, message: Drawing.Picked) -> None:
        self.heard.append(("picked", message.at_s))

    def show(self, now_s: float = 118.3, cursor_s: float | None = None) -> Story:
        story = Story(self.query_one(TimeChart).size.width or 80, now_s)
        story.window = replace(story.window, cursor_s=cursor_s)
        self.query_one(TileView).show(Tile("WORK SEES", "BEHIND", Tone.BAD, ("p95 43 s",)))
        self.query_one(TimeChart).show(story.scissors())
        self.query_one(HeatMapView).show(story.heat())
        self.query_one(EventLane).show(Lane(story.window, MARKS))
        self.query_one(TimeAxis).show(Ruler(story.window))
        self.query_one(BarView).show(Bar("pool", 1.0, "40/40", Tone.BAD))
        self.query_one(SparkView).show(Spark(story.backlog))
        return story

    @property
    def lines(self) -> list[str]:
        return [strip.text for strip in self.screen._compositor.render_strips()]


def run(body: Callable[[Panels, Pilot[None]], Coroutine[Any, Any, None]], size: tuple[int, int] = (80, 30)) -> None:
    async def within() -> None:
        app = Panels()
        async with app.run_test(size=size) as pilot:
            app.show()
            await pilot.pause()
            await body(app, pilot)

    asyncio.run(within())


def test_widgets_show_what_is_drawn_and_nothing_before() -> None:
    async def body(app: Panels, pilot: Pilot[None]) -> None:
        expected = draw_chart(Story(80).scissors(), 80, 10, GLYPHS["braille"]).text().splitlines()
        assert [line.rstrip() for line in app.lines[4:14]] == expected
        assert "BEHIND" in app.lines[1]
        assert "KILL -1,146" in app.lines[22]
        assert "now" in app.lines[23]
        assert "40/40" in app.lines[24]

    run(body)


def test_what_looks_the_same_is_not_sent_and_else_only_the_cells_that_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(app: Panels, pilot: Pilot[None]) -> None:
        sent: dict[str, list[Region]] = {}
        original = Drawing.refresh

        def refresh(self: Drawing[Any], *regions: Region, **more: Any) -> Any:
            sent.setdefault(type(self).__name__, []).extend(regions or [self.size.region])
            return original(self, *regions, **more)

        monkeypatch.setattr(Drawing, "refresh", refresh)
        app.show()
        assert sent == {}
        app.show(119.6)
        assert set(sent) <= {"TimeChart", "HeatMapView", "SparkView", "TimeAxis"}
        assert 0 < sum(region.area for region in sent["TimeChart"]) < 60
        await pilot.pause()
        assert [line.rstrip() for line in app.lines[4:14]] == (
            draw_chart(Story(80, 119.6).scissors(), 80, 10, GLYPHS["braille"]).text().splitlines()
        )

    run(body)


def test_a_screen_that_is_left_open_keeps_nothing_of_each_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual keeps every part of a widget that was drawn anew until all of the widget is; and places in a cache of thousands."""
    monkeypatch.setattr("dashboard.widgets.drawing._MOST_PARTS", 40)
    caches = Caches(pictures=25)

    async def body(app: Panels, pilot: Pilot[None]) -> None:
        chart, most, places = app.query_one(TimeChart), 0, []
        for number in range(150):
            app.show(118.3 + 0.7 * number)
            await pilot.pause()
            most = max(most, len(chart._dirty_regions))
            caches.count()
            places.append(Region.intersection.cache_info().currsize)  # type: ignore[attr-defined]
        assert 10 < most <= 40 + chart.size.height
        assert min(places[24::25]) == max(places[24::25]) == 0
        assert max(places) > 0

    run(body)


def test_a_picture_follows_the_size_at_any_moment() -> None:
    chance = random.Random(7)

    async def body(app: Panels, pilot: Pilot[None]) -> None:
        for _ in range(12):
            size = (chance.choice([1, 7, 15, 16, 60, 80, 121, 200]), chance.choice([1, 2, 18, 24, 60]))
            await pilot.resize_terminal(*size)
            app.show(chance.uniform(0, 300))
        await pilot.resize_terminal(100, 30)
        story = app.show()
        await pilot.pause()
        assert [line.rstrip() for line in app.lines[4:14]] == (
            draw_chart(story.scissors(), 100, 10, GLYPHS["braille"]).text().splitlines()
        )

    run(body)


def test_colours_are_those_of_the_theme_and_change_with_it() -> None:
    def color(app: Panels) -> tuple[int, int, int]:
        style = next(
            segment.style
            for strip in app.screen._compositor.render_strips()[4:14]
            for segment in strip
            if segment.text.startswith("⠒⠒")
        )
        assert style is not None
        assert style.color is not None
        return tuple(style.color.get_truecolor())

    async def body(app: Panels, pilot: Pilot[None]) -> None:
        assert color(app) == SKY
        app.theme = "textual-light"
        await pilot.pause()
        dark = color(app)
        assert dark != SKY
        assert sum(dark) < sum(SKY)

    run(body)


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
def test_a_terminal_with_colours_of_its_own_gets_their_names_and_a_ramp(theme: str) -> None:
    async def body(app: Panels, pilot: Pilot[None]) -> None:
        app.theme = theme
        await pilot.pause()
        assert "▀" not in "".join(app.lines[15:22])
        assert RAMP[-1] in "".join(app.lines[14:22])
        colors = {
            segment.style.color.name
            for strip in app.screen._compositor.render_strips()[4:22]
            for segment in strip
            if segment.style is not None and segment.style.color is not None
        }
        assert {"cyan", "yellow", "red"} <= colors
        assert not any(color.startswith("#") for color in colors)

    run(body)


def test_without_colours_a_heat_map_is_a_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def body(app: Panels, pilot: Pilot[None]) -> None:
        assert app.no_color
        assert "▀" not in "".join(app.lines[15:22])
        assert RAMP[-1] in "".join(app.lines[15:22])

    run(body)


def test_other_characters_are_drawn_once_the_app_has_them() -> None:
    async def body(app: Panels, pilot: Pilot[None]) -> None:
        app.glyphs = "ascii"
        redraw(app.screen)
        await pilot.pause()
        assert "".join(app.lines).isascii()

    run(body)


def test_the_mouse_tells_the_instant_that_it_points_at() -> None:
    async def body(app: Panels, pilot: Pilot[None]) -> None:
        window = Story(80).window
        await pilot.hover(TimeChart, offset=(GUTTER + 10, 4))
        await pilot.click(HeatMapView, offset=(GUTTER + 30, 3))
        await pilot.hover(TimeChart, offset=(2, 4))
        await pilot.hover(TileView)
        await pilot.pause()
        assert ("pointed", window.at_s(10, 72)) in app.heard
        assert ("picked", window.at_s(30, 72)) in app.heard
        assert app.heard[-1] == ("pointed", None)

    run(body)


def test_the_cursor_lights_one_column_of_every_panel() -> None:
    async def body(app: Panels, pilot: Pilot[None]) -> None:
        story = app.show(cursor_s=50.0)
        await pilot.pause()
        column = story.window.column(50.0, 72)
        assert column is not None
        grid = app.query_one(TimeChart)._grid
        assert grid is not None
        strips = app.screen._compositor.render_strips()
        backgrounds = [
            [style.bgcolor for style in (segment.style for segment in strip) if style is not None and style.bgcolor is not None]
            for strip in strips[6:14]
        ]
        assert all(len({str(color) for color in row}) == 2 for row in backgrounds)

    run(body)


def test_only_the_column_of_the_cursor_is_sent_and_nothing_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the mouse moves over a chart. What is drawn of other figures, or of another stretch of time, is drawn anew."""

    async def body(app: Panels, pilot: Pilot[None]) -> None:
        n_drawn = 0

        def counted(*given: Any) -> Grid:
            nonlocal n_drawn
            n_drawn += 1
            return draw_chart(*given)

        monkeypatch.setattr("dashboard.raster.chart.draw_chart", counted)
        widget, window = app.query_one(TimeChart), app.show().window
        await pilot.pause()
        assert widget.data is not None
        n_drawn = 0
        for cursor_s in (50.0, 20.0, None):
            pointed = replace(widget.data, window=replace(window, cursor_s=cursor_s))
            widget.show(pointed)
            await pilot.pause()
            assert widget._grid == draw_chart(pointed, 80, 10, GLYPHS["braille"])
        assert n_drawn == 0
        widget.show(replace(widget.data, title="Another"))
        widget.show(replace(widget.data, window=replace(window, from_s=window.from_s + 1, until_s=window.until_s + 1)))
        assert n_drawn == 2

    run(body)


def test_a_panel_that_is_hidden_shows_the_newest_when_it_comes_back() -> None:
    async def body(app: Panels, pilot: Pilot[None]) -> None:
        chart = app.query_one(TimeChart)
        chart.display = False
        await pilot.pause()
        app.show(240.0)
        chart.display = True
        await pilot.pause()
        story = app.show(240.0)
        await pilot.pause()
        assert [line.rstrip() for line in app.lines[4:14]] == (
            draw_chart(story.scissors(), 80, 10, GLYPHS["braille"]).text().splitlines()
        )

    run(body)
