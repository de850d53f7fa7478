"""Runs by stages and replays, and plans that say when to send in more ways than one: by the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from harness.commands.main import main
from harness.load import ways
from harness.load.pacing import arrival_times_ns
from harness.load.stages import parse_stages
from harness.plan import Plan
from harness.rows import read_rows
from tests.run.conftest import Done, wait_until

Afterload = Callable[..., Done]

QUICK = ("--set", "delay=1ms", "--fault", "none")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("--stages", "50 fro 10s"), "stages: 'for' and a time are expected here, e.g., for 10s 50 fro 10s ^"),
        (("--stages", "50 for 10s", "--for", "5s"), "for_s is 5 and the stages last 10 s: leave for_s out, it follows from them"),
        (("--stages", "100k for 10m"), "the stages are more than 20,000,000 requests"),
        (("--stages", "50 for 10s", "--rate", "5"), "stages start requests at rates that change over time: give one of the two"),
        (("--stages", "50 for 10s", "--users", "5"), "users wait for answers: give one of the two"),
        (("--replay", "times", "--rate", "5", "--users", "5"), "give one of the 3"),
        (("--replay", "nowhere"), "cannot read the replay nowhere: No such file or directory"),
        (("--replay", "times", "--replay-field", "at"), "there is no column 'at'; line 1 names 0.5"),
        (
            ("--replay", "table.csv"),
            "which of these holds the time is not clear (line 1): a, b; name it hint: --replay-field says",
        ),
        (("--replay", "times", "--for", "100ms"), "has no request in its first 0.1 s"),
        (("--replay", "times", "--replay-speed", "0"), "replay_speed is 0.0; allowed is more than 0"),
        (("--replay-speed", "2"), "replay_speed is 2, which is about a replay, and there is none"),
        (("--think-spread", "exponential", "--users", "5"), "think_spread is 'exponential', and there is no think_s"),
        (("--think", "1s"), "think_s is 1, which says how users go on, and there are none"),
        (("--users", "5", "--arrivals", "poisson"), "arrivals is 'poisson', which spreads requests that start on their own"),
        (("--send-within", "0s"), "send_within_s is 0.0; allowed is more than 0"),
    ],
)
def test_a_plan_that_cannot_be_sent_is_refused_in_words(folder: Path, given: tuple[str, ...], expected: str) -> None:
    """Exit status 2, before anything is started; what was given, and what is allowed."""
    (folder / "times").write_text("0.5\n1\n")
    (folder / "table.csv").write_text("a,b\n1,2\n")

    done = CliRunner().invoke(main, ["run", "email", *given])

    assert expected in " ".join(done.stderr.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert not (folder / "runs").exists()


def test_stages_are_sent_by_two_processes_as_they_were_planned(afterload: Afterload, folder: Path) -> None:
    """A ramp, a pause, a spike, at random times: every request of the schedule, when it was due; the plan can be run again."""
    stages = "20..120 for 1s, pause for 300ms, 300 for 200ms"
    done = afterload("run", "email", "--stages", stages, "--arrivals", "poisson", "--processes", 2, "--seed", 7, *QUICK,
                     "--out", "run", "--json", "-")  # fmt: skip
    events = [json.loads(line) for line in (folder / "run" / "events.jsonl").read_text().splitlines()]
    started = next(event for event in events if event["event"] == "load_started")
    rows = np.concatenate([read_rows(folder / "run" / f"requests-{process}.rows").rows for process in range(2)])
    planned = arrival_times_ns("poisson", parse_stages(stages), 7)
    plan = tomllib.loads((folder / "run" / "plan.toml").read_text())

    assert done.status in {0, 4}, done.err
    assert (started["load_start_ns"] + planned).tolist() == np.sort(rows["due_ns"]).tolist()
    assert done.json["requests"]["planned"] == len(planned) == done.json["generator"]["shed"] + done.json["requests"]["attempted"]
    assert len(started["schedule"]) == 64
    assert (plan["stages"], plan["for_s"], plan["load_processes"]) == (stages, 1.5, 2)
    assert "rate" not in plan
    assert Plan.of(plan, "test").to_toml() == (folder / "run" / "plan.toml").read_text()
    assert done.json["generator"]["ceiling_per_s"] == pytest.approx(200_000), "the recorded calibration of the tests"
    assert done.json["generator"]["lag_floor_ms"] == 0.5


def test_a_log_is_replayed_faster_and_its_length_follows(afterload: Afterload, folder: Path) -> None:
    """Times of a clock count from the first one; the requests of a second are spread over it; twice as fast."""
    line = '::1 - - [10/Oct/2026:13:55:{second} +0000] "POST /register HTTP/1.1" 200 2\n'
    (folder / "access.log").write_text("".join(line.format(second=second) for second in (36, 36, 36, 36, 38, 38)))
    done = afterload("run", "email", "--replay", "access.log", "--replay-speed", 2, *QUICK, "--out", "run", "--json", "-")
    events = [json.loads(line) for line in (folder / "run" / "events.jsonl").read_text().splitlines()]
    start_ns = next(event for event in events if event["event"] == "load_started")["load_start_ns"]
    rows = read_rows(folder / "run" / "requests-0.rows").rows
    plan = tomllib.loads((folder / "run" / "plan.toml").read_text())

    assert done.status in {0, 4}, done.err
    assert [(due - start_ns) / 1e9 for due in np.sort(rows["due_ns"]).tolist()] == [0, 0.125, 0.25, 0.375, 1, 1.25]
    assert plan["replay"] == str(folder / "access.log"), "so that it can be run again from anywhere"
    assert plan["for_s"] == pytest.approx(1.5, abs=0.01)


def test_more_than_the_generator_can_send_is_refused_before_anything_is_started(afterload: Afterload, folder: Path) -> None:
    """By a calibration that is kept: the error says what is known, and the ways out."""
    known = {"processes": 1, "answered_per_s": 1000, "cpu_share": 1, "lag_p50_ms": 1, "lag_p99_ms": 1, "at_unix_s": 1}
    record = json.loads(Path(os.environ["AFTERLOAD_CALIBRATION"]).read_text())
    record["calibrations"]["1"] = {**known, "took_s": 1, "cores": 2}
    (folder / "known.json").write_text(json.dumps(record))
    done = afterload("run", "email", "--rate", 1100, env={"AFTERLOAD_CALIBRATION": str(folder / "known.json")})

    assert done.status == 2
    assert "1,100 requests/s are asked for, and the load generator can send at most 1,000/s here" in done.err
    assert "hint: send from 2 processes (--processes), ask for less" in done.err


@pytest.mark.parametrize(
    "load",
    [
        ("--rate", "150", "--slo", "p99<10ms"),  # would be FAIL
        ("--users", "6", "--think", "10ms", "--slo", "p99<60s"),  # would be PASS
    ],
)
def test_a_throttled_generator_makes_the_run_inconclusive(folder: Path, load: tuple[str, ...]) -> None:
    """The load process gets the processor for a twentieth of the time. The server is well: whether the limit that was set holds
    or is broken, it is the generator's doing, and neither PASS nor FAIL.
    """
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "email",
        *load,
        "--for",
        "2s",
        *QUICK,
        "--out",
        "run",
        "--json",
        "s.json",
    ]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        events = folder / "run" / "events.jsonl"
        wait_until(lambda: run.poll() is not None or "load_started" in read(events), 30, "the start of the load")
        assert run.poll() is None, run.stderr.read()
        generator = next(each for each in psutil.Process(run.pid).children(recursive=True) if "harness.load" in each.cmdline())
        throttle = threading.Thread(target=hold_up, args=(generator,))
        throttle.start()
        said = run.stderr.read()
        status = run.wait(60)
        throttle.join()
    summary: dict[str, Any] = json.loads((folder / "s.json").read_text())

    assert (summary["verdict"], status) == ("INCONCLUSIVE", 4), said
    assert any("generator" in reason for reason in summary["reasons"]), summary["reasons"]
    assert summary["generator"]["stalled_s"] > 0.8
    assert summary["generator"]["longest_stall_s"] > 0.1


def hold_up(process: psutil.Process) -> None:
    """Lets a process run for a short time now and then, for as long as the load should last."""
    try:
        for _ in range(10):
            process.suspend()
            time.sleep(0.19)
            process.resume()
            time.sleep(0.01)
    except psutil.NoSuchProcess:
        return


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    ("file", "given", "expected"),
    [
        ({"rate": 5, "for_s": 9}, {"stages": "1 for 2s"}, {"stages": "1 for 2s"}),
        ({"stages": "1 for 2s", "for_s": 2}, {"rate": 5}, {"rate": 5}),
        ({"stages": "1 for 2s", "for_s": 2}, {"rate": 5, "for_s": 3}, {"rate": 5, "for_s": 3}),
        ({"stages": "1 for 2s", "for_s": 2}, {"seed": 5}, {"stages": "1 for 2s", "for_s": 2, "seed": 5}),
        ({"users": 5, "think_s": 1, "for_s": 9}, {"rate": 5}, {"rate": 5, "for_s": 9}),
        ({"users": 5, "think_s": 1}, {"users": 6}, {"users": 6, "think_s": 1}),
        ({"locustfile": "x", "users": 5}, {"users": 6}, {"locustfile": "x", "users": 6}),
        ({"replay": "x", "replay_speed": 2, "for_s": 9}, {"users": 6}, {"users": 6}),
        ({"replay": "x", "for_s": 9}, {"replay_speed": 2}, {"replay": "x", "replay_speed": 2}),
        ({"rate": 5}, {"for_s": 3}, {"rate": 5, "for_s": 3}),
        ({"rate": 5, "replay": "x", "replay_field": "t", "for_s": 9}, {"rate": 7}, {"rate": 7}),
    ],
)
def test_another_way_in_the_options_replaces_that_of_the_plan_file(
    file: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """With what belongs to it, and with the length that followed from it; everything else stays."""
    assert expected == ways.override(file, given)


def test_stages_of_a_plan_file_may_be_a_list() -> None:
    """It becomes one text, from which the same plan is made again."""
    values = {"scenario": "email", "pool": 1, "warm_up_s": 0.0}
    plan = Plan.of({**values, "stages": ["50 for 10s", "..200 for 20s"]}, "test")

    assert (plan.stages, plan.for_s) == ("50 for 10s, ..200 for 20s", 30.0)
    assert plan == Plan.of(tomllib.loads(plan.to_toml()), "test")
