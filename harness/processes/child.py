"""One process of a run: started in a session of its own, watched, and stopped: ask, wait, force, report."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from harness.errors import ChildDied, ChildNotReady
from harness.processes.group import MARK, STARTED, kill_all, snapshot, survivors

__all__ = ["Child", "Exit"]

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.005
_OWN = {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. `status` as in subprocess: negative is the signal that ended it."""

    status: int
    forced: bool  # it did not end when asked, and was killed
    reaped_ns: int


class Child:
    """A started process. Its standard error (and output, unless piped) goes to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        run_id: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        piped: bool = False,
        is_own: bool = True,
    ) -> None:
        """Starts it. `piped`: its standard input and output are pipes to us. `is_own`: one of our programs, and not the user's,

        whose environment is the user's but for `env` and our mark. Raises OSError.
        """
        self.name = name
        self.mark = f"{run_id}/{name}"
        self.log = log
        environment = {**os.environ, **(env or {}), MARK: self.mark, **(_OWN if is_own else {})}
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *command]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                guard,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else errors,
                stderr=errors,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
        STARTED.add(self._process.pid)
        self.spawned_ns = time.monotonic_ns()
        self.exit: Exit | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to it."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe from it."""
        assert self._process.stdout is not None
        return self._process.stdout

    def members(self) -> list[psutil.Process]:
        """It and every process that belongs to it."""
        return snapshot(None if self.poll() else self.pid, self.mark)

    def poll(self) -> Exit | None:
        """How it ended; None while it runs."""
        if self.exit is None and self._process.poll() is not None:
            self._reaped(forced=False)
        return self.exit

    def wait(
        self, timeout_s: float, tick: Callable[[], None] | None = None, until: Callable[[], bool] = lambda: False
    ) -> Exit | None:
        """Waits for its end, calling `tick` meanwhile. None: it still ran when the time was up, or when `until` became true."""
        end = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() > end or until():
                return None
            if tick is not None:
                tick()
            time.sleep(_POLL_S)
        return self.exit

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Sends a signal to it, or to its whole group; none if it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number) if group else os.kill(self.pid, number)

    def stop(self, grace_s: float, tick: Callable[[], None] | None = None) -> Exit:
        """Asks with SIGTERM (after closing its standard input), waits up to `grace_s` s, then kills its whole group."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self.signal(signal.SIGTERM)
        if self.wait(grace_s, tick) is None:
            return self.kill()
        self._sweep()
        assert self.exit is not None
        return self.exit

    def kill(self) -> Exit:
        """Kills everything that belongs to it and reaps it."""
        kill_all(self.members())
        self._process.wait()
        if self.exit is None:
            self._reaped(forced=True)
        self._sweep()
        assert self.exit is not None
        return self.exit

    def died(self, what: str) -> ChildDied:
        """The error for its early end, with the last lines of its log."""
        status = self.exit.status if self.exit else 0
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        return ChildDied(f"{self.name} {how} {what}{self.last_lines()}")

    def not_ready(self, timeout_s: float, why: str = "", asked_at: int | None = None) -> ChildNotReady:
        """The error for a start that takes too long. `asked_at`: how long its log was when it was asked to end."""
        what = f"was not ready after {timeout_s:g} s{': ' if why else ''}{why}"
        return ChildNotReady(f"{self.name} {what}{self.last_lines(asked_at=asked_at)}")

    def last_lines(self, count: int = 8, asked_at: int | None = None) -> str:
        """The end of its log, indented, with the log's path; says so if the log is empty."""
        try:
            data = self.log.read_bytes()
        except OSError:
            data = b""
        if asked_at is not None:
            # What it had in a buffer came out when it ended, and then how it was ended, which is our doing.
            data = data[:asked_at] + data[asked_at:].partition(b"Traceback (most recent call last):")[0]
        lines = data.decode(errors="replace").splitlines()[-count:]
        shown = "".join(f"\n    {line}" for line in lines) or " nothing"
        return f"\n  last lines of its log:{shown}\n  full log: {self.log}"

    def _sweep(self) -> None:
        # Whatever it left behind in its group or under its mark.
        self._close_pipes()
        kill_all(process for process, _ in survivors(self.mark, (), settle_s=0.0))

    def _reaped(self, *, forced: bool) -> None:
        self.exit = Exit(self._process.returncode, forced, time.monotonic_ns())
        STARTED.discard(self._process.pid)

    def _close_pipes(self) -> None:
        # Not when it is reaped: its last words may still be in the pipe.
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
