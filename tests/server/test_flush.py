"""Tasks start once the response has left, not before: hyper is held to it with readers that do not read."""

from __future__ import annotations

import signal
import socket
import struct

import pytest

from harness.rows import Gauge, TaskKind

from .conftest import Serve
from .helpers import AppServer, read_answer, stays, stub, until

BIG = 32 << 20

APP = stub("""
def work(): pass

async def awork(): pass

def late(): pass

@app.get("/big")
def big(background_tasks: BackgroundTasks):
    background_tasks.add_task(work)
    background_tasks.add_task(awork)
    return Response(b"x" * (32 << 20), media_type="text/plain")

@app.get("/abig")
async def abig(background_tasks: BackgroundTasks):
    background_tasks.add_task(awork)
    background_tasks.add_task(work)
    return Response(b"x" * (32 << 20), media_type="text/plain")

@app.post("/nothing", status_code=204)
def nothing(background_tasks: BackgroundTasks):
    background_tasks.add_task(late)

@app.get("/small")
def small(background_tasks: BackgroundTasks):
    background_tasks.add_task(late)
    return {"small": True}

@app.head("/headed")
def headed(background_tasks: BackgroundTasks):
    background_tasks.add_task(late)
    return {"a body": "that a HEAD request does not get"}

@app.get("/empty")
def empty(background_tasks: BackgroundTasks):
    background_tasks.add_task(late)
    return Response(b"")

@app.get("/none-304")
def none_304(background_tasks: BackgroundTasks):
    background_tasks.add_task(late)
    return Response(b"this must not be sent", status_code=304)
""")

CLIENT_GONE = 1


@pytest.fixture(scope="module")
def server(shared: Serve) -> AppServer:
    """A server whose requests are told apart by their operations."""
    return shared(APP)


def send(connection: socket.socket, method: str, path: str, op: int, *more: str) -> None:
    lines = [f"{method} {path} HTTP/1.1", "host: test", f"x-op-id: {op:016x}", *more]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())


def read_head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(1)
        assert part
        data += part
    return data


def read_exactly(connection: socket.socket, count: int) -> None:
    while count:
        part = connection.recv(min(count, 1 << 20))
        assert part, f"{count} bytes are missing"
        count -= len(part)


def of(server: AppServer, op: int) -> list:
    return [task for task in server.tasks() if task.op == op]


def wait_all_ended(server: AppServer, op: int, count: int) -> list:
    until(lambda: sum(task.ended > 0 for task in of(server, op)) >= count, f"{count} tasks of {op} have ended")
    return of(server, op)


def in_order(task) -> bool:
    return 0 < task.accepted <= task.flushed <= task.started <= task.finished


def test_no_task_starts_while_a_slow_reader_has_not_taken_the_response(server: AppServer):
    """accepted < flushed <= started: the last byte is handed to the kernel first, however long the reader takes."""
    for op, path in ((1, "/big"), (2, "/abig")):
        with server.connect(receive_buffer=4096) as connection:
            send(connection, "GET", path, op)
            assert b" 200 " in read_head(connection)
            assert len(of(server, op)) == 2
            assert stays(lambda op=op: not any(task.flushed or task.started for task in of(server, op)), 0.4)
            # All but what the kernels' buffers cannot hold by far: still nothing may start.
            read_exactly(connection, BIG // 2)
            assert stays(lambda op=op: not any(task.flushed or task.started for task in of(server, op)), 0.2)
            read_exactly(connection, BIG - BIG // 2)
            tasks = wait_all_ended(server, op, 2)
        assert all(in_order(task) and task.flags == 0 for task in tasks)
        assert {task.kind for task in tasks} == {TaskKind.DEF, TaskKind.ASYNC}


def test_a_client_that_goes_away_in_the_middle_does_not_stop_the_tasks_and_is_marked(server: AppServer):
    """The work was accepted, so it is done; flag 1 says that the response did not leave whole."""
    for op, path in ((3, "/big"), (4, "/abig")):
        with server.connect(receive_buffer=4096) as connection:
            send(connection, "GET", path, op)
            read_head(connection)
            assert not any(task.started for task in of(server, op))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tasks = wait_all_ended(server, op, 2)
        assert all(in_order(task) and task.flags == CLIENT_GONE for task in tasks)


def test_a_client_that_leaves_before_the_answer_does_not_stop_the_tasks(serve: Serve):
    """The endpoint is still running when the client goes: its tasks are accepted, run and marked."""
    server = serve(
        stub("""
def work(): pass
entered = []
@app.get("/slow")
def slow(background_tasks: BackgroundTasks):
    background_tasks.add_task(work)
    entered.append(1)
    deadline = time.monotonic() + 10
    while not os.path.exists("go") and time.monotonic() < deadline:
        time.sleep(0.005)
    return {}
""")
    )
    with server.connect() as connection:
        send(connection, "GET", "/slow", 5)
        until(lambda: server.gauge(Gauge.LANES_BUSY) == 1, "the endpoint runs")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "the server has noticed")
    (server.folder / "go").touch()
    (task,) = wait_all_ended(server, 5, 1)
    assert in_order(task)
    assert task.flags == CLIENT_GONE


@pytest.mark.parametrize(
    ("op", "method", "path", "status"),
    [(10, "POST", "/nothing", 204), (11, "GET", "/empty", 200), (12, "GET", "/none-304", 304), (13, "HEAD", "/headed", 200)],
)
def test_answers_without_a_body_have_left_before_their_tasks_start(
    server: AppServer, op: int, method: str, path: str, status: int
):
    """204, an empty body, 304 and HEAD: nothing follows the head, and the tasks wait for it; no client is said to have gone."""
    with server.connect() as connection:
        send(connection, method, path, op)
        head = read_head(connection)
        (task,) = wait_all_ended(server, op, 1)
    assert int(head.split()[1]) == status
    assert in_order(task)
    assert task.flags == 0


def test_a_head_answer_has_no_body(server: AppServer):
    """Nothing follows the head of an answer to HEAD or of a 304: the next answer on the connection can be read."""
    with server.connect() as connection:
        send(connection, "HEAD", "/headed", 20)
        send(connection, "GET", "/none-304", 21)
        send(connection, "GET", "/small", 22)
        assert b" 200 " in read_head(connection)
        assert b" 304 " in read_head(connection)
        assert read_answer(connection).json() == {"small": True}


def test_tasks_of_pipelined_requests_each_wait_for_their_own_response(server: AppServer):
    """Behind a large response that nobody reads, the tasks of the later ones must not start: their answers have not left."""
    with server.connect(receive_buffer=4096) as connection:
        send(connection, "GET", "/big", 30)
        send(connection, "GET", "/small", 31)
        read_head(connection)
        assert stays(lambda: not any(task.flushed or task.started for op in (30, 31) for task in of(server, op)), 0.3)
        read_exactly(connection, BIG)
        assert read_answer(connection).json() == {"small": True}
        tasks = wait_all_ended(server, 30, 2) + wait_all_ended(server, 31, 1)
    assert all(in_order(task) and task.flags == 0 for task in tasks)


def test_the_tasks_of_a_pipelined_answer_without_a_body_wait_for_the_large_one_before_it(server: AppServer):
    """A 204 behind 32 MB that nobody reads is not flushed, so its task must not start."""
    with server.connect(receive_buffer=4096) as connection:
        send(connection, "GET", "/big", 40)
        send(connection, "POST", "/nothing", 41, "content-length: 0")
        read_head(connection)
        assert stays(lambda: not any(task.flushed or task.started for op in (40, 41) for task in of(server, op)), 0.3)
        read_exactly(connection, BIG)
        assert b" 204 " in read_head(connection)
        tasks = wait_all_ended(server, 40, 2) + wait_all_ended(server, 41, 1)
    assert all(in_order(task) and task.flags == 0 for task in tasks)


def test_one_connection_serves_many_requests_one_after_another(server: AppServer):
    """Keep-alive: fifty requests, fifty tasks, each flushed after it was accepted and before it started."""
    with server.connect() as connection:
        for op in range(100, 150):
            send(connection, "GET", "/small", op)
            assert read_answer(connection).json() == {"small": True}
        until(
            lambda: [task.op for task in server.tasks() if task.finished and 100 <= task.op < 150] == list(range(100, 150)),
            "all have ended",
        )
    tasks = [task for task in server.tasks() if 100 <= task.op < 150]
    assert all(in_order(task) and task.flags == 0 for task in tasks)


def test_many_pipelined_requests_are_answered_in_order_and_all_their_tasks_run(server: AppServer):
    """Two hundred requests in one write: answered in order, every task run."""
    with server.connect() as connection:
        request = "".join(f"GET /small HTTP/1.1\r\nhost: t\r\nx-op-id: {op:x}\r\n\r\n" for op in range(1001, 1201))
        connection.sendall(request.encode())
        for _ in range(200):
            assert read_answer(connection).status == 200
        ops = list(range(1001, 1201))
        until(lambda: sorted(task.op for task in server.tasks() if task.finished and task.op > 1000) == ops, "all have ended")
    assert all(in_order(task) and task.flags == 0 for task in server.tasks() if task.op > 1000)


def test_what_the_rows_call_flushed_the_kernel_really_has(serve: Serve):
    """The server is frozen behind a reader that stalls: every answer whose tasks were let go can be read to its last byte."""
    server = serve(
        stub("""
def work(): pass

@app.get("/medium")
def medium(background_tasks: BackgroundTasks):
    background_tasks.add_task(work)
    return Response(b"x" * 50_000, media_type="text/plain")

@app.get("/nothing", status_code=204)
def nothing(background_tasks: BackgroundTasks):
    background_tasks.add_task(work)
""")
    )
    pairs = 300
    with server.connect(receive_buffer=4096) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        requests = "".join(
            f"GET {path} HTTP/1.1\r\nhost: t\r\nx-op-id: {2 * n + op:x}\r\n\r\n"
            for n in range(pairs)
            for op, path in ((1, "/medium"), (2, "/nothing"))
        )
        connection.sendall(requests.encode())

        def stalled() -> bool:
            seen = server.gauge(Gauge.REQUESTS)
            return 0 < seen < 2 * pairs and stays(lambda: server.gauge(Gauge.REQUESTS) == seen, 0.3)

        until(stalled, "the answers back up")
        server.send(signal.SIGSTOP)
        let_go = [task.op for task in server.tasks() if task.flushed]
        assert let_go
        connection.settimeout(0.4)
        data = bytearray()
        try:
            while part := connection.recv(1 << 20):
                data += part
        except TimeoutError:
            pass
        server.send(signal.SIGCONT)
    whole = []
    for op in range(1, 2 * pairs + 1):
        end = data.find(b"\r\n\r\n")
        length = end + 4 + (50_000 if op % 2 else 0)
        if end < 0 or len(data) < length:
            break
        whole.append(op)
        del data[:length]
    assert set(let_go) <= set(whole), f"let go before they had left: {sorted(set(let_go) - set(whole))}"
