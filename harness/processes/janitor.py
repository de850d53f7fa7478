"""Cleans up if afterload itself is killed: a small process that outlives it just long enough to end what it started.

The session holds the only write end of a pipe. When the pipe closes without a goodbye, the session has died: the janitor
then kills every process that carries the run's mark, until none is left. Run as a script; standard library only there.
"""

from __future__ import annotations

import contextlib
import os
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


class Janitor:
    """The session's side. Used as a context manager round everything that starts processes."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Janitor:
        command = [sys.executable, "-I", "-S", __file__, self._run_id]
        # A session of its own: a Ctrl-C in the terminal must not reach it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.communicate(_GOODBYE)
            self._process = None


def _marked(run_id: str) -> list[int]:
    wanted = _MARK + run_id.encode() + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                variables = (entry / "environ").read_bytes().split(b"\0")
                if any(variable.startswith(wanted) for variable in variables):
                    found.append(int(entry.name))
    return found


def _watch(run_id: str) -> None:
    if sys.stdin.buffer.read().endswith(_GOODBYE):
        return
    end = time.monotonic() + _GIVE_UP_S
    while (left := _marked(run_id)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    _watch(sys.argv[1])
