"""Change a user's settings; the cache is warmed after the response.

The client hears at once that the settings are changed, and whoever reads the user gets the old ones until the task has run. How
often and for how long is the price of answering early; what a restart forgets stays stale until the entry expires.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import redis
import redis.asyncio
from fastapi import BackgroundTasks, FastAPI, Header, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from redis.backoff import NoBackoff
from redis.retry import Retry

from scenarios import Plan, Request, Scenario, Settings, Task, TaskKind, duration, endpoint_of, share, task_of, url
from scenarios.world.cache import check_reads, password_of_redis, start_cache
from scenarios.world.users import N_USERS, UserSettings, UserStore, cache_entry, popularity, user_key

__all__ = ["SCENARIO"]

_TIMEOUT_S = 5.0
_CONNECTIONS = 50

OpId = Annotated[str, Header(alias="x-op-id", pattern=r"^[0-9a-f]{16}$")]


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app under test, on whichever class it is given."""
    users, prefix = UserStore(world["users"]), world["prefix"]
    query_s, expires_s = settings.seconds("query"), max(1, int(settings.seconds("expires")))
    # Without retries: a SET that is sent again behind our back would be two effects of one task.
    options: dict[str, Any] = {
        "protocol": 2,
        "password": password_of_redis() if settings.text("redis") else None,
        "socket_timeout": _TIMEOUT_S,
        "max_connections": _CONNECTIONS,
        "timeout": None,  # wait for a free connection as long as it takes
    }
    cache = redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(world["cache"], retry=Retry(NoBackoff(), 0), **options))
    async_retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    async_cache = redis.asyncio.Redis.from_pool(
        redis.asyncio.BlockingConnectionPool.from_url(world["cache"], retry=async_retry, **options)
    )

    def warm_cache(op: str, user_id: int) -> None:
        # SQLite answers in microseconds. What a database across the network takes, under load, is waited for here.
        time.sleep(query_s)
        if profile := users.profile(user_id):
            cache.set(user_key(prefix, user_id), cache_entry(profile, op), ex=expires_s)

    async def warm_cache_async(op: str, user_id: int) -> None:
        await asyncio.sleep(query_s)
        if profile := await run_in_threadpool(users.profile, user_id):
            await async_cache.set(user_key(prefix, user_id), cache_entry(profile, op), ex=expires_s)

    warm = task_of(kind, warm_cache, warm_cache_async)

    def change(user_id: int, new: UserSettings) -> dict[str, Any]:
        version = users.update(user_id, new)
        if version is None:
            raise HTTPException(404, f"there is no user {user_id}")
        return {"message": "Settings updated", "version": version}

    def update_settings(user_id: int, new: UserSettings, background_tasks: BackgroundTasks, op: OpId) -> dict[str, Any]:
        changed = change(user_id, new)
        background_tasks.add_task(warm, op, user_id)
        return changed

    async def update_settings_async(
        user_id: int, new: UserSettings, background_tasks: BackgroundTasks, op: OpId
    ) -> dict[str, Any]:
        changed = await run_in_threadpool(change, user_id, new)
        background_tasks.add_task(warm, op, user_id)
        return changed

    def update_settings_inline(user_id: int, new: UserSettings, op: OpId) -> dict[str, Any]:
        changed = change(user_id, new)
        warm_cache(op, user_id)
        return changed

    def get_user(user_id: int, response: Response) -> dict[str, Any]:
        if found := cache.get(user_key(prefix, user_id)):
            response.headers["x-cache"] = "hit"
            profile: dict[str, Any] = json.loads(found)["profile"]
            return profile
        read = users.profile(user_id)
        if read is None:
            raise HTTPException(404, f"there is no user {user_id}")
        cache.set(user_key(prefix, user_id), cache_entry(read, None), ex=expires_s)
        response.headers["x-cache"] = "miss"
        return read

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        cache.close()
        await async_cache.aclose()
        users.close()

    cache_app = api(title="cache", lifespan=lifespan)
    endpoint = update_settings_async if kind is TaskKind.ASYNC else endpoint_of(kind, update_settings, update_settings_inline)
    cache_app.post("/users/{user_id}/settings")(endpoint)
    cache_app.get("/users/{user_id}")(get_user)
    return cache_app


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
    app=app,
    traffic=traffic,
    world=start_cache,
    check=check_reads,
)
