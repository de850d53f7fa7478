"""Applications that are no FastAPI: whatever speaks ASGI is served, its background tasks like all others."""

from __future__ import annotations

import functools
from typing import Any

import httpx
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send
from websockets.sync.client import connect

import server

from .conftest import Serve
from .helpers import until

STARLETTE = """
import contextlib
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse
from starlette.routing import Route

@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"begun": True}

def work(n):
    print("worked", n, flush=True)

async def home(request):
    return JSONResponse({"begun": request.state.begun}, background=BackgroundTask(work, 5))

async def fails(request):
    raise ValueError("of the app")

app = Starlette(lifespan=lifespan, routes=[Route("/", home), Route("/fails", fails)])
"""


def test_a_starlette_is_served_from_the_command_line(serve: Serve):
    """Lifespan and state, routing and errors are its own; its tasks have rows and run when the answer has left."""
    process = serve(STARLETTE)
    assert process.ask("GET", "/").json() == {"begun": True}
    (task,) = process.wait_ended(1)
    assert (task.name, task.flushed <= task.started, process.stdout()) == ("work", True, "worked 5\n")
    assert [process.ask(method, path).status for method, path in (("GET", "/nothing"), ("POST", "/"), ("GET", "/fails"))] == [
        404,
        405,
        500,
    ]
    until(lambda: "ValueError: of the app" in process.stderr(), "it is logged, after Starlette has answered")
    assert process.stop() == 0


class Wrapped:
    """Middleware in ASGI's own style, round a whole app."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], (b"x-added", b"1")]
        await self.inner(scope, receive, send)


def test_a_fastapi_in_its_wrapping_is_served():
    """Its routes have the app's own policies, as they are told there."""
    app = server.FastrAPI(task_on_error="stop")
    seen: list[str] = []

    def fail() -> None:
        raise ValueError("stops the others")

    @app.get("/")
    def root(background_tasks: server.BackgroundTasks, x_added: str = server.Header()) -> str:
        background_tasks.add_task(seen.append, x_added)
        background_tasks.add_task(fail)
        background_tasks.add_task(seen.append, "never")
        return x_added

    with server.running(Wrapped(app)) as running:
        assert httpx.get(running.url).json() == "1"
    assert seen == ["1"]


async def bare(greeting: str, scope: Scope, receive: Receive, send: Send) -> None:
    """An application without any framework, and without a lifespan."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": greeting})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": greeting.encode()})


def test_a_function_is_an_application():
    """Also a partial of one. It answers every path, and web sockets."""
    with server.running(functools.partial(bare, "hello")) as running:
        answer = httpx.get(f"{running.url}/any/path")
        with connect(f"ws://127.0.0.1:{running.port}/any") as connection:
            assert connection.recv() == "hello"
    assert (answer.status_code, answer.text) == (299, "hello")


@pytest.mark.parametrize(
    "nothing", [Wrapped, print, lambda scope: None, object(), "app"], ids=["class", "builtin", "def", "object", "str"]
)
def test_what_is_no_application_is_refused(nothing: Any):
    """A class is not its instance, and an app of ASGI 2 or WSGI cannot be told from a function that makes an app."""
    with pytest.raises(TypeError, match="nor another ASGI application"), server.running(nothing):
        pass


def test_what_a_wrapped_app_says_of_its_tasks_holds():
    """Middleware round the app, as `Starlette` and its kind wrap it; one in another, too."""
    app = server.FastAPI(task_queue_limit=0)

    @app.get("/")
    def root(background_tasks: server.BackgroundTasks) -> None:
        background_tasks.add_task(int)

    with server.running(GZipMiddleware(CORSMiddleware(app))) as running:
        assert httpx.get(running.url).status_code == 503


def test_a_strict_app_refuses_to_be_wrapped():
    """All of its requests would go the general way."""
    wrapped = GZipMiddleware(server.FastAPI(strict_fast_path=True))
    with pytest.raises(server.UnsupportedRoute, match="cannot be served straight"), server.running(wrapped):
        pass
