"""Work that the app starts with asyncio inside a request: what becomes a row, and what does not."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from harness.rows import DropReason, Gauge, LivePage
from tests.server.helpers import until

from .conftest import Start
from .probed import EARLY, SPAWNED, Probed, uvicorn

LIBRARY = """
import asyncio
async def keep(): await asyncio.sleep(0.3)
def start(): asyncio.create_task(keep())
"""

INSTALLED = """
import asyncio, helping
from fastapi import FastAPI
app = FastAPI()
async def mine(): await asyncio.sleep(0.3)
@app.get("/both")
async def both():
    asyncio.create_task(mine())
    helping.start()
    return {}
"""

THREE_RUNS = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
kept = []
async def nap(): await asyncio.sleep(60)
def spawn(): kept.extend(asyncio.create_task(nap()) for _ in range(2))
async def http(request):
    spawn()
    return Response()
async def websocket(socket):
    await socket.accept()
    spawn()
    await socket.close()
app = Starlette(routes=[Route("/", http), WebSocketRoute("/", websocket)])
kind = sys.argv[1]
async def start():
    started = asyncio.Event()
    async def receive():
        if started.is_set(): await asyncio.sleep(60)
        return {"type": "lifespan.startup"}
    async def send(message): started.set()
    kept.append(asyncio.create_task(app({"type": "lifespan"}, receive, send)))
    await started.wait()
async def serve():
    async def receive(): return {"type": "http.request" if kind == "http" else "websocket.connect"}
    async def send(message): pass
    scope = {"type": kind, "method": "GET", "path": "/", "query_string": b"", "headers": [], "subprotocols": []}
    await app(scope, receive, send)
    await asyncio.sleep(0)
    kept[1].cancel()
    await asyncio.wait([kept[1]])
async def wind_down():
    for task in kept: task.cancel()
    await asyncio.gather(*kept, return_exceptions=True)
async def warm():
    async def receive(): return {"type": "http.request"}
    async def send(message): pass
    await app({"type": "http", "method": "GET", "path": "/warm", "query_string": b"", "headers": []}, receive, send)
loop = asyncio.new_event_loop()
loop.run_until_complete(start())
if sys.argv[2:] == ["warm"]: loop.run_until_complete(warm())
loop.run_until_complete(serve())
loop.run_until_complete(wind_down())
"""


def test_spawned_work_that_outlives_its_answer_has_a_row(served: Probed, op: int):
    """create_task, ensure_future, loop.create_task; what was awaited before the answer has none. Written before the answer."""
    assert served.ask("/spawn", op) == 200
    tasks = served.wait_tasks(op, 4)
    assert [(task.name, task.kind, task.flags) for task in tasks] == [("nap", SPAWNED, EARLY)] * 3 + [("aborts", SPAWNED, EARLY)]
    assert [task.index for task in tasks] == [0x8000, 0x8001, 0x8002, 0x8003]
    for task in tasks[:3]:
        assert task.accepted <= task.started == task.flushed
        assert task.finished - task.started >= 150_000_000
    assert tasks[3].failed
    assert not tasks[3].finished


@pytest.mark.parametrize("path", ["/middled/spawn", "/spawn-threadsafe", "/spawn-in-task"])
def test_it_is_seen_wherever_it_is_spawned(served: Probed, op: int, path: str):
    """Behind BaseHTTPMiddleware, from a thread, and in a background task: there what outlives that task."""
    served.ask(path, op)
    until(lambda: [task for task in served.tasks(op) if task.kind == SPAWNED and task.finished], "it has ended")
    (task,) = [task for task in served.tasks(op) if task.kind == SPAWNED]
    assert task.name == "nap"


def test_work_that_the_app_cancels_has_ended(served: Probed, op: int):
    """Before its start it is dropped, while it ran it has failed; each says that it was cancelled, and neither runs any more."""
    served.ask("/cancel-spawned", op)
    first, second = served.wait_tasks(op, 2)
    assert (first.started, first.reason, bool(first.dropped)) == (0, DropReason.CANCELLED, True)
    assert second.started
    assert (second.reason, second.failed > second.started) == (DropReason.CANCELLED, True)
    assert (second.finished, second.dropped) == (0, 0)


def test_a_handler_that_tries_to_run_its_own_loop_has_not_ended_it(served: Probed, op: int):
    """The loop refuses and goes on. What the app cancels afterwards has ended: no stop has lost it."""
    assert served.ask("/runs-the-loop") == 200
    served.ask("/spawn-for-long", op)
    until(lambda: sum(bool(task.started) for task in served.tasks(op)) == 2, "both run")
    served.ask("/cancel-kept")
    tasks = served.wait_tasks(op, 2)
    assert [(task.reason, task.failed > task.started, task.dropped) for task in tasks] == [(DropReason.CANCELLED, True, 0)] * 2


@pytest.mark.parametrize("pure", ["", "1"], ids=["compiled", "pure"])
@pytest.mark.parametrize("before", ["", "warm"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_loop_is_wound_down_by_the_run_after_the_one_in_which_it_served(start: Start, kind: str, before: str, pure: str):
    """Not by the run that serves, after one that has only started the app or warmed it up, whatever the app is asked."""
    program = start([sys.executable, "-c", THREE_RUNS, kind, *before.split()], env={"AFTERLOAD_PROBE_PURE": pure})
    assert program.wait_end() == 0, program.log.read_text()
    tasks = program.tasks()
    assert [(task.reason, bool(task.failed), bool(task.dropped)) for task in tasks] == [
        (DropReason.CANCELLED, True, False),
        (DropReason.ABANDONED, False, True),
    ]


def test_a_process_whose_app_cancels_its_own_work_closes_its_file(start: Start):
    """Nothing is left over: neither what was cancelled while it ran, nor what had not begun."""
    server = start().wait_ready()
    server.ask("/cancel-spawned", 1)
    server.wait_tasks(1, 2)
    server.signal(signal.SIGINT)
    server.wait_end()
    (file,) = server.files()
    assert file.closed_ns
    assert (file.gauges[Gauge.STARTED], file.gauges[Gauge.FAILED], file.gauges[Gauge.DROPPED]) == (1, 1, 1)


def test_a_request_that_is_cancelled_once_its_process_was_asked_to_end_goes_with_it(start: Start):
    """Whoever asks says so before, in the page. Work that the app has spawned no server knows of: the app cancels it."""
    server = start().wait_ready()
    server.ask("/none")
    page = LivePage(server.paths()[0])
    page.set(1, time.monotonic_ns())
    page.close()
    server.ask("/ends-by/cancels_itself", 1)
    server.ask("/cancel-spawned", 2)
    tasks = server.wait_tasks(1, 2)
    assert [(task.reason, bool(task.dropped), task.failed) for task in tasks] == [(DropReason.ABANDONED, True, 0)] * 2
    assert [task.reason for task in server.wait_tasks(2, 2)] == [DropReason.CANCELLED] * 2


def test_what_a_library_spawns_is_its_own(start: Start, tmp_path, op: int):
    """Both are installed in site-packages: the app is told by its endpoint, the library has none."""
    place = tmp_path / "lib" / "site-packages"
    (place / "installed").mkdir(parents=True)
    (place / "helping").mkdir()
    (place / "installed" / "__init__.py").write_text(INSTALLED)
    (place / "helping" / "__init__.py").write_text(LIBRARY)
    server = start(uvicorn("--app-dir", str(place), target="installed:app")).wait_ready()
    server.ask("/both", op)
    (task,) = server.wait_tasks(op, 1)
    assert task.name == "mine"
