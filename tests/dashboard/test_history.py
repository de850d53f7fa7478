"""The list of all runs: what stands in it, filtering, showing one, comparing two."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input

from dashboard.app import Dashboard
from dashboard.modals.error import ErrorModal
from dashboard.refusing import require_run
from dashboard.screens import history as of_history
from dashboard.screens.compare import CompareScreen
from dashboard.screens.history import HistoryScreen
from dashboard.screens.live import LiveScreen
from dashboard.shelf import Item, read_shelf
from dashboard.watching import Mode, Watching
from harness.errors import UsageError

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
        await until(pilot, lambda: "killed" in shown(pilot.app), "the list")
        text = shown(pilot.app)
        assert "healthy" in text
        assert "✔ PASS" in text
        if size[0] >= 120:
            assert "rust · sync · pool" in text

    play(app(), script, size)


def test_broken_promises_that_nobody_can_prove_stand_there_as_between_which_numbers_they_are(
    app: Make, runs: dict[str, Path]
) -> None:
    """A healthy app of one's own that writes no rows would seem to have broken every promise."""
    path = runs["healthy"] / "summary.json"
    summary = json.loads(path.read_text())
    summary["tasks"] |= {"broken_promises": 80, "broken_promises_low": 0}
    path.write_text(json.dumps(summary))

    async def script(pilot: Pilot[None]) -> None:
        table = (await opened(pilot)).query_one(DataTable)
        broken = {str(row[1]): str(row[4]) for row in map(table.get_row_at, range(table.row_count))}
        assert broken["healthy"] == "0 to 80"
        assert broken["killed"].isdigit()

    play(app(), script, (120, 36))


def test_nothing_is_cut_off_that_was_drawn_as_soon_as_it_was_there(app: Make, runs: dict[str, Path]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await opened(pilot)
        name = "killed-once-more-and-longer"
        shutil.copytree(runs["killed"], runs["killed"].with_name(name))
        screen._read(read_shelf([runs["killed"].parent]))
        at_once = shown(pilot.app)  # before the table has had a moment of its own
        await pilot.pause()
        assert name in at_once
        assert name in shown(pilot.app)

    play(app(), script)


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
        await until(pilot, lambda: "2 marked" in shown(dashboard), "the marks")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(dashboard.screen, CompareScreen), "the comparison")
        await until(pilot, lambda: all(dashboard.frames), "both runs")
        names = [frame.about.run_id for frame in dashboard.frames if frame is not None]
        assert sorted(names) == ["healthy", "killed"]
        await pilot.press("escape")
        await until(pilot, lambda: dashboard.frames[1] is None, "the end of the second follower")

    play(app(), script)


@pytest.mark.parametrize("is_shown", [False, True])
def test_after_a_comparison_of_others_the_run_of_before_is_shown_again(
    app: Make, runs: dict[str, Path], here: Path, judged: dict[str, Path], is_shown: bool
) -> None:
    before = Watching(shutil.copytree(judged["healthy"], here / "elsewhere"), Mode.REPLAY) if is_shown else None

    async def script(pilot: Pilot[None]) -> None:
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        if is_shown:
            await until(pilot, lambda: dashboard.frames[0], "the recording")
        await opened(pilot)
        await pilot.press("space", "down", "space", "c")
        await until(pilot, lambda: isinstance(dashboard.screen, CompareScreen) and all(dashboard.frames), "the comparison")
        await pilot.press("escape")
        await until(pilot, lambda: dashboard.watching == before, "what was shown before")
        await pilot.press("escape")
        if is_shown:
            await until(pilot, lambda: isinstance(dashboard.screen, LiveScreen) and dashboard.frames[0], "the run of before")
            assert dashboard.frames[0] is not None
            assert dashboard.frames[0].about.run_id == "elsewhere"
        else:
            await until(pilot, lambda: not dashboard.runs.follows(0), "nobody is followed")

    play(app(watching=before), script)


def test_a_comparison_with_a_run_that_is_not_there_leaves_what_is_shown(app: Make, runs: dict[str, Path], here: Path) -> None:
    before = Watching(runs["healthy"], Mode.REPLAY)

    async def script(pilot: Pilot[None]) -> None:
        dashboard = pilot.app
        assert isinstance(dashboard, Dashboard)
        await until(pilot, lambda: dashboard.frames[0], "the recording")
        dashboard.show_pair(Watching(runs["killed"], Mode.REPLAY), here / "nowhere")
        await until(pilot, lambda: isinstance(dashboard.screen, ErrorModal), "what is wrong")
        assert dashboard.watching == before
        await until(pilot, lambda: dashboard.frames[0], "the recording, again")
        assert dashboard.frames[0] is not None
        assert dashboard.frames[0].about.run_id == "healthy"

    play(app(watching=before), script)


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


def test_whoever_leaves_before_the_runs_have_been_read_is_told_nothing_of_them(
    app: Make, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, is_read = threading.Event(), threading.Event()

    def slowly(folders: list[Path]) -> list[Item]:
        may_go_on.wait(30)
        try:
            return read_shelf(folders)
        finally:
            is_read.set()

    monkeypatch.setattr(of_history, "read_shelf", slowly)

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("H")
        assert isinstance(pilot.app.screen, HistoryScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, HistoryScreen), "the screen before")
        may_go_on.set()
        await until(pilot, is_read.is_set, "the runs")
        await pilot.pause(0.3)
        assert not isinstance(pilot.app.screen, ErrorModal)

    play(app(), script)


def test_there_may_be_no_runs_at_all(app: Make) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await opened(pilot, 0)
        await until(pilot, lambda: "there are no runs in runs/ yet" in shown(pilot.app))
        # None of the keys has anything to work on: nothing opens, and nothing breaks.
        await pilot.press("enter", "space", "c", "r")
        await pilot.pause()
        assert pilot.app.screen is screen
        assert "there are no runs in runs/ yet" in shown(pilot.app)

    play(app(), script)


def test_a_run_without_a_summary_says_so(app: Make, runs: dict[str, Path]) -> None:
    (runs["killed"] / "summary.json").unlink()

    async def script(pilot: Pilot[None]) -> None:
        screen = await opened(pilot)
        await until(pilot, lambda: "unfinished" in shown(pilot.app))
        table = screen.query_one(DataTable)
        rows = [" ".join(map(str, table.get_row_at(number))) for number in range(table.row_count)]
        assert ["unfinished" in row for row in rows] == ["killed" in row for row in rows]
        assert sum("unfinished" in row for row in rows) == 1

    play(app(), script)


@pytest.fixture
def compared(here: Path, judged: dict[str, Path]) -> Path:
    """A comparison of two runs that kept their rows and one that did not, and a run of no comparison."""
    path = here / "comparisons" / "email-0102-030405"
    for block, name, of in ((1, "1-tasks=sync", "healthy"), (1, "2-tasks=async", "killed"), (2, "1-tasks=async", "healthy")):
        shutil.copytree(judged[of], path / f"block-{block:02d}" / name)
    (path / "design.json").write_text("{}")
    (path.parent / "latest").symlink_to(path.name)
    dropped = path / "block-02" / "1-tasks=async"
    for rows in dropped.glob("*.rows"):
        rows.unlink()
    (dropped / "rows-dropped.txt").write_text("The rows of this run were removed.\n")
    shutil.copytree(judged["healthy"], here / "runs" / "alone")
    return path


def test_the_runs_of_a_comparison_are_behind_one_row_and_open_and_compare_as_any_other(app: Make, compared: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await opened(pilot, 2)
        dashboard, table = pilot.app, screen.query_one(DataTable)
        assert isinstance(dashboard, Dashboard)
        await until(pilot, lambda: "▸ email-0102-030405" in shown(dashboard) and "3 runs" in shown(dashboard), "its row")
        screen.query_one("#filter", Input).value = "async"  # finds what is in it, too
        await until(pilot, lambda: table.row_count == 3, "the filter")
        screen.query_one("#filter", Input).value = ""
        await until(pilot, lambda: table.row_count == 2, "no filter")
        table.move_cursor(row=next(row for row in range(2) if "email-0102" in str(table.get_row_at(row)[1])))
        await pilot.press("enter")
        await until(pilot, lambda: table.row_count == 5, "its members")
        await until(pilot, lambda: "block-01/2-tasks=async" in shown(dashboard), "its members")
        await pilot.press("space")  # nothing to compare with: it is no run
        assert "marked" not in shown(dashboard)
        for name in ("block-01/1-tasks=sync", "block-01/2-tasks=async"):
            table.move_cursor(row=next(row for row in range(5) if name in str(table.get_row_at(row)[1])))
            await pilot.press("space")
        await until(pilot, lambda: "2 marked" in shown(dashboard), "the marks")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(dashboard.screen, CompareScreen) and all(dashboard.frames), "the comparison")
        assert [frame.about.run_id for frame in dashboard.frames if frame] == ["1-tasks=sync", "2-tasks=async"]

    play(app(), script, (120, 36))


def test_a_run_without_its_rows_says_where_its_figures_are_instead_of_an_empty_picture(app: Make, compared: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        screen = await opened(pilot, 2)
        table = screen.query_one(DataTable)
        screen.query_one("#filter", Input).value = "block-02"
        await until(pilot, lambda: "block-02" in str(table.get_row_at(table.row_count - 1)[1]), "the filter")
        table.focus()
        table.move_cursor(row=1)
        await pilot.press("enter")
        await until(pilot, lambda: "The run cannot be shown" in shown(pilot.app), "the error")
        assert isinstance(pilot.app.screen, ErrorModal)
        assert "report.html" in shown(pilot.app)

    play(app(), script, (120, 36))


def test_what_is_no_run_is_refused_by_name_and_what_holds_runs_names_them(compared: Path, here: Path) -> None:
    with pytest.raises(UsageError, match=r"email-0102-030405 is no run but holds some: .*block-01/1-tasks=sync, .*block-02"):
        require_run(Path("comparisons/latest").resolve())
    with pytest.raises(UsageError, match=r"no events\.jsonl"):
        require_run(here / "nothing")
    require_run(compared / "block-01" / "1-tasks=sync")
