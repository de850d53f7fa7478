"""The general way: web sockets, spoken to by the client of the `websockets` package and by raw ones."""

from __future__ import annotations

import signal
import socket
import struct
import time
from contextlib import ExitStack
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from harness.rows import Gauge

from .conftest import Serve, ServePlain
from .helpers import PATIENCE_S, AppServer, stays, stub, until
from .plain import PlainServer

SOURCE = stub("""
from fastapi import WebSocketException
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketDisconnect


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            print("closed", message["code"], repr(message.get("reason")), flush=True)
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


@app.websocket("/protocols")
async def protocols(socket: WebSocket):
    await socket.accept(subprotocol=socket.scope["subprotocols"][-1], headers=[(b"x-extra", b"1")])
    await socket.send_json([socket.scope["subprotocols"], socket.headers["x-mine"], socket.query_params["q"]])
    await socket.send_json(socket.scope["scheme"])
    await socket.send_json([socket.scope["asgi"], socket.url.path, socket.client.host])
    await socket.close()


@app.websocket("/closes/{code}")
async def closes(socket: WebSocket, code: int, reason: str = ""):
    await socket.accept()
    await socket.close(code, reason)


@app.websocket("/returns")
async def returns(socket: WebSocket):
    await socket.accept()


@app.websocket("/denies")
async def denies(socket: WebSocket):
    await socket.close()


@app.websocket("/explains")
async def explains(socket: WebSocket):
    await socket.send_denial_response(PlainTextResponse("not you", status_code=451, headers={"x-why": "law"}))


@app.websocket("/silent")
async def silent(socket: WebSocket):
    pass


@app.websocket("/crashes")
async def crashes(socket: WebSocket, late: bool = False):
    if late:
        await socket.accept()
    raise ValueError("socket crashed")


@app.websocket("/policy")
async def policy(socket: WebSocket, late: bool = False):
    if late:
        await socket.accept()
    raise WebSocketException(code=4001, reason="own")


async def token(socket: WebSocket, token: str | None = None):
    if token != "yes":
        raise WebSocketException(code=1008, reason="no token")
    yield token
    print("dependency closed", flush=True)


@app.websocket("/depends")
async def depends(socket: WebSocket, token: str = Depends(token)):
    await socket.accept()
    await socket.send_text(token)
    await socket.receive_text()


@app.websocket("/floods")
async def floods(socket: WebSocket):
    await socket.accept()
    try:
        for number in range(2000):
            await socket.send_bytes(b"x" * 65536)
            if number % 50 == 0:
                print("sent", number, flush=True)
    except WebSocketDisconnect as error:
        print("send raised", error.code, flush=True)


@app.websocket("/deaf")
async def deaf(socket: WebSocket):
    await socket.accept()
    await asyncio.sleep(1.5)
    count = 0
    while (await socket.receive())["type"] == "websocket.receive":
        count += 1
    print("heard", count, flush=True)


@app.get("/tasks")
def tasks(request: Request, tasks: BackgroundTasks):
    tasks.add_task(int)
    return {}


@app.get("/fast")
def fast(tasks: BackgroundTasks):
    tasks.add_task(int)
    return {}
""")

HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


@pytest.fixture(scope="module")
def server(shared: Serve) -> AppServer:
    return shared(SOURCE)


@pytest.fixture(scope="module")
def plain(plainly: ServePlain) -> PlainServer:
    return plainly(SOURCE)


def ws(port: int, target: str, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}{target}", open_timeout=PATIENCE_S, close_timeout=2, proxy=None, **options)


def story(port: int, target: str, **options: Any) -> list[object]:
    """What a client that only listens gets to know."""
    try:
        with ws(port, target, **options) as client:
            said: list[object] = [client.response.headers.get("x-extra"), client.subprotocol]
            try:
                while True:
                    said.append(client.recv(timeout=PATIENCE_S))
            except ConnectionClosed as closed:
                received = closed.rcvd
                return [*said, received.code if received else None, received.reason if received else None]
    except InvalidStatus as refused:
        response = refused.response
        return [response.status_code, response.headers.get("x-why"), response.body if response.status_code == 451 else None]


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("/protocols?q=%20a", {"subprotocols": ["one", "two"], "additional_headers": {"X-Mine": "me"}}),
        ("/closes/1000", {}),
        ("/closes/3123?reason=because", {}),
        ("/denies", {}),
        ("/explains", {}),
        ("/silent", {}),
        ("/crashes", {}),
        ("/policy", {}),
        ("/policy?late=true", {}),
        ("/depends", {}),
        ("/depends?token=no", {}),
        ("/nowhere", {}),
        ("/fast", {}),
    ],
)
def test_a_client_hears_what_it_hears_from_uvicorn(
    server: AppServer, plain: PlainServer, target: str, options: dict[str, Any]
) -> None:
    expected = story(plain.port, target, **options)
    assert expected == story(server.port, target, **options)


@pytest.mark.parametrize(("target", "code"), [("/returns", 1000), ("/crashes?late=true", 1011)])
def test_a_socket_that_its_app_leaves_open_is_closed_with_a_code(server: AppServer, target: str, code: int) -> None:
    """Uvicorn drops it without one."""
    assert [None, None, code, ""] == story(server.port, target)


def test_messages_of_both_kinds_come_back(server: AppServer) -> None:
    with ws(server.port, "/echo") as client:
        for message in ("text", "", "ünï", b"bytes", b"", "x" * 200_000, bytes(300_000)):
            client.send(message)
            assert message == client.recv(timeout=PATIENCE_S)


def test_a_message_in_many_frames_is_one(server: AppServer) -> None:
    with ws(server.port, "/echo") as client:
        client.send(["one ", "two ", "three"])
        assert client.recv(timeout=PATIENCE_S) == "one two three"


def test_a_dependency_of_a_socket_is_closed_with_it(server: AppServer) -> None:
    before = server.stdout().count("dependency closed")
    with ws(server.port, "/depends?token=yes") as client:
        assert client.recv(timeout=PATIENCE_S) == "yes"
        assert stays(lambda: server.stdout().count("dependency closed") == before, 0.05)
        client.send("end")
    until(lambda: server.stdout().count("dependency closed") == before + 1, "the dependency is closed")


@pytest.mark.parametrize(("code", "reason", "seen"), [(1000, "", "1000 ''"), (3001, "bye", "3001 'bye'")])
def test_the_app_is_told_how_the_client_closed(server: AppServer, code: int, reason: str, seen: str) -> None:
    count = server.stdout().count(f"closed {seen}")
    client = ws(server.port, "/echo", legacy=True)
    client.close(code, reason)
    until(lambda: server.stdout().count(f"closed {seen}") == count + 1, "the app knows")


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_vanishes_was_closed_abnormally(server: AppServer, how: str) -> None:
    count = server.stdout().count("closed 1006")
    client = ws(server.port, "/echo", legacy=True)
    client.send("x")
    client.recv(timeout=PATIENCE_S)
    if how == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.shutdown(socket.SHUT_RDWR)
    client.socket.close()
    until(lambda: server.stdout().count("closed 1006") == count + 1, "the app knows")


def test_a_message_that_is_too_large_closes_with_1009(server: AppServer) -> None:
    with ws(server.port, "/echo", max_size=None) as client:

        def exchange() -> None:
            client.send(b"x" * (17 << 20))
            client.recv(timeout=PATIENCE_S)

        with pytest.raises(ConnectionClosed) as closed:
            exchange()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),  # no UTF-8
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that there is not
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xc1\x82\0\0\0\0hi", 1002),  # compressed, without having agreed to it
    ],
)
def test_a_client_that_breaks_the_protocol_is_told_how(server: AppServer, frame: bytes, code: int) -> None:
    with server.connect() as connection:
        connection.sendall(HANDSHAKE + frame)
        received = b""
        while part := connection.recv(4096):
            received += part
            if received.endswith(code.to_bytes(2, "big")):
                break
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in received
    assert received.endswith(b"\x88\x02" + code.to_bytes(2, "big"))


def test_another_version_of_the_protocol_is_refused(server: AppServer) -> None:
    answer = server.ask(
        "GET", "/echo", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="x" * 22 + "==", Sec_WebSocket_Version="8"
    )
    assert (answer.status, answer.header("sec-websocket-version")) == (426, "13")


def test_a_slow_reader_holds_back_the_app(server: AppServer) -> None:
    """No more waits in the server than what the app may be ahead."""
    process = psutil.Process(server.process.pid)
    server.ask("GET", "/fast")
    before = process.memory_info().rss
    with ws(server.port, "/floods", max_queue=1) as client:
        client.recv(timeout=PATIENCE_S)
        last = server.stdout().count("sent ")
        assert stays(lambda: process.memory_info().rss - before < 16 << 20, 0.3)
        assert server.stdout().count("sent ") - last < 30
        for _ in range(1999):
            assert len(client.recv(timeout=PATIENCE_S)) == 65536


def test_an_app_that_sends_to_a_client_that_has_gone_is_told(server: AppServer) -> None:
    client = ws(server.port, "/floods", max_queue=1, legacy=True)
    client.recv(timeout=PATIENCE_S)
    client.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: "send raised 1006" in server.stdout(), "the app is told")


def test_an_app_that_does_not_listen_holds_back_the_client(server: AppServer) -> None:
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    with ws(server.port, "/deaf") as client:
        for _ in range(400):
            client.send(bytes(65536))
            assert process.memory_info().rss - before < 12 << 20
    until(lambda: "heard 400" in server.stdout(), "the app has heard everything")


def test_a_goodbye_is_heard_while_the_client_reads_nothing(server: AppServer) -> None:
    """The server reads also while what it has to write cannot leave."""
    count = server.stdout().count("send raised")
    with server.connect(receive_buffer=4096) as connection:
        connection.sendall(HANDSHAKE.replace(b"/echo", b"/floods"))
        assert connection.recv(12) == b"HTTP/1.1 101"
        assert stays(lambda: server.stdout().count("send raised") == count, 0.2)
        connection.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        until(lambda: server.stdout().count("send raised") == count + 1, "the app is told")


def test_open_sockets_are_no_reason_to_refuse_tasks(serve: Serve) -> None:
    server = serve(SOURCE, "--queue-limit", "1")
    with ws(server.port, "/echo"), ws(server.port, "/echo"), ws(server.port, "/echo"):
        for number, target in enumerate(("/fast", "/tasks", "/fast", "/tasks")):
            assert server.ask("GET", target).status == 200
            server.wait_ended(number + 1)


def test_five_hundred_idle_sockets_cost_little_and_are_closed_with_1012(serve: Serve) -> None:
    server = serve(SOURCE)
    process = psutil.Process(server.process.pid)
    server.ask("GET", "/fast")
    threads, before = process.num_threads(), process.memory_info().rss
    with ExitStack() as stack:
        sockets = [stack.enter_context(server.connect()) for _ in range(500)]
        for connection in sockets:
            connection.sendall(HANDSHAKE)
        for connection in sockets:
            assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert process.num_threads() == threads
        # With its task, scope and WebSocket object in Python.
        assert (process.memory_info().rss - before) / 500 < 128 * 1024
        server.send(signal.SIGTERM)
        for connection in sockets:
            assert connection.recv(4096) == b"\x88\x02\x03\xf4"
            connection.sendall(b"\x88\x82\0\0\0\0\x03\xf4")
        assert server.wait() == 0
    assert server.stdout().count("closed 1012") == 500
    assert server.gauge(Gauge.DROPPED) == 0


def test_a_socket_that_does_not_answer_the_goodbye_delays_the_end_a_little(serve: Serve) -> None:
    server = serve(SOURCE, "--drain", "20")
    client = ws(server.port, "/floods", max_queue=1, legacy=True)
    client.recv(timeout=PATIENCE_S)
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 15
    client.socket.close()


def test_a_socket_that_its_app_keeps_open_is_dropped_at_the_deadline(serve: Serve) -> None:
    """No task is given up with it, so that the server ends well."""
    server = serve(SOURCE, "--drain", "0.5")
    with ws(server.port, "/deaf"):
        assert server.stop() == 0
