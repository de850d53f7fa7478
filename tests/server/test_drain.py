"""Stopping: what was accepted is finished, or named when the deadline passes; rows, gauges and stderr say the same."""

from __future__ import annotations

import re
import signal
import socket
import time

import pytest

from harness.rows import DropReason, Gauge

from .conftest import Serve
from .helpers import AppServer, read_answer, stub, until

APP = stub("""
@app.get("/sleep")
def sleeping(seconds: float, background_tasks: BackgroundTasks, count: int = 1):
    for _ in range(count):
        background_tasks.add_task(time.sleep, seconds)
    return {}

async def doze(seconds):
    await asyncio.sleep(seconds)

@app.get("/doze")
def dozing(seconds: float, background_tasks: BackgroundTasks, count: int = 1):
    for _ in range(count):
        background_tasks.add_task(doze, seconds)
    return {}

async def block(seconds):
    time.sleep(seconds)

@app.get("/block")
def blocking(seconds: float, background_tasks: BackgroundTasks):
    background_tasks.add_task(block, seconds)
    return {}

@app.get("/slow")
def slow(seconds: float):
    time.sleep(seconds)
    return {"slow": seconds}

@app.get("/aslow")
async def aslow(seconds: float):
    await asyncio.sleep(seconds)
    return {"slow": seconds}
""")

ABANDONED = re.compile(r"abandoned (\d+) tasks, (\d+) never started \(.*\) and (\d+) running \(")
LONG = "60"


def counts(server: AppServer) -> tuple[int, int]:
    """(never started, running) as the rows have it; everything else must have ended of itself."""
    never, running = 0, 0
    for task in server.tasks():
        if task.dropped:
            assert task.reason == DropReason.ABANDONED
            assert not task.finished
            assert not task.failed
            running += task.started > 0
            never += task.started == 0
        else:
            assert task.finished or task.failed, task
    return never, running


def said(server: AppServer) -> tuple[int, int]:
    found = ABANDONED.search(server.stderr())
    assert found, server.stderr()
    total, never, running = map(int, found.groups())
    assert total == never + running
    return never, running


def check_abandoned(server: AppServer) -> tuple[int, int]:
    """The three accounts of what was given up, which must be one."""
    rows = counts(server)
    assert said(server) == rows
    gauges = (server.gauge(Gauge.ABANDONED_QUEUED), server.gauge(Gauge.ABANDONED_RUNNING))
    assert gauges == rows
    tasks = server.tasks()
    assert (
        len(tasks) == server.gauge(Gauge.ACCEPTED) == sum(server.gauge(g) for g in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
    )
    closed = server.file().closed_ns
    assert closed > 0
    assert not any(instant > closed for task in tasks for instant in (task.accepted, task.flushed, task.started, task.ended))
    return rows


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_every_accepted_task_finish(serve: Serve, number: signal.Signals):
    """Exit status 0, the file closed in good order, all tasks finished, none abandoned."""
    server = serve(APP, "--pool", "4")
    for _ in range(5):
        server.ask("GET", "/sleep?seconds=0.02&count=4")
        server.ask("GET", "/doze?seconds=0.02&count=4")
    assert server.stop(number) == 0
    tasks = server.tasks()
    assert len(tasks) == 40
    assert all(0 < task.accepted <= task.flushed <= task.started <= task.finished for task in tasks)
    file = server.file()
    assert file.closed_ns >= max(task.finished for task in tasks)
    assert file.closed_ns > 0
    assert file.holes == file.unwritten == 0
    assert 0 < server.gauge(Gauge.DRAINING) <= server.gauge(Gauge.DRAINED)
    assert "Traceback" not in server.stderr()
    assert "every accepted task has ended" in server.stderr()


def test_a_signal_lets_requests_in_flight_be_answered_and_their_tasks_run(serve: Serve):
    """A request that was read before the signal gets its answer; so do its background tasks."""
    server = serve(
        stub("""
def work(): pass
def wait():
    deadline = time.monotonic() + 10
    while not os.path.exists("go") and time.monotonic() < deadline:
        time.sleep(0.005)
@app.get("/def")
def in_thread(background_tasks: BackgroundTasks):
    wait()
    background_tasks.add_task(work)
    return {"answered": True}
@app.get("/async")
async def on_loop(background_tasks: BackgroundTasks):
    while not os.path.exists("go"):
        await asyncio.sleep(0.005)
    background_tasks.add_task(work)
    return {"answered": True}
""")
    )
    with server.connect() as one, server.connect() as other:
        one.sendall(b"GET /def HTTP/1.1\r\nhost: t\r\n\r\n")
        other.sendall(b"GET /async HTTP/1.1\r\nhost: t\r\n\r\n")
        until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 2, "both are being served")
        server.send(signal.SIGTERM)
        until(lambda: server.gauge(Gauge.DRAINING), "the drain has begun")
        (server.folder / "go").touch()
        for connection in (one, other):
            answer = read_answer(connection)
            assert (answer.status, answer.json()) == (200, {"answered": True})
            assert connection.recv(1) == b""
    assert server.wait() == 0
    assert [task.name for task in server.tasks() if task.finished] == ["work", "work"]


def test_a_draining_server_refuses_connections_and_closes_idle_ones(serve: Serve):
    """New clients are told at once; connections that wait for a next request, or never sent one, do not hold the server up."""
    server = serve(APP)
    with server.connect() as used, server.connect() as fresh:
        used.sendall(b"GET /sleep?seconds=1.5 HTTP/1.1\r\nhost: t\r\n\r\n")
        assert read_answer(used).status == 200
        port = server.port
        server.send(signal.SIGTERM)
        assert used.recv(1) == b""
        assert fresh.recv(1) == b""

        def refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
            except ConnectionRefusedError:
                return True
            return False

        until(refused, "connections are refused")
        assert server.process.poll() is None, "the task must still have been running"
    assert server.wait() == 0
    assert [bool(task.finished) for task in server.tasks()] == [True]


def test_the_deadline_abandons_tasks_and_all_accounts_agree(serve: Serve):
    """Status 3; stderr, rows and gauges give the same numbers of tasks never started and running."""
    server = serve(APP, "--pool", "2", "--drain", "0.3")
    server.ask("GET", f"/sleep?seconds={LONG}&count=3")
    server.ask("GET", f"/sleep?seconds={LONG}&count=2")
    server.ask("GET", f"/sleep?seconds={LONG}&count=1")
    server.ask("GET", f"/doze?seconds={LONG}&count=2")
    until(lambda: server.gauge(Gauge.STARTED) == 3, "two threads and the loop are taken")
    begun = time.monotonic()
    assert server.stop() == 3
    assert time.monotonic() - begun < 15
    assert check_abandoned(server) == (5, 3)


def test_a_second_signal_stops_at_once(serve: Serve):
    """Without waiting for the deadline; the accounts are kept all the same."""
    server = serve(APP, "--pool", "1", "--drain", LONG)
    server.ask("GET", f"/sleep?seconds={LONG}&count=2")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "it runs")
    server.send(signal.SIGTERM)
    until(lambda: server.gauge(Gauge.DRAINING), "the drain has begun")
    assert server.process.poll() is None
    begun = time.monotonic()
    server.send_again(signal.SIGINT)
    assert server.wait() == 3
    assert time.monotonic() - begun < 15
    assert check_abandoned(server) == (1, 1)


def test_a_blocked_event_loop_does_not_outlive_the_deadline(serve: Serve):
    """async def with time.sleep(60): the process ends nevertheless, and names what it gave up."""
    server = serve(APP, "--drain", "0.2")
    server.ask("GET", f"/block?seconds={LONG}")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "it blocks the loop")
    server.ask("GET", "/doze?seconds=0")
    begun = time.monotonic()
    assert server.stop() == 3
    assert time.monotonic() - begun < 20
    assert check_abandoned(server) == (1, 1)


def test_a_task_that_keeps_the_gil_busy_does_not_outlive_the_deadline(serve: Serve):
    """Pure Python that never waits shares the interpreter with whoever stops the server."""
    server = serve(
        stub("""
def spin():
    while True:
        pass
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(spin)
    return {}
"""),
        "--drain",
        "0.2",
    )
    server.ask("GET", "/")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "it spins")
    assert server.stop() == 3
    assert check_abandoned(server) == (0, 1)


def test_a_task_that_goes_on_adding_tasks_past_the_deadline_leaves_no_row_open(serve: Serve):
    """What is added while the server gives up is refused or abandoned: no row without an end, no instant after the closing."""
    server = serve(
        stub("""
def noop(): pass
def add_for_ever(background_tasks):
    while True:
        time.sleep(0.002)
        background_tasks.add_task(noop)
async def block():
    time.sleep(60)
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(add_for_ever, background_tasks)
    return {}
@app.get("/block")
def blocking(background_tasks: BackgroundTasks):
    background_tasks.add_task(block)
    return {}
"""),
        "--drain",
        "0.2",
    )
    server.ask("GET", "/")
    server.ask("GET", "/block")
    until(lambda: server.gauge(Gauge.STARTED) == 2, "both run")
    assert server.stop() == 3
    check_abandoned(server)


def test_no_task_starts_after_the_deadline(serve: Serve):
    """A task that ends just after it was given up does not let the next one of its request start, in either order."""
    server = serve(
        stub("""
def short():
    time.sleep(1.0)
def printing():
    print("STARTED", flush=True)
async def block():
    time.sleep(60)
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(short)
    background_tasks.add_task(printing)
    return {}
@app.get("/block")
def blocking(background_tasks: BackgroundTasks):
    background_tasks.add_task(block)
    return {}
"""),
        "--drain",
        "0.3",
    )
    server.ask("GET", "/block")
    server.ask("GET", "/")
    until(lambda: server.gauge(Gauge.STARTED) == 2, "both run")
    assert server.stop() == 3
    assert "STARTED" not in server.stdout()
    assert check_abandoned(server) == (1, 2)


def test_a_request_that_never_ends_does_not_outlive_the_deadline(serve: Serve):
    """Endpoints that hang are dropped at the deadline; no accepted task was, so the status is 0; stderr says what was dropped."""
    server = serve(APP, "--drain", "0.2")
    with server.connect() as one, server.connect() as other:
        one.sendall(f"GET /slow?seconds={LONG} HTTP/1.1\r\nhost: t\r\n\r\n".encode())
        other.sendall(f"GET /aslow?seconds={LONG} HTTP/1.1\r\nhost: t\r\n\r\n".encode())
        until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 2, "both are being served")
        assert server.stop() == 0
        assert one.recv(1) == other.recv(1) == b""
    assert "requests in flight were dropped" in server.stderr()


def test_the_tasks_of_a_response_that_is_stuck_at_the_deadline_are_abandoned(serve: Serve):
    """A client that does not read keeps its task waiting; the deadline ends both, and the task is named as never started."""
    server = serve(
        stub("""
def work(): time.sleep(60)
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(work)
    return Response(b"x" * (16 << 20))
"""),
        "--drain",
        "0.2",
        "--pool",
        "1",
    )
    server.ask("GET", "/")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "the only thread is taken")
    with server.connect(receive_buffer=4096) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
        until(lambda: server.gauge(Gauge.ACCEPTED) == 2, "the task is accepted")
        assert server.stop() == 3
    assert check_abandoned(server) == (1, 1)


def test_a_client_that_never_finishes_its_request_head_does_not_hold_the_drain_up(serve: Serve):
    """Half a request line is no request in flight: the server does not spend its whole deadline on it."""
    server = serve(APP, "--drain", "4")
    with server.connect() as connection:
        connection.sendall(b"GET /sleep?sec")
        # The answer to another connection proves that the server has had the time to read the half line.
        assert server.ask("GET", "/aslow?seconds=0").status == 200
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 3


def test_a_drain_of_zero_seconds_with_nothing_to_do_drops_nothing_and_says_so(serve: Serve):
    """No request was in flight and no task pending: stderr must not claim that requests were dropped."""
    server = serve(APP, "--drain", "0")
    server.ask("GET", "/sleep?seconds=0")
    server.wait_ended(1)
    until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "it is idle")
    with server.connect():  # Idle: its end takes the server a moment, which a deadline of zero does not give.
        assert server.stop() == 0
    assert "were dropped" not in server.stderr()


def test_the_traceback_of_the_last_task_is_not_lost_in_the_stop(serve: Serve):
    """The drain waits for a failing task until it has been reported, not only until it has raised."""
    server = serve(
        stub("""
class Slow(Exception):
    def __str__(self):
        time.sleep(0.3)
        return "reported"
def failing():
    time.sleep(0.2)
    raise Slow
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(failing)
    return {}
""")
    )
    server.ask("GET", "/")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "it runs")
    assert server.stop() == 0
    assert "Slow: reported" in server.stderr()


def test_many_threads_end_without_a_crash(serve: Serve):
    """Hundreds of pool threads wake up while the interpreter ends: the status is still 0, time after time."""
    for _ in range(3):
        server = serve(APP, "--pool", "600")
        server.ask("GET", "/sleep?seconds=0&count=3")
        assert server.stop() == 0, server.stderr()


@pytest.mark.parametrize("options", [(), ("--order", "parallel")])
def test_a_stop_at_any_moment_under_load_leaves_a_complete_account(serve: Serve, options: tuple[str, ...]):
    """A short deadline in the middle of a stream of requests: status 0 or 3, and the accounts agree either way."""
    server = serve(APP, "--pool", "2", "--drain", "0.05", *options)
    with server.connect() as connection:
        for _ in range(20):
            connection.sendall(b"GET /sleep?seconds=0.003&count=5 HTTP/1.1\r\nhost: t\r\n\r\n" * 10)
        until(lambda: server.gauge(Gauge.STARTED) > 20, "tasks run")
        server.send(signal.SIGTERM)
        status = server.wait()
    assert status == 3
    check_abandoned(server)


def test_an_endpoint_that_raises_after_the_deadline_writes_no_row_any_more(serve: Serve):
    """The account is closed: tasks that an endpoint added and takes back by raising are not entered into it afterwards."""
    server = serve(
        stub("""
async def block():
    time.sleep(60)
@app.get("/block")
def blocking(background_tasks: BackgroundTasks):
    background_tasks.add_task(block)
    return {}
@app.get("/")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(int)
    time.sleep(1.2)
    raise HTTPException(409)
"""),
        "--drain",
        "0.1",
    )
    server.ask("GET", "/block")
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
        until(lambda: server.gauge(Gauge.LANES_BUSY) == 1, "the endpoint runs")
        until(lambda: server.gauge(Gauge.STARTED) == 1, "the loop is blocked")
        assert server.stop() == 3
    assert check_abandoned(server) == (0, 1)
