"""One real run that is steered in every way, beside a planned fault; held against the rows, which know nothing of commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.control import (
    FaultNow,
    Mark,
    Receipt,
    SetLength,
    SetPool,
    SetRate,
    SetTasks,
    SetUsers,
    Stop,
    can_be_steered,
    send,
    wait_for,
)
from harness.errors import UsageError
from harness.load.course import Change, Course
from harness.load.pacing import arrival_times_ns
from harness.load.profile import steady
from harness.rows import read_rows
from harness.schema import Summary
from harness.text import render
from tests.kills import TOLERATED
from tests.run.conftest import left_over, wait_until

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Run:
    """What is left of it."""

    path: Path
    status: int
    err: str
    receipts: dict[str, Receipt]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "events.jsonl").read_text().splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.path / "summary.json").read_text())

    def asked(self, text: str) -> dict[str, Any]:
        (found,) = [each for each in self.summary["steered"] if each["text"] == text]
        return found


def started(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness", "run", "email", "--seed", "3", "--out", "run", *options]
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said)


def load_begun(path: Path) -> bool:
    return '"load_started"' in (path / "events.jsonl").read_text()


def planned_ended(path: Path) -> bool:
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    ended = {each["number"] for each in events if each["event"] == "fault_ended"}
    return any(each["event"] == "fault" and each["name"] == "slow-world" and each["number"] in ended for each in events)


@pytest.fixture(scope="session")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Two load processes at 40/s for half an hour, if nobody came."""
    folder = tmp_path_factory.mktemp("steered")
    path, found = folder / "run", {}
    faults = ("--fault", "slow-world=5ms@200ms+1s", "--fault", "kill@20m")
    process = started(folder, "--rate", "40", "--for", "30m", "--pool", "8", "--processes", "2", "--set", "delay=5ms", *faults)
    try:

        def ask(*commands: Any) -> None:
            numbers = [(str(command), send(path, command, "a test")) for command in commands]
            found.update((text, wait_for(path, number, PATIENCE_S)) for text, number in numbers)

        wait_until(lambda: can_be_steered(path), PATIENCE_S, "the session")
        ask(SetRate(7.0), Mark("early"))
        wait_until(lambda: load_begun(path), PATIENCE_S, "the load")
        ask(SetUsers(5), SetRate(0.0))
        ask(SetRate(90.0), SetPool(3), Mark("deploy"))
        # A writer that died in the middle of its line, one from the future, and what is no command at all.
        with (path / "commands.jsonl").open("ab") as file:
            file.write(
                b'{"v": 9, "id": "new", "do": "teleport", "value": [1]}\n{"v": 1, "id": "old", "do": "teleport"}\n[]\n{"id": 3}\n'
                b'{"id": "bad", "do": "pool", "value": 1e999}\n'
            )
            file.write(b'{"id": "big", "do": "rate", "value": ' + b"9" * 400 + b'}\n{"id": "torn", "do": "ra')
        writers = [
            threading.Thread(target=lambda who=who: [send(path, Mark(f"{who} {n}")) for n in range(20)]) for who in ("a", "b")
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        ask(FaultNow("stop+300ms"), FaultNow("stop+1s"))
        ask(FaultNow("kill"))
        ask(SetTasks("async"), SetTasks("inline"))
        # Two of a kind at once would be refused, and on a quick machine the planned one still lasts.
        wait_until(lambda: planned_ended(path), PATIENCE_S, "the end of the planned slow-world")
        ask(FaultNow("slow-world=2s+10m"), FaultNow("hog=1+40m"), SetLength(1200.0), SetRate(60.0))
        ask(FaultNow("term=100ms"))
        done = subprocess.run(
            [sys.executable, "-m", "harness", "steer", str(path), "mark=by command", "users=1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (3, "mark='by command': by command\n"), done
        assert done.stderr.startswith("error: users=1 was not done: requests start on their own")
        ask(Stop())
        yield Run(path, process.wait(PATIENCE_S), (folder / "said").read_text(), found)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not left_over(folder), what="the end of all processes")


def test_every_command_has_its_receipt_and_says_what_it_did(steered: Run) -> None:
    """Landed, with an instant after it was asked for; or refused, with the reason."""
    landed = {text: receipt.text for text, receipt in steered.receipts.items() if receipt.landed}
    refused = {text: receipt.text for text, receipt in steered.receipts.items() if receipt.landed is False}

    assert landed == {
        "mark='early'": "early",
        "rate=0": "0 requests/s",
        "rate=90": "90 requests/s",
        "pool=3": "pool of 8 threads to 3",
        "mark='deploy'": "deploy",
        "fault=stop+300ms": "stop: boot 1",
        "fault=kill": "kill: boot 1",
        "tasks=async": "restarted with async tasks: boot 3",
        "fault=slow-world=2s+10m": "slow-world: boot 3",
        "fault=term=100ms": "term: boot 3",
        "for=1200s": "the load lasts 20 min 0 s",
        "rate=60": "60 requests/s",
        "stop": "the load ended by hand",
    }
    assert {
        "rate=7": "the load has not begun",
        "users=5": "requests start on their own, not by users: change their rate",
        "fault=stop+1s": refused["fault=stop+1s"],
        "tasks=inline": "inline there are no tasks, and one run is not counted in two ways: run it again",
        "fault=hog=1+40m": refused["fault=hog=1+40m"],
    } == refused
    assert re.fullmatch(r"stop@.*\+300ms lasts: two of stop at once are one", refused["fault=stop+1s"])
    assert re.fullmatch(r"it would last until 24\d\d\.\d s, longer than the load", refused["fault=hog=1+40m"])
    asked = {each["text"]: each for each in steered.summary["steered"]}
    assert all(each["landed_s"] >= each["at_s"] for each in asked.values() if each["landed_s"] is not None)
    assert {text for text, each in asked.items() if not each["refused"]} >= set(landed)
    assert {each["who"] for each in asked.values()} == {"a test", "afterload", "afterload steer", ""}


def test_the_rows_are_the_schedule_that_was_in_force(steered: Run) -> None:
    """Worked out anew from the plan and the changes that landed: each arrival was sent by one of the two, at its time."""
    events = steered.events
    (load,) = [each for each in events if each["event"] == "load_started"]
    changes = [each for each in events if each["event"] == "load_changed"]
    profile = steady(40, 1800)
    course = Course("constant", 3, arrival_times_ns("constant", profile, 3), profile, load["schedule"])
    for each in changes:
        from_ns, until_ns = (each[name] - load["load_start_ns"] for name in ("at_ns", "load_end_ns"))
        course = course.after(Change(from_ns, until_ns, each["rate_per_s"] or 0.0))
        assert course.digest == each["schedule"]
        assert len(course.due_ns) == each["planned"]
    rows = np.concatenate([read_rows(path).rows for path in sorted(steered.path.glob("requests-*.rows"))])
    due_ns = rows["due_ns"].astype(np.int64) - load["load_start_ns"]
    order = np.argsort(due_ns)

    assert [each["rate_per_s"] for each in changes] == [0.0, 90.0, None, 60.0, None]
    assert np.array_equal(course.due_ns, due_ns[order])
    assert np.array_equal(rows["op"][order] & np.uint64(0xFFFFFFFF), np.arange(1, len(rows) + 1))
    reports = [each for each in events if each["event"] == "load_done"]
    assert sum(each["sent"] + each["shed"] for each in reports) == len(rows) == sum(each["planned"] for each in reports)


def test_a_run_that_was_ended_by_hand_is_judged_as_that_and_nothing_else(steered: Run) -> None:
    """Never PASS; but what was measured until then can be trusted: no change and no fault by hand makes it doubtful."""
    summary = steered.summary
    reasons = [reason for reason in summary["reasons"] if not TOLERATED.match(reason)]

    assert summary["verdict"] == "INCONCLUSIVE"
    assert steered.status == 4
    if summary["trusted"]:
        (reason,) = reasons
        assert re.fullmatch(
            r"The load was ended by hand after .*, not after 30 min 0 s; 1 planned fault never happened\.", reason
        )
    else:
        assert reasons == []
    assert [each for each in summary["invariants"] if not each["holds"]] == []
    assert summary["requests"]["planned"] == summary["requests"]["attempted"] + summary["requests"]["unsent"]
    assert summary["load_s"] == pytest.approx(steered.asked("stop")["landed_s"], abs=0.001)
    assert summary["steered_stages"].startswith("40 for ")
    assert [part.split(" for ")[0] for part in summary["steered_stages"].split(", ")] == ["40", "pause", "90", "60"]


def test_what_was_asked_of_the_server_was_done_to_it(steered: Run) -> None:
    """Boots as planned, after the kill, with another kind of tasks, after too short a grace; with the pool that was asked for."""
    summary = steered.summary
    faults = {each["fault"].partition("@")[0]: each for each in summary["faults"]}

    assert [boot["signal"] for boot in summary["boots"]] == ["SIGKILL", *["SIGTERM"] * 3]
    assert [boot["exit_status"] for boot in summary["boots"]] == [-9, 0, -9, 0]
    assert summary["boots"][2]["died_s"] - summary["boots"][2]["signalled_s"] >= 0.1
    assert set(faults) == {"slow-world=5ms", "stop", "kill", "term", "slow-world=2s", "term=100ms"}
    assert faults["slow-world=2s"]["ended_s"] >= summary["load_s"]
    assert faults["stop"]["receipt"]["ended_with_its_boot"]
    assert faults["kill"]["landed_s"] == steered.asked("fault=kill")["landed_s"]
    assert steered.asked("tasks=async")["landed_s"] >= summary["boots"][2]["ready_s"]
    kinds = {each["kind"] for each in summary["functions"]}
    assert kinds == {"def", "async"}
    gauges = read_rows(steered.path / "gauges.rows").rows
    pool_ns = next(each["at_ns"] for each in steered.events if each["event"] == "command_landed" and each["do"] == "pool")
    later = gauges[(gauges["t_ns"] > pool_ns) & (gauges["pool_size"] > 0)]
    assert set(later["pool_size"].tolist()) == {3}
    assert summary["pool"]["size"] == 3


def test_lines_that_are_no_commands_stop_nothing(steered: Run) -> None:
    """Each is told as refused, and says why; what follows half a line is read; of two writers not one line is lost."""
    why = {each["id"]: each["why"] for each in steered.events if each["event"] == "command_refused"}
    marks = {each["text"] for each in steered.summary["steered"] if each["landed_s"] is not None}

    assert why["new"] == "it is of version 9; this session knows version 1"
    assert why["old"].startswith("this session knows no command 'teleport'; it knows rate, users, pool")
    assert why["bad"].startswith("the number of threads is a whole number from 1 to 10,000; given inf")
    assert why["big"].startswith("a rate is a number from 0 to 100,000; given 9999")
    assert sum(number == "" for number in why) == 1
    assert {f"mark='{who} {number}'" for who in "ab" for number in range(20)} <= marks
    assert {"mark='early'", "mark='deploy'", "mark='by command'"} <= marks


def test_nobody_else_can_write_commands_and_nobody_can_after_the_end(steered: Run) -> None:
    """The file belongs to the session; a sender is told that there is none any more."""
    file = steered.path / "commands.jsonl"

    assert file.stat().st_mode & 0o777 == 0o600
    assert not can_be_steered(steered.path)
    with pytest.raises(UsageError, match="is over: nothing can be changed any more"):
        send(steered.path, Stop())
    receipt = wait_for(steered.path, "never given", PATIENCE_S)
    assert (receipt.landed, receipt.text) == (None, "the run ended before it was done")


def test_the_summary_tells_what_was_changed(steered: Run) -> None:
    """In the report for the terminal, and while it went on."""
    assert "rate=90 (by hand): 90 requests/s" in steered.err
    assert "users=5 (by hand) was not done: requests start on their own" in steered.err
    shown = render(Summary.model_validate(steered.summary))
    assert "Changed by hand" in shown
    assert "pool=3: pool of 8 threads to 3" in shown
    assert "as a plan: --stages '40 for " in " ".join(shown.split())


def test_users_and_the_length_of_a_load_are_changed_and_the_rest_is_as_ever(folder: Path) -> None:
    """The closed model; a load that was made longer by hand is judged as any other."""
    path = folder / "run"
    process = started(folder, "--users", "2", "--think", "50ms", "--for", "2m", "--pool", "8", "--set", "delay=5ms")
    try:
        wait_until(lambda: can_be_steered(path) and load_begun(path), PATIENCE_S, "the load")
        refused = wait_for(path, send(path, SetRate(5.0)), PATIENCE_S)
        users = wait_for(path, send(path, SetUsers(7)), PATIENCE_S)
        end_s = 1.5 + (users.at_ns or 0) / 1e9
        (load,) = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines() if '"load_started"' in line]
        longer = wait_for(path, send(path, SetLength(150.0)), PATIENCE_S)
        shorter = wait_for(path, send(path, SetLength(round(end_s - load["load_start_ns"] / 1e9, 3))), PATIENCE_S)
        assert process.wait(PATIENCE_S) in (0, 4)
    finally:
        process.kill()
        process.wait()
    summary = json.loads((path / "summary.json").read_text())

    assert refused.text == "users send the next request when the last one was answered: change their number"
    assert (users.landed, longer.landed, shorter.landed) == (True, True, True)
    assert summary["load_s"] == pytest.approx(end_s - load["load_start_ns"] / 1e9, abs=0.002)
    assert "ended by hand" in " ".join(summary["reasons"]) or not summary["trusted"]
    reports = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines() if '"users_done"' in line]
    assert [each["users"] for each in reports] == [7]


def test_changes_and_their_time_are_exact_in_the_profile() -> None:
    """A ramp that is cut stays the same ramp up to there."""
    from harness.load.stages import parse_stages

    profile = parse_stages("0..100 for 10s").changed(Fraction(4), Fraction(7), Fraction(5))

    assert (profile.rate_at(3.9999), profile.rate_at(4), profile.duration_s) == (pytest.approx(39.999), 5, 7)
    assert profile.expected == Fraction(4 * 40, 2) + 15
