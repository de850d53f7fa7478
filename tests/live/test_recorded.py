"""Recorded real runs, played back: in the end they are what the judge says of them, and at any instant what all rows say."""

from __future__ import annotations

import json
import math
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from harness.evidence import judge_run
from harness.live import history as of_history
from harness.live.frame import NOT_KNOWN, Frame, Look, Mark, MarkKind, Phase, SideState, TaskStatus
from harness.live.history import History
from harness.rows import read_rows
from harness.rundir import RunDir
from tests.findings.record import CASES, RUNS
from tests.live.same import differences

BY_NATURE = ("number", "newest", "cost_ms")
WHOLE = Look(0.0, 600.0, 1.0)


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def opened(path: Path) -> History:
    found = History(path)
    found.refresh()
    return found


@pytest.mark.parametrize("name", CASES)
def test_in_the_end_a_frame_is_what_the_judge_says(name: str, tmp_path: Path):
    """Threads, event loop, inline, somebody else's server; kills, drains, what hangs, what raises."""
    path = unpacked(name, tmp_path)
    summary = judge_run(RunDir(path))
    frame = opened(path).frame(WHOLE)
    requests, tasks, totals = summary.requests, summary.tasks, frame.totals
    for field in ("attempted", "acked", "rejected", "indeterminate"):
        assert getattr(totals, field) == getattr(requests, field), field
    for field in ("accepted", "finished", "failed", "skipped", "lost_queued", "lost_running", "lost_discarded", "backlog_max"):
        assert getattr(totals, field) == getattr(tasks, field), field
    for share in ("p50", "p95", "p99"):
        for ours, theirs in ((f"response_{share}_ms", requests.response_ms), (f"done_{share}_ms", tasks.done_ms)):
            value, said = getattr(totals, ours), getattr(theirs, share)
            assert said is None if value is None or math.isinf(value) else said == round(value, 6), ours
    assert round(totals.saturated_s, 6) == (summary.pool.saturated_s if summary.pool is not None else 0)
    assert totals.queued == totals.running == 0
    assert sum(frame.n_tasks.values()) == totals.accepted


@pytest.mark.parametrize("name", CASES)
def test_at_any_instant_it_is_what_all_rows_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = unpacked(name, tmp_path)
    kept, whole = opened(path), opened(path)
    end_s = kept.frame(WHOLE).newest_s
    for number, status in enumerate(TaskStatus):
        at_s = (-0.2, 0.4, end_s * 0.3, end_s * 0.7, end_s, end_s * 0.6)[number]
        look = Look(max(at_s - 5, 0.0), at_s + 1, 0.2, at_s=at_s, tasks=status, n_tasks=7)
        found = kept.frame(look)
        with monkeypatch.context() as patch:
            patch.setattr(of_history, "is_plain", lambda *_: False)
            assert list(differences(found, whole.frame(look), but=BY_NATURE)) == [], at_s


def test_tiles_say_what_each_run_is_known_for(tmp_path: Path):
    """The state in which each side was most of the time under load."""
    most = {}
    for name in ("healthy", "healthy-async", "healthy-inline", "healthy-uvicorn", "behind", "starving"):
        folder = tmp_path / name
        history = opened(unpacked(name, folder))
        load_s = history.frame(WHOLE).about.for_s
        frames = [history.frame(Look(0.0, 10.0, 1.0, at_s=float(at_s))) for at_s in range(3, int(load_s))]
        most[name] = tuple(
            Counter(side.state for side in sides).most_common(1)[0][0]
            for sides in ([frame.client for frame in frames], [frame.work for frame in frames])
        )
    for name in ("healthy", "healthy-async", "healthy-inline", "healthy-uvicorn"):
        assert most[name] == (SideState.OK, SideState.OK), name
    assert most["behind"] == (SideState.OK, SideState.BEHIND)
    assert most["starving"][1] in {SideState.OK, SideState.BEHIND}
    assert frames[-1].client.state is SideState.SLOW  # of the last one: endpoints wait for the tasks' threads


def test_a_tile_does_not_flicker(tmp_path: Path):
    """Looked at ten times a second, a state changes at whole seconds alone, but for what is there or not."""
    history = opened(unpacked("killed", tmp_path))
    end_s = history.frame(WHOLE).newest_s
    changes = []
    before: Frame | None = None
    for step in range(int(end_s * 10)):
        frame = history.frame(Look(0.0, 10.0, 1.0, at_s=step / 10, heat=False))
        for side in ("client", "work"):
            states = {getattr(each, side).state for each in (before, frame) if each is not None}
            if len(states) == 2 and not states & {SideState.DOWN, SideState.WAITING}:
                changes.append(step / 10)
        before = frame
    assert all(abs(at_s - round(at_s)) < 0.101 for at_s in changes)
    assert len(changes) <= 8


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    return unpacked("killed", tmp_path / "killed")


def test_every_beginning_of_the_events_can_be_shown(killed: Path):
    """As if the session had died after each event, and in the middle of each line. Nobody holds the directory."""
    lines = (killed / "events.jsonl").read_bytes().splitlines(keepends=True)
    (killed / "summary.json").unlink(missing_ok=True)
    for number in range(len(lines)):
        for cut in (b"", lines[number][: len(lines[number]) // 2]):
            (killed / "events.jsonl").write_bytes(b"".join(lines[:number]) + cut)
            frame = opened(killed).frame(WHOLE)
            assert frame.phase is (Phase.CRASHED if number else Phase.START)
            assert frame.problem == ""
            assert frame.summary is None


@pytest.mark.parametrize("name", ["killed", "short-grace"])
def test_an_event_is_there_from_the_instant_on_that_its_mark_names(name: str, tmp_path: Path):
    """Which is when it was written down: a fault not before its server was dead, a boot not before somebody had asked it."""
    history = opened(unpacked(name, tmp_path))
    marks = history.frame(WHOLE).marks
    assert any(mark.from_s > mark.at_s for mark in marks)
    for mark in marks:
        if mark.from_s < 0:
            continue  # before the load begins instants have no beginning to count from

        def there(at_s: float, mark: Mark = mark) -> bool:
            return any(each.text == mark.text for each in history.frame(Look(0.0, 20.0, 1.0, at_s=at_s)).marks)

        assert there(mark.from_s), mark
        assert mark.from_s == 0 or not there(mark.from_s - 1e-6), mark


def test_a_line_that_is_not_whole_is_read_when_it_is(killed: Path):
    lines = (killed / "events.jsonl").read_bytes().splitlines(keepends=True)
    (killed / "events.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:10])
    history = opened(killed)
    before = history.frame(WHOLE)
    with (killed / "events.jsonl").open("ab") as file:
        file.write(lines[3][10:] + b"".join(lines[4:]))
    history.refresh()
    after = history.frame(WHOLE)
    assert before.boot.in_words == "starting"
    assert after.boot.in_words == "ended"
    assert len(after.marks) > len(before.marks)
    assert [mark for mark in after.marks if mark.kind is MarkKind.PROBLEM] == []


@pytest.mark.parametrize("damage", ["garbage", "empty", "half a header", "cut off", "gone", "another version"])
def test_a_row_file_that_is_damaged_takes_nothing_else_with_it(killed: Path, damage: str):
    path = killed / "tasks-2.rows"
    data = path.read_bytes()
    whole = opened(killed).frame(WHOLE)
    match damage:
        case "garbage":
            path.write_bytes(b"nonsense" * 4000)
        case "empty":
            path.write_bytes(b"")
        case "half a header":
            path.write_bytes(data[:8000])
        case "cut off":
            path.write_bytes(data[: 16_384 + 64 * 10])
        case "gone":
            path.unlink()
        case "another version":
            path.write_bytes(data[:8] + b"\x09\0\0\0" + data[12:])
    frame = opened(killed).frame(WHOLE)
    assert frame.totals.attempted == whole.totals.attempted
    assert 0 < frame.totals.accepted < whole.totals.accepted
    assert frame.phase is whole.phase


def test_a_directory_that_is_removed_while_it_is_followed_still_has_its_last_frame(killed: Path):
    history = opened(killed)
    before = history.frame(WHOLE)
    shutil.rmtree(killed)
    history.refresh()
    after = history.frame(WHOLE)
    assert list(differences(before.totals, after.totals)) == []


def test_a_run_of_another_version_says_so(killed: Path):
    """Not a traceback, and not an empty screen without a word."""
    events = [json.loads(line) for line in (killed / "events.jsonl").read_text().splitlines()]
    for event in events:
        event.pop("spawned_ns", None)
    (killed / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    frame = opened(killed).frame(WHOLE)
    assert "another version" in frame.problem
    assert "spawned_ns" in frame.problem
    assert frame.about.title == "email"


def test_a_summary_of_another_version_is_told(killed: Path):
    (killed / "summary.json").write_text('{"schema_version": 99}')
    frame = opened(killed).frame(WHOLE)
    assert "summary.json" in frame.problem
    assert frame.totals.attempted > 0


def test_of_a_server_that_nobody_saw_nothing_is_said(killed: Path):
    """None, and never 0: an app of one's own without the probe."""
    for path in killed.glob("tasks-*"):
        path.unlink()
    text = (killed / "events.jsonl").read_text()
    (killed / "events.jsonl").write_text(text.replace('"engine": "rust"', '"engine": "command"'))
    frame = opened(killed).frame(Look(0.0, 20.0, 1.0, at_s=3.0))
    assert not frame.about.has_server_witness
    now = frame.now
    assert (now.backlog, now.busy, now.accepted_per_s, now.finished_per_s, now.drain_s) == (None,) * 5
    assert now.offered_per_s is not None
    assert frame.work.headline == "UNSEEN"


def test_a_server_that_was_asked_to_end_is_not_said_to_do_nothing_while_it_does(tmp_path: Path):
    history, n_seen = opened(unpacked("short-grace", tmp_path)), 0
    for twentieths in range(80, 110):
        frame = history.frame(Look(0.0, 20.0, 1.0, at_s=twentieths / 20))
        if frame.boot.in_words == "draining":
            assert {frame.client.headline, frame.work.headline} == {"DRAINING"}
            assert frame.work.why.endswith("get done.")
            n_seen += 1
    assert n_seen > 5
    history.close()


def test_what_a_dead_server_last_said_is_not_said_of_the_next_one(killed: Path):
    """A server that is started before anybody took a sample of it: the newest sample is that of the one before."""
    events = [json.loads(line) for line in (killed / "events.jsonl").read_text().splitlines()]
    dead_ns = next(event["reaped_ns"] for event in events if event["event"] == "boot_reaped")
    later = [event for event in events if event["t_ns"] >= dead_ns]
    for number, event in enumerate(later):
        event["t_ns"] = dead_ns + number
    spawned = next(event for event in later if event["event"] == "boot_spawned")
    spawned["spawned_ns"] = spawned["t_ns"]
    kept = [event for event in events if event["t_ns"] <= spawned["t_ns"]]
    (killed / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in kept))
    start_ns = next(event["load_start_ns"] for event in events if event["event"] == "load_started")
    sampled_s = [(int(t_ns) - start_ns) / 1e9 for t_ns in read_rows(killed / "gauges.rows").rows["t_ns"] if t_ns <= dead_ns]
    frame = opened(killed).frame(Look(0.0, 20.0, 1.0, at_s=(dead_ns - start_ns) / 1e9 + 0.005))
    assert frame.boot.in_words == "starting"
    assert frame.at_s - sampled_s[-1] < 0.9  # or it would be too old anyway
    now = frame.now
    assert (now.loop_lag_ms, now.pool_size, now.pool_busy, now.server_rss_bytes, now.server_cpu_share) == (None,) * 5


def test_of_a_run_whose_session_was_killed_nobody_knows_the_server_nor_what_it_held(killed: Path):
    """What is written is told: what was done, what had not ended, and what the death of an earlier server cost."""
    (killed / "summary.json").unlink(missing_ok=True)
    lines = (killed / "events.jsonl").read_text().splitlines(keepends=True)
    names = [json.loads(line)["event"] for line in lines]
    for until in ("boot_signalled", "load_done"):
        (killed / "events.jsonl").write_text("".join(lines[: names.index(until)]))
        frame = opened(killed).frame(WHOLE)
        assert frame.phase is Phase.CRASHED
        assert (frame.boot.in_words, frame.boot.pid, frame.boot.is_up) == (NOT_KNOWN, None, False)
        now = frame.now
        assert (now.offered_per_s, now.finished_per_s, now.backlog, now.pool_size, now.pool_busy, now.loop_lag_ms) == (None,) * 6
        assert frame.totals.finished > 0
        n_lost, n_unfinished = frame.totals.lost_queued + frame.totals.lost_running, frame.totals.queued + frame.totals.running
        if until == "load_done":
            assert n_lost > 0
            assert frame.work.state is SideState.FAILING
        else:
            assert (n_lost, frame.work.headline) == (0, "NOT JUDGED")
            assert frame.work.lines[0] == f"{n_unfinished} unfinished"


def test_what_runs_has_to_be_worked_off_as_what_waits(killed: Path):
    """Tasks of `async def` never wait: counted by the backlog alone, a deploy would seem to lose none of them."""
    history, n_seen = History(killed), 0
    history.refresh()
    for tenths in range(5, 80):
        now = history.frame(Look(0.0, 30.0, 0.5, at_s=tenths / 10)).now
        if now.finished_per_s and now.backlog is not None and now.busy:
            assert now.drain_s == pytest.approx((now.backlog + now.busy) / now.finished_per_s)
            n_seen += 1
    assert n_seen > 10
    history.close()


def test_work_that_is_done_before_the_answer_is_told_as_that(tmp_path: Path):
    frame = opened(unpacked("healthy-inline", tmp_path)).frame(WHOLE)
    assert frame.work.headline == "INLINE"
    assert frame.totals.done_p95_ms is not None
    assert frame.n_tasks[TaskStatus.QUEUED] == 0


def test_an_empty_directory_is_a_run_that_has_not_begun(tmp_path: Path):
    frame = opened(tmp_path).frame(WHOLE)
    assert frame.phase is Phase.START
    assert frame.boot.in_words == "not started"
    assert len(frame.series.due) == 1
