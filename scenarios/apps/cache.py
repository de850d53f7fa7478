"""Changes a user's settings, and renews what the cache holds of them afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import redis
import redis.asyncio
from fastapi import BackgroundTasks, FastAPI, Header, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from redis.backoff import NoBackoff
from redis.retry import Retry

from scenarios import Settings, TaskKind, endpoint_of, task_of
from scenarios.world.cache import password_of_redis
from scenarios.world.users import UserSettings, UserStore, cache_entry, user_key

__all__ = ["app"]

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
