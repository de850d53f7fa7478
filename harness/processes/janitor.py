"""Cleans up if afterload itself is killed: a small process that outlives it just long enough to end what it started.

The session holds the only write end of a pipe. When the pipe closes without a goodbye, the session has died: the janitor
then kills every process that carries the run's mark or was seen among the session's descendants, until none is left.
Run as a script; standard library only there.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

__all__ = ["Janitor"]

_MARK = b"AFTERLOAD_CHILD="
_GOODBYE = b"goodbye\n"
_GIVE_UP_S = 10.0
_LOOK_EVERY_S = 0.5


class Janitor:
    """The session's side. Used as a context manager round everything that starts processes."""

    def __init__(self, run_id: str, folder: Path | None = None) -> None:
        """`folder`: one that must not outlive the session either."""
        self._run_id = run_id
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Janitor:
        command = [sys.executable, "-I", "-S", __file__, self._run_id, *([str(self._folder)] if self._folder else [])]
        # A session of its own: a Ctrl-C in the terminal must not reach it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            # Without a goodbye it cleans up after whatever went wrong here.
            self._process.communicate(_GOODBYE if kind is None else b"")
            self._process = None


def _start_time(pid: int) -> bytes:
    # Field 22 of stat: with the pid it names one process for ever.
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19]


def _descendants(pid: int) -> dict[int, bytes]:
    """Pids and start times. Whoever left its group and cleared its environment is a descendant while the session lives."""
    found: dict[int, bytes] = {}
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_bytes().split()):
                if child != os.getpid():
                    with contextlib.suppress(OSError):
                        found[child] = _start_time(child)
                    found.update(_descendants(child))
    return found


def _marked(run_id: str) -> dict[int, bytes]:
    wanted = _MARK + run_id.encode() + b"/"
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                variables = (entry / "environ").read_bytes().split(b"\0")
                if any(variable.startswith(wanted) for variable in variables):
                    found[int(entry.name)] = _start_time(int(entry.name))
    return found


def _is_alive(pid: int, started: bytes) -> bool:
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return status[19] == started and status[0] != b"Z"
    return False


def _watch(run_id: str, folder: str | None = None) -> None:
    session = os.getppid()
    heard = b""
    known: dict[int, bytes] = {}
    while True:
        if select.select([sys.stdin.buffer], [], [], _LOOK_EVERY_S)[0]:
            data = os.read(sys.stdin.fileno(), 4096)
            heard += data
            if not data:
                break
        if os.getppid() == session:
            known.update(_descendants(session))
            known = {pid: started for pid, started in known.items() if _is_alive(pid, started)}
    if heard.endswith(_GOODBYE):
        return
    end = time.monotonic() + _GIVE_UP_S
    while time.monotonic() < end:
        left = {pid: started for pid, started in {**known, **_marked(run_id)}.items() if _is_alive(pid, started)}
        if not left:
            break
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch(*sys.argv[1:])
