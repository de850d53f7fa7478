"""What a serving process and a supervisor have in common towards the outside: how they count signals, speak and exit."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from typing import Final

__all__ = ["ABANDONED_STATUS", "Stops", "say"]

ABANDONED_STATUS: Final = 3
"""Exit status of a server that gave up tasks at its drain deadline."""

SAME_REQUEST_S: Final = 0.1


class Stops:
    """Counts requests to stop. One signal several times in a moment is one request: `timeout`, for one, sends TERM to its child
    and to the child's group.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[int, float] = {}

    def heard(self, number: int) -> bool:
        """Whether this signal is one request more."""
        now = time.monotonic()
        is_new = now - self._last.get(number, -math.inf) > SAME_REQUEST_S
        if is_new:
            self._last[number] = now
            self.count += 1
        return is_new


def say(text: str) -> None:
    """Tells the person who started the server. Where nobody reads any more, what was accepted is drained all the same."""
    with contextlib.suppress(OSError, ValueError):
        print(f"server: {text}", file=sys.stderr, flush=True)  # noqa: T201
