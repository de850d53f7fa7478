"""The tasks screen: tasks one by one, and the life of one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.panels.lines import plain, width_of
from dashboard.panels.tasklines import life_lines, status_tabs, table_lines
from dashboard.panels.textpanel import TextPanel
from dashboard.screens.live import LiveScreen
from dashboard.screens.tasks import TasksScreen
from dashboard.watching import Mode
from harness.live.frame import Look, Phase, TaskLine, TaskStatus
from tests.dashboard.frames import frame_of, with_newest
from tests.dashboard.stage import Stage

INSTANTS = st.one_of(st.none(), st.floats(0, 1e5))
TASKS = st.builds(
    TaskLine,
    op=st.integers(0, 2**64 - 1),
    index=st.integers(0, 3),
    function=st.text(max_size=40),
    boot=st.integers(0, 9),
    status=st.sampled_from(TaskStatus),
    detail=st.text(max_size=30),
    due_s=st.floats(0, 1e5),
    sent_s=INSTANTS,
    answered_s=INSTANTS,
    accepted_s=st.floats(0, 1e5),
    started_s=INSTANTS,
    ended_s=INSTANTS,
    effects_s=st.lists(st.floats(0, 1e5), max_size=3).map(tuple),
    age_s=st.floats(0, 1e5),
)


@asynccontextmanager
async def showing(*runs, size=(120, 36), newest_s=60.0, **options):
    app = Stage(TasksScreen, runs, newest_s=newest_s, **options)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


async def press(app, pilot, *keys):
    for key in keys:
        await pilot.press(key)
        app.tick()
        await pilot.pause()


def text_of(app, name):
    return "\n".join(plain(one) for one in app.screen.query_one(f"#{name}", TextPanel).lines)


def chosen(app):
    """The row that is lit up."""
    table = app.screen.query_one("#table", TextPanel)
    return next(plain(one).split()[0] for one in table.lines if one[0][1] == "chosen")


@pytest.mark.anyio
async def test_every_status_has_its_number_and_its_list_oldest_first(scissors):
    async with showing(scissors, newest_s=118.0) as (app, pilot):
        assert "1 queued 1,398" in text_of(app, "tabs")
        assert "5 lost 314" in text_of(app, "tabs")
        for key, status in enumerate(TaskStatus, 1):
            await press(app, pilot, str(key))
            frame = app.frames[0]
            assert frame.look.tasks is status
            shown = text_of(app, "table").split("\n")[1:]
            assert len(shown) == (min(len(frame.tasks), app.screen.query_one("#table").size.height - 1) or 1)
            assert [task.due_s for task in frame.tasks] == sorted(task.due_s for task in frame.tasks)
        await press(app, pilot, "right", "left", "tab", "shift+tab")
        assert app.frames[0].look.tasks is TaskStatus.OTHER
        assert "none" in text_of(app, "table")


@pytest.mark.anyio
async def test_the_cursor_stays_on_its_task_while_rows_come_and_go(scissors):
    """Running tasks end and others start; the one that was chosen is followed until it has left."""
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "2", *["down"] * 25)
        before = chosen(app)
        app.newest_s = 60.3
        app.tick()
        await pilot.pause()
        assert chosen(app) == before
        app.newest_s = 90.0
        app.tick()
        await pilot.pause()
        assert chosen(app) != before


@pytest.mark.anyio
async def test_the_cursor_moves_by_keys_wheel_and_clicks_and_stops_at_the_ends(scissors):
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "up")
        first = chosen(app)
        await press(app, pilot, "down", "j", "k", "up", "pagedown", "pageup")
        assert chosen(app) == first
        await press(app, pilot, "end")
        last = chosen(app)
        assert last == f"{app.frames[0].tasks[-1].op:x}"
        await press(app, pilot, "down")
        assert chosen(app) == last
        await press(app, pilot, "home")
        await pilot.click("#table", offset=(5, 4))
        await pilot.pause()
        assert chosen(app) == f"{app.frames[0].tasks[3].op:x}"


@pytest.mark.anyio
async def test_the_life_of_a_task_is_told_instant_by_instant(scissors):
    async with showing(scissors, newest_s=118.0) as (app, pilot):
        await press(app, pilot, "3")
        done = text_of(app, "life")
        assert [
            word for word in ("due", "sent", "accepted", "answered", "started", "effect", "finished") if word not in done
        ] == []
        assert "never" not in done
        assert "█" in done
        await press(app, pilot, "5")
        assert "never" in text_of(app, "life")
        assert "at the kill" in text_of(app, "life")
        await press(app, pilot, "1")
        assert "not yet" in text_of(app, "life")


@pytest.mark.anyio
async def test_the_list_can_be_frozen_and_rewound(scissors):
    async with showing(scissors) as (app, pilot):
        await press(app, pilot, "space")
        app.newest_s = 70.0
        app.tick()
        await pilot.pause()
        assert app.frames[0].at_s == 60.0
        await press(app, pilot, "comma", "comma", "full_stop")
        assert app.frames[0].at_s < 60.0
        await press(app, pilot, "space")
        assert app.frames[0].at_s == 70.0


@pytest.mark.anyio
async def test_a_recording_is_not_frozen_and_keeps_the_instant_that_was_chosen(scissors):
    """It stands still by itself; to its end one goes on purpose."""
    async with showing(scissors, mode=Mode.REPLAY) as (app, pilot):
        await press(app, pilot, "comma", "comma")
        at_s = app.frames[0].at_s
        assert at_s < 60.0
        await press(app, pilot, "space")
        assert app.frames[0].at_s == at_s
        assert "stands still" in text_of(app, "keys")


@pytest.mark.anyio
async def test_a_run_that_has_ended_is_a_recording_here_too(scissors):
    def ended(frame):
        return with_newest(replace(frame, phase=Phase.ENDED), phase=Phase.ENDED) if frame.at_s >= 70.0 else frame

    async with showing(scissors, changed=ended) as (app, pilot):
        assert "Freeze" in text_of(app, "keys")
        await press(app, pilot, "space")
        assert "Go on" in text_of(app, "keys")
        await press(app, pilot, "space")
        app.newest_s = 70.0
        app.tick()
        await pilot.pause()
        assert "replay" not in text_of(app, "status")
        await press(app, pilot, "comma", "space")
        assert app.frames[0].at_s < 70.0
        assert "replay" in text_of(app, "status")


@pytest.mark.anyio
@pytest.mark.parametrize("mode", Mode)
async def test_the_end_of_a_run_is_called_a_recording_where_the_live_screen_calls_it_one(scissors, mode):
    """Which is nowhere at its end, and everywhere before it."""

    def ended(frame):
        return with_newest(replace(frame, phase=Phase.ENDED), phase=Phase.ENDED)

    app = Stage(LiveScreen, (scissors,), newest_s=60.0, mode=mode, changed=ended)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        for keys, is_replay in (((), False), (("comma",), True)):
            await press(app, pilot, *keys)
            assert ("replay" in text_of(app, "status")) is is_replay
            await press(app, pilot, "t")
            assert isinstance(app.screen, TasksScreen)
            assert ("replay" in text_of(app, "status")) is is_replay
            await press(app, pilot, "escape")


def test_what_is_not_run_any_more_is_never_told_as_not_yet():
    """Skipped, because an earlier task of its request raised; its request may still wait for its answer."""
    task = TaskLine(
        op=1, index=1, function="send", boot=1, status=TaskStatus.OTHER, detail="skipped", due_s=1.0, sent_s=1.0,
        answered_s=None, accepted_s=1.1, started_s=None, ended_s=1.2, effects_s=(), age_s=0.2,
    )  # fmt: skip
    life = "\n".join(plain(one) for one in life_lines(task, 100))
    assert "never    started" in life
    assert "not yet  answered" in life
    assert "ran" not in life
    over = "\n".join(plain(one) for one in life_lines(task, 100, "never"))
    assert "not yet" not in over
    queued = replace(task, status=TaskStatus.QUEUED, ended_s=None)
    assert "not yet  answered, started, ended" in "\n".join(plain(one) for one in life_lines(queued, 100))


def test_of_a_task_whose_request_nobody_told_of_nothing_is_said_of_the_request():
    """The load machine was lost, or handed back histograms: it was sent all the same."""
    done = TaskLine(
        op=1, index=0, function="send", boot=1, status=TaskStatus.DONE, detail="", due_s=1.1, sent_s=None,
        answered_s=None, accepted_s=1.1, started_s=2.1, ended_s=2.6, effects_s=(), age_s=1.5,
    )  # fmt: skip
    _, bar, *instants = (plain(one) for one in life_lines(done, 100, "never"))
    assert "━" not in bar
    assert [each.split() for each in instants] == [
        ["accepted", "00:01.1"],
        ["started", "00:02.1", "+1.00", "s", "waited", "1.00", "s"],
        ["finished", "00:02.6", "+1.50", "s", "ran", "500", "ms"],
        ["unknown", "due,", "sent,", "answered"],
    ]
    row = plain(table_lines((done,), 0, 0, 5, 120)[1])
    assert row.split()[:6] == ["1", "send", "1", "–", "–", "1.00"]
    lost = replace(done, status=TaskStatus.LOST, detail="running when its process died")
    assert [plain(one) for one in life_lines(lost, 100, "never")][-2:] == [
        "  never    finished: running when its process died",
        "  unknown  due, sent, answered",
    ]
    unanswered = replace(lost, due_s=1.0, sent_s=1.0)
    assert plain([*life_lines(unanswered, 100, "never")][-1]) == "  never    answered, finished: running when its process died"


@pytest.mark.anyio
@pytest.mark.parametrize("size", [(1, 1), (20, 6), (60, 18), (80, 24), (200, 60)])
async def test_it_fits_every_size(scissors, size):
    async with showing(scissors, size=size) as (app, pilot):
        await press(app, pilot, "down", "3")
        if size >= (60, 18):
            assert "send_welcome" in text_of(app, "table")
            assert "lost" in text_of(app, "tabs")


@pytest.mark.anyio
async def test_an_app_that_is_not_seen_has_no_list_and_says_so(scissors):
    def unseen(frame):
        return replace(frame, about=replace(frame.about, has_server_witness=False), tasks=())

    async with showing(scissors, changed=unseen) as (app, _):
        assert "not seen from inside" in text_of(app, "table")


@given(TASKS, st.integers(0, 220))
@settings(max_examples=200, deadline=None)
def test_any_task_can_be_shown_at_any_width(task, width):
    for one in (*life_lines(task, width), *table_lines((task,), 0, 0, 5, width), *life_lines(None, width)):
        assert width_of(one) <= width


def test_all_statuses_are_named_down_to_sixty_columns(scissors):
    frame = frame_of(scissors, Look(0, 120, 1), 118.0)
    for width in (60, 80, 120):
        shown = plain(status_tabs(TaskStatus.LOST, frame.n_tasks, width))
        assert all(status.value[:4] in shown for status in TaskStatus)
        assert "314" in shown
        assert len(shown) <= width
