"""Lines of JSON to and from a child, without ever blocking the session."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from typing import Any

from harness.processes import Child

__all__ = ["Talk"]

_POLL_S = 0.005


class Talk:
    """The pipes of one child."""

    def __init__(self, child: Child, tick: Callable[[], None]) -> None:
        self._child = child
        self._tick = tick
        self._buffer = b""
        os.set_blocking(child.stdout.fileno(), False)

    def say(self, message: dict[str, Any]) -> bool:
        """Writes one line. False: the child reads no more."""
        try:
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
            self._child.stdin.flush()
        except (BrokenPipeError, ValueError):
            return False
        return True

    def hear(self, timeout_s: float, what: str) -> dict[str, Any]:
        """Waits for the next line, calling `tick`. Raises ChildDied or ChildNotReady, both with the end of the child's log."""
        end = time.monotonic() + timeout_s
        while True:
            # First whether it has ended, then what it said: its last line could come between the other way round.
            ended = self._child.poll() is not None
            if (message := self.listen()) is not None:
                return message
            if ended:
                raise self._child.died(what)
            if time.monotonic() > end:
                raise self._child.not_ready(timeout_s)
            self._tick()
            time.sleep(_POLL_S)

    def listen(self) -> dict[str, Any] | None:
        """The next line if there is one."""
        stream = self._child.stdout
        while not stream.closed and select.select([stream], [], [], 0)[0]:
            data = os.read(stream.fileno(), 65_536)
            if not data:
                break
            self._buffer += data
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        message: dict[str, Any] = json.loads(line)
        return message
