"""Real server processes, raw clients, and what the witness file says. Nothing here knows the server's insides."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.rows import Gauge, LivePage, RowFile, read_rows

PATIENCE_S = 20.0
"""How long something that must happen may take on a busy machine. Never a measure of speed: three servers that start at once on
a machine that has seven times more to do than it can have been seen to need nine seconds.
"""

_next_op = itertools.count(1)
_SERVING = re.compile(r"serving on http://\S+:(\d+) ")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: tuple[tuple[str, str], ...]  # names in lower case, in the order of the response
    body: bytes

    def header(self, name: str) -> str | None:
        """The header's values joined by commas, None if there is none."""
        values = [value for known, value in self.headers if known == name]
        return ", ".join(values) if values else None

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the server's file, with the name of the function."""

    name: str
    op: int
    index: int
    kind: int
    attempt: int
    reason: int
    flags: int
    accepted: int
    flushed: int
    started: int
    finished: int
    failed: int
    dropped: int

    @property
    def ended(self) -> int:
        """The instant of its end, 0 if it has none."""
        return self.finished or self.failed or self.dropped


def until(look: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """What `look` returns as soon as it is truthy. Fails the test if it never is."""
    end = time.monotonic() + patience_s
    while not (seen := look()):
        assert time.monotonic() < end, f"waited {patience_s} s in vain until {what}; last seen: {seen!r}"
        time.sleep(0.004)
    return seen


def stays(look: Callable[[], bool], seconds: float) -> bool:
    """Whether `look` is true at every one of many looks during `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not look():
            return False
        time.sleep(0.01)
    return True


def stub(text: str) -> str:
    """The source of an app: what every app begins with, and `text`.

    Its `print` writes a line at once: Python's own does so piece by piece, between which another thread writes.
    """
    whole_line = "def print(*parts, flush=True): os.write(1, (' '.join(map(str, parts)) + '\\n').encode())"
    return f"import asyncio, os, sys, threading, time; from server import *\n{whole_line}\napp = FastAPI()\n{text}"


def general_stub(text: str) -> str:
    """As `stub`, but the routes of `app` go the general way: they have a dependency that the straight way cannot take. Those of
    `straight` are left alone.
    """
    begin = "async def of_the_general_way():\n    yield\n\n\nstraight = app\n"
    begin += "general = APIRouter(dependencies=[Depends(of_the_general_way)])\n"
    routes = text.replace("@app.get(", "@general.get(").replace("@app.post(", "@general.post(")
    return stub(begin + routes + "\n\napp.include_router(general)\n")


class AppServer:
    """`python -m server appmod:app` in its own session, with its streams and rows in files."""

    def __init__(self, folder: Path, source: str, *options: str, target: str = "appmod:app", wait: bool = True) -> None:
        """Starts it in `folder`; with `wait`, returns once it is ready. `source` is the whole module."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "appmod.py").write_text(source, encoding="utf-8")
        self.folder = folder
        self.rows_path = folder / "tasks.rows"
        self._page: LivePage | None = None
        command = [sys.executable, "-m", "server", target, "--port", "0", "--rows", str(self.rows_path), *options]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
            )
        if wait:
            try:
                until(lambda: self._is_ready() or self.process.poll() is not None, "the server is ready or dead")
                assert self.process.poll() is None, f"the server died at its start:\n{self.stderr()}"
            except BaseException:
                self.end()
                raise

    @property
    def port(self) -> int:
        """The port that it says it serves on."""
        found = _SERVING.search(self.stderr())
        assert found, self.stderr()
        return int(found[1])

    @property
    def page(self) -> LivePage:
        """Its header page."""
        if self._page is None:
            self._page = LivePage(self.rows_path)
        return self._page

    def gauge(self, gauge: Gauge) -> int:
        """A gauge as it is now."""
        return self.page.gauge(gauge)

    def stdout(self) -> str:
        """All that was printed so far."""
        return (self.folder / "stdout").read_text(encoding="utf-8", errors="replace")

    def stderr(self) -> str:
        """All that was said on stderr so far."""
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def file(self) -> RowFile:
        """Its row file as it is now."""
        return read_rows(self.rows_path)

    def tasks(self, name: str | None = None) -> list[Task]:
        """The rows as they are now, in order of acceptance; only those of function `name` if given."""
        file = self.file()
        tasks = [
            Task(file.names[row["func"]], *(int(row[field]) for field in ("op", "index", "kind", "attempt", "reason", "flags")),
                 *(int(row[f"{instant}_ns"]) for instant in ("accepted", "flushed", "started", "finished", "failed", "dropped")))
            for row in file.rows.copy()
        ]  # fmt: skip
        return [task for task in tasks if name is None or task.name == name]

    def wait_ended(self, count: int) -> list[Task]:
        """All rows, once at least `count` tasks have ended."""

        def ended() -> bool:
            return sum(self.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED)) >= count

        until(ended, f"{count} tasks have ended")
        return self.tasks()

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own. Underscores in header names become hyphens."""
        return ask(self.port, method, target, body, [(name.replace("_", "-"), value) for name, value in headers.items()])

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        """A plain connection."""
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE_S)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def send(self, number: signal.Signals) -> None:
        """Sends it to the server alone."""
        self.process.send_signal(number)

    def send_again(self, number: signal.Signals) -> None:
        """Sends it as somebody does who has lost patience: the same signal twice in a moment is one request to stop."""
        time.sleep(0.15)
        self.send(number)

    def wait(self, patience_s: float = 2 * PATIENCE_S) -> int:
        """Its exit status, negative for a signal."""
        return self.process.wait(patience_s)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to stop; its exit status."""
        self.send(number)
        return self.wait()

    def end(self) -> None:
        """Kills what is left of it and reaps it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        if self._page is not None:
            self._page.close()
            self._page = None

    def _is_ready(self) -> bool:
        # The gauge is set just before the line that names the port.
        return bool(_SERVING.search(self.stderr())) and self.gauge(Gauge.READY) > 0


def ran(server: AppServer, path: str, count: int) -> list[Task]:
    """The rows of one request to `path`, once its `count` tasks have ended."""
    op = next(_next_op)
    assert server.ask("GET", path, x_op_id=f"{op:x}").status == 200

    def mine() -> list[Task]:
        return [task for task in server.tasks() if task.op == op and task.ended]

    until(lambda: len(mine()) == count, f"{count} tasks of {path} have ended")
    return sorted(mine(), key=lambda task: task.index)


def ask(port: int, method: str, target: str, body: bytes | None = None, headers: list[tuple[str, str]] | None = None) -> Answer:
    """One request on a connection of its own, its target sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers or []:
            connection.putheader(name, value.encode("latin-1"))
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        received = response.read()
        return Answer(response.status, tuple((name.lower(), value) for name, value in response.getheaders()), received)
    finally:
        connection.close()


def read_answer(connection: socket.socket) -> Answer:
    """The next response of a connection, its body as long as its head says."""
    data = b""
    while b"\r\n\r\n" not in data:
        # Byte by byte up to the end of the head, so that nothing of a pipelined response after it is taken.
        byte = connection.recv(1)
        assert byte, f"the connection ended in the head: {data!r}"
        data += byte
    lines = data.decode("latin-1").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line))
    status = int(lines[0].split()[1])
    left = 0 if status in (204, 304) else int(dict(headers).get("content-length", "0"))
    parts = []
    while left:
        part = connection.recv(min(left, 1 << 20))
        assert part, f"the connection ended {left} bytes before the end of the body"
        parts.append(part)
        left -= len(part)
    return Answer(status, headers, b"".join(parts))
