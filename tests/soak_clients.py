"""The clients of a soak and the app that they talk to. Of each request is kept, by its number, what its client saw."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import IntEnum

from tests.server.hostile_app import RECEIVING, get, post
from tests.server.test_hostile_framing import REFUSED

APP = (
    """
import asyncio, logging
from fastapi import File, Request, UploadFile, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel
from server import *

app = FastAPI()
LARGE = "x" * 1_000_000
# A million tracebacks would fill the disk.
logging.getLogger("server.tasks").setLevel(logging.CRITICAL)

class Item(BaseModel):
    name: str
    price: float = 1.0

def note(): pass
async def anote(): await asyncio.sleep(0.001)
def fail(): raise ValueError("as told")

def add(tasks, failing=False):
    tasks.add_task(note)
    tasks.add_task(anote)
    if failing:
        tasks.add_task(fail)

@app.get("/")
def root(): return "here"

@app.post("/items")
def item(item: Item, background_tasks: BackgroundTasks, failing: bool = False):
    add(background_tasks, failing)
    return item

@app.post("/async")
async def aitem(item: Item, background_tasks: BackgroundTasks, failing: bool = False):
    add(background_tasks, failing)
    return item

@app.post("/slow")
async def slow(background_tasks: BackgroundTasks):
    await asyncio.sleep(0.02)
    add(background_tasks)
    return "slow"

@app.get("/large")
def large(background_tasks: BackgroundTasks):
    add(background_tasks)
    return PlainTextResponse(LARGE)

@app.get("/stream")
def stream(background_tasks: BackgroundTasks):
    add(background_tasks)
    return StreamingResponse((b"y" * 20_000 for _ in range(20)))

@app.get("/flow/{x:path}")
def flow(x: str, background_tasks: BackgroundTasks):
    add(background_tasks)
    return StreamingResponse((b"z" * 20_000 for _ in range(20)))

@app.post("/general/{x:path}")
def general(x: str, item: Item, background_tasks: BackgroundTasks, failing: bool = False):
    add(background_tasks, failing)
    return item
"""
    + RECEIVING
)

PATIENCE_S = 20.0
JSON = b'{"name":"a","price":2}'
MALFORMED = [case for status, case in REFUSED.values() if status != 413 and len(case) < 70_000]
HANDSHAKE = [b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-version: 13",
             b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]  # fmt: skip
GONE = (ConnectionError, asyncio.IncompleteReadError)


class Outcome(IntEnum):
    """What a client knows of its request."""

    UNKNOWN = 0
    ACKNOWLEDGED = 1
    REFUSED = 2


class Account:
    """Of every request, by its number: how it went, how many tasks it has and how many are to fail. Number 0 is none."""

    def __init__(self) -> None:
        self.outcomes = array("b", [Outcome.REFUSED])
        self.n_tasks = array("b", [0])
        self.n_to_fail = array("b", [0])
        self.seen: Counter[str] = Counter()
        self.surprises: Counter[str] = Counter()

    def open(self, n_tasks: int, n_to_fail: int = 0) -> int:
        """The number of one more request."""
        self.outcomes.append(Outcome.UNKNOWN)
        self.n_tasks.append(n_tasks)
        self.n_to_fail.append(n_to_fail)
        return len(self.outcomes) - 1

    def close(self, op: int, status: int, expected: int) -> None:
        """The request has been answered."""
        self.outcomes[op] = Outcome.ACKNOWLEDGED if status < 300 else Outcome.REFUSED
        self.seen[str(status)] += 1
        if status != expected:
            self.surprises[f"status {status} for {expected}"] += 1


class Clients:
    """One client after another, each with a connection of its own for some requests."""

    def __init__(self, port: int, account: Account, choose: random.Random, rate: float) -> None:
        self._port = port
        self._account = account
        self._choose = choose
        self._rate = rate
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (22, lambda: self._ask("/items", JSON)),
            (14, lambda: self._ask("/async", JSON)),
            (14, lambda: self._ask("/general/a/b", JSON)),
            (2, lambda: self._ask("/items?failing=1", JSON, n_tasks=3, n_to_fail=1)),
            (1, lambda: self._ask("/async?failing=1", JSON, n_tasks=3, n_to_fail=1)),
            (1, lambda: self._ask("/general/x?failing=1", JSON, n_tasks=3, n_to_fail=1)),
            (3, lambda: self._ask("/items", b'{"name":', expected=422)),
            (3, lambda: self._ask("/general/x", b'{"nam":1}', expected=422)),
            (2, lambda: self._ask("/nothing", b"", expected=404)),
            (6, lambda: self._ask("/slow", b"")),
            (6, lambda: self._get("/", n_tasks=0)),
            (3, lambda: self._get("/large")),
            (3, lambda: self._get("/stream")),
            (3, lambda: self._get("/flow/x")),
            (3, self._upload),
            (2, self._chunked),
            (3, self._malformed),
            (3, self._speak),
            (2, lambda: self._go("/slow", b"")),
            (2, lambda: self._go("/items", JSON)),
            (2, lambda: self._go("/general/x", JSON)),
            (2, lambda: self._go("/large")),
            (2, lambda: self._go("/stream")),
            (2, lambda: self._go("/flow/x")),
            (2, lambda: self._go("/items", JSON, sent=0.8)),
            (2, lambda: self._go("/general/x", JSON, sent=0.8)),
        ]

    async def one_of_each(self) -> None:
        """Each kind of request, one after another."""
        for _, kind in self._kinds:
            await self._try(kind)
        await self._leave()

    async def run(self, end: float) -> None:
        """Until the monotonic time `end`, at random moments."""
        weights, kinds = zip(*self._kinds, strict=True)
        due = time.monotonic()
        while True:
            due += self._choose.expovariate(self._rate)
            # A client that is late does not catch up in a burst.
            due = max(due, time.monotonic() - 1)
            if due >= end:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._try(self._choose.choices(kinds, weights)[0])
            if self._choose.random() < 0.05:
                await self._leave()
        await self._leave()

    async def _try(self, kind: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await kind()
        except (*GONE, TimeoutError) as error:
            self._account.surprises[f"{type(error).__name__} where an answer was due"] += 1
            await self._leave()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self._port)
        return self._connection

    async def _leave(self, *, by_reset: bool = False) -> None:
        if self._connection is None:
            return
        _, writer = self._connection
        self._connection = None
        if by_reset:
            kernel = writer.get_extra_info("socket")
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            self._account.seen["reset at the end"] += 1

    async def _read(self) -> int:
        """The status of the next answer; its body has been read."""
        reader, _ = await self._connected()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        elif b"content-length: " in head:
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        if b"connection: close" in head:
            await self._leave()
        return int(head[9:12])

    async def _exchange(self, op: int, request: bytes, expected: int) -> None:
        _, writer = await self._connected()
        writer.write(request)
        await writer.drain()
        self._account.close(op, await self._read(), expected)

    async def _ask(self, target: str, body: bytes, *, n_tasks: int = 2, n_to_fail: int = 0, expected: int = 200) -> None:
        op = self._account.open(n_tasks, n_to_fail)
        await self._exchange(op, _numbered(post, op, target, body), expected)

    async def _get(self, target: str, *, n_tasks: int = 2) -> None:
        op = self._account.open(n_tasks)
        await self._exchange(op, get(target.encode(), b"x-op-id: %x" % op), 200)

    async def _upload(self) -> None:
        op = self._account.open(2)
        head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        body = head + bytes(self._choose.choice([10, 10_000, 200_000])) + b"\r\n--b--\r\n"
        lines = [b"content-type: multipart/form-data; boundary=b", b"content-length: %d" % len(body), b"x-op-id: %x" % op]
        await self._exchange(op, post(b"/file", body, *lines), 200)

    async def _chunked(self) -> None:
        op = self._account.open(2)
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(JSON), JSON)
        lines = [b"content-type: application/json", b"transfer-encoding: chunked", b"x-op-id: %x" % op]
        await self._exchange(op, post(self._choose.choice([b"/items", b"/general/x"]), body, *lines), 200)

    async def _malformed(self) -> None:
        """On a connection of its own, which the server is to close."""
        await self._leave()
        reader, writer = await self._connected()
        writer.write(self._choose.choice(MALFORMED))
        try:
            received = await reader.read(-1)
        except ConnectionError:
            received = b""
        self._account.seen["refused" if received[9:10] in (b"4", b"5") else "closed"] += 1
        if received[9:10] not in (b"4", b"5", b""):
            self._account.surprises["an answer to what is malformed"] += 1
        await self._leave()

    async def _speak(self) -> None:
        """Opens a web socket, says something, listens, and says goodbye or goes."""
        await self._leave()
        reader, writer = await self._connected()
        writer.write(get(b"/ws", *HANDSHAKE))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(self._choose.randint(0, 10)):
            writer.write(b"\x81\x85\0\0\0\0hello")
            if await reader.readexactly(7) != b"\x81\x05hello":
                self._account.surprises["a web socket that says something else"] += 1
        self._account.seen["web sockets"] += 1
        if self._choose.random() < 0.5:
            writer.write(b"\x88\x80\0\0\0\0")
            await reader.read(-1)
            await self._leave()
        else:
            await self._leave(by_reset=self._choose.random() < 0.5)

    async def _go(self, target: str, body: bytes | None = None, *, sent: float = 1.0) -> None:
        """Asks, and goes before the answer has been read. A request that was not sent whole has no tasks."""
        op = self._account.open(2)
        request = get(target.encode(), b"x-op-id: %x" % op) if body is None else _numbered(post, op, target, body)
        reader, writer = await self._connected()
        writer.write(request[: int(len(request) * sent)] if sent < 1 else request)
        if sent < 1:
            self._account.outcomes[op] = Outcome.REFUSED
        match self._choose.randrange(4):
            case 0:
                await asyncio.sleep(self._choose.random() * 0.02)
            case 1 if sent == 1:
                await reader.read(100)
        self._account.seen["gone"] += 1
        await self._leave(by_reset=self._choose.random() < 0.5)


def _numbered(build: Callable[..., bytes], op: int, target: str, body: bytes) -> bytes:
    lines = [b"content-type: application/json", b"content-length: %d" % len(body), b"x-op-id: %x" % op]
    return build(target.encode(), body, *lines)
