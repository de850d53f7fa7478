"""Whether a server answers: one request on a connection of its own, by hand, because nothing of it may be kept or tried again."""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import dataclass

__all__ = ["Answer", "ask"]

_TIMEOUT_S = 0.5
_MOST_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    is_open: bool  # something accepted the connection
    is_ready: bool
    text: str  # what was wrong, in words


def ask(host: str, port: int, path: str | None = None) -> Answer:
    """Asks for `path`, which must be answered by 2xx, or for nothing in particular, where any answer will do.

    A connection alone says little: the first process of a server often listens long before those that answer have loaded the app.
    """
    request = f"GET {path}" if path is not None else "OPTIONS *"
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection:
            try:
                connection.sendall(f"{request} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                first = connection.recv(65_536)
                # To its end: a server would complain in its log of a client that leaves in the middle of an answer.
                _read_on(connection)
            except OSError:
                return Answer(is_open=True, is_ready=False, text=f"port {port} was open, but {request} got no answer")
    except OSError:
        return Answer(is_open=False, is_ready=False, text=f"nothing listened on port {port}")
    found = re.match(rb"HTTP/1\.[01] (\d{3})", first)
    if found is None:
        said = f"answered {first[:40]!r}, which is no HTTP" if first else "closed the connection without an answer"
        return Answer(is_open=True, is_ready=False, text=f"port {port} was open, but {said}")
    status = int(found[1])
    is_ready = path is None or 200 <= status < 300
    return Answer(is_open=True, is_ready=is_ready, text=f"{request} was answered with status {status}")


def _read_on(connection: socket.socket) -> None:
    left = _MOST_BYTES
    with contextlib.suppress(OSError):
        while left > 0 and (data := connection.recv(65_536)):
            left -= len(data)
