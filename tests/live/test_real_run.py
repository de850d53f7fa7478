"""A real run that was followed: what was shown live is what is shown afterwards, and in the end it is what the summary says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from harness.live import history as of_history
from harness.live.frame import Frame, Look, MarkKind, Phase, SideState, TaskStatus
from harness.live.history import History
from harness.rows import read_rows
from harness.rundir import EventLog
from tests.live.conftest import LOOK, FollowedRun
from tests.live.same import differences

BY_NATURE = ("number", "newest", "newest_s", "cost_ms", "log", "problem", "summary", "can_be_steered")
"""What belongs to when somebody looked: how far the run had come by then, what a child had printed."""


@pytest.fixture(scope="module")
def history(followed: FollowedRun) -> History:
    found = History(followed.path)
    found.refresh()
    return found


@pytest.fixture(scope="module")
def last(followed: FollowedRun) -> Frame:
    return followed.frames[-1]


def loading(followed: FollowedRun) -> list[Frame]:
    return [frame for frame in followed.frames if frame.phase in {Phase.LOAD, Phase.DRAIN, Phase.STOP} and frame.at_s > -0.1]


def test_a_frame_of_the_past_is_the_one_that_was_shown_live(followed: FollowedRun, history: History):
    """Field by field, at every instant at which one was shown, also while the server was being killed."""
    frames = loading(followed)
    assert len(frames) > 10  # there are 40 and more, but on a busy machine
    for frame in frames:
        again = history.frame(Look(0.0, 30.0, 0.5, at_s=frame.at_s, tasks=TaskStatus.QUEUED, n_tasks=20))
        found = list(differences(frame, again, but=(*BY_NATURE, "look", "at_s")))
        assert found == [], f"at {frame.at_s} s"
        assert again.at_s == pytest.approx(frame.at_s, abs=1e-8)


def test_the_last_frame_says_what_the_summary_says(followed: FollowedRun, last: Frame):
    summary = json.loads((followed.path / "summary.json").read_text())
    requests, tasks, totals = summary["requests"], summary["tasks"], last.totals
    assert last.phase is Phase.ENDED
    assert last.summary is not None
    for name in ("attempted", "acked", "rejected", "indeterminate"):
        assert getattr(totals, name) == requests[name], name
    for name in ("accepted", "finished", "failed", "skipped", "lost_queued", "lost_running", "backlog_max"):
        assert getattr(totals, name) == tasks[name], name
    for name in ("p50", "p95", "p99"):
        for ours, theirs in ((f"response_{name}_ms", requests["response_ms"]), (f"done_{name}_ms", tasks["done_ms"])):
            value = getattr(totals, ours)
            assert theirs[name] is None if value is None or math.isinf(value) else theirs[name] == round(value, 6), ours
    assert summary["pool"]["saturated_s"] == round(totals.saturated_s, 6)
    assert [finding["id"] for finding in summary["findings"]] == [finding.id for finding in last.findings]
    assert len(summary["boots"]) - 1 == totals.restarts == 1


def test_a_loop_that_nobody_could_see_is_neither_late_nor_in_time(history: History, last: Frame):
    """Between the kill and the first beat of the next boot there is no loop, though there are samples."""
    outage = last.outages[0]
    assert outage.gone_s is not None
    assert outage.until_s is not None
    for share in (0.1, 0.5, 0.9):
        at_s = outage.gone_s + share * (outage.until_s - outage.gone_s)
        assert history.frame(Look(0.0, 30.0, 0.5, at_s=at_s)).now.loop_lag_ms is None
    assert history.frame(Look(0.0, 30.0, 0.5, at_s=outage.from_s - 0.2)).now.loop_lag_ms is not None


def test_what_it_took_to_start_is_no_load_of_the_first_second(followed: FollowedRun, history: History):
    """The load process imports for most of a second before the load begins, and tells what it used only then."""
    start_ns = next(
        event["load_start_ns"] for event in EventLog.read(followed.path / "events.jsonl") if event["event"] == "load_started"
    )
    rows = np.asarray(read_rows(followed.path / "gauges.rows").rows)
    for at_s in (0.3, 0.6):
        seen = rows[rows["t_ns"] <= start_ns + round(at_s * 1e9)]
        told = seen[(seen["load_cpu_ns"] > 0) & (seen["t_ns"] >= seen["t_ns"][-1] - np.uint64(1_100_000_000))]
        used_ns, passed_ns = (int(told[name][-1]) - int(told[name][0]) for name in ("load_cpu_ns", "t_ns"))
        shown = history.frame(Look(0.0, 30.0, 0.5, at_s=at_s)).now.load_cpu_share
        assert shown is None or shown <= used_ns / passed_ns + 0.3


def test_what_was_lost_stands_at_the_kill(followed: FollowedRun, last: Frame):
    summary = json.loads((followed.path / "summary.json").read_text())
    lost = summary["tasks"]["lost"]
    assert lost > 10
    kill = next(mark for mark in last.marks if mark.kind is MarkKind.FAULT)
    assert kill.label == f"KILL -{lost}"
    outage = last.outages[0]
    assert outage.from_s <= kill.at_s < (outage.gone_s or 0) < (outage.until_s or 0)
    shown = [(mark.kind, mark.label) for mark in last.marks]
    assert shown.count((MarkKind.UP, "up")) == 2
    assert (MarkKind.DOWN, "down") in shown


def test_what_waits_and_what_was_lost_is_told_bin_by_bin(followed: FollowedRun):
    """The sum over all bins is the whole, at every instant."""
    for frame in loading(followed):
        totals = frame.totals
        assert int(frame.unsettled.sum()) == totals.queued + totals.running
        # One whose server died in the middle of it, and that has had its effect, is not lost.
        had_effect = frame.n_tasks[TaskStatus.OTHER]
        assert int(frame.lost.sum()) == totals.lost_queued + totals.lost_running + had_effect
        assert int(frame.series.due.sum()) == totals.attempted
        assert sum(frame.n_tasks.values()) == totals.accepted


def test_a_change_by_hand_is_pending_and_then_a_mark(followed: FollowedRun, last: Frame):
    pending = [setting for frame in followed.frames for setting in frame.settings if setting.pending is not None]
    assert [(mark.kind, mark.label) for mark in last.marks if mark.kind is MarkKind.SETTING] == [(MarkKind.SETTING, "pool 4")]
    assert {(setting.name, setting.pending) for setting in pending} <= {("pool", 4)}
    assert 4 in {setting.value for frame in followed.frames for setting in frame.settings if setting.name == "pool"}


def test_the_tiles_go_from_behind_to_lost(followed: FollowedRun, last: Frame):
    states = [frame.work.state for frame in loading(followed)]
    assert SideState.BEHIND in states
    assert states.index(SideState.BEHIND) < states.index(SideState.DOWN) < states.index(SideState.FAILING)
    assert last.work.headline == "LOST"
    for frame in followed.frames:
        for side in (frame.client, frame.work):
            assert len(side.lines) <= 2
            assert all(len(line) <= 26 for line in side.lines), side


@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_list_of_tasks_is_as_long_as_its_count(history: History, status: TaskStatus):
    for at_s in (2.0, 4.0, None):
        frame = history.frame(Look(0.0, 10.0, 1.0, at_s=at_s, tasks=status, n_tasks=10_000))
        assert len(frame.tasks) == frame.n_tasks[status]
        assert all(line.status is status for line in frame.tasks)
        assert [line.accepted_s for line in frame.tasks] == sorted(line.accepted_s for line in frame.tasks)


def test_a_lost_task_has_a_life_that_ends_at_the_kill(history: History):
    frame = history.frame(Look(0.0, 10.0, 1.0, tasks=TaskStatus.LOST, n_tasks=5))
    died_s = next(mark.at_s for mark in frame.marks if mark.kind is MarkKind.DOWN)
    for line in frame.tasks:
        assert line.ended_s == pytest.approx(died_s)
        assert line.effects_s == ()
        assert "when its process died" in line.detail
        assert line.function == "send_welcome_mail"
    done = history.frame(Look(0.0, 10.0, 1.0, tasks=TaskStatus.DONE, n_tasks=5)).tasks
    for line in done:
        assert line.started_s is not None
        assert line.ended_s is not None
        assert len(line.effects_s) == 1
        assert line.due_s <= line.accepted_s <= line.started_s <= line.effects_s[0] <= line.ended_s


def test_the_same_is_shown_from_all_rows_and_from_what_is_kept(history: History, followed: FollowedRun, monkeypatch):
    """The real run's own rows, at instants between those that were shown."""
    other = History(followed.path)
    other.refresh()
    for at_s in (0.33, 2.2, 2.71, 3.3, 4.9, None):
        for status in TaskStatus:
            look = Look(0.0, 12.0, 0.25, at_s=at_s, tasks=status, n_tasks=9)
            kept = history.frame(look)
            with monkeypatch.context() as patch:
                patch.setattr(of_history, "is_plain", lambda *_: False)
                whole = other.frame(look)
            assert list(differences(kept, whole, but=BY_NATURE)) == []


def test_frames_come_in_order_and_none_says_that_the_run_has_crashed(followed: FollowedRun):
    phases = [frame.phase for frame in followed.frames]
    assert phases[0] is Phase.START
    assert Phase.CRASHED not in phases
    assert Phase.ENDED in phases
    assert phases == sorted(phases, key=list(Phase).index)
    numbers = [frame.number for frame in followed.frames]
    assert numbers == sorted(set(numbers))
    assert [frame.problem for frame in followed.frames if frame.problem] == []
    assert followed.frames[-1].look == LOOK
