"""The record of all jobs, in SQLite: written by the app, looked into by the check when everything has ended."""

from __future__ import annotations

import contextlib
import time
import uuid
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel

from scenarios.world.sqlite import Connections, make_database

__all__ = ["Job", "JobStore", "create_store", "job_of_key", "old_keys"]

_SCHEMA: Final = """
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    idempotency_key TEXT UNIQUE,
    op TEXT NOT NULL,
    target_url TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL
)
"""
_N_OLD: Final = 10


class Job(BaseModel):
    """One job, as its client sees it. Times in seconds since 1970."""

    job_id: str
    status: Literal["queued", "running", "succeeded", "failed"]
    target_url: str
    attempts: int = 0
    error: str | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None


class JobStore:
    """May be shared by threads. Every change is committed before the call returns."""

    def __init__(self, path: Path | str) -> None:
        self._connections = Connections(path)

    def create(self, job_id: str, op: str, target_url: str, key: str | None) -> tuple[Job, bool]:
        """The new job, or the one that this key has already; and whether it is new."""
        job = Job(job_id=job_id, status="queued", target_url=target_url, created_at=time.time())
        added = self._write(
            "INSERT INTO jobs (job_id, idempotency_key, op, target_url, status, created_at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (idempotency_key) DO NOTHING",
            (job_id, key, op, target_url, job.status, job.created_at),
        )
        if added:
            return job, True
        existing = self._find("idempotency_key", key)
        assert existing is not None  # jobs are never deleted
        return existing, False

    def attempted(self, job_id: str, number: int) -> None:
        """The job is running, for the `number`th time."""
        now = time.time()
        self._write(
            "UPDATE jobs SET status = 'running', attempts = ?, started_at = coalesce(started_at, ?) WHERE job_id = ?",
            (number, now, job_id),
        )

    def succeeded(self, job_id: str) -> None:
        """It has been delivered."""
        self._write("UPDATE jobs SET status = 'succeeded', finished_at = ?, error = NULL WHERE job_id = ?", (time.time(), job_id))

    def failed(self, job_id: str, error: str) -> None:
        """It has been given up, because of `error`."""
        self._write(
            "UPDATE jobs SET status = 'failed', finished_at = ?, error = ? WHERE job_id = ?", (time.time(), error[:500], job_id)
        )

    def get(self, job_id: str) -> Job | None:
        """The job; None if there is none of that id."""
        return self._find("job_id", job_id)

    def close(self) -> None:
        """Closes its connections."""
        self._connections.close()

    def _find(self, column: Literal["job_id", "idempotency_key"], value: str | None) -> Job | None:
        row = self._connections.get().execute(f"SELECT * FROM jobs WHERE {column} = ?", (value,)).fetchone()  # noqa: S608  # one of two
        return None if row is None else Job.model_validate({name: row[name] for name in Job.model_fields})

    def _write(self, statement: str, values: tuple[Any, ...]) -> int:
        return self._connections.get().execute(statement, values).rowcount


def create_store(path: Path) -> None:
    """Makes a store with some jobs of yesterday, whose keys are used again. Raises sqlite3.OperationalError if there is one."""
    yesterday = time.time() - 86_400
    with contextlib.closing(make_database(path, _SCHEMA)) as connection, connection:
        connection.executemany(
            "INSERT INTO jobs VALUES (?, ?, '', '', 'succeeded', 1, NULL, ?, ?, ?)",
            [(job_of_key(key), key, yesterday, yesterday, yesterday + 0.1) for key in old_keys()],
        )


def old_keys() -> list[str]:
    """The keys of the jobs that are there from the start."""
    return [f"order-{number}" for number in range(1, _N_OLD + 1)]


def job_of_key(key: str) -> str:
    """The id of an old job."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, key))
