"""The cache and the database behind it, watched by somebody who is not the server: what arrives, and who reads stale.

The reader is what another instance of the same service would be. It reads users from the cache, as often as they are changed, and
compares with the database; so it goes on while the server is down, and needs nobody's word.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import redis.asyncio
from redis.exceptions import RedisError

from scenarios.rows import Rows
from scenarios.scenario import CannotStart, Check, Figure, Troubled
from scenarios.settings import Settings
from scenarios.wording import counted
from scenarios.world.cachebox import CacheBox, start_cachebox
from scenarios.world.listener import HOST, Listener
from scenarios.world.users import N_USERS, UserStore, cache_entry, create_users, popular_user, user_key
from server import EffectRows

__all__ = ["check_reads", "password_of_redis", "start_cache"]

_DATABASE: Final = "users.sqlite3"
_READS: Final = "reads.json"
_READ_EVERY_S: Final = 0.005
_TIMEOUT_S: Final = 5.0
_LAST_COMMANDS_S: Final = 10.0
_OP: Final = re.compile(r'"op": "([0-9a-f]{16})"')


class Reader:
    """Reads one user after the other, and notes how long what it read had been out of date."""

    def __init__(self, users: UserStore, cache: EmbeddedCache | RealRedis, prefix: str, seed: int) -> None:
        self._users = users
        self._cache = cache
        self._prefix = prefix
        self._stopped = asyncio.Event()
        self._chance = random.Random(f"reader {seed}")
        self._last_change = 0
        self._changed_at: dict[int, dict[int, float]] = {}  # user -> version -> when it was first seen, monotonic s
        self.n_reads = 0
        self.n_missing = 0  # not in the cache
        self.n_unread = 0  # the cache did not answer
        self.ages_ms: list[float] = []  # of the stale reads

    async def read_again_and_again(self) -> None:
        """Every few milliseconds, from the first change on, until it is stopped."""
        while not self._stopped.is_set():
            self._note_changes()
            if self._last_change:
                await self._read(popular_user(self._chance))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _READ_EVERY_S)

    def stop(self) -> None:
        """No read after the one that is under way."""
        self._stopped.set()

    async def out_of_date(self) -> list[int]:
        """Users whose entry is older than the database: whoever reads them goes on to read the old until it expires."""
        versions = self._users.versions()
        values = await self._cache.get([user_key(self._prefix, user) for user in versions])
        read = zip(versions.items(), values, strict=True)
        return [user for (user, version), value in read if value is not None and version_of(value) < version]

    def _note_changes(self) -> None:
        for change, user, version in self._users.changes_after(self._last_change):
            self._changed_at.setdefault(user, {})[version] = time.monotonic()
            self._last_change = change

    async def _read(self, user: int) -> None:
        # Whatever had been committed and seen before the read began, the reader should have got.
        versions = self._changed_at.get(user, {})
        newest = max(versions, default=0)
        began = time.monotonic()
        try:
            (value,) = await self._cache.get([user_key(self._prefix, user)])
        except (RedisError, OSError):
            self.n_unread += 1
            return
        self.n_reads += 1
        if value is None:
            self.n_missing += 1
        elif (got := version_of(value)) < newest:
            self.ages_ms.append((began - versions[got + 1]) * 1000.0)


class EmbeddedCache:
    """The cache in this process."""

    def __init__(self, rows: EffectRows) -> None:
        self._rows = rows
        self._box = CacheBox(self._on_set)
        self._listener: Listener | None = None

    async def start(self, entries: dict[str, str]) -> None:
        """Listens, with these entries to begin with."""
        for key, value in entries.items():
            self._box.answer([b"SET", key.encode(), value.encode()])
        self._listener = await start_cachebox(self._box)

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._listener is not None
        return f"redis://{HOST}:{self._listener.port}"

    @property
    def troubled(self) -> Sequence[Troubled]:
        """The server."""
        return () if self._listener is None else (self._listener,)

    async def get(self, keys: list[str]) -> list[bytes | None]:
        """The values of some keys. Raises ConnectionRefusedError while it is gone."""
        if self._listener is not None and self._listener.is_gone:
            raise ConnectionRefusedError("the cache is gone")
        return [self._box.get(key.encode()) for key in keys]

    async def finish(self) -> None:
        """Nothing is under way: each row is written before its command is answered."""

    async def close(self, keys: list[str]) -> None:
        """Listens no more."""
        if self._listener is not None:
            self._listener.close()

    def _on_set(self, key: bytes, value: bytes) -> None:
        write_row(self._rows, value.decode(errors="replace"))


class RealRedis:
    """A Redis that somebody runs. Its own account of the commands that it has executed (MONITOR) is the witness."""

    def __init__(self, url: str, rows: EffectRows, prefix: str) -> None:
        self.url = url
        self._rows = rows
        self._prefix = prefix
        options: dict[str, Any] = {"protocol": 2, "socket_connect_timeout": _TIMEOUT_S, "password": password_of_redis()}
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=_TIMEOUT_S, **options)
        # Nothing to be told is no time-out.
        self._witness = redis.asyncio.Redis.from_url(url, socket_timeout=None, **options)
        self._watching: asyncio.Task[None] | None = None
        self._marker = f"{prefix}end"
        self._is_watching = asyncio.Event()

    async def start(self, entries: dict[str, str]) -> None:
        """Connects, watches, and puts in these entries to begin with. Raises CannotStart if the server does not let us."""
        try:
            await self._client.ping()
            self._watching = asyncio.create_task(self._watch())
            ready = asyncio.create_task(self._is_watching.wait())
            await asyncio.wait({self._watching, ready}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if self._watching.done():
                self._watching.result()
            await self._client.mset(entries)
        except (RedisError, OSError) as error:
            hint = "a password is taken from REDISCLI_AUTH; MONITOR must be allowed"
            msg = f"the Redis at {self.url} cannot be used: {error} ({hint})"
            raise CannotStart(msg) from error

    async def get(self, keys: list[str]) -> list[bytes | None]:
        """The values of some keys. Raises RedisError or OSError."""
        return cast("list[bytes | None]", await self._client.mget(keys))

    async def finish(self) -> None:
        """Waits until all that was executed before this has been seen. Raises what has ended the watching."""
        assert self._watching is not None
        await self._client.get(self._marker)
        async with asyncio.timeout(_LAST_COMMANDS_S):
            await self._watching

    async def close(self, keys: list[str]) -> None:
        """Takes away what the run has put there."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError):
            await self._client.delete(*keys)
        await self._client.aclose()
        await self._witness.aclose()

    async def _watch(self) -> None:
        async with self._witness.monitor() as monitor:
            self._is_watching.set()
            async for each in monitor.listen():
                command: str = each["command"]
                if command == f"GET {self._marker}":
                    return
                if command.startswith(f"SET {self._prefix}"):
                    write_row(self._rows, command)


class CacheWorld:
    """The database, the cache, and the reader of both."""

    def __init__(self, cache: EmbeddedCache | RealRedis, reader: Reader, users: UserStore, folder: Path, prefix: str) -> None:
        self._cache = cache
        self._reader = reader
        self._users = users
        self._folder = folder
        self._prefix = prefix
        self.troubled: Sequence[Troubled] = cache.troubled if isinstance(cache, EmbeddedCache) else ()
        self._reading = asyncio.create_task(reader.read_again_and_again())

    def addresses(self) -> dict[str, str]:
        """The cache's URL, the prefix of its keys, and the path of the database."""
        return {"cache": self._cache.url, "prefix": self._prefix, "users": str((self._folder / _DATABASE).resolve())}

    async def close(self) -> None:
        """Writes down what was read, and what is out of date now that all has ended."""
        self._reader.stop()
        await self._reading
        problems: list[str] = []
        out_of_date: list[int] | None = None
        try:
            await self._cache.finish()
            out_of_date = await self._reader.out_of_date()
        except (RedisError, OSError, TimeoutError) as error:
            problems.append(f"the cache could not be watched to the end: {error!r}; effects may be missing")
        found = {
            "reads": self._reader.n_reads,
            "missing": self._reader.n_missing,
            "unread": self._reader.n_unread,
            "ages_ms": [round(age, 3) for age in self._reader.ages_ms],
            "out_of_date": out_of_date,
            "problems": problems,
        }
        (self._folder / _READS).write_text(json.dumps(found), encoding="utf-8")
        await self._cache.close([user_key(self._prefix, user) for user in range(1, N_USERS + 1)])
        self._users.close()


async def start_cache(rows: EffectRows, settings: Settings, folder: Path) -> CacheWorld:
    """Makes the database and a cache that is warm: all users are in it, as they are."""
    create_users(folder / _DATABASE, settings.seed)
    users = UserStore(folder / _DATABASE)
    # A Redis may hold other things, also those of another run.
    prefix = f"afterload:{secrets.token_hex(4)}:"
    url = settings.text("redis")
    cache = RealRedis(url, rows, prefix) if url else EmbeddedCache(rows)
    profiles = {user: users.profile(user) for user in range(1, N_USERS + 1)}
    await cache.start({user_key(prefix, user): cache_entry(profile, None) for user, profile in profiles.items() if profile})
    return CacheWorld(cache, Reader(users, cache, prefix, settings.seed), users, folder, prefix)


def password_of_redis() -> str | None:
    """From the environment, under the name that redis-cli knows: what is in a URL would be written into the run's plan."""
    return os.environ.get("REDISCLI_AUTH")


def version_of(entry: bytes) -> int:
    """The version of the settings in an entry of the cache."""
    return int(json.loads(entry)["profile"]["version"])


def write_row(rows: EffectRows, text: str) -> None:
    """Writes a row if the entry in `text` was put there by an operation, and not by a reader who found nothing."""
    if found := _OP.search(text):
        rows.append(int(found[1], 16))


def check_reads(rows: Rows, settings: Settings, folder: Path) -> Check:
    """How stale the reads were, and what stays so."""
    import numpy as np  # see scenarios/rows.py

    path = folder / _READS
    if not path.exists():
        return Check(problems=("the reader wrote no account: it was killed, or could not write",))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    n_reads, ages_ms = found["reads"], found["ages_ms"]
    share = 100.0 * len(ages_ms) / n_reads if n_reads else None
    p50, p95 = (float(value) for value in np.percentile(ages_ms, [50, 95])) if ages_ms else (None, None)
    out_of_date = found["out_of_date"]
    figures = [
        Figure("stale_reads", share, "%", "nothing was read" if share is None else f"stale reads {share:.1f} % of {n_reads:,}"),
        Figure("stale_p50", p50, "ms", "nothing was stale" if p50 is None else f"p50 stale for {p50:,.0f} ms"),
        Figure("stale_p95", p95, "ms", "nothing was stale" if p95 is None else f"p95 stale for {p95:,.0f} ms"),
    ]
    if out_of_date is not None:
        text = counted(len(out_of_date), "user", "out of date in the cache at the end, until they expire or change again")
        figures.append(Figure("out_of_date", len(out_of_date), "users", text))
    if found["missing"]:
        figures.append(
            Figure("missing", found["missing"], "reads", counted(found["missing"], "read", "of users not in the cache"))
        )
    if found["unread"]:
        figures.append(
            Figure("unread", found["unread"], "reads", counted(found["unread"], "read", "that the cache did not answer"))
        )
    return Check(tuple(figures), tuple(found["problems"]))
