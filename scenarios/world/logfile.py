"""A log file that tasks append to; each whole line is an effect. One line is one `write`, so a kill cannot tear it."""

from __future__ import annotations

import os
from pathlib import Path

from scenarios.world.tail import Tail
from server import EffectRows

__all__ = ["LogWorld", "append_line", "start_logfile"]


def append_line(path: str, op: str, text: str) -> None:
    """What a task does: one line that begins with its operation."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, f"{op} {text}\n".encode())
    finally:
        os.close(descriptor)


class LogWorld:
    """The file, watched."""

    def __init__(self, rows: EffectRows, path: Path, name: str, index: int) -> None:
        self._rows = rows
        self._path = path
        self._name = name
        self._index = index
        self._file = path.open("xb+")
        self._rest = b""
        self._tail = Tail(self._look)

    def addresses(self) -> dict[str, str]:
        """Its path."""
        return {self._name: str(self._path)}

    async def close(self) -> None:
        """A last look."""
        await self._tail.close()
        self._file.close()

    def _look(self) -> None:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            op, _, _ = line.partition(b" ")
            self._rows.append(int(op, 16), index=self._index, value=len(line))


def start_logfile(rows: EffectRows, path: Path, *, name: str = "log", index: int = 0) -> LogWorld:
    """An empty file, whose path is told to tasks as `name`. `index`: of the task that writes to it."""
    return LogWorld(rows, path, name, index)
