"""The cache scenario: settings that are changed, a cache that is warmed later, and what readers get in between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from fastapi import FastAPI

from scenarios import CannotStart
from scenarios.cache import SCENARIO, traffic
from scenarios.kinds import TaskKind
from scenarios.world.users import N_USERS, UserSettings, UserStore, create_users
from server import FastrAPI
from tests.scenarios.redis_server import PASSWORD, RedisServer, running_redis
from tests.scenarios.serving import Served, figures, in_world, op, serving, until

DARK = {"theme": "dark", "language": "ja", "newsletter": True}


@pytest.fixture(scope="module")
def real_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISCLI_AUTH", PASSWORD)
        yield server


@pytest.fixture(params=["embedded", "redis"])
def cache(request: pytest.FixtureRequest) -> dict[str, str]:
    """The setting that chooses one."""
    return {} if request.param == "embedded" else {"redis": request.getfixturevalue("real_redis").url}


def change(served: Served, number: int, user: int = 1, new: dict[str, Any] = DARK) -> httpx.Response:
    return served.client.post(f"/users/{user}/settings", json=new, headers={"x-op-id": op(number)})


@pytest.mark.parametrize("kind", list(TaskKind))
def test_the_settings_are_changed_at_once_and_seen_by_readers_after_the_task(
    tmp_path: Path, cache: dict[str, str], kind: TaskKind
) -> None:
    """Until then a reader gets the old ones from the cache; inline, nobody ever does."""
    with serving(SCENARIO, tmp_path, kind=kind, query="300ms", **cache) as served:
        before = served.client.get("/users/1")
        assert (before.headers["x-cache"], before.json()["theme"], before.json()["orders"]) == ("hit", "light", 20)
        assert change(served, 1).json() == {"message": "Settings updated", "version": 1}
        theme = served.client.get("/users/1").json()["theme"]
        assert theme == ("dark" if kind is TaskKind.INLINE else "light")
        until(lambda: served.client.get("/users/1").json()["theme"] == "dark", "the cache is warm")
        until(lambda: served.effects() == [int(op(1), 16)], "its effect was seen")

    check = served.check()
    assert check.problems == ()
    assert figures(check)["out_of_date"] == 0


@pytest.mark.parametrize("api", [FastrAPI, FastAPI], ids=["bundled", "fastapi"])
def test_an_unknown_user_and_settings_that_cannot_be_change_nothing(tmp_path: Path, api: type[FastAPI]) -> None:
    """404 and 422, no task, no effect."""
    with serving(SCENARIO, tmp_path, api=api, query="1ms") as served:
        assert change(served, 1, user=N_USERS + 1).status_code == 404
        assert change(served, 2, user=0).status_code == 404
        assert served.client.get(f"/users/{N_USERS + 1}").status_code == 404
        assert served.client.get("/users/me").status_code == 422
        for wrong in ({}, DARK | {"theme": "pink"}, DARK | {"admin": True}, [], "text"):
            assert change(served, 3, new=wrong).status_code == 422  # type: ignore[arg-type]
        answer = served.client.post("/users/1/settings", json=DARK, headers={"x-op-id": '", "op": "'})
        assert answer.status_code == 422
        assert served.client.get("/users/1").json()["version"] == 0

    assert served.effects() == []
    assert figures(served.check()) == {"stale_reads": None, "stale_p50": None, "stale_p95": None, "out_of_date": 0}


def test_a_warm_up_that_never_comes_leaves_readers_with_the_old_settings(tmp_path: Path, cache: dict[str, str]) -> None:
    """As after a kill: the database is ahead of the cache, and stays so. Measured without any server."""
    with in_world(SCENARIO, tmp_path, **cache) as served:
        users = UserStore(served.addresses["users"])
        # Half of all reads are of these.
        began = time.monotonic()
        for user in (1, *range(1, 61)):
            users.update(user, UserSettings.model_validate(DARK))
        time.sleep(0.5)
        users.close()

    check = served.check()
    assert figures(check)["out_of_date"] == 60
    assert 0 < (figures(check)["stale_reads"] or 0) < 100
    assert 0 < (figures(check)["stale_p50"] or 0) <= (figures(check)["stale_p95"] or 0)
    assert (figures(check)["stale_p95"] or 0) / 1000 < time.monotonic() - began
    assert served.effects() == []


def test_an_entry_that_has_expired_is_read_from_the_database_and_is_no_effect(tmp_path: Path, cache: dict[str, str]) -> None:
    """A reader who finds nothing fills the cache; the operation that did not is not credited with it."""
    with serving(SCENARIO, tmp_path, query="1ms", expires="1s", **cache) as served:
        change(served, 1)
        until(served.effects, "the cache is warm")
        miss = until(lambda: (got := served.client.get("/users/1")).headers["x-cache"] == "miss" and got, "it has expired")
        assert miss.json()["theme"] == "dark"
        assert served.client.get("/users/1").headers["x-cache"] == "hit"

    assert served.effects() == [int(op(1), 16)]


def test_every_effect_is_seen_however_many_come_at_once(tmp_path: Path, cache: dict[str, str]) -> None:
    """Also those of an entry that is overwritten at once, and those that come just before the world ends."""
    with serving(SCENARIO, tmp_path, kind=TaskKind.ASYNC, query="1ms", **cache) as served, ThreadPoolExecutor(8) as clients:
        assert {answer.status_code for answer in clients.map(lambda number: change(served, number), range(200))} == {200}

    assert sorted(served.effects()) == [int(op(number), 16) for number in range(200)]
    assert figures(served.check())["out_of_date"] == 0


def test_a_run_leaves_nothing_in_a_redis_and_touches_nothing_of_others(tmp_path: Path, real_redis: RedisServer) -> None:
    """Keys have a prefix of the run's own, which are deleted at its end."""
    with real_redis.client() as client:
        client.set("user:1", "somebody else's")
        with serving(SCENARIO, tmp_path, query="1ms", redis=real_redis.url) as served:
            change(served, 1)
            assert client.dbsize() == 1 + N_USERS
        assert client.keys("*") == [b"user:1"]
        assert client.get("user:1") == b"somebody else's"
        client.delete("user:1")
    assert PASSWORD not in json.dumps(served.addresses)


def test_a_redis_that_dies_makes_tasks_that_fail_and_an_account_that_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task finishes without its effect, and nobody claims that everything was seen."""
    monkeypatch.setenv("REDISCLI_AUTH", PASSWORD)
    redis_folder = tmp_path / "redis"
    redis_folder.mkdir()
    with running_redis(redis_folder) as own, serving(SCENARIO, tmp_path / "run", query="1ms", redis=own.url) as served:
        change(served, 1)
        until(served.effects, "the cache is warm")
        own.process.kill()
        own.process.wait()
        assert change(served, 2).status_code == 200

    assert served.effects() == [int(op(1), 16)]
    check = served.check()
    assert [problem.split(":")[0] for problem in check.problems] == ["the cache could not be watched to the end"]
    assert (figures(check)["unread"] or 0) > 0


def test_a_redis_that_does_not_let_us_in_is_named_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password, and nobody there at all."""
    with running_redis(tmp_path) as own:
        monkeypatch.setenv("REDISCLI_AUTH", "wrong")
        with pytest.raises(CannotStart, match=r"cannot be used: .*password"), in_world(SCENARIO, tmp_path / "a", redis=own.url):
            pass
    nobody_there = rf"the Redis at {own.url} cannot be used: .*Connect call failed"
    with pytest.raises(CannotStart, match=nobody_there), in_world(SCENARIO, tmp_path / "b", redis=own.url):
        pass


def test_the_embedded_cache_speaks_enough_of_the_protocol_and_says_what_it_does_not(tmp_path: Path) -> None:
    """An ordinary client, and one that sends junk."""
    with in_world(SCENARIO, tmp_path) as served, redis.Redis.from_url(served.addresses["cache"], protocol=2) as client:
        assert client.ping()
        client.set("a", b"\r\n\0")
        assert client.get("a") == b"\r\n\0"
        client.set("b", "short", ex=1)
        until(lambda: client.get("b") is None, "it has expired")
        assert client.delete("a", "b", "c") == 1
        with pytest.raises(redis.ResponseError, match="does not know 'HGETALL'"):
            client.hgetall("a")
        with pytest.raises(redis.ResponseError, match="does not know 'SET' or not with these arguments"):
            client.set("a", "b", px=5)
        for junk in (b"*1\r\n:5\r\n", b"\x00\xff\r\n", b"*1\r\n$-5\r\n"):
            connection = client.connection_pool.make_connection()
            connection.connect()
            connection._sock.sendall(junk)  # type: ignore[attr-defined]
            with pytest.raises(redis.RedisError):
                connection.read_response()
            connection.disconnect()
        assert client.ping(), "it goes on"


def test_changes_of_many_threads_are_all_counted(tmp_path: Path) -> None:
    """Each gives its user a version of its own."""
    create_users(tmp_path / "users.sqlite3", seed=1)
    users = UserStore(tmp_path / "users.sqlite3")
    new = UserSettings.model_validate(DARK)
    with ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(lambda _: users.update(7, new), range(100)))

    assert sorted(versions) == list(range(1, 101))  # type: ignore[type-var]
    assert len(users.changes_after(0)) == 100
    assert users.changes_after(98) == [(99, 7, 99), (100, 7, 100)]
    assert users.update(N_USERS + 1, new) is None
    users.close()


def test_the_traffic_reads_and_changes_users_in_the_shares_that_were_asked_for(tmp_path: Path) -> None:
    """Popular users more often; some that do not exist."""
    requests = traffic(1, SCENARIO.resolve({"reads": "40%", "unknown": "10%"}), tmp_path)

    def weight(name: str) -> float:
        return sum(each.weight for each in requests if each.name == name)

    assert requests == traffic(1, SCENARIO.resolve({"reads": "40%", "unknown": "10%"}), tmp_path)
    assert weight("GET /users/{id}") == pytest.approx(0.36)
    assert weight("POST /users/{id}/settings") == pytest.approx(0.54)
    assert weight("POST /users/{id}/settings (unknown)") == pytest.approx(0.1)
    assert {each.path.split("/")[2] for each in requests if not each.has_tasks and each.method == "POST"} == {
        str(N_USERS + n) for n in range(1, 6)
    }
