"""What the screens look like, as pictures: fixed figures, fixed sizes. Renew them with RENEW_PICTURES=1, and look at each.

Few, since every release of Textual may change them; `textual` is pinned in constraints.txt for their sake. What they show is
tested elsewhere by values: these catch what only eyes would.
"""

from __future__ import annotations

import pytest

from dashboard.screens.compare import CompareScreen
from dashboard.screens.live import LiveScreen
from dashboard.screens.tasks import TasksScreen
from dashboard.watching import Mode
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
