"""Load processes that are told to change while they send: real ones, against a raw server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.load.course import Change, Course
from harness.load.pacing import arrival_times_ns
from harness.load.profile import steady
from harness.load.stages import parse_stages
from tests.load.helpers import LoadProcess, RawServer, Reply

MS = 10**6
Serve = Callable[[Callable[[int], Reply]], RawServer]
Start = Callable[..., LoadProcess]


def propose(process: LoadProcess, from_ms: float, until_ms: float, **change: Any) -> dict[str, Any]:
    process.send({"propose": {"id": "a", "from_ns": round(from_ms * MS), "until_ns": round(until_ms * MS), **change}})
    return process.read()


def settle(process: LoadProcess, *, go: bool = True) -> None:
    process.send({"settle": {"id": "a", "go": go}})
    if go:
        assert process.read()["settled"] == "a"


def due_ms(process: LoadProcess, t0_ns: int) -> list[float]:
    """When its requests were due, by their own rows."""
    return np.round((np.sort(process.rows().rows["due_ns"].astype(np.int64)) - t0_ns) / MS, 3).tolist()


@pytest.fixture
def started(serve: Serve, start_load: Start, job: Mapping[str, Any], tmp_path: Path) -> Callable[..., list[LoadProcess]]:
    """Load processes with a part each of one load of 40 requests/s for 1 s, and a server that answers at once."""

    def start(processes: int = 1, **changes: Any) -> list[LoadProcess]:
        port = serve(lambda number: Reply()).port
        common = {**job, "port": port, "rate_per_s": 40.0, "duration_s": 1.0, "processes": processes, **changes}
        return [
            start_load({**common, "process": number, "rows": str(tmp_path / f"requests-{number}.rows")})
            for number in range(processes)
        ]

    return start


def go(processes: list[LoadProcess]) -> int:
    for each in processes:
        assert each.read()["ready"] is True
    t0_ns = time.monotonic_ns() + 50 * MS
    for each in processes:
        each.send({"t0_ns": t0_ns})
    return t0_ns


def test_two_processes_change_at_one_instant_and_their_rows_are_one_schedule(
    started: Callable[..., list[LoadProcess]],
) -> None:
    """Twice: faster, then a pause to a later end. Every arrival of the schedule in force is sent, at its time, by one of them."""
    processes = started(2)
    t0_ns = go(processes)
    assert "requests are sent at a rate" in propose(processes[0], 500, 1000, users=3)["why"]
    for from_ms, until_ms, rate in ((400, 1000, 150.0), (900, 1300, 0.0)):
        answers = [propose(each, from_ms, until_ms, rate_per_s=rate) for each in processes]
        assert answers[0]["schedule"] == answers[1]["schedule"]
        for each in processes:
            settle(each)
    done = [each.finish() for each in processes]

    profile = steady(40, 1)
    course = Course("constant", 1, arrival_times_ns("constant", profile, 1), profile, "")
    for change in (Change(400 * MS, 1000 * MS, 150.0), Change(900 * MS, 1300 * MS, 0.0)):
        course = course.after(change)
    expected = np.round(course.due_ns / MS, 3).tolist()
    assert expected == sorted(due_ms(processes[0], t0_ns) + due_ms(processes[1], t0_ns))
    assert len(expected) == 16 + 75
    assert [each["planned"] for each in done] == [each["sent"] for each in done] == [46, 45]
    ops = np.concatenate([each.rows().rows["op"] for each in processes])
    assert np.array_equal(np.sort(ops) & 0xFFFFFFFF, np.arange(1, len(expected) + 1))
    assert time.monotonic_ns() >= t0_ns + 1300 * MS


def test_one_that_is_asked_does_not_go_on_before_all_have_answered(started: Callable[..., list[LoadProcess]]) -> None:
    """Called off, too late, and hesitated: nothing is sent by another schedule, and what waited is late, as its rows say."""
    (process,) = started()
    t0_ns = go([process])
    propose(process, 300, 1000, rate_per_s=500.0)
    settle(process, go=False)
    while len(process.rows().rows) < 8:
        time.sleep(0.005)
    late = propose(process, 50, 1000, rate_per_s=500.0)
    assert (late["is_late"], late["why"]) == (True, "it had already sent what is due after the change")

    assert "planned" in propose(process, 800, 1300, rate_per_s=80.0)
    while time.monotonic_ns() < t0_ns + 1000 * MS:
        time.sleep(0.01)
    assert len(process.rows().rows) == 32
    settle(process)
    process.finish()
    assert due_ms(process, t0_ns) == [25.0 * number for number in range(32)] + [800 + 12.5 * number for number in range(40)]
    rows = process.rows().rows
    lag_ms = (rows["sent_ns"].astype(np.int64) - rows["due_ns"].astype(np.int64))[32:] / MS
    assert lag_ms[0] >= 190
    assert bool((lag_ms >= 0).all())


def test_a_change_that_comes_before_the_last_one_is_settled_takes_nothing_of_it(
    started: Callable[..., list[LoadProcess]],
) -> None:
    """E.g., the session has lost patience. It waits for its turn, and is settled by its own name alone."""
    (process,) = started()
    t0_ns = go([process])
    assert "planned" in propose(process, 300, 1000, rate_per_s=0.0)
    for name in ("b", "c"):
        process.send({"propose": {"id": name, "from_ns": 700 * MS, "until_ns": 1000 * MS, "rate_per_s": 500.0}})
        process.send({"settle": {"id": name, "go": False}})
    settle(process)
    assert "planned" in propose(process, 800, 1000, rate_per_s=40.0)
    settle(process)
    process.finish()
    assert due_ms(process, t0_ns) == [25.0 * number for number in range(12)] + [800 + 25.0 * number for number in range(8)]


def test_users_work_longer_also_if_that_is_settled_after_they_would_have_gone(
    serve: Serve, start_load: Start, job: Mapping[str, Any]
) -> None:
    server = serve(lambda number: Reply())
    closed = {"rate_per_s": None, "arrivals": None, "users": 1, "think_s": 0.05, "duration_s": 0.4}
    process = start_load({**job, **closed, "port": server.port})
    t0_ns = go([process])
    assert "planned" in propose(process, 450, 1000)
    while time.monotonic_ns() < t0_ns + 500 * MS:
        time.sleep(0.01)
    settle(process)
    process.finish()
    last_ms = (int(process.rows().rows["sent_ns"].max()) - t0_ns) / MS
    assert 600 < last_ms < 1100


def test_what_was_left_of_poisson_stages_is_replaced(started: Callable[..., list[LoadProcess]]) -> None:
    """The stages up to the change stay as they were planned, and the load can be made longer."""
    stages = "40..200 for 500ms, 300 for 500ms"
    (process,) = started(stages=stages, rate_per_s=None, arrivals="poisson")
    t0_ns = go([process])
    propose(process, 300, 1200, rate_per_s=60.0)
    settle(process)
    process.finish()

    profile = parse_stages(stages)
    course = Course("poisson", 1, arrival_times_ns("poisson", profile, 1), profile, "").after(Change(300 * MS, 1200 * MS, 60.0))
    assert np.round(course.due_ns / MS, 3).tolist() == due_ms(process, t0_ns)


def test_users_come_are_sent_home_and_called_back(
    serve: Serve, start_load: Start, job: Mapping[str, Any], tmp_path: Path
) -> None:
    """Each sends one request, waits for its answer, and thinks for a minute; who is sent home goes when it has its answer."""
    is_open = threading.Event()

    def answer(number: int) -> Reply:
        is_open.wait(10)
        return Reply()

    server = serve(answer)
    closed = {"port": server.port, "rate_per_s": None, "arrivals": None, "users": 2, "think_s": 60.0, "duration_s": 30.0}
    process = start_load({**job, **closed, "request_timeout_s": 20.0})
    t0_ns = go([process])
    server.wait_for_requests(2, 10)

    def change(users: int) -> None:
        at_ms = (time.monotonic_ns() - t0_ns) / MS + 20
        assert "planned" in propose(process, at_ms, 30_000, users=users)
        settle(process)
        while time.monotonic_ns() < t0_ns + (at_ms + 100) * MS:
            time.sleep(0.01)

    assert "there is no rate" in propose(process, 20_000, 30_000, rate_per_s=5.0)["why"]
    change(6)
    server.wait_for_requests(6, 10)
    change(1)
    is_open.set()
    while int((process.rows().rows["done_ns"] > 0).sum()) < 6:
        time.sleep(0.01)
    change(3)
    server.wait_for_requests(8, 10)
    process.send({"propose": {"id": "a", "from_ns": 0, "until_ns": 1}})
    assert "planned" in process.read()
    settle(process)
    done = process.finish()

    assert (done["sent"], done["users"]) == (8, 6)
    assert len(server.requests) == 8
