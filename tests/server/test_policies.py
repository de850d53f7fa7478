"""Policies of tasks: who may say what, whose word counts, and what a server does with it."""

from __future__ import annotations

import functools
import gc
import itertools
import math
import re
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.rows import DropReason, Gauge
from server import FastrAPI, ServerConfig, tasks
from server._policies import Policies, TaskPolicy, policy_of, with_app_settings

from .conftest import Serve
from .helpers import AppServer, Task, ran, stub, until

APP = """
import server
told = []
gate = threading.Event()

def work(n, seconds=0.0):
    time.sleep(seconds)
    told.append(n)
async def awork(n, seconds=0.0):
    await asyncio.sleep(seconds)
    told.append(n)
def fails(): raise ValueError("on purpose")

def add(background_tasks):
    background_tasks.add_task(work, 0, 0.2)
    background_tasks.add_task(awork, 1, 0.1)
    background_tasks.add_task(work, 2)
def add_failing(background_tasks):
    background_tasks.add_task(fails)
    background_tasks.add_task(work, 1)

@app.get("/plain")
def plain(background_tasks: BackgroundTasks): add(background_tasks)
@app.get("/plain-fails")
def plain_fails(background_tasks: BackgroundTasks): add_failing(background_tasks)
"""

ROUTES = stub(
    APP
    + """
inner = APIRouter(prefix="/inner")
outer = APIRouter(prefix="/outer")

@inner.get("/parallel")
@server.tasks(order="parallel")
async def parallel(background_tasks: BackgroundTasks): add(background_tasks)

@inner.get("/stop")
@server.tasks(on_error="stop")
def stop(background_tasks: BackgroundTasks): add_failing(background_tasks)

@server.tasks(on_error="stop", order="parallel")
@outer.get("/above")
def above(background_tasks: BackgroundTasks): add_failing(background_tasks)

outer.include_router(inner)
app.include_router(outer)

@app.get("/limited")
@tasks(queue_limit=2)
def limited(background_tasks: BackgroundTasks): background_tasks.add_task(gate.wait)
@app.get("/slow-limited")
@tasks(queue_limit=3)
async def slow_limited(background_tasks: BackgroundTasks):
    await asyncio.sleep(0.3)
    background_tasks.add_task(gate.wait)
@app.get("/limited-fails")
@tasks(queue_limit=2, on_error="stop")
def limited_fails(background_tasks: BackgroundTasks, wrong: bool = False):
    add_failing(background_tasks)
    if wrong: raise HTTPException(409)
@app.get("/gate")
async def at_gate(background_tasks: BackgroundTasks): background_tasks.add_task(gate.wait)
@app.get("/open")
async def open_gate(): gate.set()
"""
)

GENERAL = stub(
    APP
    + """
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
import server
mounted = FastAPI(task_on_error="stop")
@app.get("/streams")
@tasks(order="parallel")
def streams(background_tasks: BackgroundTasks):
    add(background_tasks)
    return StreamingResponse(iter([b"x"]))
@app.get("/files/{path:path}")
@tasks(order="parallel")
def files(path: str, background_tasks: BackgroundTasks): add(background_tasks)
@mounted.get("/stop")
def of_mounted(background_tasks: BackgroundTasks): add_failing(background_tasks)
@mounted.get("/parallel")
@tasks(order="parallel", on_error="continue")
def parallel_of_mounted(background_tasks: BackgroundTasks): add(background_tasks)
@app.get("/limited/{path:path}")
@tasks(queue_limit=2)
async def limited_path(path: str, background_tasks: BackgroundTasks): background_tasks.add_task(gate.wait)
@app.get("/slow-limited/{path:path}")
@tasks(queue_limit=3)
async def slow_limited(path: str, background_tasks: BackgroundTasks):
    await asyncio.sleep(0.3)
    background_tasks.add_task(gate.wait)
@app.get("/limited-stream", response_class=StreamingResponse)
@tasks(queue_limit=2)
async def limited_stream(background_tasks: BackgroundTasks):
    background_tasks.add_task(gate.wait)
    return StreamingResponse(iter([b"x"]))
@app.get("/limited-carried")
@tasks(queue_limit=2)
async def limited_carried(): return StreamingResponse(iter([b"x"]), background=BackgroundTask(gate.wait))
def depended(background_tasks: BackgroundTasks):
    background_tasks.add_task(gate.wait)
    yield
@app.get("/depends", dependencies=[Depends(depended)])
async def depends(): return {}
@app.get("/open")
async def open_gate(): gate.set()
app.mount("/mounted", mounted)
"""
)

WRONG = {
    "order": ["random", None, 1, "Parallel", ["parallel"]],
    "on_error": ["ignore", None, True],
    "queue_limit": [-1, 1.5, "10", True, 1 << 62],
    "timeout_s": [0, -1, math.nan, math.inf, "5", True, 1e9],
}
ALLOWED = {
    "order": "allowed is 'sequential' or 'parallel'",
    "on_error": "allowed is 'continue' or 'stop'",
    "queue_limit": "allowed is a whole number of 0 or more, or None for no limit",
    "timeout_s": "allowed is a number of seconds above 0 and up to 1,000,000, or None for no limit",
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_where_it_is_written(name: str, value: Any):
    """By endpoint, app and server alike: the name, what was given, and what is allowed."""
    places: list[tuple[str, Callable[..., Any]]] = [
        (name, tasks),
        (f"task_{name}", FastrAPI),
        (f"task_{name}" if name == "timeout_s" else name, ServerConfig),
    ]
    for called, place in places:
        with pytest.raises(ValueError, match=re.escape(f"{called} is {value!r}; {ALLOWED[name]}")):
            place(**{called: value})


def test_an_unknown_setting_and_a_decorator_without_brackets_are_refused():
    """TypeError: neither is passed over in silence."""
    with pytest.raises(TypeError, match="retries"):
        tasks(retries=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        tasks(lambda: None)  # type: ignore[call-arg,arg-type]


def test_what_cannot_be_marked_is_named():
    """A bound method has no attributes of its own."""

    class Pages:
        def show(self) -> None: ...

    with pytest.raises(TypeError, match="show"):
        tasks(order="parallel")(Pages().show)


def test_the_endpoint_counts_before_the_app_and_the_app_before_the_server():
    """Setting by setting; None takes a limit away. The limits of pending tasks are each their own."""

    @tasks(order="sequential", timeout_s=None)
    def endpoint() -> None: ...

    @tasks(queue_limit=7)
    def other() -> None: ...

    server = ServerConfig(order="parallel", queue_limit=9, task_timeout_s=1)
    app = FastrAPI(task_on_error="stop", task_queue_limit=None, task_timeout_s=2)
    config = with_app_settings(server, app)

    assert (config.queue_limit, config.task_timeout_s, config.order, config.on_error) == (None, 2, "parallel", "stop")
    assert policy_of(endpoint, config) == TaskPolicy(parallel=False, stop_on_error=True, queue_limit=None, timeout_s=None)
    assert policy_of(other, config) == TaskPolicy(parallel=True, stop_on_error=True, queue_limit=7, timeout_s=2)
    assert with_app_settings(server, FastrAPI()) == server


def test_every_sort_of_endpoint_can_be_marked():
    """Marks of one endpoint add up, the outermost counts; they are found behind wrappers, partials, methods and objects."""

    @tasks(order="parallel", timeout_s=1)
    @tasks(on_error="stop", timeout_s=2)
    def endpoint(first: int = 0) -> None: ...

    @functools.wraps(endpoint)
    def wrapper() -> None: ...

    class Pages:
        @tasks(order="parallel", on_error="stop", timeout_s=1)
        def __call__(self) -> None: ...

        @tasks(order="parallel", on_error="stop", timeout_s=1)
        def method(self) -> None: ...

    marked = tasks(order="parallel", on_error="stop", timeout_s=1)(functools.partial(lambda: None))
    expected = TaskPolicy(parallel=True, stop_on_error=True, queue_limit=None, timeout_s=1)
    for each in (endpoint, wrapper, functools.partial(endpoint, 1), Pages(), Pages().method, marked):
        assert policy_of(each, ServerConfig()) == expected


def test_one_endpoint_in_two_apps_is_run_as_each_of_them_says():
    """Found by the app's own routing. Endpoints that say nothing share their app's policy, and nothing keeps them."""

    @tasks(queue_limit=1)
    def endpoint() -> None: ...

    policies, one, other = Policies(ServerConfig()), FastrAPI(task_order="parallel"), FastrAPI()
    assert policies.of(endpoint, one) is policies.of(endpoint, one)
    assert policies.of(endpoint, one) is not policies.of(endpoint, other)
    assert policies.of(None, one) is not policies.of(None, other)

    def made_for_a_request() -> None: ...

    kept = weakref.ref(made_for_a_request)
    assert policies.of(made_for_a_request, one) is policies.of(lambda: None, one) is policies.of(None, one)
    del made_for_a_request
    gc.collect()
    assert kept() is None


@pytest.fixture(scope="module")
def routes(shared: Serve) -> AppServer:
    """A server with the default policies, whose routes say otherwise."""
    return shared(ROUTES, "--pool", "8")


def in_turn(tasks: list[Task]) -> bool:
    """Each started after the one before had ended."""
    return all(earlier.ended <= later.started for earlier, later in itertools.pairwise(tasks))


def test_routes_say_how_their_tasks_run_also_in_included_routers(routes: AppServer):
    """Beside routes that say nothing, and whose tasks run as the server was told."""
    assert in_turn(ran(routes, "/plain", 3))
    assert not in_turn(ran(routes, "/outer/inner/parallel", 3))
    assert [bool(task.finished) for task in ran(routes, "/plain-fails", 2)] == [False, True]
    assert ran(routes, "/outer/inner/stop", 2)[1].reason == DropReason.SKIPPED
    # Side by side, each task is the whole list: there is nothing after it to skip.
    assert [bool(task.finished) for task in ran(routes, "/outer/above", 2)] == [False, True]


def test_the_app_says_how_all_its_tasks_run(serve: Serve):
    """Before the command line."""
    server = serve(
        stub('app = FastrAPI(task_order="sequential", task_on_error="stop", title="x")' + APP),
        "--order",
        "parallel",
        "--pool",
        "4",
    )
    assert in_turn(ran(server, "/plain", 3))
    assert ran(server, "/plain-fails", 2)[1].reason == DropReason.SKIPPED


def test_a_route_has_a_queue_limit_of_its_own(serve: Serve):
    """Its own pending tasks count, others' do not; whatever way they end, there is room again."""
    server = serve(ROUTES, "--pool", "1")
    for _ in range(4):
        assert server.ask("GET", "/gate").status == 200
    assert [server.ask("GET", "/limited").status for _ in range(4)] == [200, 200, 503, 503]
    assert server.gauge(Gauge.REFUSED) == 2
    assert server.ask("GET", "/gate").status == 200
    server.ask("GET", "/open")
    server.wait_ended(9)
    for _ in range(5):
        assert server.ask("GET", "/limited").status == 200
        until(lambda: server.gauge(Gauge.ACCEPTED) == sum(task.ended > 0 for task in server.tasks()), "all have ended")
        # One fails, one is skipped, or both are discarded.
        assert server.ask("GET", "/limited-fails").status == 200
        until(lambda: server.gauge(Gauge.ACCEPTED) == sum(task.ended > 0 for task in server.tasks()), "all have ended")
        assert server.ask("GET", "/limited-fails?wrong=1").status == 409
        assert server.ask("GET", "/limited-fails?wrong=x").status == 422
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("source", "path"), [(ROUTES, "/slow-limited"), (GENERAL, "/slow-limited/x")], ids=["straight", "general"]
)
def test_a_burst_does_not_overshoot_the_limit_of_a_route(serve: Serve, source: str, path: str):
    """Requests that are under way may each add a task: they count."""
    server = serve(source, "--pool", "1")
    with ThreadPoolExecutor(10) as clients:
        statuses = sorted(clients.map(lambda _: server.ask("GET", path).status, range(10)))
    assert statuses == [200] * 3 + [503] * 7
    server.ask("GET", "/open")
    assert server.stop() == 0


def test_the_limit_of_the_server_holds_beside_that_of_a_route(serve: Serve):
    """Whichever is reached first."""
    server = serve(ROUTES, "--pool", "1", "--queue-limit", "3")
    assert [server.ask("GET", "/gate").status for _ in range(2)] == [200, 200]
    assert [server.ask("GET", "/limited").status for _ in range(2)] == [200, 503]
    server.ask("GET", "/open")
    assert server.stop() == 0


def test_routes_that_go_the_general_way_have_their_policies_too(serve: Serve):
    """Streams, path convertors and mounted apps; a mounted app's own settings count for its routes."""
    server = serve(GENERAL, "--pool", "8")
    for path in ("/streams", "/files/a/b", "/mounted/parallel"):
        assert not in_turn(ran(server, path, 3)), path
    assert ran(server, "/mounted/stop", 2)[1].reason == DropReason.SKIPPED
    assert [bool(task.finished) for task in ran(server, "/plain-fails", 2)] == [False, True]
    assert server.stop() == 0


@pytest.mark.parametrize("path", ["/limited/a/b", "/limited-stream", "/limited-carried"])
def test_a_limit_holds_on_the_general_way(serve: Serve, path: str):
    """503 with Retry-After and a row, also where only the app's own routing finds the route; then there is room again."""
    server = serve(GENERAL, "--pool", "1")
    assert [server.ask("GET", path).status for _ in range(4)] == [200, 200, 503, 503]
    assert server.ask("GET", path).header("retry-after") == "1"
    assert [task.reason for task in server.tasks() if task.reason] == [DropReason.REJECTED] * 3
    assert server.gauge(Gauge.REFUSED) == 3
    server.ask("GET", "/open")
    server.wait_ended(5)
    assert server.ask("GET", path).status == 200
    assert server.stop() == 0


def test_the_limit_of_the_server_holds_on_the_general_way(serve: Serve):
    """Of its own routes and of those that only the app finds; also where a dependency has the tasks."""
    server = serve(GENERAL, "--pool", "1", "--queue-limit", "2")
    assert [server.ask("GET", "/depends").status for _ in range(3)] == [200, 200, 503]
    assert [server.ask("GET", path).status for path in ("/files/a", "/streams", "/mounted/stop")] == [503] * 3
    server.ask("GET", "/open")
    assert server.stop() == 0
