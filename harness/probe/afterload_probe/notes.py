"""What the probe has to say in words: one JSON object a line, beside the rows of the same process."""

from __future__ import annotations

import json
import os
import sys
from time import monotonic_ns

__all__ = ["Notes"]

_MOST = 500
"""Lines of one process. Whoever reads them looks for what happened, not for how often."""


class Notes:
    """Appends lines, each with one write, so that lines of several threads never mix."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._n_left = _MOST
        self._said: set[str] = set()
        self.pid = os.getpid()

    def write(self, kind: str, text: str, **more: object) -> None:
        """Adds a line; never raises."""
        if self._n_left <= 0 or os.getpid() != self.pid:
            return
        self._n_left -= 1
        line = json.dumps({"t_ns": monotonic_ns(), "kind": kind, "text": text, **more}, default=str) + "\n"
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            os.write(self._file, line.encode())
        except OSError as error:
            # The disk is full, or the folder is gone. The server's log is the last place where it can be said, once.
            self._n_left = 0
            print(f"afterload: the probe cannot write {self._path}: {error}; it had to say: {text}", file=sys.stderr)  # noqa: T201

    def once(self, kind: str, text: str, **more: object) -> None:
        """As `write`, but not twice the same text."""
        if text not in self._said:
            self._said.add(text)
            self.write(kind, text, **more)
