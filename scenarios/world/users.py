"""Users and their settings, in SQLite: written by the app's endpoint, read by its task, watched by the world."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from scenarios.world.sqlite import Connections, make_database

__all__ = ["N_USERS", "UserSettings", "UserStore", "cache_entry", "create_users", "popular_user", "popularity", "user_key"]

N_USERS: Final = 200
_N_ORDERS: Final = 20  # of each user
_EXPONENT: Final = 0.7  # of popularity, by rank

_SCHEMA: Final = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    theme TEXT NOT NULL DEFAULT 'light',
    language TEXT NOT NULL DEFAULT 'en',
    newsletter INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE orders (user_id INTEGER NOT NULL REFERENCES users (id), amount REAL NOT NULL);
CREATE INDEX orders_of_user ON orders (user_id);
CREATE TABLE changes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, version INTEGER NOT NULL);
"""


class UserSettings(BaseModel):
    """What a user can set."""

    model_config = ConfigDict(extra="forbid")

    theme: Literal["light", "dark"]
    language: Literal["de", "en", "es", "fr", "ja"]
    newsletter: bool


class UserStore:
    """May be shared by threads. Every change is committed before the call returns."""

    def __init__(self, path: Path | str) -> None:
        self._connections = Connections(path)

    def update(self, user_id: int, settings: UserSettings) -> int | None:
        """Changes the settings of a user. Returns their new version; None if there is no such user."""
        connection = self._connections.get()
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute(
                "UPDATE users SET theme = ?, language = ?, newsletter = ?, version = version + 1 WHERE id = ? RETURNING version",
                (settings.theme, settings.language, settings.newsletter, user_id),
            ).fetchone()
            if row is not None:
                connection.execute("INSERT INTO changes (user_id, version) VALUES (?, ?)", (user_id, row[0]))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return None if row is None else int(row[0])

    def profile(self, user_id: int) -> dict[str, Any] | None:
        """All that a page about a user needs; None if there is no such user."""
        row = (
            self._connections.get()
            .execute(
                "SELECT users.*, count(orders.amount) AS orders, total(orders.amount) AS spent"
                " FROM users LEFT JOIN orders ON orders.user_id = users.id WHERE users.id = ? GROUP BY users.id",
                (user_id,),
            )
            .fetchone()
        )
        return None if row is None else dict(row)

    def versions(self) -> dict[int, int]:
        """The version of each user's settings."""
        return dict(tuple(row) for row in self._connections.get().execute("SELECT id, version FROM users"))

    def changes_after(self, change_id: int) -> list[tuple[int, int, int]]:
        """Changes that have been committed since: their id, the user, the user's version from then on."""
        found = self._connections.get().execute("SELECT id, user_id, version FROM changes WHERE id > ? ORDER BY id", (change_id,))
        return [(row[0], row[1], row[2]) for row in found]

    def close(self) -> None:
        """Closes its connections."""
        self._connections.close()


def create_users(path: Path, seed: int) -> None:
    """Makes the database with its users and their orders. Raises sqlite3.OperationalError if there is one."""
    chance = random.Random(seed)
    with contextlib.closing(make_database(path, _SCHEMA)) as connection, connection:
        connection.executemany("INSERT INTO users (id, name) VALUES (?, ?)", [(n, f"User {n}") for n in range(1, N_USERS + 1)])
        orders = [(n, round(chance.uniform(5, 500), 2)) for n in range(1, N_USERS + 1) for _ in range(_N_ORDERS)]
        connection.executemany("INSERT INTO orders VALUES (?, ?)", orders)


def popularity(user_id: int) -> float:
    """How often a user comes up, compared with the first: both those whose settings are changed and those who are read."""
    return float(user_id**-_EXPONENT)


def popular_user(chance: random.Random) -> int:
    """Any user, the popular ones more often."""
    return chance.choices(_EVERYBODY, cum_weights=_SO_MANY)[0]


_EVERYBODY: Final = range(1, N_USERS + 1)
_SO_MANY: Final = list(itertools.accumulate(map(popularity, _EVERYBODY)))


def user_key(prefix: str, user_id: int) -> str:
    """Where the cache holds a user."""
    return f"{prefix}user:{user_id}"


def cache_entry(profile: dict[str, Any], op: str | None) -> str:
    """What the cache holds of a user: the profile, and which operation warmed it; None: somebody who found nothing there."""
    return json.dumps({"op": op, "profile": profile})
