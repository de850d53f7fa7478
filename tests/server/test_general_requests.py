"""The general way: bodies of requests, and connections that carry several requests."""

from __future__ import annotations

import http.client
import socket
import time

import psutil
import pytest

from .conftest import Serve, ServePlain
from .helpers import Answer, AppServer, ask, general_stub, read_answer, stays, until
from .plain import PlainServer

SOURCE = general_stub("""
from fastapi.responses import StreamingResponse


@app.post("/stream")
async def stream(request: Request):
    chunks = [len(chunk) async for chunk in request.stream()]
    return {"total": sum(chunks), "chunks": sum(1 for chunk in chunks if chunk)}


async def echo(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            await asyncio.sleep(0.05)
            await send({"type": "http.response.body", "body": b" the end"})
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"][:10], "more_body": more})


app.mount("/echo", echo)


@app.post("/slow")
async def slow(request: Request):
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        await asyncio.sleep(0.02)
        print("seen", seen, flush=True)
    return seen


@app.post("/upload")
def upload(file: UploadFile, note: str = Form()):
    return {"name": file.filename, "size": file.size, "note": note, "last": file.file.read()[-3:].decode()}


@app.post("/unread")
async def unread(request: Request):
    return {"unread": True}


@app.post("/unread-stream")
async def unread_stream(request: Request):
    async def parts():
        for _ in range(3):
            yield b"part"
            await asyncio.sleep(0.01)
    return StreamingResponse(parts())


@app.post("/handled")
async def handled(request: Request, tasks: BackgroundTasks):
    try:
        await request.body()
    except Exception as error:
        print("body raised", type(error).__name__, flush=True)
        tasks.add_task(print, "must not run")
        return "handled"
    return "whole"


@app.get("/waits")
async def waits(request: Request):
    while not await request.is_disconnected():
        await asyncio.sleep(0.002)
    print("noticed", flush=True)


@app.get("/polls/{count}")
async def polls(request: Request, count: int):
    return [await request.is_disconnected() for _ in range(count)][-1]


@app.post("/wanted")
async def wanted(request: Request):
    await asyncio.sleep(0.3)
    return len(await request.body())


@app.get("/scope")
async def scope(request: Request):
    keep = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path")
    headers = [name for name, _ in request.headers.raw]
    return {key: repr(request.scope.get(key)) for key in keep} | {"headers": headers, "host": request.client.host}


@straight.get("/fast/{number}")
def fast(number: int):
    return {"fast": number}


@app.get("/general/{number:int}")
def by_general(number: int):
    return {"general": number}
""")

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(shared: Serve) -> AppServer:
    return shared(SOURCE)


@pytest.fixture(scope="module")
def plain(plainly: ServePlain) -> PlainServer:
    return plainly(SOURCE)


def chunked(connection: socket.socket, target: str, parts: list[bytes], pause_s: float = 0.0) -> None:
    connection.sendall(f"POST {target} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for part in parts:
        connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        time.sleep(pause_s)
    connection.sendall(b"0\r\n\r\n")


def test_the_scope_is_uvicorns(server: AppServer, plain: PlainServer) -> None:
    for target in ("/scope", "/scope?a=b%20c&d", "/sc%6Fpe?%zz", "/%73cope?x=%ff"):
        headers = [("x-one", "1"), ("x-two", "2"), ("accept", "*/*")]
        expected = ask(plain.port, "GET", target, None, headers).json()
        assert expected == ask(server.port, "GET", target, None, headers).json()


def test_a_body_is_read_as_it_arrives(server: AppServer) -> None:
    """Each chunk that the client sends on its own reaches the app on its own."""
    with server.connect() as connection:
        chunked(connection, "/stream", [b"x" * 1000] * 10, pause_s=0.02)
        assert read_answer(connection).json() == {"total": 10_000, "chunks": 10}


def test_a_body_can_be_answered_while_it_arrives(server: AppServer) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /echo/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        received = b""

        def more() -> bytes:
            data = connection.recv(4096)
            assert data, f"the connection ended after {received!r}"
            return data

        for part in (b"one", b"two", b"three"):
            connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            while part not in received:
                received += more()
        connection.sendall(b"0\r\n\r\n")
        while not received.endswith(b"0\r\n\r\n"):
            received += more()


def test_a_client_that_sends_faster_than_the_app_reads_is_held_back(server: AppServer) -> None:
    """The server keeps some 64 KiB of a body that nobody has read yet; the rest stays with the client."""
    process = psutil.Process(server.process.pid)
    server.ask("POST", "/slow", b"x")
    before = process.memory_info().rss
    with server.connect() as connection:
        connection.settimeout(60)
        body = b"x" * (6 * MIB)
        connection.sendall(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
        connection.sendall(body)
        assert process.memory_info().rss - before < 6 * MIB
        assert read_answer(connection).json() == len(body)


def test_a_large_upload_goes_to_a_file(server: AppServer) -> None:
    process = psutil.Process(server.process.pid)
    content = b"x" * (12 * MIB) + b"end"
    head = b'--b\r\ncontent-disposition: form-data; name="note"\r\n\r\nhello\r\n'
    head += b'--b\r\ncontent-disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
    before = process.memory_info().rss
    body = head + content + b"\r\n--b--\r\n"
    most = []
    with server.connect() as connection:
        connection.settimeout(60)
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        for start in range(0, len(body), 256 * 1024):
            connection.sendall(body[start : start + 256 * 1024])
            most.append(process.memory_info().rss)
        answer = read_answer(connection)
    assert answer.json() == {"name": "big.bin", "size": len(content), "note": "hello", "last": "end"}
    # Starlette keeps a megabyte of a file before it goes to disk.
    assert max(most) - before < 8 * MIB


@pytest.mark.parametrize("target", ["/stream", "/unread", "/handled"])
def test_a_body_that_announces_too_much_is_refused_unread(server: AppServer, target: str) -> None:
    with server.connect() as connection:
        connection.sendall(f"POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {64 * MIB}\r\n\r\n".encode())
        assert read_answer(connection).status == 413


def test_a_body_that_grows_too_large_is_refused(serve: Serve) -> None:
    """And the app, to which the client has gone, can add no tasks to an answer that nobody gets."""
    server = serve(SOURCE)
    with server.connect() as connection:
        connection.sendall(b"POST /handled HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        part = b"100000\r\n" + b"x" * MIB + b"\r\n"
        for _ in range(17):
            connection.sendall(part)
        assert read_answer(connection).status == 413
    until(lambda: "body raised ClientDisconnect" in server.stdout(), "the app has heard that its client is gone")
    (row,) = until(server.tasks, "the task is written down")
    assert (row.name, row.reason) == ("print", 3)
    assert server.stop() == 0
    assert "must not run" not in server.stdout()


def test_an_answer_that_has_begun_outlives_its_requests_body(server: AppServer) -> None:
    """Of a body that is too large the rest is not read; the answer reaches its end."""
    with server.connect() as connection:
        connection.sendall(b"POST /echo/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        part = b"100000\r\n" + b"x" * MIB + b"\r\n"
        for _ in range(17):
            connection.sendall(part)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.endswith(b" the end\r\n0\r\n\r\n")


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\nabcdefgh\r\n"])
def test_a_broken_body_is_refused(server: AppServer, broken: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /stream HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + broken)
        assert read_answer(connection).status == 400
    assert server.ask("GET", "/fast/1").status == 200


def test_a_client_that_waits_to_be_asked_is_asked_when_the_app_reads(server: AppServer) -> None:
    """Expect: 100-continue."""
    with server.connect() as connection:
        connection.sendall(b"POST /wanted HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(8)
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"12345")
        assert read_answer(connection).json() == 5


@pytest.mark.parametrize("length", [5, 64 * MIB])
def test_a_client_that_waits_to_be_asked_may_be_answered_at_once(server: AppServer, length: int) -> None:
    with server.connect() as connection:
        head = f"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert read_answer(connection).status == (200 if length == 5 else 413)


@pytest.mark.parametrize("size", [100, 3 * MIB])
@pytest.mark.parametrize("target", ["/unread", "/unread-stream"])
def test_a_body_that_nobody_reads_is_not_in_the_way(server: AppServer, target: str, size: int) -> None:
    """The answer arrives, and the connection can be used for the next request, as with uvicorn."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=8)
    for _ in range(3):
        connection.request("POST", target, b"x" * size)
        response = connection.getresponse()
        assert response.status == 200
        assert response.read() in (b'{"unread":true}', b"partpartpart")
    connection.close()


def test_pipelined_requests_of_both_ways_are_answered_in_order(server: AppServer) -> None:
    targets = ["/fast/1", "/general/2", "/general/3", "/fast/4", "/nowhere", "/general/5", "/fast/6"]
    with server.connect() as connection:
        connection.sendall("".join(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n" for target in targets).encode())
        answers: list[Answer] = [read_answer(connection) for _ in targets]
    said = [answer.json() for answer in answers]
    assert said == [
        {"fast": 1},
        {"general": 2},
        {"general": 3},
        {"fast": 4},
        {"detail": "Not Found"},
        {"general": 5},
        {"fast": 6},
    ]


def test_pipelined_bodies_of_both_kinds_keep_apart(server: AppServer) -> None:
    """The connection ends with the first chunked one, whatever comes after it (docs/server.md, "HTTP, to the letter")."""
    with server.connect() as connection:
        for number in range(3):
            body = b"y" * number
            connection.sendall(b"POST /stream HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        chunked(connection, "/stream", [b"x" * 10] * 3)
        totals = [read_answer(connection).json()["total"] for _ in range(4)]
        assert connection.recv(1) == b""
    assert totals == [0, 1, 2, 30]


def test_the_app_notices_a_client_that_has_gone(server: AppServer) -> None:
    before = server.stdout().count("noticed")
    with server.connect() as connection:
        connection.sendall(b"GET /waits HTTP/1.1\r\nhost: x\r\n\r\n")
        assert stays(lambda: server.stdout().count("noticed") == before, 0.1)
    until(lambda: server.stdout().count("noticed") == before + 1, "the app has noticed")


def test_asking_again_and_again_costs_no_memory(server: AppServer) -> None:
    """`is_disconnected()` in a loop, as in a long poll."""
    process = psutil.Process(server.process.pid)
    server.ask("GET", "/polls/2000")
    before = process.memory_info().rss
    assert server.ask("GET", "/polls/40000").json() is False
    assert process.memory_info().rss - before < 4 * MIB
