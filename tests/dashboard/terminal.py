"""A program in a real terminal: a pty of a given size, its keys, what it has drawn, and in which state it leaves the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]

_LAST = b"<nothing is written after this>"

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[@-Z\\-_])")


class Terminal:
    """`python -m dashboard ARGUMENTS` in a terminal of its own."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        columns: int = 100,
        rows: int = 30,
        env: dict[str, str] | None = None,
        program: Sequence[str] = ("-m", "dashboard"),
    ) -> None:
        self._own, self._its = pty.openpty()
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self._its)
        self._raw = ""
        self._from = 0
        self.process = subprocess.Popen(
            [sys.executable, "-P", *program, *arguments],
            cwd=cwd,
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**environment(), **(env or {})},
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._own)
        os.close(self._its)

    @property
    def text(self) -> str:
        """All that it has written since `forget`, without escapes."""
        self._read(0)
        return _ESCAPES.sub("", self._raw[self._from :])

    @property
    def raw(self) -> str:
        """The same with them, and from the beginning."""
        self._read(0)
        return self._raw

    def forget(self) -> None:
        """What was written so far is not looked at any more."""
        self._read(0)
        self._from = len(self._raw)

    def wait_for(self, *words: str, timeout_s: float = 60.0) -> None:
        """Until all of them have been drawn since `forget`."""
        self.wait_until(lambda: all(word in self.text for word in words), timeout_s, f"{words} on the screen")

    def wait_until(self, condition: Callable[[], object], timeout_s: float = 60.0, what: str = "it") -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"{what} did not come within {timeout_s:g} s; there was: {self.text[-3000:]}"
            self._read(0.05)

    def press(self, *keys: str) -> None:
        """Keys as a terminal sends them."""
        os.write(self._own, "".join(keys).encode())

    def end(self, timeout_s: float = 60.0) -> int:
        """Its exit status, once it has ended by itself and all that it wrote has been read."""
        self.wait_until(lambda: self.process.poll() is not None, timeout_s, "its end")
        # The kernel hands it on piece by piece, on a busy machine with pauses: what is written now comes after the last piece.
        os.write(self._its, _LAST)
        self.wait_until(lambda: _LAST.decode() in self._raw, timeout_s, "the last of its output")
        self._raw = self._raw.replace(_LAST.decode(), "")
        return self.process.returncode

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.signal(signal.SIGWINCH)

    def hang_up(self) -> None:
        """As when its window is closed, or its line breaks."""
        os.close(self._own)
        self._own = os.open(os.devnull, os.O_RDONLY)

    @property
    def is_as_before(self) -> bool:
        """Whether keys and lines work as they did: the modes of the terminal, and what was switched on is off again."""
        return termios.tcgetattr(self._its) == self.before and not self.left_on

    @property
    def left_on(self) -> list[str]:
        """Private modes that were switched on last (or off, of those that are usually on)."""
        last = dict(re.findall(r"\x1b\[\?(\d+)([hl])", self.raw))
        usual = {"25": "h", "7": "h"}
        return [number for number, state in last.items() if state != usual.get(number, "l")]

    def _read(self, timeout_s: float) -> None:
        while select.select([self._own], [], [], timeout_s)[0]:
            try:
                self._raw += os.read(self._own, 1 << 16).decode("utf-8", "replace")
            except OSError:  # nobody has it open any more
                return
            timeout_s = 0


def environment() -> dict[str, str]:
    """As of somebody who has set nothing."""
    left_out = ("NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "AFTERLOAD_GLYPHS", "AFTERLOAD_THEME", "AFTERLOAD_KEYS")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    paths = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", "PYTHONPATH": paths}
