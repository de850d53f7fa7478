"""The app that hostile clients meet, and what must be true of its server afterwards. Every kind of route on both ways."""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

from harness.rows import Gauge

from .helpers import AppServer, Task, until

RECEIVING = """
@app.post("/echo")
async def echo(request: Request):
    return PlainTextResponse(await request.body())

@app.post("/file")
async def file(background_tasks: BackgroundTasks, file: UploadFile = File()):
    add(background_tasks)
    return len(await file.read())

@app.websocket("/ws")
async def ws(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
"""
"""Routes that take bodies and messages as they come; the app of a soak has them too."""

APP = (
    """
import asyncio, sys, time
from collections import Counter
from fastapi import File, Request, UploadFile, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel
from server import *

app = FastAPI()
entered = Counter()
LARGE = "x" * 20_000_000

class Item(BaseModel):
    name: str
    price: float = 1.0

def note(): pass
async def anote(): await asyncio.sleep(0)
def fail(): raise ValueError("as told")

def add(tasks):
    entered["tasks"] += 3
    tasks.add_task(note)
    tasks.add_task(anote)
    tasks.add_task(fail)

@app.get("/")
def root(): return "here"

@app.get("/hidden")
def hidden(): entered["hidden"] += 1

@app.get("/entered")
def count(): return entered

@app.get("/p/{x}")
async def parameter(x: str): return x

@app.post("/items")
def item(item: Item, background_tasks: BackgroundTasks):
    add(background_tasks)
    return item

@app.post("/slow")
async def slow(background_tasks: BackgroundTasks, s: float = 0.05):
    entered["slow"] += 1
    await asyncio.sleep(s)
    add(background_tasks)
    return "slow"

@app.get("/large")
def large(background_tasks: BackgroundTasks):
    add(background_tasks)
    return PlainTextResponse(LARGE)

@app.get("/stream")
def stream(background_tasks: BackgroundTasks, n: int = 300):
    add(background_tasks)
    return StreamingResponse((b"y" * 65_536 for _ in range(n)))

@app.get("/flow/{x:path}")
def flow(x: str, background_tasks: BackgroundTasks):
    add(background_tasks)
    return StreamingResponse((b"z" * 65_536 for _ in range(300)))

@app.post("/general/{x:path}")
def general(x: str, background_tasks: BackgroundTasks, body: dict | None = None):
    add(background_tasks)
    return x
"""
    + RECEIVING
)

HOST = b"host: x\r\n"
_RESPONSE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


def get(target: bytes, *lines: bytes) -> bytes:
    """A GET request with these header lines."""
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(target: bytes, body: bytes, *lines: bytes) -> bytes:
    """A POST request; without header lines, one with the length of its body."""
    head = lines or (b"content-type: application/json", b"content-length: %d" % len(body))
    return b"POST " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in head) + b"\r\n" + body


def reset(connection: socket.socket) -> None:
    """Closes it with an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_all(connection: socket.socket, *, silence_s: float | None = None) -> bytes:
    """All that the server sends until it closes, which it must; a reset is an end too. After `silence_s` this side closes."""
    received = b""
    patience = connection.gettimeout()
    if silence_s is not None:
        connection.settimeout(silence_s)
    while True:
        try:
            piece = connection.recv(1 << 20)
        except TimeoutError:
            assert silence_s is not None, f"the server neither answered nor closed; so far: {received[:200]!r}"
            silence_s = None
            connection.settimeout(patience)
            try:
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                return received
        except ConnectionError:
            return received
        else:
            if not piece:
                return received
            received += piece


def statuses(received: bytes) -> list[int]:
    """The statuses of all responses in what was received."""
    return [int(status) for status in _RESPONSE.findall(received)]


def descriptors(server: AppServer) -> int:
    """How many the server has open."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


class Unharmed:
    """Compares a server with what it was like before."""

    def __init__(self, server: AppServer) -> None:
        """Once each kind of request has been made, so that everything that is opened once is open."""
        self._server = server
        for _ in range(2):
            server.ask("GET", "/stream?n=1")
            server.ask("POST", "/general/x")
            server.ask("POST", "/items", b'{"name":"a"}', content_type="application/json")
        self._rest()
        self._descriptors = descriptors(server)

    def check(self) -> list[Task]:
        """It answers, nothing is under way, every task has an end, nothing is left open, nothing panicked. Returns all tasks."""
        server = self._server
        assert server.process.poll() is None, server.stderr()
        assert server.ask("GET", "/").json() == "here"
        self._rest()
        until(lambda: descriptors(server) <= self._descriptors, f"no more than {self._descriptors} descriptors are open")
        # A request whose client has gone is in no gauge until it adds its tasks, so this may take another moment.
        until(self._is_exact, "the rows are all tasks that were added, and each has an end")
        assert "panicked" not in server.stderr()
        return server.tasks()

    def _is_exact(self) -> bool:
        added = self._server.ask("GET", "/entered").json().get("tasks", 0)
        tasks = self._server.tasks()
        accepted = self._server.gauge(Gauge.ACCEPTED)
        return len(tasks) == accepted == added and all(task.started and task.ended for task in tasks)

    def _rest(self) -> None:
        gauges = [
            Gauge.REQUESTS_IN_FLIGHT,
            Gauge.POOL_BUSY,
            Gauge.POOL_WAITING,
            Gauge.LOOP_TASKS,
            Gauge.LANES_BUSY,
            Gauge.LANES_WAITING,
        ]
        server = self._server

        def under_way() -> dict[str, int]:
            left = {gauge.name: server.gauge(gauge) for gauge in gauges}
            ended = sum(server.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
            return {name: n for name, n in {**left, "tasks": server.gauge(Gauge.ACCEPTED) - ended}.items() if n}

        try:
            until(lambda: not under_way(), "nothing is under way", 20)
        except AssertionError:
            msg = f"still under way: {under_way()}"
            raise AssertionError(msg) from None
