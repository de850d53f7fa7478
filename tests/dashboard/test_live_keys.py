"""What a key of the live screen costs, and what the screen looks for afterwards: only what suits whoever is seen then."""

from __future__ import annotations

import importlib

import pytest

from dashboard.panels.painted import Painted
from dashboard.panels.picture import Picture
from dashboard.widgets import redraw
from tests.dashboard.test_live_screen import press, showing, whole

pytestmark = pytest.mark.anyio


async def test_freezing_draws_no_chart_anew_and_shows_what_drawing_anew_would(scissors, monkeypatch):
    """Somebody waits for a key: its picture is that of the frame before, with a cursor and other words."""
    drawn = []
    for name in ("chart.draw_chart", "heat.draw_heat", "tile.draw_tile"):
        module, _, called = name.partition(".")
        original = getattr(importlib.import_module(f"dashboard.raster.{module}"), called)

        def counted(*given, of=original, **more):
            drawn.append(of.__name__)
            return of(*given, **more)

        monkeypatch.setattr(f"dashboard.raster.{name}", counted)
    async with showing(scissors) as (app, pilot):
        assert {"draw_chart", "draw_heat", "draw_tile"} == set(drawn)
        drawn.clear()
        monkeypatch.setattr(app, "tick", lambda side: None)  # the follower has not answered yet
        await pilot.press("space")
        assert app.screen._view.at_s is not None
        assert drawn == []
        frozen = app.screen._compositor.render_strips()
        assert "frozen" in whole(app)
        app.screen.query_one(Picture).painted = Painted()
        app.screen._draw()
        redraw(app.screen)
        await pilot.pause()
        assert {"draw_chart", "draw_heat", "draw_tile"} == set(drawn)
        assert app.screen._compositor.render_strips() == frozen


@pytest.mark.parametrize("is_modal", [False, True])
async def test_two_keys_at_once_do_not_take_the_look_away_from_the_screen_on_top(scissors, is_modal):
    """What is looked for after a repaint is looked for by whoever is seen then; behind a question that is this one."""
    async with showing(scissors) as (app, pilot):
        live = app.screen
        live.action_hold()
        if is_modal:
            live.action_findings()
        else:
            live.action_tasks()
        await pilot.pause()
        look = app.looks[0]
        look = look(app.frames[0]) if callable(look) else look
        assert (look.tasks is None) is is_modal
        assert look.at_s == live._view.at_s
        assert look.at_s is not None


async def test_a_resize_does_not_take_the_look_away_from_the_screen_on_top(scissors):
    """Textual tells the screens below of it, too. The one that comes back looks for what suits its new size."""
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "t")
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        look = app.looks[0]
        assert (look(app.frames[0]) if callable(look) else look).tasks is not None
        await press(app, pilot, "escape")
        look = app.looks[0]
        assert (look(app.frames[0]) if callable(look) else look) == app.screen._view.look(app.frames[0])
        assert app.screen._view.columns <= 72
