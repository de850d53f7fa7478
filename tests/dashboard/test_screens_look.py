"""What the screens look like, as pictures: fixed figures, fixed sizes. Renew them with --snapshot-update, and look at each.

Few, since every release of Textual may change them; `textual` is pinned in constraints.txt for their sake. What they show is
tested elsewhere by values: these catch what only eyes would.
"""

from __future__ import annotations

import pytest

from dashboard.screens.compare import CompareScreen
from dashboard.screens.live import LiveScreen
from dashboard.screens.tasks import TasksScreen
from dashboard.watching import Mode
from tests.dashboard.stage import Stage


@pytest.fixture(autouse=True)
def no_figures_of_its_own(monkeypatch):
    """What the screen itself costs is never the same."""
    monkeypatch.setattr("dashboard.screens.live.OWN_CPU_EVERY_S", 3600.0)


@pytest.mark.parametrize(("width", "height"), [(60, 18), (80, 24), (120, 36), (200, 60)])
def test_live(snap_compare, scissors, width, height):
    assert snap_compare(Stage(LiveScreen, (scissors,), newest_s=118.0), terminal_size=(width, height))


def test_a_recording_in_the_light_theme(snap_compare, scissors):
    app = Stage(LiveScreen, (scissors,), newest_s=125.0, mode=Mode.REPLAY, theme="afterload-light")
    assert snap_compare(app, terminal_size=(120, 36), press=["less_than_sign", "less_than_sign", "less_than_sign"])


def test_compare(snap_compare, scissors, healthy):
    assert snap_compare(Stage(CompareScreen, (scissors, healthy), newest_s=125.0), terminal_size=(120, 36))


def test_tasks(snap_compare, scissors):
    assert snap_compare(Stage(TasksScreen, (scissors,), newest_s=118.0), terminal_size=(80, 24), press=["5", "down", "down"])
