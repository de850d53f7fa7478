"""Load machines for the tests: the real command in processes of its own, and a session's side of the process that they join."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.processes.group import MARK
from harness.rows import RowFile, read_rows
from harness.rundir import EventLog
from harness.target import here, whose_clock
from harness.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-tests-0123456789"
LIMIT_S = 90.0


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = LIMIT_S) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)
    return found


@dataclass
class Command:
    """One `afterload ...` that runs."""

    process: subprocess.Popen[str]
    out: Path
    err: Path
    status: int | None = field(default=None)

    def end(self) -> int:
        """Waits for it."""
        self.status = self.process.wait(LIMIT_S)
        return self.status

    def text(self) -> str:
        """All that it wrote."""
        return self.out.read_text() + self.err.read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def child(self, name: str) -> psutil.Process:
        """One of its processes, by the name in its mark."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if child.environ().get(MARK, "").endswith(f"/{name}"):
                return child
        raise AssertionError(f"there is no process {name}")


@dataclass
class Place:
    """A working directory, and what runs in it."""

    folder: Path
    commands: list[Command] = field(default_factory=list)

    def start(self, *args: object, before: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Command:
        """Starts a command. `before`: what it is started by, e.g., `ip netns exec`."""
        number = len(self.commands)
        out, err = self.folder / f"out-{number}", self.folder / f"err-{number}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "AFTERLOAD_JOIN_TOKEN": TOKEN, **(env or {})}
        environment["TMPDIR"] = str(self.folder)
        with out.open("w") as output, err.open("w") as errors:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", "harness", *map(str, args)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                text=True,
                env=environment,
            )
        self.commands.append(Command(process, out, err))
        return self.commands[-1]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events of the run so far."""
        log = self.folder / "run" / "events.jsonl"
        return [event for event in EventLog.read(log) if event["event"] == name] if log.exists() else []

    def rows(self) -> list[RowFile]:
        """All request rows of the run."""
        return [read_rows(path) for path in sorted((self.folder / "run").glob("requests-*.rows"))]

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "run" / "summary.json").read_text())
        return found

    def port(self) -> int:
        """Where load machines join, once the run says so."""
        said = (
            wait_until(lambda: "--join 1" in self.commands[0].err.read_text(), "the invitation")
            and self.commands[0].err.read_text()
        )
        return int(said.partition("--join ")[2].split()[0].rpartition(":")[2])


def left_over(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A directory in which nothing is left at the end: no process, and of a load machine no folder."""
    found = Place(tmp_path)
    yield found
    for command in found.commands:
        if command.process.poll() is None:
            command.process.terminate()
            command.process.wait(LIMIT_S)
    wait_until(lambda: not left_over(tmp_path), f"the end of all processes ({left_over(tmp_path)})", 20.0)
    wait_until(lambda: not list(tmp_path.glob("afterload-load-*")), "the end of the load machines' folders", 20.0)


class MasterProcess:
    """`python -m harness.load.machines master`, with a session's side of the talk played by the test."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        config = {
            "token": TOKEN,
            "bind": ["127.0.0.1", 0],
            "expect": 1,
            "version": VERSION,
            "target": "127.0.0.1",
            "target_is_loopback": True,
            "here": here(),
            "clock": whose_clock(),
            "locustfile_sha256": None,
            "rundir": str(self.folder),
            **changed,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.load.machines", "master"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.say(config)
        self.port: int = self.hear("listening")["port"]

    def say(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def hear(self, event: str) -> dict[str, Any]:
        """The next thing of this kind that it says."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            said: dict[str, Any] = json.loads(line)
            if said["event"] == event:
                return said
        raise AssertionError(f"it ended without having said {event}")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Callable[..., MasterProcess]]:
    """Starts masters; they end with the test, in good order."""
    started: list[MasterProcess] = []

    def start(**changed: Any) -> MasterProcess:
        started.append(MasterProcess(tmp_path, **changed))
        return started[-1]

    yield start
    for each in started:
        each.close()
