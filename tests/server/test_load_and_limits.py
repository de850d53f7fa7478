"""Many at once: the pool and its size, endpoint threads, admission, and clients that mean no good."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.rows import UNTAGGED, DropReason, Gauge

from .conftest import Serve
from .helpers import AppServer, Task, read_answer, stays, stub, until

APP = stub("""
from pydantic import BaseModel
class Body_(BaseModel):
    text: str

@app.get("/tasks")
def tasks(background_tasks: BackgroundTasks, count: int = 1, seconds: float = 0):
    for _ in range(count):
        background_tasks.add_task(time.sleep, seconds)
    return {}
@app.get("/sleep")
def sleeping(seconds: float):
    time.sleep(seconds)
    return {}
@app.get("/asleep")
async def asleeping(seconds: float):
    await asyncio.sleep(seconds)
    return {}
@app.get("/where")
def where():
    return threading.current_thread().name
@app.get("/awhere")
async def awhere():
    return threading.current_thread().name
@app.post("/body")
def body(body: Body_, background_tasks: BackgroundTasks):
    background_tasks.add_task(int)
    return len(body.text)
@app.post("/ignored")
def ignored():
    return "ignored"
""")


def most_at_once(tasks: list[Task]) -> int:
    """The largest number of tasks that ran at one moment."""
    steps = sorted(
        [(task.started, 1) for task in tasks if task.started]
        + [(task.ended, -1) for task in tasks if task.started and task.ended]
    )
    running = most = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def test_exactly_as_many_tasks_run_at_once_as_the_pool_has_threads(serve: Serve):
    """Never more; and all threads are used while enough tasks wait."""
    server = serve(APP, "--pool", "3")
    assert server.gauge(Gauge.POOL_SIZE) == 3
    for _ in range(12):
        server.ask("GET", "/tasks?seconds=0.05")
    tasks = server.wait_ended(12)
    assert most_at_once(tasks) == 3


def test_the_pool_grows_shrinks_and_comes_back_while_it_runs(serve: Serve):
    """Setting 0 of the page: each size asked for is taken up, also the first one again; what runs is not disturbed."""
    server = serve(APP, "--pool", "2")
    for _ in range(120):
        server.ask("GET", "/tasks?seconds=0.02&count=8")

    def runs(size: int) -> None:
        server.page.set(0, size)
        until(lambda: server.gauge(Gauge.POOL_SIZE) == size, f"the pool has {size} threads", 4)
        until(lambda: server.gauge(Gauge.POOL_BUSY) == size, f"{size} tasks run", 4)
        assert stays(lambda: server.gauge(Gauge.POOL_BUSY) <= size, 0.1)

    for size in (6, 1, 4, 2):
        runs(size)
    server.page.set(0, 40)
    tasks = server.wait_ended(960)
    assert all(task.finished for task in tasks)


def test_a_senseless_pool_size_is_not_obeyed(serve: Serve):
    """What the command line would refuse (allowed is 1 to 10,000) is refused in the page too: no threads without end."""
    server = serve(APP, "--pool", "2")
    server.page.set(0, 10_001)
    # The next size is taken up only after the senseless one has been looked at.
    threads = len(os.listdir(f"/proc/{server.process.pid}/task"))
    assert stays(lambda: len(os.listdir(f"/proc/{server.process.pid}/task")) <= threads + 1, 0.5)
    assert server.gauge(Gauge.POOL_SIZE) == 2


def test_blocking_endpoints_run_side_by_side(serve: Serve):
    """Twenty requests of 0.2 s to a def endpoint take far less than 4 s: endpoint threads are added."""
    server = serve(APP)
    for path in ("/sleep?seconds=0.2", "/asleep?seconds=0.2"):
        begun = time.monotonic()
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(lambda _, path=path: server.ask("GET", path).status, range(20)))
        assert answers == [200] * 20
        assert time.monotonic() - begun < 2.0
    assert 2 <= server.gauge(Gauge.LANES) <= 40


def test_there_are_never_more_endpoint_threads_than_allowed(serve: Serve):
    """Requests beyond them wait and are answered."""
    server = serve(APP, "--endpoint-threads", "3")
    with ThreadPoolExecutor(9) as clients:
        answers = [clients.submit(server.ask, "GET", "/sleep?seconds=0.1") for _ in range(9)]
        until(lambda: server.gauge(Gauge.LANES_BUSY) == 3, "all threads are busy")
        assert stays(lambda: server.gauge(Gauge.LANES) <= 3, 0.1)
        assert [answer.result().status for answer in answers] == [200] * 9


def test_def_endpoints_run_on_their_threads_and_async_ones_on_the_loop(serve: Serve):
    """Neither on the main thread, nor in the pool of the tasks."""
    server = serve(APP)
    assert server.ask("GET", "/where").json().startswith("endpoint-")
    assert {server.ask("GET", "/awhere").json() for _ in range(3)} == {"event-loop"}


def test_tasks_and_endpoints_do_not_take_each_others_threads(serve: Serve):
    """A pool full of sleeping tasks delays no answer."""
    server = serve(APP, "--pool", "1", "--drain", "0")
    server.ask("GET", "/tasks?seconds=60&count=50")
    until(lambda: server.gauge(Gauge.POOL_BUSY) == 1, "the pool is full")
    assert server.ask("GET", "/sleep?seconds=0").status == 200
    assert server.ask("GET", "/awhere").status == 200


def test_a_full_queue_answers_503_without_entering_python(serve: Serve):
    """With Retry-After, a row with reason rejected, and counted; routes without tasks are served; room is used again."""
    server = serve(APP, "--pool", "1", "--queue-limit", "3")
    for _ in range(3):
        assert server.ask("GET", "/tasks?seconds=0.4").status == 200
    refused = server.ask("GET", "/tasks", x_op_id="00000000000000aa")
    assert refused.status == 503
    assert int(refused.header("retry-after") or "0") > 0
    assert refused.header("content-type") == "application/json"
    assert "detail" in refused.json()
    assert server.ask("GET", "/where").status == 200
    assert server.ask("POST", "/body", b"{", content_type="application/json").status == 503
    row, other = (task for task in server.tasks() if task.reason)
    assert (row.op, row.reason, row.started, row.finished) == (0xAA, DropReason.REJECTED, 0, 0)
    assert row.dropped >= row.accepted > 0
    assert other.op & UNTAGGED
    assert server.gauge(Gauge.REFUSED) == 2
    server.wait_ended(5)
    assert server.ask("GET", "/tasks").status == 200
    tasks = server.wait_ended(6)
    assert sum(task.finished > 0 for task in tasks) == 4
    assert server.stop() == 0


def test_a_queue_limit_of_zero_refuses_every_request_with_tasks(serve: Serve):
    """And the server stops cleanly: a refused request leaves nothing pending."""
    server = serve(APP, "--queue-limit", "0")
    assert [server.ask("GET", "/tasks").status for _ in range(3)] == [503] * 3
    assert server.stop() == 0
    assert [task.reason for task in server.tasks()] == [DropReason.REJECTED] * 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_a_kill_at_any_moment_the_rows_are_consistent(serve: Serve, seed: int):
    """kill -9 under load: no row is torn, instants are in order, and gauges differ from rows by what was being written."""
    server = serve(APP, "--pool", "4")
    ending = threading.Event()

    def client() -> None:
        with server.connect() as connection:
            try:
                while not ending.is_set():
                    connection.sendall(b"GET /tasks?count=3 HTTP/1.1\r\nhost: t\r\n\r\n" * 8)
                    for _ in range(8):
                        read_answer(connection)
            except (OSError, AssertionError, ValueError, IndexError):
                return

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        until(lambda: server.gauge(Gauge.STARTED) > 500, "tasks run")
        time.sleep(random.Random(seed).uniform(0, 0.2))
        server.send(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
    finally:
        ending.set()
        for thread in clients:
            thread.join()
    died = time.monotonic_ns()
    file = server.file()
    tasks = server.tasks()
    threads = 4 + server.gauge(Gauge.LANES) + 3
    assert file.closed_ns == 0
    assert file.missing == file.unwritten == 0
    assert file.holes <= threads
    assert abs(server.gauge(Gauge.ACCEPTED) - len(tasks)) <= threads
    for task in tasks:
        assert task.name == "sleep"
        assert (task.index < 3, task.kind, task.attempt) == (True, 1, 1)
        assert 0 < task.accepted <= died
        instants = [task.accepted, task.flushed, task.started, task.finished]
        happened = [instant for instant in instants if instant]
        assert instants[: len(happened)] == happened == sorted(happened), task
        assert happened[-1] <= died
        assert task.failed == task.dropped == task.reason == 0
    for gauge, count in (
        (Gauge.STARTED, sum(task.started > 0 for task in tasks)),
        (Gauge.FINISHED, sum(task.finished > 0 for task in tasks)),
    ):
        assert abs(server.gauge(gauge) - count) <= threads, gauge


# Clients that mean no good.


@pytest.fixture(scope="module")
def victim(shared: Serve) -> AppServer:
    """A server that everybody attacks; each test ends by asking it something sensible."""
    return shared(APP)


def is_well(server: AppServer) -> bool:
    """Whether it still answers and runs tasks."""
    before = server.gauge(Gauge.FINISHED)
    assert server.ask("POST", "/body", b'{"text": "ok"}', content_type="application/json").json() == 2
    until(lambda: server.gauge(Gauge.FINISHED) > before, "a task runs")
    return server.process.poll() is None


def answer_to(server: AppServer, data: bytes) -> int:
    """Status of the answer to raw bytes, 0 if the connection was closed without one."""
    with server.connect() as connection:
        try:
            connection.sendall(data)
            head = b""
            while b"\r\n" not in head:
                part = connection.recv(4096)
                if not part:
                    return 0
                head += part
        except (ConnectionResetError, BrokenPipeError):
            return 0
    return int(head.split()[1])


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\nnonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /where HTTP/1.1 more\r\n\r\n",
        b"GET /wh\x00ere HTTP/1.1\r\nhost: t\r\n\r\n",
        b"GET /where HTTP/1.1\r\nhost: t\r\nbad name: x\r\n\r\n",
        b"GET /where HTTP/1.1\r\nhost: t\r\n folded: x\r\n\r\n",
        b"GET /where HTTP/1.1\r\nhost: t\r\nx: a\x00b\r\n\r\n",
        b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n",
        b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /body HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"POST /body HTTP/1.1\r\nhost: t\r\ntransfer-encoding: nonsense\r\n\r\n",
        b"POST /body HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n",
        b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nhost: t\r\n\r\n",
        b"GET /where HTTP/1.1\r\nhost: t\r\nx: " + b"a" * 300_000 + b"\r\n\r\n",
        b"GET /where HTTP/1.1\r\nhost: t\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(500)) + b"\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)  # fmt: skip
def test_malformed_requests_are_refused_and_harm_nobody(victim: AppServer, data: bytes):
    """4xx or a closed connection, never 2xx, never 5xx."""
    status = answer_to(victim, data)
    assert status == 0 or 400 <= status < 500
    assert is_well(victim)


def test_both_lengths_at_once_cannot_smuggle_a_request(victim: AppServer):
    """Content-Length beside chunked encoding: refused, or the connection is closed after the answer (RFC 9112, 6.1)."""
    smuggled = b"0\r\n\r\nGET /where HTTP/1.1\r\nhost: t\r\n\r\n"
    with victim.connect() as connection:
        connection.sendall(
            b"POST /ignored HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\ntransfer-encoding: chunked\r\n\r\n" % len(smuggled)
            + smuggled
        )
        data = b""
        connection.settimeout(1)
        try:
            while part := connection.recv(4096):
                data += part
        except (TimeoutError, ConnectionResetError):
            pass
    assert data.count(b"HTTP/1.1 200") <= 1
    assert is_well(victim)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_answered_413(victim: AppServer, chunked: bool):
    """The limit is 16 MB; the answer comes although the body was not read to its end."""
    with victim.connect() as connection:
        length = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % (17 << 20)
        connection.sendall(b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n" + length + b"\r\n\r\n")
        piece = b"x" * (1 << 20)
        try:
            for _ in range(17):
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        except (ConnectionResetError, BrokenPipeError):
            pass
        answer = read_answer(connection)
    assert answer.status == 413
    assert is_well(victim)


def test_a_body_of_just_the_limit_is_read(victim: AppServer):
    """16 MB are allowed."""
    text = b"x" * ((16 << 20) - len(b'{"text": ""}'))
    assert victim.ask("POST", "/body", b'{"text": "' + text + b'"}', content_type="application/json").json() == len(text)


def test_a_client_is_asked_to_continue(victim: AppServer):
    """Expect: 100-continue is answered before the body is sent."""
    with victim.connect() as connection:
        connection.sendall(
            b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
            b"expect: 100-continue\r\ncontent-length: 14\r\n\r\n"
        )
        assert read_answer(connection).status == 100
        connection.sendall(b'{"text": "ok"}')
        assert read_answer(connection).json() == 2


def test_slow_senders_and_bodies_that_never_arrive_block_nobody(victim: AppServer):
    """Two hundred connections with half a head or half a body: others are served, and no task was accepted for them."""
    accepted = victim.gauge(Gauge.ACCEPTED)
    connections = [victim.connect() for _ in range(200)]
    try:
        for number, connection in enumerate(connections):
            connection.sendall(
                b"GET /tasks HTTP/1.1\r\nhost: t\r\nx-slow: "
                if number % 2
                else b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"
            )
        assert is_well(victim)
        assert victim.gauge(Gauge.ACCEPTED) == accepted + 1
    finally:
        for connection in connections:
            connection.close()
    until(lambda: victim.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "the half requests are forgotten")
    assert is_well(victim)


def test_thousands_of_connections_come_and_go(victim: AppServer):
    """Closed politely, closed with a reset, closed after half a request: every descriptor is given back."""
    descriptors = f"/proc/{victim.process.pid}/fd"
    before = len(os.listdir(descriptors))
    for number in range(2000):
        with victim.connect() as connection:
            if number % 3 == 1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if number % 3 == 2:
                connection.sendall(b"GET /tasks HTT")
    until(lambda: len(os.listdir(descriptors)) <= before, "the descriptors are given back")
    assert is_well(victim)


def test_a_client_that_disconnects_before_its_body_is_whole_starts_nothing(victim: AppServer):
    """Half a body is no request."""
    accepted = victim.gauge(Gauge.ACCEPTED)
    with victim.connect() as connection:
        connection.sendall(
            b'POST /body HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"text"'
        )
        until(lambda: victim.gauge(Gauge.REQUESTS_IN_FLIGHT) == 1, "the head was read")
    until(lambda: victim.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "it is forgotten")
    assert victim.gauge(Gauge.ACCEPTED) == accepted
