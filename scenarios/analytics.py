"""Read data; the access is logged to a database after the response.

Writing a row is quick, until several writers want the same one: each task is a transaction that holds a lock for a while, and the
others wait for it, up to a limit. Past that limit the database says no, the task fails, and the access was never logged: the
client has long had its data. SQLite lets one writer in at a time; PostgreSQL lets those wait that change the same row.
"""

from __future__ import annotations

import random
from pathlib import Path

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
    World,
    duration,
    url,
)
from scenarios.apps import app_of
from scenarios.wording import counted
from scenarios.world.access_log import left_in, start_access_log, start_access_log_in_postgres

__all__ = ["SCENARIO"]

ENDPOINT = "/api/data"


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
    app=app_of("analytics"),
    traffic=traffic,
    world=world,
    check=check,
)
