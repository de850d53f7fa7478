"""The general way: streamed answers, as a client sees them."""

from __future__ import annotations

import http.client
import socket
import struct

import psutil
import pytest

from .conftest import Serve, ServePlain
from .helpers import Answer, AppServer, ask, general_stub, read_answer, until
from .plain import PlainServer

SOURCE = general_stub("""
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.routing import Route
from pathlib import Path

Path("file.txt").write_bytes(bytes(range(256)) * 1000)
BLOCK = b"0123456789abcdef" * 4096


@app.get("/sync/{count}")
def sync(count: int):
    return StreamingResponse((b"chunk %d\\n" % number for number in range(count)), media_type="text/plain")


@app.get("/async/{count}")
async def slow(count: int):
    async def chunks():
        for number in range(count):
            yield f"chunk {number}\\n"
            await asyncio.sleep(0.002)
    return StreamingResponse(chunks(), headers={"X-Kind": "async"})


@app.get("/events", response_class=EventSourceResponse)
async def events():
    for number in range(3):
        yield ServerSentEvent(data={"number": number}, event="tick", id=str(number))


@app.get("/file")
def file():
    return FileResponse("file.txt")


@app.get("/sized/{announced}/{sent}")
async def sized(announced: int, sent: int, pieces: int = 1, wait: bool = False):
    async def chunks():
        for _ in range(pieces):
            if wait:
                await asyncio.sleep(0.01)
            yield b"x" * (sent // pieces)
    return StreamingResponse(chunks(), headers={"Content-Length": str(announced)})


@app.get("/breaks/{after}")
async def breaks(after: int):
    async def chunks():
        for _ in range(after):
            yield b"some text"
            await asyncio.sleep(0.005)
        raise ValueError("in the middle")
    return StreamingResponse(chunks())


@app.get("/exits")
async def exits():
    async def chunks():
        yield b"some text"
        await asyncio.sleep(0.005)
        raise SystemExit(7)
    return StreamingResponse(chunks())


@app.get("/large/{megabytes}")
async def large(megabytes: int):
    async def chunks():
        for _ in range(megabytes * 16):
            yield BLOCK
        print("all given")
    return StreamingResponse(chunks())


@app.get("/piece/{megabytes}")
async def piece(megabytes: int):
    return StreamingResponse(iter([b"x" * megabytes * 1048576]))


@app.get("/status/{code}")
async def status(code: int):
    return StreamingResponse(iter([b"a", b"b"] if code not in (204, 304) else []), status_code=code)


@app.get("/endless")
async def endless(request: Request):
    async def chunks():
        try:
            while True:
                yield BLOCK[:100]
                await asyncio.sleep(0.005)
        finally:
            print("generator closed")
    return StreamingResponse(chunks())


async def raw(scope, receive, send):
    headers = [[b"x-list", b"1"], [b"set-cookie", b"a=1"], [b"set-cookie", b"b=2"]]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": memoryview(b"view "), "more_body": True})
    await send({"type": "http.response.body", "body": bytearray(b"array "), "more_body": True})
    await send({"type": "http.response.body"})


class Unfinished:
    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})


class Silent:
    async def __call__(self, scope, receive, send):
        pass


class Twice:
    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.start", "status": 201, "headers": []})


class Late:
    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        await send({"type": "http.response.body", "body": b"more"})


def routed(request):
    return FileResponse("file.txt")


def streamed(request):
    return StreamingResponse(iter([b"a", b"b"]))


app.mount("/routed", Starlette(routes=[Route("/file", routed), Route("/stream", streamed)]))
app.mount("/raw", raw)
app.mount("/unfinished", Unfinished())
app.mount("/silent", Silent())
app.mount("/twice", Twice())
app.mount("/late", Late())
""")


@pytest.fixture(scope="module")
def server(shared: Serve) -> AppServer:
    return shared(SOURCE)


@pytest.fixture(scope="module")
def plain(plainly: ServePlain) -> PlainServer:
    return plainly(SOURCE)


def seen(port: int, method: str, target: str, **headers: str) -> object:
    """Status, headers that matter and body; of a broken answer, that it was broken and how much of it came."""
    try:
        answer = ask(port, method, target, None, list(headers.items()))
    except http.client.IncompleteRead as error:
        return "broken", bytes(error.partial)
    except http.client.HTTPException as error:
        return "broken", type(error).__name__
    hop = {"date", "server", "connection", "transfer-encoding", "last-modified", "etag"}
    return answer.status, sorted(pair for pair in answer.headers if pair[0] not in hop), answer.body


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/sync/0", {}),
        ("GET", "/sync/1", {}),
        ("GET", "/sync/300", {}),
        ("GET", "/async/5", {}),
        ("GET", "/events", {}),
        ("GET", "/file", {}),
        ("GET", "/file", {"Range": "bytes=0-9"}),
        ("GET", "/file", {"Range": "bytes=100-"}),
        ("GET", "/file", {"Range": "bytes=-5"}),
        ("GET", "/file", {"Range": "bytes=999999-"}),
        ("GET", "/file", {"Range": "apples=1"}),
        ("GET", "/sized/1000/1000?pieces=10", {}),
        ("GET", "/sized/1000/1000?pieces=10&wait=true", {}),
        ("GET", "/sized/0/0", {}),
        ("GET", "/status/200", {}),
        ("GET", "/status/404", {}),
        ("GET", "/status/204", {}),
        ("GET", "/status/304", {}),
        ("HEAD", "/raw/", {}),
        ("HEAD", "/routed/file", {}),
        ("HEAD", "/routed/stream", {}),
        ("GET", "/raw/", {}),
        ("GET", "/unfinished/", {}),
        ("GET", "/silent/", {}),
        ("GET", "/late/", {}),
        ("GET", "/breaks/3", {}),
        ("GET", "/large/2", {}),
        ("GET", "/piece/3", {}),
    ],
)
def test_a_streamed_answer_is_uvicorns(
    server: AppServer, plain: PlainServer, method: str, target: str, headers: dict[str, str]
) -> None:
    """Status, headers and body, or that the answer is broken off and what came before."""
    expected = seen(plain.port, method, target, **headers)
    assert expected == seen(server.port, method, target, **headers)


@pytest.mark.parametrize(
    "target", ["/sized/10/5", "/sized/10/20", "/sized/10/5?wait=true", "/sized/10/20?pieces=3&wait=true", "/twice/"]
)
def test_an_app_that_says_two_things_is_never_taken_for_one_that_said_one(server: AppServer, target: str) -> None:
    """Where the head has not left, 500 is better than uvicorn's broken connection."""
    answer = seen(server.port, "GET", target)
    assert answer[0] in ("broken", 500), answer  # type: ignore[index]


def test_the_head_leaves_before_the_first_chunk(server: AppServer) -> None:
    """A client can act on it while the app makes the body."""
    with server.connect() as connection:
        connection.sendall(b"GET /raw/ HTTP/1.1\r\nhost: x\r\n\r\n")
        head = connection.recv(4096)
        assert b"\r\n\r\n" in head
        assert b"view" not in head
        assert head.count(b"set-cookie") == 2


def test_a_connection_goes_on_after_streamed_answers(server: AppServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=8)
    for target in ("/sync/3", "/async/2", "/file", "/sized/10/10", "/events", "/sync/0"):
        connection.request("GET", target)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        assert not response.will_close
    connection.close()


def test_a_large_stream_to_a_slow_reader_needs_no_memory(server: AppServer) -> None:
    """The generator is asked for no more than what the client takes."""
    process = psutil.Process(server.process.pid)
    seen(server.port, "GET", "/large/1")
    before = process.memory_info().rss
    given = server.stdout().count("all given")
    with server.connect(receive_buffer=32768) as connection:
        connection.sendall(b"GET /large/50 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received, most = 0, 0
        while part := connection.recv(65536):
            received += len(part)
            most = max(most, process.memory_info().rss)
            if received < 10 << 20:
                assert server.stdout().count("all given") == given
    assert received > 50 << 20
    assert most - before < 12 << 20


def test_a_generator_that_exits_breaks_its_answer_and_nothing_else(server: AppServer) -> None:
    assert seen(server.port, "GET", "/exits") == ("broken", b"some text")
    assert server.ask("GET", "/sync/1").body == b"chunk 0\n"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_closes_the_generator(server: AppServer, how: str) -> None:
    before = server.stdout().count("generator closed")
    with server.connect() as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.recv(4096)
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: server.stdout().count("generator closed") == before + 1, "the generator is closed")


def test_http_1_0_gets_a_stream_that_ends_with_its_connection(server: AppServer) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /sync/3 HTTP/1.0\r\n\r\n")
        whole = b""
        while part := connection.recv(4096):
            whole += part
    assert whole.endswith(b"\r\n\r\nchunk 0\nchunk 1\nchunk 2\n")
    assert b"transfer-encoding" not in whole


def test_http_1_0_with_keep_alive_may_ask_again(server: AppServer) -> None:
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(b"GET /file HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            answer: Answer = read_answer(connection)
            assert len(answer.body) == 256_000
