"""`async def` endpoints of one burst: those that never wait share a task of asyncio, and nobody can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.rows import Gauge
from server._runners import Running, keep

from .helpers import AppServer, read_answer, stub, until

APP = stub("""
import contextvars, weakref
gate, hurdle = threading.Event(), asyncio.Event()
mark = contextvars.ContextVar("mark", default="none")
kept, ended, faint = [], [], weakref.WeakKeyDictionary()
steps = []

def seen():
    task = asyncio.current_task()
    found = [mark.get(), getattr(task, "mark", "none"), task.get_name() == "marked", faint.get(task, "none"), task in kept]
    return {"task": id(task), "left": found, "cancelling": task.cancelling(), "ended": len(ended)}

@app.get("/hold")
async def hold():
    kept.clear()
    gate.wait(30)
    gate.clear()
    return seen()
@app.get("/open")
def open_gate(): gate.set()
@app.get("/plain")
async def plain(): return seen()
@app.get("/raise")
async def fail(): raise RuntimeError
@app.get("/exit")
async def leave(): raise SystemExit(3)
@app.get("/context")
async def context(): mark.set("left"); return seen()
@app.get("/attribute")
async def attribute(): asyncio.current_task().mark = "left"; return seen()
@app.get("/name")
async def name(): asyncio.current_task().set_name("marked"); return seen()
@app.get("/reference")
async def reference(): kept.append(asyncio.current_task()); return seen()
@app.get("/weak")
async def weak(): faint[asyncio.current_task()] = "left"; return seen()
@app.get("/callback")
async def callback(): asyncio.current_task().add_done_callback(ended.append); return seen()
@app.get("/cancel")
async def cancel(): asyncio.current_task().cancel(); return seen()
@app.get("/wait")
async def wait():
    before = id(asyncio.current_task())
    mark.set("mine")
    await hurdle.wait()
    return {"same": before == id(asyncio.current_task()), "mark": mark.get(), "task": before}
@app.get("/jump")
async def jump(): hurdle.set(); return seen()
@app.get("/turns")
async def turns():
    for number in range(3):
        steps.append(number)
        await asyncio.sleep(0)
@app.get("/steps")
async def all_steps(): return steps
""")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    server = AppServer(Path(tmp_path_factory.mktemp("runners")), APP)
    yield server
    server.end()


def burst(server: AppServer, *paths: str) -> list[Any]:
    """The answers to requests that all waited while the event loop was held: they reach it at once and in this order."""
    connections = []
    try:
        for number, path in enumerate(["/hold", *paths], 1):
            connection = server.connect()
            connections.append(connection)
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            until(lambda number=number: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == number, f"{number} requests are in flight")
        assert server.ask("GET", "/open").status == 200
        answers = [read_answer(connection) for connection in connections[1:]]
        return [answer.json() if answer.status == 200 else answer.status for answer in answers]
    finally:
        for connection in connections:
            connection.close()
        until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "all requests are over")


def test_those_that_never_wait_share_a_task(server: AppServer):
    """What saves a microsecond or two a request; also an endpoint that raises, whatever it raises, does not end it."""
    answers = burst(server, "/plain", "/raise", "/plain", "/exit", "/plain")
    assert answers[1] == answers[3] == 500
    assert answers[0]["task"] == answers[2]["task"] == answers[4]["task"]


@pytest.mark.parametrize("path", ["/context", "/attribute", "/name", "/reference", "/weak", "/callback", "/cancel"])
def test_what_one_leaves_on_its_task_or_in_its_context_the_next_one_never_sees(server: AppServer, path: str):
    _, *others = burst(server, path, "/plain", "/plain")
    for answer in others:
        assert answer["left"] == ["none", "none", False, "none", False]
        assert answer["cancelling"] == 0


def test_a_callback_for_the_end_of_its_task_is_called_before_the_next_one_runs_in_it(server: AppServer):
    """Somebody who closes a session when `current_task()` is done closes it after each request."""
    before = burst(server, "/plain")[0]["ended"]
    answers = burst(server, "/callback", "/plain", "/plain")
    assert [answer["ended"] - before for answer in answers] == [0, 1, 1]


def test_one_that_waits_keeps_its_task_and_its_context_and_holds_up_nobody(server: AppServer):
    """The ones behind it go on in another task: else nobody would set what it waits for."""
    first, second, between, _ = burst(server, "/wait", "/wait", "/plain", "/jump")
    for answer in (first, second):
        assert answer["same"]
        assert answer["mark"] == "mine"
    assert len({first["task"], second["task"], between["task"]}) == 3
    assert between["left"][0] == "none"


def test_those_that_give_way_run_in_turn(server: AppServer):
    """Its route is known to wait from the first time on, so that all of a burst begin in the same pass of the loop."""
    server.ask("GET", "/turns")
    burst(server, "/turns", "/turns", "/turns")
    assert server.ask("GET", "/steps").json() == [0, 1, 2, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_task_that_was_over_as_soon_as_it_was_made_is_not_kept():
    """As an eager task factory makes them (Python 3.12): it took itself out before it could be put in."""
    loop = asyncio.new_event_loop()
    try:
        over, waits = loop.create_task(asyncio.sleep(0)), loop.create_task(asyncio.sleep(3600))
        loop.run_until_complete(over)
        running: Running = {}
        keep(running, "over", over)
        keep(running, "waits", waits)
        assert list(running) == ["waits"]
        waits.cancel()
        loop.run_until_complete(asyncio.wait([waits]))
    finally:
        loop.close()
