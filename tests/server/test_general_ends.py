"""The general way at its ends: clients that leave, drain, deadline, kill, limits, and what thousands of requests leave behind."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import struct
import time

import psutil
import pytest

from harness.rows import Gauge

from .conftest import Serve
from .helpers import AppServer, ask, general_stub, read_answer, stays, stub, until

SOURCE = general_stub("""
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from starlette.background import BackgroundTask


def note(text, seconds=0.0):
    time.sleep(seconds)
    print("note", text, flush=True)


async def anote(text, seconds=0.0):
    await asyncio.sleep(seconds)
    print("note", text, flush=True)


async def session():
    yield "open"
    print("note exit", flush=True)


@app.get("/stream/{count}")
async def stream(count: int, tasks: BackgroundTasks, state=Depends(session), size: int = 10):
    tasks.add_task(note, "first")
    tasks.add_task(anote, "second")
    async def chunks():
        try:
            for _ in range(count):
                yield b"x" * size
                await asyncio.sleep(0.005)
        finally:
            print("note generator closed", flush=True)
    return StreamingResponse(chunks())


@straight.get("/fast-stream/{count}")
def fast_stream(count: int, tasks: BackgroundTasks):
    tasks.add_task(note, "of the straight way")
    async def chunks():
        for _ in range(count):
            yield b"x" * 10
            await asyncio.sleep(0.005)
    return StreamingResponse(chunks())


@app.get("/answer", response_class=HTMLResponse)
async def answer(tasks: BackgroundTasks, size: int = 10, seconds: float = 0.0, count: int = 1, a: bool = False):
    for number in range(count):
        tasks.add_task(anote if a else note, number, seconds)
    return "x" * size


@app.get("/sleeps")
async def sleeps(tasks: BackgroundTasks, seconds: float, request: Request):
    tasks.add_task(note, "after the sleep")
    await asyncio.sleep(seconds)
    return Response("slept")


@app.get("/json")
async def json(request: Request):
    return {"hello": "world"}


@app.post("/body")
async def body(request: Request):
    return len(await request.body())


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


@app.get("/counts")
async def counts(request: Request):
    import gc
    gc.collect()
    return {"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects())}
""")


def notes(server: AppServer) -> list[str]:
    return [line.removeprefix("note ") for line in server.stdout().splitlines() if line.startswith("note ")]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_a_stream_does_not_stop_its_tasks(serve: Serve, how: str) -> None:
    """They run once the generator is closed, and the exits of dependencies follow them, as on uvicorn."""
    server = serve(SOURCE)
    with server.connect() as connection:
        connection.sendall(b"GET /stream/100000 HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.recv(4096)
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rows = server.wait_ended(2)
    assert [(row.finished > 0, row.flags) for row in rows] == [(True, 1)] * 2
    until(lambda: notes(server) == ["generator closed", "first", "second", "exit"], "all has happened in order")
    assert server.stop() == 0


def test_a_client_that_leaves_before_its_answer_does_not_stop_its_tasks(serve: Serve) -> None:
    server = serve(SOURCE)
    with server.connect() as connection:
        connection.sendall(b"GET /sleeps?seconds=0.2 HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.05)
    (row,) = server.wait_ended(1)
    assert (row.finished > 0, row.flags) == (True, 1)


def test_tasks_wait_for_the_last_byte_of_a_stream(serve: Serve) -> None:
    """However long the client takes to read what the app has long said."""
    server = serve(SOURCE)
    with server.connect(receive_buffer=4096) as connection:
        connection.sendall(b"GET /stream/3?size=3000000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        until(lambda: server.gauge(Gauge.ACCEPTED) == 2, "the tasks are accepted")
        assert stays(lambda: server.gauge(Gauge.STARTED) == 0, 0.3)
        while connection.recv(1 << 20):
            pass
    rows = server.wait_ended(2)
    assert all(row.accepted <= row.flushed <= row.started for row in rows)
    assert [row.flags for row in rows] == [0, 0]


@pytest.mark.parametrize("target", ["/stream/80", "/fast-stream/80"])
def test_a_drain_lets_a_stream_and_its_tasks_end(serve: Serve, target: str) -> None:
    server = serve(SOURCE)
    with server.connect() as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        connection.recv(4096)
        server.send(signal.SIGTERM)
        received = b""
        while part := connection.recv(4096):
            received += part
    assert received.endswith(b"0\r\n\r\n")
    assert server.wait() == 0
    assert all(row.finished for row in server.tasks())
    assert server.tasks()


def test_a_drain_lets_a_slow_reader_have_the_end_of_its_stream(serve: Serve) -> None:
    """The app has ended long before; what is left is in the server alone."""
    server = serve(SOURCE)
    with server.connect(receive_buffer=4096) as connection:
        connection.sendall(b"GET /stream/20?size=1000000 HTTP/1.1\r\nhost: x\r\n\r\n")
        received, last = 0, b""
        # Until the app has said everything: what is left is in the server and the kernel.
        while "generator closed" not in notes(server):
            part = connection.recv(16384)
            received, last = received + len(part), (last + part)[-5:]
        server.send(signal.SIGTERM)
        time.sleep(0.8)
        while part := connection.recv(1 << 20):
            received, last = received + len(part), (last + part)[-5:]
    assert received > 20_000_000
    assert last == b"0\r\n\r\n"
    assert server.wait() == 0


def test_at_the_deadline_a_stream_is_broken_off_and_its_tasks_are_given_up(serve: Serve) -> None:
    server = serve(SOURCE, "--drain", "0.4")
    with server.connect() as connection:
        connection.sendall(b"GET /stream/100000 HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.recv(4096)
        assert server.stop() == 3
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(4096):
                received += part
    assert not received.endswith(b"0\r\n\r\n")
    assert [row.reason for row in server.tasks()] == [4, 4]
    assert "abandoned 2 tasks, 2 never started" in server.stderr()


def test_at_the_deadline_a_running_task_of_a_general_route_is_named(serve: Serve) -> None:
    server = serve(SOURCE, "--drain", "0.3")
    assert server.ask("GET", "/answer?seconds=30").status == 200
    assert server.ask("GET", "/answer?seconds=30&a=true").status == 200
    until(lambda: server.gauge(Gauge.STARTED) == 2, "both run")
    assert server.stop() == 3
    assert "2 running" in server.stderr()


def test_after_a_kill_the_rows_are_true(serve: Serve) -> None:
    """What a client has read of an answer, its tasks were accepted before."""
    server = serve(SOURCE)
    acknowledged = 0
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=8)
    for number in range(60):
        connection.request("GET", "/answer?count=3&seconds=0.005", headers={"X-Op-Id": f"{number + 1:x}"})
        acknowledged += connection.getresponse().read() == b"x" * 10
    server.process.kill()
    server.process.wait()
    connection.close()
    rows = server.tasks()
    assert len(rows) == 3 * acknowledged
    assert {row.op for row in rows} == set(range(1, acknowledged + 1))
    for row in rows:
        assert row.accepted
        assert not row.started or row.flushed <= row.started
        assert not row.finished or row.started <= row.finished


def test_an_endpoint_that_cancels_itself_has_failed_and_the_log_says_so(serve: Serve) -> None:
    """Only what the server itself cancels at its deadline is passed over."""
    server = serve(
        general_stub("""
@app.get("/cancelled")
async def cancelled():
    given_up = asyncio.ensure_future(asyncio.sleep(9))
    given_up.cancel()
    await given_up
@app.get("/long")
async def long():
    print("begun", flush=True)
    await asyncio.sleep(60)
"""),
        "--drain",
        "0.1",
    )
    assert server.ask("GET", "/cancelled").status == 500
    assert "GET /cancelled raised CancelledError" in server.stderr()
    with server.connect() as client:
        client.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: "begun" in server.stdout(), "the endpoint waits")
        assert server.stop() == 0
    assert "GET /long" not in server.stderr()


def test_admission_holds_for_general_routes(serve: Serve) -> None:
    server = serve(SOURCE, "--queue-limit", "2", "--pool", "1")
    statuses = [ask(server.port, "GET", "/answer?seconds=0.3").status for _ in range(4)]
    assert statuses == [200, 200, 503, 503]
    assert server.ask("GET", "/answer").header("retry-after") == "1"
    # Routes that add no tasks are not concerned.
    assert server.ask("GET", "/json").status == 200
    server.wait_ended(2)
    until(lambda: server.ask("GET", "/answer").status == 200, "there is room again")


def test_a_long_request_that_can_add_no_task_takes_no_room(serve: Serve) -> None:
    server = serve(SOURCE, "--queue-limit", "1")
    with server.connect() as connection:
        connection.sendall(b"GET /stream/300 HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.recv(4096)
        # It has added its two, which wait for it.
        assert server.ask("GET", "/answer").status == 503
    server.wait_ended(3)
    until(lambda: server.ask("GET", "/answer").status == 200, "there is room again")


@pytest.mark.parametrize("options", [["--on-error", "stop"], ["--order", "parallel"], []])
def test_policies_hold_for_general_routes(serve: Serve, options: list[str]) -> None:
    server = serve(
        stub("""
def fails():
    raise ValueError("task failed")


def waits():
    time.sleep(0.2)


@app.get("/fails")
async def route(tasks: BackgroundTasks, request: Request):
    tasks.add_task(fails)
    tasks.add_task(waits)
    tasks.add_task(waits)
    return 1
"""),
        *options,
    )
    server.ask("GET", "/fails")
    rows = {row.index: row for row in server.wait_ended(3)}
    assert rows[0].failed
    if "stop" in options:
        assert [rows[1].reason, rows[2].reason] == [1, 1]
    elif "parallel" in options:
        assert rows[2].started < rows[1].finished
    else:
        assert rows[1].finished <= rows[2].started


def _settle(server: AppServer) -> tuple[int, int, int, int]:
    process = psutil.Process(server.process.pid)
    until(lambda: server.ask("GET", "/counts").json()["tasks"] <= 4, "only the loop's own tasks are left")
    until(lambda: process.num_fds() <= 40, "the connections are closed")
    seen = server.ask("GET", "/counts").json()
    return process.memory_info().rss, process.num_fds(), process.num_threads(), seen["objects"]


def test_thousands_of_requests_and_clients_that_leave_cost_nothing_that_stays(serve: Serve) -> None:
    server = serve(SOURCE)
    handshake = (
        b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )

    def churn(times: int) -> None:
        for _ in range(times):
            with server.connect() as connection:
                for request in (b"GET /json", b"GET /answer", b"GET /json"):
                    connection.sendall(request + b" HTTP/1.1\r\nhost: x\r\n\r\n")
                    assert read_answer(connection).status == 200
                connection.sendall(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n" + b"x" * 1000)
            with server.connect() as connection:
                connection.sendall(b"GET /stream/100000 HTTP/1.1\r\nhost: x\r\n\r\n")
                connection.recv(100)
            with server.connect() as connection:
                connection.sendall(handshake)
                connection.recv(100)

    churn(150)
    before = _settle(server)
    churn(600)
    after = _settle(server)
    assert after[0] - before[0] < 6 << 20
    assert after[1] <= before[1] + 1
    assert after[2] <= before[2] + 2
    assert after[3] - before[3] < 2000
    assert server.stop() == 0
    assert all(row.ended for row in server.tasks())
