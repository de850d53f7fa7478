"""Dependencies of the straight way where threads meet: `def` callables of requests that live on the event loop."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import Serve
from .helpers import AppServer, stub, until

MEETING = stub("""
barrier = threading.Barrier(6)
async def d_async(): return "a"
def d_meets(a=Depends(d_async)):
    barrier.wait(timeout=8)
    return threading.current_thread().name
release = threading.Event()
def d_stuck():
    print("stuck", flush=True)
    release.wait(8)
    return "released"
@app.get("/meet")
async def meet(name=Depends(d_meets)): return name
@app.get("/defmeet")
def def_meet(a=Depends(d_async)):
    barrier.wait(timeout=8)
    return threading.current_thread().name
@app.get("/stuck")
async def stuck(a=Depends(d_stuck)): return a
@app.get("/adep")
async def adep(a=Depends(d_async)): return threading.current_thread().name
@app.get("/release")
async def let_go():
    release.set()
    return 1
""")


def ask_all(server: AppServer, targets: list[str]) -> list[object]:
    """What they answer, asked side by side."""
    with ThreadPoolExecutor(len(targets)) as threads:
        return [answer.json() for answer in threads.map(lambda target: server.ask("GET", target), targets)]


@pytest.mark.parametrize("options", [[], ["--shared-pool"]])
@pytest.mark.parametrize("target", ["/meet", "/defmeet"])
def test_def_callables_of_requests_on_the_event_loop_run_side_by_side_off_it(serve: Serve, target: str, options: list[str]):
    """Six wait for one another: a thread that is begun too late, or a loop that waits, ends in an error."""
    server = serve(MEETING, *options)
    names = ask_all(server, [target] * 6)
    assert len(set(names)) == 6
    prefix = "task-" if options else "endpoint-"
    assert all(str(name).startswith(prefix) for name in names), names


def test_never_more_than_the_endpoint_threads_that_there_may_be(serve: Serve):
    """Two threads for three that want to meet six: they wait in vain, are answered with 500, and the server goes on."""
    server = serve(MEETING.replace("timeout=8", "timeout=0.3"), "--endpoint-threads", "2")
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: server.ask("GET", "/meet"), range(3)))
    assert {answer.status for answer in answers} == {500}
    assert server.ask("GET", "/adep").json() == "event-loop"


def test_a_stuck_def_dependency_holds_up_nobody_else(serve: Serve):
    """The event loop answers meanwhile, and the request is answered in the end."""
    server = serve(MEETING)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(server.ask, "GET", "/stuck")
        until(lambda: "stuck" in server.stdout(), "the dependency is stuck")
        assert server.ask("GET", "/adep").json() == "event-loop"
        assert server.ask("GET", "/release").status == 200
        assert waiting.result(10).json() == "released"


def test_a_request_whose_dependency_runs_on_a_thread_is_finished_before_the_server_stops(serve: Serve):
    """SIGTERM while it is there: the answer comes whole, and the status is 0."""
    server = serve(MEETING.replace("release.wait(8)", "release.wait(0.5)"))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(server.ask, "GET", "/stuck")
        until(lambda: "stuck" in server.stdout(), "the dependency is stuck")
        server.send(signal.SIGTERM)
        assert waiting.result(10).json() == "released"
    assert server.wait() == 0


def test_the_injected_request_knows_the_lifespan_state_and_its_client(serve: Serve):
    """As when the app gets the request by ASGI; each request has a copy of the state's names."""
    server = serve(
        stub("""
from contextlib import asynccontextmanager
@asynccontextmanager
async def lifespan(app):
    yield {"numbers": [1]}
app = FastAPI(lifespan=lifespan, strict_fast_path=True)
def d_numbers(request: Request):
    request.state.own = 1
    return request.state.numbers
@app.get("/")
def root(request: Request, numbers=Depends(d_numbers)):
    numbers.append(2)
    return [numbers, request.state.own, request.client.host, sorted(request.state._state)]
""")
    )
    assert server.ask("GET", "/").json() == [[1, 2], 1, "127.0.0.1", ["numbers", "own"]]
    assert server.ask("GET", "/").json() == [[1, 2, 2], 1, "127.0.0.1", ["numbers", "own"]]


GOING = stub("""
app = FastAPI(strict_fast_path=True)
@app.get("/polls")
async def polls(request: Request):
    print("there", flush=True)
    while not await request.is_disconnected(): await asyncio.sleep(0.01)
    print("gone", flush=True)
@app.get("/waits")
async def waits(request: Request):
    body = await request.body()
    print("there", len(body), flush=True)
    print("gone", (await request.receive())["type"], flush=True)
""")


@pytest.mark.parametrize("target", ["/polls", "/waits"])
def test_the_injected_request_notices_that_its_client_has_gone(serve: Serve, target: str):
    """An endpoint that asks, or waits for it, can stop its work."""
    server = serve(GOING)
    with server.connect() as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab".encode())
        until(lambda: "there" in server.stdout(), "the endpoint runs")
        assert "gone" not in server.stdout()
    until(lambda: "gone" in server.stdout(), "the endpoint has noticed")


def test_dependencies_and_their_tasks_are_admitted_like_any_other(serve: Serve):
    """A list that only a dependency takes counts for the limit of pending tasks too."""
    server = serve(
        stub("""
release = threading.Event()
def d_tasks(tasks: BackgroundTasks): tasks.add_task(release.wait, 8)
@app.get("/add")
async def add(d=Depends(d_tasks)): return 1
@app.get("/release")
async def let_go():
    release.set()
    return 1
"""),
        "--queue-limit", "1",
    )  # fmt: skip
    assert server.ask("GET", "/add").status == 200
    assert server.ask("GET", "/add").status == 503
    assert server.ask("GET", "/release").status == 200
    assert len([task for task in server.wait_ended(2) if task.finished]) == 1


def test_many_requests_share_few_threads(serve: Serve):
    """The way from the event loop to the threads is taken by many requests at once, again and again."""
    server = serve(MEETING.replace("barrier.wait(timeout=8)", "time.sleep(0.001)"), "--endpoint-threads", "3")
    stop = threading.Barrier(16)

    def many(_: int) -> set[object]:
        stop.wait(8)
        return {server.ask("GET", "/meet").status for _ in range(20)}

    with ThreadPoolExecutor(16) as threads:
        assert set().union(*threads.map(many, range(16))) == {200}
