"""A run that the screen has started: `python -m harness run` as a process of its own, which goes on without the screen.

It is in a session of its own, so no Ctrl-C and no hangup of the terminal reaches it. What it prints goes into a file without a
name: the screen can read it, nothing has to be tidied up, and a screen that is killed leaves no broken pipe behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from harness.live.frame import Phase
from harness.rundir import EventLog, new_directory

__all__ = ["RunChild"]

_MOST_BYTES: Final = 1 << 16


class RunChild:
    """A run under way, or over."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes], path: Path) -> None:
        self._process = process
        self._output = output
        self.path = path
        """The run directory. It is there, and empty at first."""

    @classmethod
    def start(cls, arguments: Sequence[str], title: str) -> RunChild:
        """Starts a run with these arguments of `afterload run`. Raises UsageError if there is no place for its directory."""
        path = new_directory(title)
        output = tempfile.TemporaryFile()  # noqa: SIM115 - it is the child's as much as ours
        command = [sys.executable, "-P", "-m", "harness", "run", "--out", str(path), *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        return cls(process, output, path)

    @property
    def pid(self) -> int:
        """Of the session of the run."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit status, negative for a signal, as a shell has it; None while it goes on."""
        status = self._process.poll()
        return status if status is None or status >= 0 else 128 - status

    def wait(self, timeout_s: float) -> int | None:
        """The same, after at most so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.poll()

    def phase(self) -> Phase:
        """Where it is by its own events, for while another run is shown."""
        try:
            names = {event["event"] for event in EventLog.read(self.path / "events.jsonl")}
        except OSError:
            return Phase.START
        if "end" in names:
            return Phase.JUDGE
        return Phase.LOAD if "load_started" in names else Phase.START

    def interrupt(self) -> None:
        """Tells it to stop what it does and to judge what there is, as Ctrl-C does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def last_lines(self, n: int) -> list[str]:
        """The last lines that it has printed."""
        size = os.fstat(self._output.fileno()).st_size
        # By position: the child writes through the same open file, whose place must not be moved.
        text = os.pread(self._output.fileno(), _MOST_BYTES, max(0, size - _MOST_BYTES)).decode("utf-8", "replace")
        return [line for line in text.splitlines() if line.strip()][-n:]

    def close(self) -> None:
        """Its output is looked at no more; the run itself is left alone."""
        self._output.close()

    def forget_directory(self) -> None:
        """Removes the run directory of a run that never began: nothing in it but, perhaps, an empty plan."""
        with contextlib.suppress(OSError):
            plan = self.path / "plan.toml"
            if plan.exists() and not plan.stat().st_size:
                plan.unlink()
            self.path.rmdir()
