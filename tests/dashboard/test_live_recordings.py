"""The screens on recorded real runs: what they show is what the summary says, whatever kind of run it was."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.messages import FrameArrived
from dashboard.panels.lines import plain
from dashboard.panels.textpanel import TextPanel
from dashboard.screens.compare import CompareScreen
from dashboard.screens.live import LiveScreen
from dashboard.watching import Mode
from dashboard.widgets import TileView
from harness.live.frame import MOST_LISTED, Frame, Look, TaskStatus
from harness.live.history import History
from harness.wording import duration_ms
from tests.dashboard.stage import Stage

RUNS = Path(__file__).parents[1] / "findings" / "runs"
KINDS = ("behind", "killed", "blocking", "healthy-inline", "starving", "gone")


class Replay(Stage):
    """Frames of what was recorded."""

    def __init__(self, screen, *paths: Path) -> None:
        super().__init__(screen, (), mode=Mode.REPLAY)
        self.histories = [History(path) for path in paths]
        for history in self.histories:
            history.refresh()

    def tick(self, side: int | None = None) -> None:
        for number, history in enumerate(self.histories):
            look: Look | Callable[[Frame], Look] | None = self.looks[number]
            if look is None or side not in {None, number}:
                continue
            before = self.frames[number] or history.frame(Look(0, 30, 1))
            self.frames[number] = history.frame(look(before) if callable(look) else look)
            self.screen.post_message(FrameArrived(self.frames[number], number))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> Callable[[str], Path]:
    base = tmp_path_factory.mktemp("recorded")

    def unpack(name: str) -> Path:
        if not (base / name).exists():
            with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
                archive.extractall(base / name, filter="data")
        return base / name

    return unpack


def text_of(app, name):
    return "\n".join(plain(one) for one in app.screen.query_one(f"#{name}", TextPanel).lines)


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "status"), [("killed", "lost"), ("behind", "done")])
async def test_the_tasks_of_a_run_that_is_over_begin_with_what_was_lost_for_nothing_waits_any_more(recorded, name, status):
    app = Replay(LiveScreen, recorded(name))
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        await pilot.press("t")
        app.tick()
        await pilot.pause()
        assert app.frames[0].look.tasks is TaskStatus(status)
        assert "send_welcome_mail" in text_of(app, "table")


@pytest.mark.anyio
@pytest.mark.parametrize("name", KINDS)
async def test_the_end_of_a_recording_says_what_its_summary_says(recorded, name):
    """And every second of it can be looked at, with its tasks."""
    app = Replay(LiveScreen, recorded(name))
    async with app.run_test(size=(120, 44)) as pilot:
        await pilot.pause()
        summary = app.frames[0].summary
        aside = text_of(app, "aside")
        assert summary.verdict in aside
        assert f"{summary.requests.attempted:,}" in aside
        assert f"{duration_ms(summary.requests.response_ms.p50)}, {duration_ms(summary.requests.response_ms.p99)}" in aside
        if summary.tasks.done_ms is not None and summary.tasks.done_ms.n:
            assert f"{duration_ms(summary.tasks.done_ms.p50)}, {duration_ms(summary.tasks.done_ms.p99)}" in aside
        assert f"FINDINGS {len(summary.findings)}" in aside
        if summary.pool is not None:
            assert f"POOL {summary.pool.busy_max}/{summary.pool.size}" == app.screen.query_one("#pool-tile", TileView).data.title
        for _ in range(6):
            await pilot.press("comma", "less_than_sign")
            await pilot.pause()
        assert app.frames[0].at_s < app.frames[0].newest_s
        await pilot.press("end", "t", "3")
        await pilot.pause()
        frame = app.frames[0]
        assert len(frame.tasks) == min(frame.n_tasks[TaskStatus.DONE], MOST_LISTED)


@pytest.fixture
def crashed(recorded, tmp_path) -> Path:
    """A run whose session was killed in the middle of the load: its server is up by all that is written."""
    path = shutil.copytree(recorded("killed"), tmp_path / "crashed")
    lines = (path / "events.jsonl").read_text().splitlines(keepends=True)
    until = next(number for number, line in enumerate(lines) if json.loads(line)["event"] == "boot_frozen")
    (path / "events.jsonl").write_text("".join(lines[:until]))
    (path / "summary.json").unlink(missing_ok=True)
    return path


@pytest.mark.anyio
async def test_a_crashed_run_says_of_its_server_its_pool_and_its_losses_that_nobody_knows(crashed):
    """The newest that is written stands there as what was: done, and unfinished."""
    app = Replay(LiveScreen, crashed)
    async with app.run_test(size=(120, 44)) as pilot:
        await pilot.pause()
        assert "server not known  ✖ CRASHED" in text_of(app, "status")
        tiles = {name: app.screen.query_one(f"#{name}", TileView).data for name in ("work", "pool-tile", "lost")}
        assert [tile.headline for tile in tiles.values()] == ["NOT JUDGED", "–", "–"]
        assert tiles["work"].lines[0].endswith("unfinished")
        aside = text_of(app, "aside")
        assert "since the crash not known" in " ".join(aside.split())
        assert "NOW" not in aside
        assert "/s" not in aside.replace("requests/s", "").split("FINDINGS")[0]
        await pilot.resize_terminal(50, 17)
        await pilot.pause()
        tiny = text_of(app, "tiny")
        assert "server not known" in tiny
        assert "lost –" in tiny
        assert "/s" not in tiny
        await pilot.resize_terminal(120, 44)
        await pilot.press("t", "2")
        app.tick()
        await pilot.pause()
        assert "lost –" in text_of(app, "tabs")
        assert "unknown  ended" in text_of(app, "life")
        await pilot.press("escape")
        await pilot.press("comma")  # as it was before, all of it was known
        await pilot.pause()
        assert "● UP pid" in text_of(app, "status")
        assert "NOW" in text_of(app, "aside")


@pytest.mark.anyio
async def test_two_recordings_are_compared_with_what_chance_does_within_them(recorded):
    """An interval beside each duration, a sentence, and the words that it is one run each."""
    app = Replay(CompareScreen, recorded("healthy"), recorded("behind"))
    async with app.run_test(size=(120, 36)) as pilot:
        for _ in range(300):
            await pilot.pause(0.1)
            if " to " in text_of(app, "delta"):
                break
        text = text_of(app, "delta")
        assert "done p95" in text
        assert "worse" in text
        await pilot.press("f")
        await pilot.pause()
        said = "\n".join(str(each.render()) for each in app.screen.query("Static"))
        assert "One run each" in said
        await pilot.press("escape", *["comma"] * 12)
        await pilot.pause()
        rewound = text_of(app, "delta")
        assert " to " not in rewound  # the intervals are those of the whole runs
        assert "As they stood at" in rewound
        await pilot.press("end")
        await pilot.pause()
        assert text_of(app, "delta") == text
