"""Recorded real runs that grow again, faster: what is shown while they do is what is shown of them when they are over."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.following import Clock, GrowingRun
from dashboard.screens.tasks import TasksScreen
from harness.live import binned
from harness.live import history as of_history
from harness.live.folding import Folding
from harness.live.follower import Follower
from harness.live.frame import Frame, Look, Phase, TaskStatus
from harness.live.history import BEHIND_NS, History
from tests.live.same import differences
from tests.live.test_recorded import BY_NATURE, unpacked

_STEP_NS = 230_000_000
_NOT_YET = ("can_be_steered", "for_s", "newest_s", "path", "run_id", "problem", "log")
"""What is known of a run only while it goes on, or only afterwards."""


class CountingHistory(History):
    """Knows how often it read everything again."""

    n_again = 0

    def _read_all_again(self) -> None:
        self.n_again += 1
        super()._read_all_again()


@pytest.mark.parametrize("name", ["killed", "skipped", "gone", "starving", "short-grace", "computing"])
def test_a_run_that_is_watched_with_all_let_go_is_that_which_is_played_back(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Kills, drains, tasks that raise and that are skipped, shared threads; two zooms in turn, and lists of tasks."""
    source, folder = unpacked(name, tmp_path / "over"), tmp_path / "again"
    folder.mkdir()
    clock = Clock()
    monkeypatch.setattr(of_history, "time", clock)
    run, history, over = GrowingRun(source, folder), CountingHistory(folder, Folding(300_000_000, rows=0)), History(source)
    over.refresh()
    n_shown, look = 0, Look(0.0, 60.0, 0.5)
    for number, at_ns in enumerate(range(run.begin_ns + _STEP_NS, run.end_ns, _STEP_NS)):
        run.until(at_ns)
        clock.now_ns = at_ns + BEHIND_NS
        history.refresh()
        look = replace(look, bin_s=(0.5, 0.1)[number // 4 % 2], tasks=list(TaskStatus)[number % 5], n_tasks=9)
        frame = history.frame(look)
        look = replace(look, from_s=max(frame.newest_s - 3.0, 0.0), until_s=max(frame.newest_s, 3.0))
        if frame.phase not in {Phase.LOAD, Phase.DRAIN} or frame.at_s < 0:
            continue
        again = over.frame(replace(frame.look, at_s=frame.at_s))
        assert list(differences(frame, again, but=(*BY_NATURE, *_NOT_YET, "look", "at_s"))) == [], frame.at_s
        n_shown += 1
    assert n_shown > 15
    # For the second length of bins, and when a boot is known of or dead: not each time that somebody changes between two.
    n_boots = sum(event["event"] in {"boot_ready", "boot_reaped"} for event in history._journal.all)
    assert history.n_again <= 1 + n_boots
    history.close()
    over.close()


@pytest.mark.parametrize("status", list(TaskStatus))
def test_an_open_list_of_tasks_has_nothing_read_again(status: TaskStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With what the screen of tasks asks for. It asked for more than is kept: the whole run was read for every second picture."""
    folder = tmp_path / "again"
    folder.mkdir()
    clock = Clock()
    monkeypatch.setattr(of_history, "time", clock)
    run = GrowingRun(unpacked("killed", tmp_path / "over"), folder)
    history = CountingHistory(folder, Folding(300_000_000, rows=0))
    view, frame = replace(TasksScreen()._view, tasks=status), None
    n_at_load = n_listed = 0
    for at_ns in range(run.begin_ns + _STEP_NS, run.end_ns, _STEP_NS):
        run.until(at_ns)
        clock.now_ns = at_ns + BEHIND_NS
        history.refresh()
        frame = history.frame(view.look(frame))
        n_listed = max(n_listed, len(frame.tasks))
        if frame.phase is Phase.START or frame.at_s < 0.5:
            n_at_load = history.n_again
    assert n_listed or status not in {TaskStatus.DONE, TaskStatus.LOST}
    n_boots = sum(event["event"] in {"boot_ready", "boot_reaped"} for event in history._journal.all)
    assert history.n_again - n_at_load <= n_boots
    history.close()


def test_a_look_at_the_past_knows_how_the_run_is_by_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What can be asked of it depends on that, and whether it still goes on."""
    folder = tmp_path / "again"
    folder.mkdir()
    clock = Clock()
    monkeypatch.setattr(of_history, "time", clock)
    run, history, phases = GrowingRun(unpacked("killed", tmp_path / "over"), folder), History(folder), set[Phase]()
    for at_ns in range(run.begin_ns + _STEP_NS, run.end_ns, 4 * _STEP_NS):
        run.until(at_ns)
        clock.now_ns = at_ns + BEHIND_NS
        history.refresh()
        now, past = (history.frame(Look(0.0, 60.0, 0.5, at_s=at_s)) for at_s in (None, -0.2))
        assert now.newest.phase is now.phase is past.newest.phase
        assert now.newest.settings == now.settings == past.newest.settings
        phases.add(now.phase)
    assert phases >= {Phase.START, Phase.LOAD, Phase.STOP}
    history.close()


def test_bins_that_somebody_looked_at_once_are_let_go_as_those_that_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first look is at seconds, and a screen never looks at these again: they were kept from the beginning of the run on."""
    folder = tmp_path / "again"
    folder.mkdir()
    clock = Clock()
    monkeypatch.setattr(of_history, "time", clock)
    monkeypatch.setattr(binned, "UNTRIMMED", 8)
    monkeypatch.setattr(binned, "TRIMMED", 4)
    monkeypatch.setattr(binned, "_LEAST_MORE", 4)
    run, history = GrowingRun(unpacked("healthy", tmp_path / "over"), folder), History(folder, Folding(300_000_000, rows=0))
    most, look = {100_000_000: 0, 50_000_000: 0}, Look(0.0, 60.0, 0.1)
    for at_ns in range(run.begin_ns + _STEP_NS, run.end_ns, _STEP_NS):
        run.until(at_ns)
        clock.now_ns = at_ns + BEHIND_NS
        history.refresh()
        frame = history.frame(look)
        if frame.phase is Phase.LOAD and frame.at_s > 0:
            look = Look(max(frame.newest_s - 1.0, 0.0), max(frame.newest_s, 1.0), 0.05)
        if history._shelf.is_folded:
            for length_ns, kept in history._ledgers[True]._binned.items():
                most[length_ns] = max(most[length_ns], len(kept._oldest))
    n_seconds = (run.end_ns - run.begin_ns) / 1e9
    assert 8 < most[100_000_000] < 0.5 * n_seconds / 0.1
    assert 8 < most[50_000_000] < 0.5 * n_seconds / 0.05
    history.close()


def test_rows_that_are_written_late_are_told_and_are_no_reason_to_keep_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a busy machine a process stands still between an instant and its row. What is told until then is told anew."""
    source, folder = unpacked("killed", tmp_path / "over"), tmp_path / "again"
    folder.mkdir()
    clock = Clock()
    monkeypatch.setattr(of_history, "time", clock)
    run, over, young_ns = GrowingRun(source, folder), History(source), 500_000_000
    folding = Folding(young_ns, rows=0)
    history, n_compared = CountingHistory(folder, folding), 0
    over.refresh()
    look = Look(0.0, 60.0, 0.5)
    for number, at_ns in enumerate(range(run.begin_ns + _STEP_NS, run.end_ns, _STEP_NS)):
        is_late = number % 6 == 5
        run.until(at_ns - (_STEP_NS - 10_000_000 if is_late else 0))
        clock.now_ns = at_ns + BEHIND_NS
        history.refresh()
        frame = history.frame(look)
        if is_late or frame.phase not in {Phase.LOAD, Phase.DRAIN} or frame.at_s < 0:
            continue
        n_compared += 1
        again = over.frame(replace(frame.look, at_s=frame.at_s))
        assert list(differences(frame, again, but=(*BY_NATURE, *_NOT_YET, "look", "at_s", "findings"))) == [], frame.at_s
    assert n_compared > 15
    assert history.n_again > 1
    assert folding._young_ns == young_ns
    history.close()
    over.close()


def test_the_first_figures_are_there_soon_however_seldom_pictures_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On few processors there is one a second: whoever starts a run waits for none of them."""
    folder = tmp_path / "again"
    folder.mkdir()
    run, frames = GrowingRun(unpacked("healthy", tmp_path / "over"), folder), list[Frame]()
    # Instants count from when the machine was started: on one that was started later than this was recorded it has not begun.
    clock = Clock()
    monkeypatch.setattr(of_history, "time", clock)
    run.until(run.begin_ns)
    clock.now_ns = run.end_ns
    follower = Follower(folder, tell=frames.append, every_s=600.0)
    follower.start()
    try:
        for n_requests in (0, 1):
            end = time.monotonic() + 60
            while not frames or frames[-1].totals.attempted < n_requests:
                assert time.monotonic() < end
                time.sleep(0.02)
            run.until(run.begin_ns + 4_000_000_000)
        n_told = len(frames)
        time.sleep(0.6)
        assert len(frames) == n_told
    finally:
        follower.close()
