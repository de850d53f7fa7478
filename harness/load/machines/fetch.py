"""One file that comes back from a load machine: asked for by pieces, checked as a whole, put on our clock, and only then named.

Knows no network: who asks is handed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import gevent.queue

from harness.load.machines.clock import Relation
from harness.load.machines.translate import translate
from harness.load.machines.wire import CHUNK_BYTES

__all__ = ["Fetch", "FetchError"]

AT_ONCE = 4
"""Pieces that are under way. More would only wait, in memory."""

PIECE_S = 20.0


class FetchError(Exception):
    """It did not come, or not as it was sent."""


class Fetch:
    """One file."""

    def __init__(self, path: Path, n_bytes: int, ask: Callable[[int, int], None]) -> None:
        """`path`: where it is kept once it is whole. `ask(start, length)` has these bytes sent to `receive`."""
        self._path = path
        self._partial = path.with_name(f"{path.name}.part")
        self._n_bytes = n_bytes
        self._ask = ask
        self._pieces: gevent.queue.Queue[tuple[int, bytes] | None] = gevent.queue.Queue()
        self._sha256 = hashlib.sha256()

    def receive(self, start: int, data: bytes) -> None:
        """A piece has come."""
        self._pieces.put((start, data))

    def lose(self) -> None:
        """There will be no more."""
        self._pieces.put(None)

    def run(self) -> None:
        """Asks and waits for all of it. Raises FetchError or OSError."""
        asked = done = 0
        with self._partial.open("xb") as file:
            while done < self._n_bytes:
                while asked < min(self._n_bytes, done + AT_ONCE * CHUNK_BYTES):
                    length = min(CHUNK_BYTES, self._n_bytes - asked)
                    self._ask(asked, length)
                    asked += length
                try:
                    piece = self._pieces.get(timeout=PIECE_S)
                except gevent.queue.Empty:
                    raise FetchError(f"nothing came for {PIECE_S:g} s after {done:,} of {self._n_bytes:,} bytes") from None
                if piece is None:
                    raise FetchError(f"it was lost after {done:,} of {self._n_bytes:,} bytes")
                start, data = piece
                if start != done or not data:
                    raise FetchError(f"bytes from {start:,} came where those from {done:,} were to come")
                file.write(data)
                self._sha256.update(data)
                done += len(data)

    def check(self, sha256: str) -> None:
        """Raises FetchError if these are not the bytes that were sent."""
        if self._sha256.hexdigest() != sha256:
            raise FetchError(f"its checksum is {self._sha256.hexdigest()[:12]}, and was {sha256[:12]} there")

    def keep(self, relation: Relation | None) -> dict[str, Any]:
        """Puts its instants on our clock, if it has another one, and gives it its name. What there is to say about it."""
        said = translate(self._partial, relation) if relation is not None and self._path.suffix == ".rows" else {}
        self._partial.rename(self._path)
        return {"name": self._path.name, "bytes": self._n_bytes, "sha256": self._sha256.hexdigest(), **said}

    def drop(self) -> None:
        """Leaves nothing of it."""
        self._partial.unlink(missing_ok=True)
