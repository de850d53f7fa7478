"""The last lines of the logs of a run's children, read as they are written."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import Final

from harness.live.frame import LogLine

__all__ = ["MOST_LINES", "Logs"]

MOST_LINES: Final = 200
LONGEST: Final = 2_000
_ANSI: Final = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\\\))")
_AT_ONCE: Final = 64 * 1024
"""Of a log that grows faster than anybody can read, only so much of the end is looked at each time."""


class Logs:
    """The tail of all logs together, in the order in which they were found to have grown."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}
        self._rests: dict[str, bytes] = {}
        self._lines: deque[LogLine] = deque(maxlen=MOST_LINES)

    def refresh(self) -> None:
        """Reads what is new. What cannot be read is passed over."""
        try:
            paths = sorted(self._folder.glob("*.log"), key=_order)
        except OSError:
            return
        for path in paths:
            try:
                self._tail(path)
            except OSError:
                continue

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The last ones, with those that are not ended yet."""
        begun = [_line(name, rest) for name, rest in sorted(self._rests.items()) if rest]
        return (*self._lines, *begun)[-MOST_LINES:]

    def _tail(self, path: Path) -> None:
        name = path.stem
        size, read = path.stat().st_size, self._read.get(name, 0)
        if size == read:
            return
        if size < read:  # it was begun anew
            read, self._rests[name] = 0, b""
        begin = max(read, size - _AT_ONCE)
        with path.open("rb") as file:
            file.seek(begin)
            new = file.read(size - begin)
        self._read[name] = begin + len(new)
        is_whole = begin == read
        if not is_whole:
            self._add(name, f"... {begin - read:,} bytes passed over: more was written than can be shown".encode())
        rest = self._rests.get(name, b"") if is_whole else b""
        *lines, rest = (rest + new).split(b"\n")
        # What was passed over began somewhere in the middle of a line.
        for line in lines if is_whole else lines[1:]:
            self._add(name, line)
        if len(rest) > LONGEST:
            self._add(name, rest)
            rest = b""
        self._rests[name] = rest

    def _add(self, name: str, line: bytes) -> None:
        self._lines.append(_line(name, line))


def _line(name: str, line: bytes) -> LogLine:
    text = _ANSI.sub("", line[:LONGEST].decode("utf-8", "replace")).rstrip("\r")
    # Control characters would be obeyed by the terminal that shows them.
    return LogLine(
        name, "".join(char if char.isprintable() else " " if char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
    )


def _order(path: Path) -> tuple[bool, str]:
    """Of what has grown since the last look the server's comes last, where the eye is."""
    return path.stem.startswith("server"), path.stem
