"""One real comparison for all tests: interrupted, killed, and brought to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.compare.folder import ComparisonFolder
from harness.compare.record import RunRecord
from tests.run.conftest import left_over

OPTIONS = (
    *("compare", "email", "--vary", "tasks=sync,inline", "--blocks", "2", "--settle", "0s", "--out", "it"),
    *("--for", "1500ms", "--warm-up", "200ms", "--rate", "30", "--set", "delay=20ms"),
)


@dataclass(frozen=True)
class Step:
    """One start of the command."""

    status: int
    out: str
    err: str
    runs: list[RunRecord]  # that were over when it had ended


@dataclass(frozen=True)
class Real:
    folder: Path
    interrupted: Step
    killed: Step
    finished: Step
    left_over: list[str]

    @property
    def path(self) -> Path:
        return self.folder / "it"


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *args], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def runs_in(folder: Path) -> list[RunRecord]:
    return ComparisonFolder(folder / "it").runs()


def ended(process: subprocess.Popen[str], folder: Path) -> Step:
    out, err = process.communicate(timeout=90)
    return Step(process.returncode, out, err, runs_in(folder))


def wait_for(what: str, condition: object, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, f"it ended before {what}: {process.communicate()}"
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory, recorded_calibration: None) -> Real:
    folder = tmp_path_factory.mktemp("compare")
    process = start(folder, *OPTIONS)
    wait_for("the first run", lambda: len(runs_in(folder)) == 1, process)
    process.send_signal(signal.SIGINT)
    interrupted = ended(process, folder)
    n_before = len(interrupted.runs)
    process = start(folder, "compare", "--resume", "it")
    wait_for("one more run", lambda: len(runs_in(folder)) == n_before + 1, process)
    # In the middle of the next one: its directory is there, and it will never end.
    wait_for("the run after it", lambda: len(list((folder / "it").glob("block-*/*/events.jsonl"))) == n_before + 2, process)
    os.kill(process.pid, signal.SIGKILL)
    killed = ended(process, folder)
    finished = ended(start(folder, "compare", "--resume", "it", "--json", "it.json", "--fail-on", "broken_promises>+0"), folder)
    end = time.monotonic() + 15
    while (left := left_over(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return Real(folder, interrupted, killed, finished, left)
