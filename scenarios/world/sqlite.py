"""Connections to one SQLite database, one for each thread that asks."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Final

__all__ = ["Connections", "make_database"]

_BUSY_S: Final = 10.0


class Connections:
    """Each thread gets a connection of its own, in autocommit: what a statement has changed is committed when it returns."""

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[sqlite3.Connection] = []

    def get(self) -> sqlite3.Connection:
        """The calling thread's. Raises sqlite3.OperationalError if the database can't be opened."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Closed by whichever thread ends the app; otherwise used by its own alone.
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            # Safe from the death of the process; a loss of power may cost the last commits.
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection

    def close(self) -> None:
        """Closes all of them. Whoever asks again gets a new one."""
        with self._lock:
            self._local = threading.local()
            for connection in self._all:
                connection.close()
            self._all.clear()


def make_database(path: Path, schema: str) -> sqlite3.Connection:
    """A new database whose readers do not wait for its writers. Raises sqlite3.OperationalError if it has the tables already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(schema)
    return connection
