"""The list of all runs: what stands in it, filtering, showing one, comparing two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input

from dashboard.app import Dashboard
from dashboard.screens.compare import CompareScreen
from dashboard.screens.history import HistoryScreen
from dashboard.screens.live import LiveScreen
from dashboard.watching import Mode, Watching

from .conftest import play, shown, until

Make = Callable[..., Dashboard]


async def opened(pilot: Pilot[None], n: int = 2) -> HistoryScreen:
    await pilot.press("H")
    screen = pilot.app.screen
    assert isinstance(screen, HistoryScreen)
    await until(pilot, lambda: screen.query_one(DataTable).row_count == n, f"{n} runs")
    await pilot.pause()
    return screen


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 36), (200, 60)])
def test_each_run_stands_there_with_its_verdict(app: Make, runs: dict[str, Path], size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await opened(pilot)
        text = shown(pilot.app)
        assert "killed" in text
        assert "healthy" in text
        assert "✔ PASS" in text
        if size[0] >= 120:
            assert "rust · sync · pool" in text

    play(app(), script, size)


def test_the_filter_leaves_what_has_all_its_words(app: Make, runs: dict[str, Path]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await opened(pilot)
        table = screen.query_one(DataTable)
        await pilot.press("slash", *"rust kil")
        await until(pilot, lambda: table.row_count == 1, "the filter")
        await pilot.press("x")
        await until(pilot, lambda: table.row_count == 0, "the filter")
        assert "no run in runs/ matches" in shown(pilot.app)
        await pilot.press("escape")
        await until(pilot, lambda: table.row_count == 2, "no filter")
        assert screen.query_one("#filter", Input).value == ""
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is not screen, "the screen before")

    play(app(), script)


def test_enter_shows_a_run_as_a_recording(app: Make, runs: dict[str, Path]) -> None:
    """With the figures of its summary: the follower reads the same files."""

    async def script(pilot: Pilot[None]) -> None:
        await opened(pilot)
        await pilot.press("enter")
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        await until(pilot, lambda: isinstance(dashboard.screen, LiveScreen) and dashboard.frames[0], "the recording")
        assert dashboard.watching is not None
        assert dashboard.watching.mode is Mode.REPLAY
        await until(pilot, lambda: dashboard.frames[0] and dashboard.frames[0].summary, "the summary")
        frame = dashboard.frames[0]
        assert frame is not None
        assert frame.summary is not None
        assert frame.totals.acked == frame.summary.requests.acked > 0
        assert dashboard.why_not_steer == "a recording cannot be changed"

    play(app(), script)


def test_two_that_are_marked_are_compared(app: Make, runs: dict[str, Path]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await opened(pilot)
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        await pilot.press("c")
        assert dashboard.screen is screen  # nothing is marked
        await pilot.press("space", "down", "space")
        assert "2 marked" in shown(dashboard)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(dashboard.screen, CompareScreen), "the comparison")
        await until(pilot, lambda: all(dashboard.frames), "both runs")
        names = [frame.about.run_id for frame in dashboard.frames if frame is not None]
        assert sorted(names) == ["healthy", "killed"]
        await pilot.press("escape")
        await until(pilot, lambda: dashboard.frames[1] is None, "the end of the second follower")

    play(app(), script)


def test_a_run_that_is_shown_is_compared_with_one_that_is_chosen(app: Make, runs: dict[str, Path]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        await until(pilot, lambda: dashboard.frames[0], "the recording")
        await pilot.press("c")
        screen = dashboard.screen
        assert isinstance(screen, HistoryScreen)
        await until(pilot, lambda: screen.query_one(DataTable).row_count == 2, "the runs")
        assert "Which run beside killed?" in shown(dashboard)
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(dashboard.screen, CompareScreen) and all(dashboard.frames), "the comparison")
        assert [frame.about.run_id for frame in dashboard.frames if frame] == ["killed", "healthy"]

    play(app(watching=Watching(runs["killed"], Mode.REPLAY)), script)


def test_there_may_be_no_runs_at_all(app: Make) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await opened(pilot, 0)
        await until(pilot, lambda: "there are no runs in runs/ yet" in shown(pilot.app))
        await pilot.press("enter", "space", "c", "r")

    play(app(), script)


def test_a_run_without_a_summary_says_so(app: Make, runs: dict[str, Path]) -> None:
    (runs["killed"] / "summary.json").unlink()

    async def script(pilot: Pilot[None]) -> None:
        await opened(pilot)
        await until(pilot, lambda: "unfinished" in shown(pilot.app))

    play(app(), script)
