"""A server with the probe in it: any command, started as afterload starts one, and what the probe wrote about it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from harness.rows import Gauge, LivePage, RowFile, RowFileError, TaskKind, read_rows
from tests.server.helpers import Task, until

PROBE = Path(__file__).parents[2] / "harness" / "probe"
HERE = Path(__file__).parent

DEF, ASYNC, SPAWNED = TaskKind.DEF, TaskKind.ASYNC, TaskKind.SPAWNED
EARLY = 2


def uvicorn(*options: str, python: str = sys.executable, target: str = "app:app") -> list[str]:
    return [python, "-m", "uvicorn", target, "--port", "{port}", "--log-level", "warning", *options]


class Probed:
    """One command. Its files are `tasks-3-<pid>.rows` and `tasks-3-<pid>.notes.jsonl` in `folder`."""

    def __init__(
        self, folder: Path, command: list[str], *, env: dict[str, str] | None = None, cwd: Path = HERE, **how: object
    ) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.folder = folder
        self.log = folder / "log"
        given = {
            **os.environ,
            "PYTHONPATH": str(PROBE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AFTERLOAD_PROBE_ROWS": str(folder / "tasks-3.rows"),
            "AFTERLOAD_PROBE_BOOT": "3",
            "AFTERLOAD_PROBE_LABEL": "läbel",
            **(env or {}),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in command],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=given,
                start_new_session=True,
                **how,  # type: ignore[call-overload]
            )

    def wait_ready(self) -> Probed:
        until(lambda: self.process.poll() is not None or self._answers(), "it serves or is dead", 20)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def ask(self, path: str, op: int | None = None, headers: dict[str, str] | None = None) -> int:
        """GETs; the status, or 0 if the server broke the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {} if op is None else {"X-Op-Id": f"{op:016x}"}
            connection.request("GET", path, headers={**given, **(headers or {})})
            answer = connection.getresponse()
            answer.read()
        except (http.client.HTTPException, ConnectionError):
            return 0
        finally:
            connection.close()
        return answer.status

    def paths(self) -> list[Path]:
        return sorted(self.folder.glob("tasks-3-*.rows"))

    def files(self) -> list[RowFile]:
        found = []
        for path in self.paths():
            try:
                found.append(read_rows(path))
            except RowFileError:  # it is being made
                continue
        return found

    def tasks(self, op: int | None = None) -> list[Task]:
        """All rows, or those of one operation, by position."""
        found = []
        for file in self.files():
            for row in file.rows:
                words = {name: int(row[name]) for name in ("op", "index", "kind", "attempt", "reason", "flags")}
                instants = ("accepted", "flushed", "started", "finished", "failed", "dropped")
                times = {name: int(row[f"{name}_ns"]) for name in instants}
                if op is None or words["op"] == op:
                    found.append(Task(name=file.names[row["func"]], **words, **times))
        return sorted(found, key=lambda task: (task.op, task.index))

    def wait_tasks(self, op: int, number: int, *, ended: bool = True) -> list[Task]:
        def are_there() -> list[Task] | None:
            tasks = self.tasks(op)
            return tasks if len(tasks) >= number and (not ended or all(task.ended for task in tasks)) else None

        found: list[Task] = until(are_there, f"{number} tasks of {op:x} {'have ended' if ended else 'are there'}")
        assert len(found) == number, found
        return found

    def notes(self, kind: str | None = None) -> list[dict[str, object]]:
        lines = [line for path in sorted(self.folder.glob("tasks-3-*.notes.jsonl")) for line in path.read_text().splitlines()]
        return [note for note in map(json.loads, lines) if kind is None or note["kind"] == kind]

    def gauge(self, gauge: Gauge, path: Path | None = None) -> int:
        page = LivePage(path or self.paths()[0])
        try:
            return page.gauge(gauge)
        finally:
            page.close()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_end(self) -> int:
        return self.process.wait(20)

    def end(self) -> None:
        """Kills what is left of it: its group at once, lest one starts another meanwhile, then whoever left the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        until(self._kill_session, "all processes of the session have ended", 20)

    def _kill_session(self) -> bool:
        left = [each for each in psutil.process_iter() if _session(each.pid) == self.process.pid]
        left = [each for each in left if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        return not left

    def _answers(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0
