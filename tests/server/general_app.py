"""An app with tasks in every place that FastAPI and Starlette have for them, and middleware that is hard on them."""

from __future__ import annotations

from .helpers import general_stub

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
