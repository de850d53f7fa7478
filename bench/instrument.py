"""The instrument: fresh servers of every contender, seen from outside, and correctness before speed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from bench.peers import ROOT, Engine, command
from harness.errors import RunError, UsageError
from harness.ports import HOST, free_port
from harness.processes import Child

__all__ = ["CONNECTIONS", "VALID", "Contender", "Server", "Workshop", "require_wrk"]

CONNECTIONS = 32
VALID = {"email": "ada@example.com", "name": "Ada Lovelace"}
WRONG_TYPE = {"email": "ada@example.com", "name": None}
WRONG_EMAIL = {"email": "not an address", "name": "Ada Lovelace"}

_READY_S = 20.0
_DRAIN_S = 20.0
_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a duel."""

    label: str
    engine: Engine
    path: str
    method: str = "POST"  # of a valid body; "GET": without a body, and only the status counts
    has_task: bool = True  # a valid request adds one task
    rows: bool = False
    probed: bool = False  # with the probe in its process
    beside_spinner: bool = False  # while one task computes and never waits

    @property
    def checks_address(self) -> bool:
        """Its body is validated as having an address; otherwise as having two strings."""
        return self.path.startswith("/email/")


class Workshop:
    """A temporary folder and every child of the bench. Leaving it kills and reaps them all."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="afterload-bench-"))
        self.run_id = f"bench-{uuid.uuid4().hex[:12]}"
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._children:
            if child.exit is None:
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, command: Sequence[str], env: dict[str, str] | None = None) -> Child:
        """Starts a child in a session of its own; the kernel kills it if the bench dies."""
        name = f"{name}-{len(self._children)}"
        child = Child(name, command, self.folder / f"{name}.log", run_id=self.run_id, env=env, cwd=ROOT)
        self._children.append(child)
        return child

    @contextlib.contextmanager
    def server(self, contender: Contender, *options: str) -> Iterator[Server]:
        """A fresh server of the contender, ready; killed at the end."""
        server = self.begin(contender, *options)
        try:
            server.wait_ready()
            yield server
        finally:
            server.child.kill()

    def begin(self, contender: Contender, *options: str) -> Server:
        """A server that starts."""
        port = free_port()
        words = [*command(contender.engine, port), *options]
        if contender.rows:
            words += ["--rows", str(self.folder / f"tasks-{port}.rows")]
        env = {"BENCH_SERVER": contender.engine, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        if contender.probed:
            env["PYTHONPATH"] = os.pathsep.join((str(ROOT / "harness" / "probe"), str(ROOT)))
            env["AFTERLOAD_PROBE_ROWS"] = str(self.folder / f"tasks-{port}.rows")
        return Server(self.start(f"server-{contender.engine}", words, env), port)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server has used since its start."""

    cpu_s: float
    switches: int  # of context, by all its threads, its own will or not


class Server:
    """A running server under test, seen from outside."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port

    def wait_ready(self) -> None:
        """Raises ChildDied or ChildNotReady."""
        end = time.monotonic() + _READY_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.finished()
                return
            if self.child.poll() is not None:
                raise self.child.died("before it was ready")
            if time.monotonic() > end:
                raise self.child.not_ready(_READY_S)
            time.sleep(_POLL_S)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10.0)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask_json(self, method: str, path: str) -> Any:
        """The JSON of a 200; anything else raises OSError."""
        status, body = self.ask(method, path)
        if status != 200:
            msg = f"{method} {path} was answered {status}: {body[:200]!r}"
            raise OSError(msg)
        return json.loads(body)

    def finished(self) -> int:
        """Tasks finished since its start."""
        found: int = self.ask_json("GET", "/finished")["finished"]
        return found

    def settle(self) -> int:
        """Waits until no task finishes any more; the number finished."""
        end = time.monotonic() + _DRAIN_S
        seen = self.finished()
        while time.monotonic() < end:
            time.sleep(0.02)
            if (now := self.finished()) == seen:
                break
            seen = now
        return seen

    def check(self, contender: Contender) -> None:
        """Correct before fast. Raises RunError saying what is wrong."""
        if contender.method == "GET":
            status, _ = self.ask("GET", contender.path)
            self._expect(contender, "GET", status == 200, f"was answered {status}, not 200")
            return
        before = self.finished()
        status, body = self.ask("POST", contender.path, VALID)
        self._expect(contender, "a valid POST", 200 <= status < 300, f"was answered {status}, not 2xx")
        expected = {"message": "queued", "name": VALID["name"]}
        self._expect(contender, "a valid POST", json.loads(body) == expected, f"was answered {body!r}")
        for invalid in (WRONG_TYPE, WRONG_EMAIL) if contender.checks_address else (WRONG_TYPE,):
            status, _ = self.ask("POST", contender.path, invalid)
            self._expect(contender, f"POST of {invalid}", status == 422, f"was answered {status}, not 422")
        wanted = int(contender.has_task)
        end = time.monotonic() + 2.0
        while (done := self.finished() - before) < wanted and time.monotonic() < end:
            time.sleep(_POLL_S)
        self._expect(contender, "one valid POST beside invalid ones", done == wanted, f"ran {done} tasks, not {wanted}")

    def usage(self) -> Usage:
        """What the server and its own processes have used so far."""
        cpu_s, switches = 0.0, 0
        for process in self.child.members():
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                times = process.cpu_times()
                cpu_s += times.user + times.system
                for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
                    # A thread that has just ended takes its few switches with it.
                    with contextlib.suppress(OSError):
                        lines = status.read_text().splitlines()
                        switches += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
        return Usage(cpu_s, switches)

    def rss_bytes(self) -> int:
        """Memory of the server's processes that is in RAM."""
        return sum(process.memory_info().rss for process in self.child.members())

    def _expect(self, contender: Contender, what: str, holds: bool, otherwise: str) -> None:
        if not holds:
            msg = f"{contender.label}: {what} to {contender.path} {otherwise}{self.child.last_lines()}"
            raise RunError(msg)


def require_wrk() -> str:
    """wrk's version. Raises UsageError if there is none."""
    if shutil.which("wrk") is None:
        raise UsageError("the bench needs wrk, which was not found on PATH", "install it with `apt-get install wrk`")
    # It prints its version and usage, and exits with 1.
    words = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False, timeout=10).stdout.split()
    return words[1] if len(words) > 1 else "of unknown version"
