"""The live screen in Textual, with frames of simulated runs: every key, every size, no colour, ASCII."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.widgets import Static

from dashboard.panels.keybar import KeyBar
from dashboard.panels.lines import plain
from dashboard.panels.textpanel import TextPanel
from dashboard.screens.findings import FindingsModal
from dashboard.screens.live import LiveScreen
from dashboard.screens.tasks import TasksScreen
from dashboard.watching import Mode
from dashboard.widgets import HeatMapView, TileView, TimeChart
from harness.control import SetPool, SetRate, SetTasks
from harness.live.frame import Phase
from tests.dashboard.frames import with_newest
from tests.dashboard.stage import Stage

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def showing(*runs, size=(120, 36), newest_s=118.0, **options):
    """The live screen with its first frame."""
    app = Stage(LiveScreen, runs, newest_s=newest_s, **options)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


async def press(app, pilot, *keys):
    """The keys one by one; after each the follower has made the frame that was asked for."""
    for key in keys:
        await pilot.press(key)
        app.tick()
        await pilot.pause()


def text_of(app, name):
    return "\n".join(plain(one) for one in app.screen.query_one(f"#{name}", TextPanel).lines)


def whole(app):
    """All that is on the screen, as text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 36), (200, 60)])
async def test_the_story_can_be_read_at_each_size(scissors, size):
    """Both verdicts with their p95, both charts, the kill, what was lost, the time, and the keys for help and quitting."""
    async with showing(scissors, size=size) as (app, _):
        text = whole(app)
        for words in (
            "CLIENT SEES",
            "WORK SEES",
            "BEHIND",
            "p95 16.7 ms",
            "p95",
            "Backlog",
            "hidden wait",
            "KILL -314",
            "314",
            "01:58",
        ):
            assert words in text, words
        assert "? Help" in text
        assert "q Quit" in text
        assert len(text.split("\n")) == size[1]


async def test_a_terminal_that_is_too_small_has_the_figures_as_text(scissors):
    async with showing(scissors, size=(40, 12)) as (app, pilot):
        assert "enlarge to 60x18" in whole(app)
        assert "queued 1,398" in whole(app)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "CLIENT SEES" in whole(app)


async def test_resizing_at_any_moment_breaks_nothing(scissors):
    """Sizes in any order, with keys and frames in between."""
    rng = random.Random(7)
    async with showing(scissors) as (app, pilot):
        keys = "hivldt15+-=,.<> "
        for step in range(24):
            await pilot.resize_terminal(rng.randint(1, 250), rng.randint(1, 80))
            if step % 3 == 0:
                key = rng.choice(keys)
                await pilot.press("space" if key == " " else key)
            app.tick()
        await pilot.resize_terminal(120, 36)
        await press(app, pilot, "escape", "escape", "end")
        assert "CLIENT SEES" in whole(app)


async def test_freezing_stops_the_picture_and_says_how_far_behind_it_is(scissors):
    async with showing(scissors, newest_s=60.0) as (app, pilot):
        await press(app, pilot, "space")
        app.newest_s = 72.0
        app.tick()
        await pilot.pause()
        assert app.frames[0].at_s == 60.0
        assert "frozen, 12 s behind" in text_of(app, "status")
        await press(app, pilot, "space")
        assert app.frames[0].at_s == 72.0
        assert "frozen" not in text_of(app, "status")


async def test_before_the_load_begins_nothing_is_frozen_for_no_instant_has_a_name_yet(scissors):
    """Until the load begins each frame is at 0 s; frozen there, one would be shown its beginning instead, once that is known."""
    async with showing(scissors, newest_s=0.0) as (app, pilot):
        await press(app, pilot, "space")
        assert "nothing to freeze yet" in text_of(app, "keys")
        await press(app, pilot, "comma", "less_than_sign", "home")
        app.newest_s = 12.0
        app.tick()
        await pilot.pause()
        assert app.frames[0].at_s == 12.0
        assert "frozen" not in text_of(app, "status")


async def test_that_a_run_has_ended_is_told_while_an_earlier_instant_is_frozen(scissors):
    def ended(frame):
        phase = Phase.ENDED if frame.at_s >= 118.0 else frame.phase
        return with_newest(replace(frame, phase=phase), phase=Phase.ENDED) if frame.newest_s >= 118.0 else frame

    async with showing(scissors, newest_s=90.0, changed=ended) as (app, pilot):
        await press(app, pilot, "space")
        app.newest_s = 118.0
        app.tick()
        await pilot.pause()
        assert "frozen, 28 s before the end" in text_of(app, "status")
        assert "The run is over; an earlier instant is shown." in text_of(app, "keys")
        assert app.frames[0].at_s == 90.0
        await press(app, pilot, "space")
        assert app.frames[0].at_s == 118.0
        assert "earlier" not in text_of(app, "keys")


async def test_one_steps_back_and_goes_to_events_and_back_to_now(scissors):
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "comma", "comma")
        assert app.frames[0].at_s < 118.0
        await press(app, pilot, "less_than_sign")
        assert app.frames[0].at_s == 100.0
        await press(app, pilot, "less_than_sign")
        assert app.frames[0].at_s == 83.0
        await press(app, pilot, "greater_than_sign", "full_stop")
        assert app.frames[0].at_s > 100.0
        await press(app, pilot, "home")
        assert app.frames[0].at_s == 0.0
        await press(app, pilot, "end")
        assert app.frames[0].at_s == 118.0


async def test_the_state_is_that_of_the_instant_shown(scissors):
    """Rewound to before the kill, nothing is lost yet."""
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "less_than_sign", "less_than_sign", "less_than_sign", "comma")
        assert app.frames[0].at_s < 74.0
        assert app.screen.query_one("#lost", TileView).data.headline == "0"
        assert "KILL" not in text_of(app, "events")


async def test_the_window_becomes_shorter_longer_and_whole(scissors):
    async with showing(scissors) as (app, pilot):
        spans = []
        for key in ("plus", "plus", "minus", "equals_sign", "equals_sign"):
            await press(app, pilot, key)
            window = app.screen.query_one("#scissors", TimeChart).data.window
            spans.append(window.until_s - window.from_s)
        assert spans[1] < spans[0] < spans[3]
        assert spans[2] == spans[0] == spans[4]


async def test_digits_show_one_panel_as_large_as_it_can_be(scissors):
    async with showing(scissors) as (app, pilot):
        for key, name in (("1", "scissors"), ("2", "backlog"), ("3", "heat"), ("4", "pool"), ("5", "log")):
            await press(app, pilot, key)
            shown = [widget.id for widget in app.screen.query("#charts > *, #log") if widget.display and widget.size.height > 3]
            assert shown == [name]
            await press(app, pilot, key)
        await press(app, pilot, "2", "escape")
        assert app.screen.query_one("#scissors").display


async def test_the_heat_map_takes_the_place_of_the_curves_and_tells_of_time_spent(scissors):
    async with showing(scissors, size=(80, 24)) as (app, pilot):
        assert not app.screen.query_one("#heat").display
        await press(app, pilot, "i")
        assert "No heat map is shown" in text_of(app, "keys")
        await press(app, pilot, "h")
        heat = app.screen.query_one("#heat", HeatMapView)
        assert heat.display
        assert not app.screen.query_one("#scissors").display
        assert not heat.data.intensity
        await press(app, pilot, "i")
        assert heat.data.intensity


async def test_log_side_column_and_views_come_and_go(scissors):
    async with showing(scissors, size=(80, 24)) as (app, pilot):
        await press(app, pilot, "l")
        assert "TimeoutError('smtp')" in text_of(app, "log")
        await press(app, pilot, "l", "d")
        assert "SETTINGS" in text_of(app, "aside")
        assert "FINDINGS" in text_of(app, "aside")
        await press(app, pilot, "d")
        assert not app.screen.query_one("#aside").display
        await press(app, pilot, "v")
        assert app.screen.query_one("#heat").display
        await press(app, pilot, "v", "v")
        assert not app.screen.query_one("#heat").display


async def test_findings_are_read_with_what_to_do_next(scissors):
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "f")
        assert isinstance(app.screen, FindingsModal)
        text = "\n".join(str(each.render()) for each in app.screen.query(Static))
        assert "restart-lost" in text
        assert "What to try" in text
        await press(app, pilot, "escape")
        assert isinstance(app.screen, LiveScreen)


async def test_tasks_are_shown_of_the_same_instant(scissors):
    async with showing(scissors, newest_s=60.0) as (app, pilot):
        await press(app, pilot, "space", "t")
        assert isinstance(app.screen, TasksScreen)
        assert app.frames[0].at_s == 60.0
        await press(app, pilot, "escape")
        assert isinstance(app.screen, LiveScreen)
        assert app.frames[0].look.tasks is None


async def test_load_pool_and_kind_are_asked_for(scissors):
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "U", "u", "P", "p", "y")
        assert app.steered == [SetRate(150.0), SetRate(120.0), SetPool(50), SetPool(40), SetTasks("async")]
        assert "tasks=async" in text_of(app, "keys")
        assert "◂ sync→async ▸" in text_of(app, "aside")  # at once, before any frame knows of it


async def test_quick_presses_count_each_and_what_was_refused_is_forgotten(scissors):
    async with showing(scissors, newest_s=60.0) as (app, pilot):
        for _ in range(3):
            await pilot.press("P")
        assert app.steered == [SetPool(50), SetPool(60), SetPool(80)]
        assert "◂ 40→80 ▸" in text_of(app, "aside")
        app.newest_s = 70.0
        app.tick()
        await pilot.pause()
        assert "▸" not in text_of(app, "aside")


async def test_keys_of_the_app_are_handed_on(scissors):
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, *"kKrmescq", "question_mark")
        assert app.done == ["kill", "kill_now", "restart", "mark", "export", "scenarios", "compare", "leave", "help"]


async def test_a_key_that_cannot_work_says_why_and_is_dimmed(scissors):
    async with showing(scissors, mode=Mode.REPLAY) as (app, pilot):
        keys = text_of(app, "keys")
        assert "space Play" in keys
        assert "Kill" not in keys  # what works has the room
        await press(app, pilot, "P")
        assert app.steered == []
        assert "recording" in text_of(app, "keys")


async def test_a_run_that_is_over_takes_no_changes(scissors):
    async with showing(scissors, changed=lambda frame: with_newest(frame, phase=Phase.ENDED)) as (app, pilot):
        await press(app, pilot, "U")
        assert app.steered == []
        assert "over" in text_of(app, "keys")


async def test_a_frozen_view_asks_for_changes_of_what_is_now(scissors):
    """What is shown is the past; what is changed is not: the load has been more than doubled since."""
    async with showing(scissors, newest_s=90.0) as (app, pilot):
        await press(app, pilot, "space")
        app.newest_s = 118.0
        app.tick()
        await press(app, pilot, "u")
        assert (app.frames[0].at_s, app.frames[0].settings[0].value) == (90.0, 49.0)
        assert app.steered == [SetRate(100.0)]
        assert "◂ 49→100 ▸" in text_of(app, "aside")


async def test_a_frozen_view_of_a_run_that_is_over_by_now_takes_no_changes(scissors):
    def ended(frame):
        return replace(frame, newest=replace(frame.newest, phase=Phase.ENDED)) if frame.newest_s >= 118.0 else frame

    async with showing(scissors, newest_s=90.0, changed=ended) as (app, pilot):
        await press(app, pilot, "space")
        app.newest_s = 118.0
        app.tick()
        await press(app, pilot, "U")
        assert app.steered == []
        assert "over" in text_of(app, "keys")


async def test_the_kind_of_tasks_goes_through_those_that_there_are(scissors):
    def of(kind, *kinds):
        def change(frame):
            settings = tuple(replace(each, value=kind) if each.name == "tasks" else each for each in frame.settings)
            return with_newest(replace(frame, about=replace(frame.about, tasks=kind, kinds=kinds)), settings=settings)

        return change

    for kind, kinds, following in (("blocking", ("sync", "async", "blocking"), "sync"), ("async", ("sync", "async"), "sync")):
        async with showing(scissors, changed=of(kind, *kinds)) as (app, pilot):
            await press(app, pilot, "y")
            assert app.steered == [SetTasks(following)]
    for kind, kinds, told in (("inline", (), "no tasks"), ("sync", ("sync",), "one kind")):
        async with showing(scissors, changed=of(kind, *kinds)) as (app, pilot):
            await press(app, pilot, "y")
            assert app.steered == []
            assert told in text_of(app, "keys")


async def test_a_run_that_ends_becomes_a_recording(scissors):
    """The whole of it, with a slider, and it can be played."""

    def ended(frame):
        return replace(frame, phase=Phase.ENDED) if frame.at_s >= 120.0 else frame

    async with showing(scissors, newest_s=119.0, changed=ended) as (app, pilot):
        await press(app, pilot, "plus")
        assert not app.screen.query_one("#slider").display
        app.newest_s = 123.0
        await press(app, pilot, "equals_sign")
        assert app.screen.query_one("#slider").display
        assert (app.frames[0].look.from_s, app.frames[0].look.until_s) == (0.0, pytest.approx(123.0, abs=2))
        await press(app, pilot, "space")
        assert app.frames[0].at_s < 10.0


async def test_a_recording_has_a_slider_and_plays(scissors):
    async with showing(scissors, mode=Mode.REPLAY) as (app, pilot):
        assert "●" in text_of(app, "slider")
        assert "replay" in text_of(app, "status")
        await press(app, pilot, "space")  # it is at its end: from the beginning
        before = app.screen._view.at_s
        await pilot.pause(0.6)
        assert app.screen._view.at_s > before
        await press(app, pilot, "space")
        at = app.screen._view.at_s
        await pilot.pause(0.4)
        assert app.screen._view.at_s == at
        await press(app, pilot, "x")
        assert "×2" in text_of(app, "status")


async def test_a_click_goes_to_the_instant(scissors):
    async with showing(scissors, mode=Mode.REPLAY) as (app, pilot):
        await pilot.click("#slider", offset=(60, 0))
        await pilot.pause()
        assert 30 < app.frames[0].at_s < 90
        await pilot.click("#backlog", offset=(30, 3))
        await pilot.pause()
        assert app.frames[0].at_s < 60


async def test_the_mouse_reads_out_values(scissors):
    async with showing(scissors) as (app, pilot):
        await pilot.hover("#scissors", offset=(30, 3))
        await pilot.pause()
        assert "response" in text_of(app, "keys")
        assert "queued" in text_of(app, "keys")


async def test_a_key_in_the_row_of_keys_can_be_clicked(scissors):
    async with showing(scissors) as (app, pilot):
        column = text_of(app, "keys").index("space") + 1
        await pilot.click(KeyBar, offset=(column, 0))
        await pilot.pause()
        assert app.screen._view.at_s == 118.0


async def test_nothing_is_drawn_twice_if_nothing_has_changed(scissors):
    """A frame like the one before costs no row of the terminal."""
    async with showing(scissors) as (app, pilot):
        drawn = []
        for widget in (app.screen.query_one("#status", TextPanel), app.screen.query_one("#aside", TextPanel)):
            widget.refresh = lambda *regions, **_: drawn.append(regions)
        app.tick()
        await pilot.pause()
        assert drawn == []


async def test_without_colours_and_with_ascii_alone_all_is_there(scissors, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with showing(scissors, glyphs="ascii") as (app, _):
        text = whole(app)
        assert text.isascii()
        for words in ("X BEHIND", "hidden wait x", "KILL -314", "FINDINGS", "pool saturated"):
            assert words in text, words
        assert app.no_color


@pytest.mark.parametrize("theme", ["afterload-light", "afterload-colour-blind", "ansi-dark", "ansi-light"])
async def test_every_theme_shows_all(scissors, theme):
    async with showing(scissors, theme=theme) as (app, _):
        assert "BEHIND" in whole(app)


async def test_somebody_elses_app_without_a_witness_is_told_so(scissors):
    def unseen(frame):
        now = replace(
            frame.now, backlog=None, busy=None, pool_size=None, pool_busy=None, finished_per_s=None, accepted_per_s=None
        )
        return with_newest(replace(frame, about=replace(frame.about, has_server_witness=False, tasks=None), now=now), settings=())

    async with showing(scissors, changed=unseen) as (app, pilot):
        text = whole(app)
        assert "the server is not seen" in text
        assert "not seen from inside" in text
        await press(app, pilot, "P")
        assert "none that afterload knows of" in text_of(app, "keys")


async def test_before_the_first_figures_it_says_so(scissors):
    async with showing() as (app, pilot):
        assert "waiting for the first figures" in whole(app)
        await press(app, pilot, "space", "comma", "less_than_sign", "f", "U")
        assert "Nothing is known" in text_of(app, "keys")


async def test_a_run_that_has_not_begun_is_shown(scissors):
    async with showing(scissors, newest_s=-1.0) as (app, _):
        assert "starting" in whole(app) or "-00:01" in whole(app)
