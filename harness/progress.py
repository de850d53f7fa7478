"""What a run shows while it runs: one line that renews itself in a terminal, a line now and then elsewhere. On standard error."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TextIO

__all__ = ["Progress", "Standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands."""

    at_s: float  # since load start; negative before
    phase: str
    sent: int
    answered: int
    queued: int | None  # None: no process of the server is seen from inside
    running: int
    pool_busy: int
    pool_size: int
    up: bool


class Progress:
    """Writes to `stream`; `every_s` is the time between two lines, or between two renewals in a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._renews = self._stream.isatty()
        self._every_s = 0.2 if self._renews else 2.0
        self._next_s = 0.0
        self._open = False
        self._is_gone = False

    def event(self, text: str) -> None:
        """Something that happened."""
        self._line(text)

    def standing(self, now: Standing) -> None:
        """How it stands, if it is time to say so again."""
        clock = time.monotonic()
        if clock < self._next_s:
            return
        self._next_s = clock + self._every_s
        tasks = f"backlog {now.queued:,} + {now.running} running " if now.queued is not None else ""
        pool = f"pool {now.pool_busy}/{now.pool_size} " if now.pool_size else ""
        text = (
            f"{now.at_s:6.1f} s {now.phase:<5} sent {now.sent:,} answered {now.answered:,} "
            f"{tasks}{pool}{'up' if now.up else 'DOWN'}"
        )
        if not self._renews:
            self._line(text)
            return
        self._renew(text)

    def close(self) -> None:
        """Ends an open line."""
        if self._open:
            self._write("\n")
            self._open = False

    def _renew(self, text: str) -> None:
        """Puts the text in place of the open line; where nothing can be renewed it is not shown."""
        if self._renews:
            self._write(f"\r\x1b[2K{text[: max(1, self._width() - 1)]}")
            self._open = True

    def _line(self, text: str) -> None:
        self._write(("\r\x1b[2K" if self._open else "") + text + "\n")
        self._open = False

    def _width(self) -> int:
        # Cut to the terminal's width: a line that wraps cannot be renewed.
        try:
            return os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            return 80

    def _write(self, text: str) -> None:
        # A terminal or a pipe that has gone away is no reason to end a measurement.
        if not self._is_gone:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._is_gone = True
