"""What a serving process and a supervisor have in common towards the outside: how they count signals, speak and exit."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["ABANDONED_STATUS", "SAME_REQUEST_S", "say"]

ABANDONED_STATUS: Final = 3
"""Exit status of a server that gave up tasks at its drain deadline."""

SAME_REQUEST_S: Final = 0.1
"""Signals this close together are one request to stop: a terminal, `timeout` or a service manager may send several."""


def say(text: str) -> None:
    """Tells the person who started the server."""
    print(f"server: {text}", file=sys.stderr, flush=True)  # noqa: T201
