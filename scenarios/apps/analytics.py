"""Answers with data, and writes down afterwards who has read it: SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Header

from scenarios import Settings, TaskKind, endpoint_of, task_of
from scenarios.analytics import ENDPOINT

__all__ = ["app"]

COUNT = "INSERT INTO access_counts VALUES ({0}, 1) ON CONFLICT (endpoint) DO UPDATE SET n = access_counts.n + 1"
LOG = "INSERT INTO access_log (op, user_id, endpoint, at) VALUES ({0}, {0}, {0}, {0})"
COUNT_SQLITE, LOG_SQLITE = COUNT.format("?"), LOG.format("?")
COUNT_POSTGRES, LOG_POSTGRES = COUNT.format("%s"), LOG.format("%s")


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app under test, on whichever class it is given."""
    api_app = api(title="analytics")
    hold_s, patience_s = settings.seconds("hold"), settings.seconds("patience")

    # A task opens a connection of its own: what belonged to the request is gone when it runs.

    def log_to_sqlite(op: str, user_id: int, at: float) -> None:
        with closing(sqlite3.connect(world["sqlite"], timeout=patience_s, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("BEGIN IMMEDIATE")
            db.execute(COUNT_SQLITE, (ENDPOINT,))
            db.execute(LOG_SQLITE, (op, user_id, ENDPOINT, at))
            time.sleep(hold_s)
            db.execute("COMMIT")

    async def log_to_sqlite_async(op: str, user_id: int, at: float) -> None:
        import aiosqlite

        async with aiosqlite.connect(world["sqlite"], timeout=patience_s, isolation_level=None) as db:
            await db.execute("PRAGMA synchronous = NORMAL")
            await db.execute("BEGIN IMMEDIATE")
            await db.execute(COUNT_SQLITE, (ENDPOINT,))
            await db.execute(LOG_SQLITE, (op, user_id, ENDPOINT, at))
            await asyncio.sleep(hold_s)
            await db.execute("COMMIT")

    def log_to_postgres(op: str, user_id: int, at: float) -> None:
        import psycopg

        with psycopg.connect(world["postgres"], options=postgres_options()) as db:
            db.execute(COUNT_POSTGRES, (ENDPOINT,))
            db.execute(LOG_POSTGRES, (op, user_id, ENDPOINT, at))
            time.sleep(hold_s)

    async def log_to_postgres_async(op: str, user_id: int, at: float) -> None:
        import psycopg

        async with await psycopg.AsyncConnection.connect(world["postgres"], options=postgres_options()) as db:
            await db.execute(COUNT_POSTGRES, (ENDPOINT,))
            await db.execute(LOG_POSTGRES, (op, user_id, ENDPOINT, at))
            await asyncio.sleep(hold_s)

    def postgres_options() -> str:
        return f"-c search_path={world['schema']} -c lock_timeout={max(1, round(patience_s * 1000))}"

    is_postgres = "postgres" in world
    log_to_database = log_to_postgres if is_postgres else log_to_sqlite
    task = task_of(kind, log_to_database, log_to_postgres_async if is_postgres else log_to_sqlite_async)

    def get_data(user_id: int, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, list[int]]:
        background_tasks.add_task(task, x_op_id, user_id, time.time())
        return {"data": [1, 2, 3, 4, 5]}

    def get_data_inline(
        user_id: int, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]
    ) -> dict[str, list[int]]:
        log_to_database(x_op_id, user_id, time.time())
        return {"data": [1, 2, 3, 4, 5]}

    api_app.get(ENDPOINT)(endpoint_of(kind, get_data, get_data_inline))
    return api_app
