"""A table of accesses that tasks write to, in SQLite or in PostgreSQL. Each new row is an effect; nobody but the table is asked.

`access_counts` holds the number of accesses of each endpoint, changed in the same transaction: the row that all writers want.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scenarios.scenario import CannotStart
from scenarios.world.tail import Tail
from server import EffectRows

if TYPE_CHECKING:
    import psycopg

__all__ = ["left_in", "start_access_log", "start_access_log_in_postgres"]

_DATABASE: Final = "access.sqlite"
_LEFT: Final = "left.json"
_LOOK_BACK: Final = 5000  # ids: rows become visible when they are committed, not in the order of their ids


class SqliteWorld:
    """A database file in WAL mode, so that watching disturbs no writer."""

    def __init__(self, rows: EffectRows, folder: Path, index: int) -> None:
        self._rows = rows
        self._index = index
        self._path = folder / _DATABASE
        # Each look may be on another thread, one at a time.
        self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "CREATE TABLE access_log (id INTEGER PRIMARY KEY, op TEXT NOT NULL, user_id INTEGER, endpoint TEXT, at REAL)"
        )
        self._db.execute("CREATE TABLE access_counts (endpoint TEXT PRIMARY KEY, n INTEGER NOT NULL)")
        self._last_id = 0
        self._tail = Tail(self._look)

    def addresses(self) -> dict[str, str]:
        """The path of the database."""
        return {"sqlite": str(self._path)}

    async def close(self) -> None:
        """A last look."""
        await self._tail.close()
        self._db.close()

    def _look(self) -> None:
        # One writer at a time: what is committed later has a larger id.
        for number, op in self._db.execute("SELECT id, op FROM access_log WHERE id > ? ORDER BY id", (self._last_id,)):
            self._rows.append(int(op, 16), index=self._index, value=number)
            self._last_id = number


class PostgresWorld:
    """Tables in a schema of this run's own, which is dropped at the end; what was left in it is kept in the run directory."""

    def __init__(self, rows: EffectRows, folder: Path, url: str, index: int) -> None:
        self._rows = rows
        self._index = index
        self._url = url
        self._left = folder / _LEFT
        self._schema = f"afterload_{secrets.token_hex(6)}"
        self._db = _connect(url)
        self._db.execute(f"CREATE SCHEMA {self._schema}")
        self._db.execute(f"SET search_path = {self._schema}")
        self._db.execute(
            "CREATE TABLE access_log"
            " (id bigserial PRIMARY KEY, op text NOT NULL, user_id integer, endpoint text, at double precision)"
        )
        self._db.execute("CREATE TABLE access_counts (endpoint text PRIMARY KEY, n bigint NOT NULL)")
        self._seen: set[int] = set()
        self._last_id = 0
        self._tail = Tail(self._look)

    def addresses(self) -> dict[str, str]:
        """The server, and the schema."""
        return {"postgres": self._url, "schema": self._schema}

    async def close(self) -> None:
        """A last look, at all rows; then the schema is dropped."""
        self._last_id = 0
        await self._tail.close()
        # A server that was killed may have left a transaction behind, which PostgreSQL ends when it notices.
        logged = self._db.execute("SELECT count(*) FROM access_log").fetchone()
        counted = self._db.execute("SELECT coalesce(sum(n), 0)::bigint FROM access_counts").fetchone()
        assert logged is not None
        assert counted is not None
        self._left.write_text(json.dumps({"logged": logged[0], "counted": counted[0]}), encoding="utf-8")
        self._db.execute(f"DROP SCHEMA {self._schema} CASCADE")
        self._db.close()

    def _look(self) -> None:
        from_id = max(0, self._last_id - _LOOK_BACK)
        for number, op in self._db.execute("SELECT id, op FROM access_log WHERE id > %s ORDER BY id", (from_id,)):
            if number not in self._seen:
                self._seen.add(number)
                self._rows.append(int(op, 16), index=self._index, value=number)
                self._last_id = max(self._last_id, number)


def start_access_log(rows: EffectRows, folder: Path, *, index: int = 0) -> SqliteWorld:
    """An empty database in `folder`. `index`: of the task that writes to it."""
    return SqliteWorld(rows, folder, index)


def start_access_log_in_postgres(rows: EffectRows, folder: Path, url: str, *, index: int = 0) -> PostgresWorld:
    """Empty tables in the database at `url`. Raises CannotStart if it can't be used."""
    return PostgresWorld(rows, folder, url, index)


def left_in(folder: Path) -> tuple[int, int]:
    """Rows in the log, and accesses that were counted, as they were left: equal, for each transaction does both."""
    if (folder / _LEFT).exists():
        left = json.loads((folder / _LEFT).read_text(encoding="utf-8"))
        return left["logged"], left["counted"]
    with closing(sqlite3.connect(folder / _DATABASE)) as db:
        (logged,) = db.execute("SELECT count(*) FROM access_log").fetchone()
        (counted,) = db.execute("SELECT coalesce(sum(n), 0) FROM access_counts").fetchone()
    return logged, counted


def _connect(url: str) -> psycopg.Connection:
    try:
        import psycopg
    except ImportError:
        msg = "PostgreSQL needs psycopg, which is not installed: pip install 'afterload[postgres]'"
        raise CannotStart(msg) from None
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        msg = f"cannot use the database {url}: {reason} (a password comes from PGPASSWORD or ~/.pgpass)"
        raise CannotStart(msg) from None
