"""The general way: whole apps, with lifespan, state, prefixes, apps within apps and other callers in the same process."""

from __future__ import annotations

import signal

import pytest

from .conftest import Serve, ServePlain
from .helpers import ask, general_stub, stub, until

LIFE = stub("""
from contextlib import asynccontextmanager
from starlette.background import BackgroundTask


@asynccontextmanager
async def life(app):
    print("begin outer", flush=True)
    yield {"made": ["by the lifespan"], "count": 0}
    print("end outer", flush=True)


@asynccontextmanager
async def sub_life(app):
    print("begin sub", flush=True)
    yield
    print("end sub", flush=True)


app = FastAPI(lifespan=life)
sub = FastAPI(lifespan=sub_life)


@app.get("/state")
async def state(request: Request):
    request.state.count += 1
    request.state.made.append("seen")
    return [request.state.made, request.state.count]


@app.websocket("/socket")
async def socket(socket: WebSocket):
    await socket.accept()
    await socket.send_json(socket.state.made[0])


@sub.get("/inner")
async def inner(request: Request):
    return [request.scope["root_path"], str(request.url), request.scope["path"]]


app.mount("/sub", sub)
""")

PREFIX = stub("""
app = FastAPI(root_path="/api", debug=True)


@app.get("/where")
async def where(request: Request):
    return [request.scope["root_path"], str(request.url), str(request.url_for("where")), request.scope["path"]]


@app.get("/crash")
async def crash():
    raise ValueError("shown")


@app.get("/plain/{number}")
def plain(number: int, tasks: BackgroundTasks):
    tasks.add_task(int)
    return number
""")

OWN_CALL = stub("""
class App(FastAPI):
    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/own":
            await send({"type": "http.response.start", "status": 203, "headers": []})
            await send({"type": "http.response.body", "body": b"own"})
            return
        await super().__call__(scope, receive, send)


class Looks:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            print("saw the lifespan with state", scope["state"], flush=True)
            async def watch():
                message = await receive()
                print("saw", message["type"], flush=True)
                return message
            await self.app(scope, watch, send)
            return
        await self.app(scope, receive, send)


app = App()
app.add_middleware(Looks)


@app.get("/{name}")
def named(name: str, tasks: BackgroundTasks):
    tasks.add_task(print, "task", name)
    return name
""")

NESTED = stub("""
import httpx
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask
from starlette.responses import Response

inner = FastAPI()


@inner.get("/in")
async def inside(tasks: BackgroundTasks, request: Request):
    tasks.add_task(print, "inner task", flush=True)
    return Response("in", background=BackgroundTask(print, "inner carried", flush=True) if request.query_params else None)


@app.get("/calls")
async def calls(request: Request, tasks: BackgroundTasks, q: str = ""):
    tasks.add_task(print, "outer task", flush=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(inner), base_url="http://inner") as client:
        answer = await client.get("/in" + q)
    print("inner answered", flush=True)
    return answer.text


@app.get("/tests")
def tests(request: Request):
    with TestClient(app) as client:
        return client.get("/itself").json()


@app.get("/itself")
async def itself(request: Request, tasks: BackgroundTasks):
    tasks.add_task(print, "itself task", flush=True)
    return "itself"
""")


def said(port: int, target: str) -> tuple[int, bytes]:
    answer = ask(port, "GET", target)
    return answer.status, answer.body.replace(f":{port}".encode(), b":PORT")


def test_lifespan_state_reaches_every_request_in_a_copy(serve: Serve, plainly: ServePlain) -> None:
    server, plain = serve(LIFE), plainly(LIFE)
    for target in ("/state", "/state", "/sub/inner", "/sub/inner?x=1", "/sub", "/sub/", "/subway"):
        assert said(plain.port, target) == said(server.port, target)
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/socket", proxy=None) as client:
        assert client.recv(timeout=8) == '"by the lifespan"'
    assert server.stop() == 0
    assert server.stdout().splitlines() == ["begin outer", "end outer"]


def test_a_prefix_and_debug_are_the_apps(serve: Serve, plainly: ServePlain) -> None:
    server, plain = serve(PREFIX), plainly(PREFIX)
    for target in ("/where", "/api/where", "/plain/1", "/plain/x", "/nowhere", "/openapi.json"):
        assert said(plain.port, target) == said(server.port, target)
    for port in (plain.port, server.port):
        status, body = said(port, "/crash")
        assert status == 500
        assert b"Traceback" in body
        assert b"shown" in body
    assert len(server.wait_ended(1)) == 1


def test_an_app_with_a_call_of_its_own_is_called(serve: Serve) -> None:
    server = serve(OWN_CALL)
    assert said(server.port, "/own") == (203, b"own")
    assert said(server.port, "/other") == (200, b'"other"')
    (row,) = server.wait_ended(1)
    assert row.accepted <= row.flushed <= row.started <= row.finished
    assert server.stop() == 0
    assert server.stdout().splitlines()[0] == "saw the lifespan with state {}"
    assert [line for line in server.stdout().splitlines() if line.startswith("saw l")] == [
        "saw lifespan.startup",
        "saw lifespan.shutdown",
    ]


@pytest.mark.parametrize(
    ("life", "says"),
    [
        ("await send({'type': 'lifespan.startup.failed', 'message': 'no database'})", "no database"),
        ("await send({'type': 'lifespan.startup.failed', 'message': 'no database'}); await asyncio.sleep(60)", "no database"),
        ("await send({'type': 'lifespan.startup.failed'}); raise OSError('why')", "OSError: why"),
    ],
)
def test_a_start_up_that_says_that_it_failed_ends_the_server(serve: Serve, life: str, says: str) -> None:
    source = stub(f"""
class App(FastAPI):
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            {life}
            return
        await super().__call__(scope, receive, send)

app = App()
""")
    server = serve(source, wait=False)
    assert server.wait() != 0
    assert says in server.stderr()


@pytest.mark.parametrize("life", ["return", "raise RuntimeError('I know no lifespan')"])
def test_an_app_that_knows_no_lifespan_is_served(serve: Serve, life: str) -> None:
    source = stub(f"""
class App(FastAPI):
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            {life}
        await super().__call__(scope, receive, send)

app = App()

@app.get("/")
def root():
    return 1
""")
    server = serve(source)
    assert server.ask("GET", "/").json() == 1
    assert server.stop() == 0


@pytest.mark.parametrize("say", ["raise OSError('late')", "return"])
def test_a_shutdown_that_says_that_it_failed_is_heard(serve: Serve, say: str) -> None:
    source = stub(f"""
class App(FastAPI):
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({{"type": "lifespan.startup.complete"}})
            await receive()
            await send({{"type": "lifespan.shutdown.failed", "message": "late"}})
            {say}
        await super().__call__(scope, receive, send)

app = App()
""")
    server = serve(source)
    assert server.stop() == 1
    assert "late" in server.stderr()


def test_an_app_that_is_called_in_the_process_keeps_its_tasks(serve: Serve) -> None:
    """What is no request of this server is Starlette's affair: those tasks run at once and leave no rows."""
    server = serve(NESTED)
    for target, expected in (
        ("/calls", ["inner task", "inner answered", "outer task"]),
        ("/calls?q=?x", ["inner carried", "inner answered", "outer task"]),
        ("/tests", ["itself task"]),
        ("/itself", ["itself task"]),
    ):
        before = len(server.stdout().splitlines())
        assert server.ask("GET", target).status == 200
        until(lambda before=before, expected=expected: len(server.stdout().splitlines()) == before + len(expected), f"{expected}")
        assert server.stdout().splitlines()[before:] == expected
    assert len(server.wait_ended(3)) == 3


def test_a_task_of_the_apps_own_that_exits_does_not_end_the_loop(serve: Serve) -> None:
    server = serve(
        stub("""
@app.get("/exit")
async def leave(request: Request):
    async def exits():
        raise SystemExit(5)
    request.app.state.task = asyncio.create_task(exits())
    return "started"


@app.get("/")
async def root(request: Request):
    return "here"
""")
    )
    for _ in range(3):
        assert server.ask("GET", "/exit").json() == "started"
        assert server.ask("GET", "/").json() == "here"
    assert "SystemExit" in server.stderr()
    assert server.stop(signal.SIGINT) == 0


def test_def_endpoints_of_the_general_way_share_their_threads(serve: Serve) -> None:
    """anyio keeps a thread for the next call; it would not if it could not see how long the loop lives."""
    server = serve(
        general_stub("""
@app.get("/")
def root(request: Request):
    return threading.get_native_id()
""")
    )
    # A second one begins where the first is still on its way back.
    assert len({server.ask("GET", "/").json() for _ in range(20)}) <= 2
