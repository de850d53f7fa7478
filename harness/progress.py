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
    queued: int
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

    def event(self, text: str) -> None:
        """Something that happened."""
        self._line(text)

    def standing(self, now: Standing) -> None:
        """How it stands, if it is time to say so again."""
        clock = time.monotonic()
        if clock < self._next_s:
            return
        self._next_s = clock + self._every_s
        text = (
            f"{now.at_s:6.1f} s {now.phase:<5} sent {now.sent:,} answered {now.answered:,} "
            f"backlog {now.queued:,} + {now.running} running pool {now.pool_busy}/{now.pool_size} {'up' if now.up else 'DOWN'}"
        )
        if not self._renews:
            self._line(text)
            return
        # Cut to the terminal's width: a line that wraps cannot be renewed.
        width = os.get_terminal_size(self._stream.fileno()).columns
        self._stream.write(f"\r\x1b[2K{text[: max(1, width - 1)]}")
        self._stream.flush()
        self._open = True

    def close(self) -> None:
        """Ends an open line."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _line(self, text: str) -> None:
        if self._open:
            self._stream.write("\r\x1b[2K")
            self._open = False
        self._stream.write(text + "\n")
        self._stream.flush()
