"""A program in a terminal of its own that nobody looks at: what it writes, what it costs, how soon it answers a key."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from harness.errors import RunError

__all__ = ["Terminal", "Used"]

_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[@-Z\\-_])")
_KEPT = 1 << 20  # bytes of output in which a text is looked for


class Used:
    """What a stretch of time has cost."""

    def __init__(self, cpu_s: float, n_bytes: int, wall_s: float) -> None:
        self.cpu_share = cpu_s / wall_s  # of one core
        self.kib_per_s = n_bytes / 1024 / wall_s


class Terminal:
    """Starts a program; leaving it ends the program."""

    def __init__(self, command: Sequence[str], columns: int, rows: int, *, env: dict[str, str], cwd: Path) -> None:
        self._outside, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._lock = threading.Condition()
        self._text = b""  # without escapes
        self._n_bytes = 0
        self._is_over = False
        self._read_s = 0.0  # when something was read last
        self.began_s = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=inside, env=env, cwd=cwd, start_new_session=True, close_fds=True
        )
        os.close(inside)
        self.process = psutil.Process(self._process.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        os.close(self._outside)

    def press(self, keys: str) -> None:
        """What somebody types."""
        os.write(self._outside, keys.encode())

    def wait_for(self, text: str | re.Pattern[bytes], within_s: float = 60.0) -> float:
        """Until `text` has been written since `forget`: when, on the monotonic clock."""
        wanted = text if isinstance(text, re.Pattern) else re.compile(re.escape(text.encode()))
        until_s = time.monotonic() + within_s
        with self._lock:
            while not wanted.search(self._text):
                left_s = until_s - time.monotonic()
                if left_s <= 0 or self._is_over:
                    last = self._text[-2000:].decode(errors="replace")
                    raise RunError(f"the screen did not show {text!r} within {within_s:g} s; what it wrote last:\n{last}")
                self._lock.wait(left_s)
            return self._read_s

    def forget(self) -> None:
        """What was written so far is not what is waited for."""
        with self._lock:
            self._text = b""

    def measure(self, seconds: float) -> Used:
        """What it uses while it is left alone."""
        cpu_s, n_bytes, began_s = self._cpu_s(), self._n_bytes, time.monotonic()
        time.sleep(seconds)
        return Used(self._cpu_s() - cpu_s, self._n_bytes - n_bytes, time.monotonic() - began_s)

    def used_s(self) -> float:
        """The processor time of the program itself, since its start."""
        return self._cpu_s()

    def rss_mib(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss) / 2**20

    def end(self, keys: str, within_s: float = 30.0) -> int:
        """Types what ends it. Its exit status."""
        self.press(keys)
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise RunError(f"the screen did not end within {within_s:g} s after {keys!r}") from None

    @property
    def is_running(self) -> bool:
        """Not ended yet."""
        return self._process.poll() is None

    def _cpu_s(self) -> float:
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def _read(self) -> None:
        pending = b""
        while True:
            try:
                data = os.read(self._outside, 1 << 16)
            except OSError:  # the last one that had it open has gone
                data = b""
            with self._lock:
                self._read_s = time.monotonic()
                self._n_bytes += len(data)
                if not data:
                    self._is_over = True
                    self._lock.notify_all()
                    return
                pending += data
                # An escape may be cut by the end of what was read.
                cut = pending.rfind(b"\x1b", -64) if b"\x1b" in pending[-64:] else len(pending)
                whole, pending = (pending[:cut], pending[cut:]) if cut else (pending, b"")
                self._text = (self._text + _ESCAPES.sub(b"", whole))[-_KEPT:]
                self._lock.notify_all()
