"""Read data; the access is logged to a database after the response.

Writing a row is quick, until several writers want the same one: each task is a transaction that holds a lock for a while, and the
others wait for it, up to a limit. Past that limit the database says no, the task fails, and the access was never logged: the
client has long had its data. SQLite lets one writer in at a time; PostgreSQL lets those wait that change the same row.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Header

from scenarios import (
    Check,
    EffectRows,
    Figure,
    Plan,
    Request,
    Rows,
    Scenario,
    Settings,
    Task,
    TaskKind,
    World,
    duration,
    endpoint_of,
    task_of,
    url,
)
from scenarios.wording import counted
from scenarios.world.access_log import left_in, start_access_log, start_access_log_in_postgres

__all__ = ["SCENARIO"]

ENDPOINT = "/api/data"
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


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """Users who read, some much more often than others."""
    users = random.Random(seed)
    return [
        Request(name=f"GET {ENDPOINT}", method="GET", path=f"{ENDPOINT}?user_id={user_id}", weight=users.paretovariate(1.2))
        for user_id in range(1, 51)
    ]


async def world(rows: EffectRows, settings: Settings, folder: Path) -> World:
    """A database."""
    if settings.text("postgres"):
        return start_access_log_in_postgres(rows, folder, settings.text("postgres"))
    return start_access_log(rows, folder)


def check(rows: Rows, settings: Settings, folder: Path) -> Check:
    """What is in the database, against what was acknowledged and what was seen to arrive."""
    logged, tallied = left_in(folder)
    requests, effects = rows.requests, rows.effects
    acknowledged = requests["op"][requests["outcome"] == 1]
    missing = len(set(acknowledged.tolist()) - set(effects["op"].tolist()))
    of_acknowledged = 100 * missing / len(acknowledged) if len(acknowledged) else None
    problems = []
    if logged != len(effects):
        problems.append(f"the database holds {logged} accesses, and {len(effects)} were seen to arrive")
    if logged != tallied:
        problems.append(f"the database holds {logged} accesses and has counted {tallied}, though one transaction does both")
    return Check(
        figures=(
            Figure("logged", logged, "accesses", counted(logged, "access", "in the database", many="accesses")),
            Figure(
                "missing",
                of_acknowledged,
                "%",
                f"{missing:,} answered ones are not{'' if of_acknowledged is None else f': {of_acknowledged:.1f} %'}",
            ),
        ),
        problems=tuple(problems),
    )


SCENARIO = Scenario(
    name="analytics",
    summary="Read data; the access is logged to a database after the response, by several writers at once.",
    story=(
        "Writers wait for each other's locks, up to a limit: past it tasks fail that nobody hears of. More threads make it worse."
    ),
    plan=Plan(rate_per_s=160.0, duration_s=14.0, pool=8, faults=("kill@8s",)),
    tasks=(Task("log_to_database", effect="accesses"),),
    settings=(
        duration("hold", "6ms", "how long a transaction stays open, its row locked", high="10s"),
        duration("patience", "300ms", "how long a writer waits for the lock before it fails", low="1ms", high="60s"),
        url("postgres", "of a database to use instead of SQLite", ("postgresql", "postgres")),
    ),
    app=app,
    traffic=traffic,
    world=world,
    check=check,
)
