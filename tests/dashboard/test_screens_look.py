"""What the screens look like, as pictures: fixed figures, fixed sizes. Renew them with RENEW_PICTURES=1, and look at each.

Few, since every release of Textual may change them; `textual` is pinned in constraints.txt for their sake. What they show is
tested elsewhere by values: these catch what only eyes would.
"""

from __future__ import annotations

import pytest

from dashboard.modals.kill import KillModal
from dashboard.screens.compare import CompareScreen
from dashboard.screens.live import LiveScreen
from dashboard.screens.tasks import TasksScreen
from dashboard.watching import Mode
from harness.live.frame import Look
from tests.dashboard.frames import frame_of
from tests.dashboard.pictures import assert_looks_as_ever
from tests.dashboard.stage import Stage

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_figures_of_its_own(monkeypatch):
    """What the screen itself costs is never the same."""
    monkeypatch.setattr("dashboard.screens.live.OWN_CPU_EVERY_S", 3600.0)


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 36), (200, 60)], ids=lambda size: "x".join(map(str, size)))
async def test_live(scissors, size):
    await assert_looks_as_ever("live-{}x{}".format(*size), Stage(LiveScreen, (scissors,), newest_s=118.0), size)


async def test_a_recording_in_the_light_theme(scissors):
    app = Stage(LiveScreen, (scissors,), newest_s=125.0, mode=Mode.REPLAY, theme="afterload-light")
    await assert_looks_as_ever("recording-light", app, (120, 36), ["less_than_sign"] * 3)


async def test_compare(scissors, healthy):
    await assert_looks_as_ever("compare", Stage(CompareScreen, (scissors, healthy), newest_s=125.0), (120, 36))


async def test_tasks(scissors):
    await assert_looks_as_ever("tasks", Stage(TasksScreen, (scissors,), newest_s=118.0), (80, 24), ["5", "down", "down"])


async def test_ascii(scissors):
    """For terminals without UTF-8."""
    await assert_looks_as_ever("live-ascii", Stage(LiveScreen, (scissors,), newest_s=118.0, glyphs="ascii"), (80, 24))


async def test_findings(scissors):
    await assert_looks_as_ever("findings", Stage(LiveScreen, (scissors,), newest_s=125.0), (80, 24), ["f"])


async def test_compare_where_the_runs_are_stacked(scissors, healthy):
    app = Stage(CompareScreen, (scissors, healthy), newest_s=125.0)
    await assert_looks_as_ever("compare-80x24", app, (80, 24), ["tab"])


async def test_a_screen_that_was_frozen_and_rewound(scissors):
    """Collection goes on: it says how far the run is by now."""
    app = Stage(LiveScreen, (scissors,), newest_s=118.0)
    await assert_looks_as_ever("frozen", app, (100, 30), ["space", "less_than_sign"])


async def test_how_to_kill(scissors):
    """The choice of signals and graces, over nothing."""
    about = frame_of(scissors, Look(0, 30, 1), 60.0).about
    await assert_looks_as_ever("kill", Stage(lambda: KillModal(about), (scissors,), newest_s=60.0), (80, 24), ["down"])
