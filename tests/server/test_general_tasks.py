"""The general way: background tasks of routes that go through the whole app."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

import pytest

from .conftest import Serve
from .helpers import AppServer, Task, ask, general_stub, stays, until
from .plain import PlainServer

SOURCE = general_stub("""
from typing import Annotated
from contextlib import asynccontextmanager
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteTasks
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware


def note(text):
    print("note", text, flush=True)


async def anote(text):
    await asyncio.sleep(0.001)
    print("note", text, flush=True)


def fails(text):
    note(text)
    raise ValueError(text)


def by_dependency(tasks: BackgroundTasks):
    tasks.add_task(note, "of the dependency")


async def session(tasks: BackgroundTasks):
    note("enter")
    try:
        yield "open"
    finally:
        note("exit")


@app.get("/html", response_class=HTMLResponse)
def html(tasks: BackgroundTasks, _=Depends(by_dependency)):
    tasks.add_task(note, "one")
    tasks.add_task(anote, "two")
    tasks.add_task(note, "three")
    return "<p>"


@app.get("/yield")
async def yields(tasks: BackgroundTasks, state=Depends(session)):
    tasks.add_task(anote, f"with the session {state}")
    tasks.add_task(note, "sync")
    return Response("x")


@app.get("/carried")
def carried(request: Request):
    return PlainTextResponse("x", background=BackgroundTask(note, "carried"))


@app.get("/carried-list")
def carried_list(request: Request):
    tasks = StarletteTasks([BackgroundTask(note, "first")])
    tasks.add_task(anote, "second")
    tasks.add_task(note, text="third")
    return PlainTextResponse("x", background=tasks)


@app.get("/carried-nested")
def carried_nested(request: Request):
    inner = StarletteTasks([BackgroundTask(note, "inner one"), BackgroundTask(anote, "inner two")])
    tasks = StarletteTasks([BackgroundTask(note, "before"), inner, BackgroundTask(note, "after")])
    return PlainTextResponse("x", background=tasks)


@app.get("/own-list")
def own_list(request: Request):
    tasks = BackgroundTasks()
    assert tasks.tasks == []
    tasks.add_task(note, "own one")
    tasks.add_task(anote, text="own two")
    assert [task.func for task in tasks.tasks] == [note, anote]
    return PlainTextResponse("x", background=tasks)


@app.get("/own-list-given")
def own_list_given(request: Request):
    return PlainTextResponse("x", background=BackgroundTasks([BackgroundTask(note, "given")]))


class OwnTask(BackgroundTask):
    def __init__(self):
        pass

    async def __call__(self):
        note("own kind")


@app.get("/own-kind")
def own_kind(request: Request):
    return PlainTextResponse("x", background=OwnTask())


class OwnResponse(Response):
    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"own"})
        if self.background is not None:
            await self.background()


@app.get("/own-response")
async def own_response(tasks: BackgroundTasks):
    tasks.add_task(note, "of a response of its own kind")
    return OwnResponse()


@app.get("/both")
def both(request: Request, tasks: BackgroundTasks):
    tasks.add_task(note, "dropped in FastAPI too")
    return PlainTextResponse("x", background=BackgroundTask(note, "carried"))


@app.get("/raises")
def raises(tasks: BackgroundTasks, request: Request):
    tasks.add_task(note, "must not run")
    raise HTTPException(418)


@app.get("/crashes")
async def crashes(tasks: BackgroundTasks, request: Request):
    tasks.add_task(note, "must not run")
    raise ValueError("crashed")


class Special(Exception):
    pass


@app.exception_handler(Special)
async def explain(request, error):
    return JSONResponse({"explained": True}, status_code=409, background=BackgroundTask(note, "of the handler"))


@app.get("/explained")
def explained(tasks: BackgroundTasks):
    tasks.add_task(note, "must not run")
    raise Special


@app.get("/stream")
async def stream(tasks: BackgroundTasks):
    tasks.add_task(note, "added before")
    async def chunks():
        for number in range(3):
            yield b"x"
            await asyncio.sleep(0.01)
        note("last chunk")
        tasks.add_task(note, "added late")
        tasks.add_task(anote, "added last")
    return StreamingResponse(chunks())


@app.get("/stream-late")
async def stream_late(tasks: BackgroundTasks):
    async def chunks():
        yield b"x"
        await asyncio.sleep(0.01)
        tasks.add_task(note, "only late")
        yield b"y"
    return StreamingResponse(chunks())


@app.get("/stream-own-late")
async def stream_own_late(request: Request):
    tasks = StarletteTasks([BackgroundTask(note, "early")])
    async def chunks():
        yield b"x"
        await asyncio.sleep(0.01)
        tasks.add_task(note, "late")
    return StreamingResponse(chunks(), background=tasks)


@app.get("/stream-breaks")
async def stream_breaks(tasks: BackgroundTasks):
    tasks.add_task(note, "must not run")
    async def chunks():
        yield b"x"
        await asyncio.sleep(0.01)
        raise ValueError("breaks")
    return StreamingResponse(chunks())


sub = FastAPI()


@sub.get("/in")
async def inside(tasks: BackgroundTasks, request: Request):
    tasks.add_task(note, "of the mounted app")
    return "in"


app.mount("/sub", sub)
""")

MIDDLEWARE = """

class Header(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-seen"] = "1"
        return response


class Pure:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)
        if scope["type"] == "http":
            note("after the app")


class Extra(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        if "extra" in request.query_params:
            response.background = BackgroundTask(note, "of the middleware")
        return response


class Replaces(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        if "replace" not in request.query_params:
            return response
        body = b"".join([chunk async for chunk in response.body_iterator])
        await asyncio.sleep(0.05)
        return PlainTextResponse(b"replaced " + body)


class Buffers:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        held = []
        async def hold(message):
            held.append(message)
        if b"buffer" not in scope.get("query_string", b""):
            await self.app(scope, receive, send)
            return
        await self.app(scope, receive, hold)
        await asyncio.sleep(0.02)
        for message in held:
            await send(message)


app.add_middleware(Header)
app.add_middleware(GZipMiddleware, minimum_size=1)
app.add_middleware(CORSMiddleware, allow_origins=["*"])
app.add_middleware(SessionMiddleware, secret_key="k")
app.add_middleware(Extra)
app.add_middleware(Replaces)
app.add_middleware(Pure)
app.add_middleware(Buffers)
"""

TARGETS = [
    "/html", "/yield", "/carried", "/carried-list", "/carried-nested", "/own-list", "/own-list-given", "/own-kind",
    "/own-response", "/both", "/raises", "/crashes", "/explained", "/stream",
    "/stream-late", "/stream-own-late", "/stream-breaks", "/sub/in",
]  # fmt: skip


def notes(output: str) -> list[str]:
    return [line.removeprefix("note ") for line in output.splitlines() if line.startswith("note ")]


class Pair:
    """The same app here and there."""

    def __init__(self, ours: AppServer, plain: PlainServer) -> None:
        self.ours = ours
        self.plain = plain

    def notes(self, target: str) -> tuple[list[str], list[str]]:
        """What a request to each made its tasks note, uvicorn's first, and that nothing more comes."""
        before = len(notes(self.plain.output())), len(notes(self.ours.stdout()))
        for port in (self.plain.port, self.ours.port):
            try:
                ask(port, "GET", target)
            except http.client.HTTPException:
                assert "breaks" in target
        time.sleep(0.15)
        expected = notes(self.plain.output())[before[0] :]
        until(lambda: len(notes(self.ours.stdout())) >= before[1] + len(expected), f"as much happens as on uvicorn: {expected}")
        assert stays(lambda: len(notes(self.ours.stdout())) == before[1] + len(expected), 0.03)
        return expected, notes(self.ours.stdout())[before[1] :]


@pytest.fixture(scope="module", params=["general", "either"])
def bare(request: pytest.FixtureRequest, shared: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Without middleware: all routes by the general way, or each by the way that it would go."""
    source = SOURCE if request.param == "general" else SOURCE.replace("dependencies=[Depends(of_the_general_way)]", "")
    plain = PlainServer(tmp_path_factory.mktemp("plain"), source)
    yield Pair(shared(source), plain)
    plain.end()


@pytest.fixture(scope="module")
def layered(shared: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    plain = PlainServer(tmp_path_factory.mktemp("plain"), SOURCE + MIDDLEWARE)
    yield Pair(shared(SOURCE + MIDDLEWARE), plain)
    plain.end()


@pytest.mark.parametrize("target", TARGETS)
def test_tasks_and_what_surrounds_them_happen_in_uvicorns_order(bare: Pair, target: str) -> None:
    expected, ours = bare.notes(target)
    assert expected == ours


@pytest.mark.parametrize("target", TARGETS)
def test_they_do_behind_middleware_too(layered: Pair, target: str) -> None:
    expected, ours = layered.notes(target)
    assert expected == ours


@pytest.mark.parametrize("target", ["/html?replace=1", "/yield?replace=1", "/carried?replace=1"])
def test_tasks_of_a_response_that_a_middleware_replaced_run_after_the_one_in_its_place(layered: Pair, target: str) -> None:
    """In Starlette they may run before it is sent."""
    expected, ours = layered.notes(target)
    assert sorted(expected) == sorted(ours)
    rows = layered.ours.tasks()[-1:]
    assert all(row.flushed <= row.started for row in rows)


@pytest.mark.parametrize("target", ["/html?buffer", "/yield?buffer", "/stream?buffer"])
def test_tasks_of_a_response_that_a_middleware_holds_back_run_after_it_has_left(layered: Pair, target: str) -> None:
    expected, ours = layered.notes(target)
    assert sorted(expected) == sorted(ours)


def test_tasks_that_a_middleware_gives_to_the_response_run_after_those_of_the_endpoint(layered: Pair) -> None:
    """In Starlette both run at the same time."""
    expected, ours = layered.notes("/html?extra=1")
    assert sorted(expected) == sorted(ours)
    assert ours[-2:] == ["of the middleware", "after the app"]


def test_every_row_tells_the_story_of_its_task(bare: Pair, layered: Pair) -> None:
    """Accepted, flushed, started and ended in this order; tasks that never ran were discarded."""
    for server in (bare.ours, layered.ours):
        rows = until(lambda server=server: all(row.ended for row in server.tasks()) and server.tasks(), "all tasks have ended")
        assert rows
        for row in rows:
            if row.reason:
                assert (row.reason, row.started, row.finished) == (3, 0, 0), row
            else:
                assert row.accepted <= row.flushed <= row.started <= row.finished, row
        assert {row.name for row in rows if row.kind == 2} >= {"anote"}


def rows_of(server: AppServer, op: int, count: int) -> list[Task]:
    def look() -> list[Task]:
        rows = [row for row in server.tasks() if row.op == op and row.ended]
        return rows if len(rows) >= count else []

    return until(look, f"{count} tasks of operation {op} have ended")


@pytest.mark.parametrize(("target", "names"), [
    ("/html", ["note", "note", "anote", "note"]), ("/carried-list", ["note", "anote", "note"]), ("/own-kind", ["OwnTask"]),
    ("/stream", ["note", "note", "anote"]), ("/stream-late", ["note"]), ("/sub/in", ["note"]), ("/own-response", ["note"]),
    ("/raises", ["note"]), ("/crashes", ["note"]), ("/both", ["note", "note"]), ("/explained", ["note", "note"]),
])  # fmt: skip
def test_rows_carry_the_operation_and_number_the_tasks(bare: Pair, target: str, names: list[str]) -> None:
    op = 0x5000 + abs(hash(target)) % 1000 + len(target) * 1000
    bare.ours.ask("GET", target, X_Op_Id=f"{op:x}")
    rows = rows_of(bare.ours, op, len(names))
    assert names == [row.name for row in sorted(rows, key=lambda row: row.index)]
    assert list(range(len(names))) == sorted(row.index for row in rows)


def test_a_dropped_list_is_warned_of(bare: Pair) -> None:
    """FastAPI drops it in silence."""
    bare.ours.ask("GET", "/both")
    assert "the 1 added by its endpoint do not run" in bare.ours.stderr()
