"""Change a user's settings; the cache is warmed after the response.

The client hears at once that the settings are changed, and whoever reads the user gets the old ones until the task has run. How
often and for how long is the price of answering early; what a restart forgets stays stale until the entry expires.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from scenarios import Plan, Request, Scenario, Settings, Task, duration, share, url
from scenarios.apps import app_of
from scenarios.world.cache import check_reads, start_cache
from scenarios.world.users import N_USERS, popularity

__all__ = ["SCENARIO"]


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """People who change their settings and people who look at users, some of whom do not exist."""
    chance = random.Random(seed)
    reads, unknown = settings.share("reads"), settings.share("unknown")
    found: list[Request] = []

    def add(name: str, weight: float, ids: list[int], *, has_tasks: bool) -> None:
        total = sum(popularity(user) for user in ids)
        for user in ids if weight else ():
            new = {
                "theme": chance.choice(["light", "dark"]),
                "language": chance.choice(["de", "en", "es", "fr", "ja"]),
                "newsletter": chance.random() < 0.5,
            }
            is_post = name.startswith("POST")
            found.append(
                Request(
                    name=name,
                    method="POST" if is_post else "GET",
                    path=f"/users/{user}/settings" if is_post else f"/users/{user}",
                    headers={"content-type": "application/json"} if is_post else {},
                    body=json.dumps(new) if is_post else "",
                    weight=weight * popularity(user) / total,
                    has_tasks=has_tasks,
                )
            )

    everybody = list(range(1, N_USERS + 1))
    add("POST /users/{id}/settings", (1 - reads) * (1 - unknown), everybody, has_tasks=True)
    add("GET /users/{id}", reads * (1 - unknown), everybody, has_tasks=False)
    add("POST /users/{id}/settings (unknown)", unknown, [N_USERS + n for n in range(1, 6)], has_tasks=False)
    return found


SCENARIO = Scenario(
    name="cache",
    summary="Change a user's settings; the cache is warmed after the response, and until then others read the old ones.",
    story=(
        "Readers get old values until the task has run; how many do, and for how long, grows with the backlog. "
        "What the kill forgets stays stale."
    ),
    plan=Plan(rate_per_s=150.0, duration_s=14.0, pool=8, faults=("kill@8s",)),
    tasks=(Task("warm_cache", effect="entries"),),
    settings=(
        duration("query", "100ms", "how long the database takes for what the cache is to hold", high="50s"),
        duration("expires", "10m", "how long an entry lives", low="1s", high="24h"),
        share("reads", "30%", "requests that read a user", high="90%"),
        share("unknown", "1%", "requests for a user who does not exist", high="50%"),
        url("redis", "a Redis to use instead of the embedded cache; its password in REDISCLI_AUTH", ("redis", "rediss", "unix")),
    ),
    app=app_of("cache"),
    traffic=traffic,
    world=start_cache,
    check=check_reads,
)
