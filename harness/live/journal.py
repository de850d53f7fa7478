"""The events of a run, read as they are written. A last line that is not whole yet is read when it is."""

from __future__ import annotations

import bisect
import json
from pathlib import Path
from typing import Any

__all__ = ["Journal"]


class Journal:
    """`events.jsonl` of a run. Each event has the monotonic instant at which it was written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._at_ns: list[int] = []

    def refresh(self) -> bool:
        """Reads what is new. True: there was something. Raises nothing: what cannot be read is not there yet."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except OSError:
            return False
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        before = len(self._events)
        for line in lines:
            self._take(line)
        return len(self._events) > before

    def until(self, at_ns: int) -> list[dict[str, Any]]:
        """Those written at the instant or before it, in order."""
        return self._events[: bisect.bisect_right(self._at_ns, at_ns)]

    @property
    def all(self) -> list[dict[str, Any]]:
        """All that have been read."""
        return self._events

    @property
    def last_ns(self) -> int:
        """When the last one was written; 0: there is none."""
        return self._at_ns[-1] if self._at_ns else 0

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            name, at_ns = str(event["event"]), int(event["t_ns"])
        except (ValueError, KeyError, TypeError):
            if line.strip():
                self._add({"event": "problem", "text": "events.jsonl: a line is damaged", "t_ns": self.last_ns}, self.last_ns)
            return
        self._add({**event, "event": name}, at_ns)

    def _add(self, event: dict[str, Any], at_ns: int) -> None:
        self._events.append(event)
        # Several processes may write (docs/steering.md): an order of lines that is not that of the instants is not undone.
        self._at_ns.append(max(at_ns, self.last_ns))
