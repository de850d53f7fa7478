"""Where two parts of the server meet: the length of a streamed answer and its tasks, arguments that do things when they are let
go of, requests without tasks and the limit of those with some, a server that is torn down with work under way or
cannot say what it has to say.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.rows import Gauge, read_rows

from .conftest import Serve
from .helpers import PATIENCE_S, AppServer, ask, read_answer, stays, stub, until

LENGTH = 12_000_000
"""Bytes of the large answers: more than the kernel's buffers hold."""

SOURCE = stub("""
from fastapi.responses import FileResponse, StreamingResponse


class Slow:
    # Lets other threads run while it is let go of.
    def __del__(self):
        time.sleep(0.3)
        print("note let go", flush=True)


def note(text):
    print("note", text, flush=True)


with open("large.bin", "wb") as file:
    file.write(b"x" * 12_000_000)


@app.get("/file")
async def whole_file(tasks: BackgroundTasks):
    tasks.add_task(note, "after the file")
    return FileResponse("large.bin")


@app.get("/chunks")
async def chunks(tasks: BackgroundTasks, size: int, count: int, late: bool = False, fails: bool = False):
    tasks.add_task(note, "after the chunks")
    async def body():
        for _ in range(count):
            yield b"x" * size
            await asyncio.sleep(0)
        if fails:
            raise ValueError("too late to say so")
        await asyncio.sleep(0.3)
        if late:
            tasks.add_task(note, "late")
    return StreamingResponse(body(), headers={"Content-Length": str(size * count)})


@app.get("/breaks")
async def breaks(tasks: BackgroundTasks):
    tasks.add_task(note, Slow())
    async def body():
        yield b"x"
        await asyncio.sleep(0.05)
        raise ValueError("on purpose")
    return StreamingResponse(body())


@app.get("/slow")
def slow(seconds: float):
    time.sleep(seconds)
    return 1


@app.get("/aslow")
async def aslow(seconds: float):
    await asyncio.sleep(seconds)
    return 1


@app.get("/work")
def work(tasks: BackgroundTasks):
    tasks.add_task(note, "work")
    return 1
""")


def notes(server: AppServer) -> list[str]:
    return [line.removeprefix("note ") for line in server.stdout().splitlines() if line.startswith("note ")]


@pytest.mark.parametrize("target", ["/file", f"/chunks?size={LENGTH // 3}&count=3"])
def test_tasks_wait_for_the_last_byte_of_a_stream_of_known_length(serve: Serve, target: str) -> None:
    """hyper asks for no more once it has as many bytes as the head says; the tasks come with what it does not ask for."""
    server = serve(SOURCE)
    with server.connect(receive_buffer=4096) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        until(lambda: server.gauge(Gauge.ACCEPTED) == 1, "the task is accepted")
        assert stays(lambda: server.gauge(Gauge.STARTED) == 0, 0.6)
        assert len(read_answer(connection).body) == LENGTH
        (row,) = server.wait_ended(1)
        # The connection can be used again.
        connection.sendall(b"GET /work HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read_answer(connection).status == 200
    assert row.accepted <= row.flushed <= row.started
    assert (row.flags, row.finished > 0) == (0, True)


@pytest.mark.parametrize(("size", "count"), [(1, 1), (1, 3), (100_000, 2), (0, 1)])
def test_a_stream_of_known_length_ends_when_its_app_ends_it(serve: Serve, size: int, count: int) -> None:
    """What is added while it streams is accepted before the client can take the answer for whole."""
    server = serve(SOURCE)
    with server.connect() as connection:
        connection.sendall(f"GET /chunks?size={size}&count={count}&late=true HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert len(read_answer(connection).body) == size * count
        assert server.gauge(Gauge.ACCEPTED) == 2
        rows = server.wait_ended(2)
    assert [(row.flags, row.index, row.finished > 0) for row in rows] == [(0, 0, True), (0, 1, True)]
    assert notes(server) == ["after the chunks", "late"]


def test_a_stream_of_known_length_that_fails_after_its_last_chunk_is_not_taken_for_whole(serve: Serve) -> None:
    """Its task is discarded, so that its client must not believe that it was accepted."""
    server = serve(SOURCE)
    with server.connect() as connection:
        connection.sendall(b"GET /chunks?size=1000&count=2&fails=true HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    assert len(received.partition(b"\r\n\r\n")[2]) < 2000
    assert [row.reason for row in server.wait_ended(1)] == [3]


def test_arguments_of_discarded_tasks_hold_nobody_up_while_they_are_let_go_of(serve: Serve) -> None:
    """Whatever they do then, no lock is held that other requests need."""
    server = serve(SOURCE)
    with server.connect() as connection:
        connection.sendall(b"GET /breaks HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: server.gauge(Gauge.DROPPED) == 1, "the task is discarded")
        for _ in range(5):
            assert server.ask("GET", "/work").status == 200
    until(lambda: notes(server).count("work") == 5, "the others' tasks have run")
    until(lambda: "let go" in notes(server), "the argument is gone")
    assert server.stop() == 0


@pytest.mark.parametrize("target", ["/slow", "/aslow"])
def test_long_requests_of_routes_without_tasks_take_no_room_from_those_with_some(serve: Serve, target: str) -> None:
    server = serve(SOURCE, "--queue-limit", "1")
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            connection = clients.enter_context(server.connect())
            connection.sendall(f"GET {target}?seconds=0.5 HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        until(lambda: server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 3, "all are under way")
        assert server.ask("GET", "/work").status == 200


def test_a_server_that_is_torn_down_leaves_no_row_open(tmp_path: Path) -> None:
    """Whatever ends it: a task that has no end in the file is one that a kill ended."""
    script = """
import threading
from pathlib import Path
from server import BackgroundTasks, FastAPI
from server._config import ServerConfig
from server._serve import build
from tests.server.helpers import ask

app, release = FastAPI(), threading.Event()


@app.get("/work")
def work(tasks: BackgroundTasks):
    tasks.add_task(release.wait, 30)
    tasks.add_task(release.wait, 30)


def fail():
    for _ in range(2):
        assert ask(serving.port, "GET", "/work").status == 200
    raise ValueError("on purpose")


serving = build(app, ServerConfig(port=0, pool=1, rows=Path("tasks.rows")), print)
try:
    serving.serve(fail)
except ValueError as error:
    print(error)
release.set()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(10)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    assert "on purpose" in ended.stdout
    file = read_rows(tmp_path / "tasks.rows")
    assert [int(reason) for reason in file.rows["reason"]] == [4] * 4
    assert all(file.rows["dropped_ns"])


def test_a_drain_needs_nobody_who_reads_what_the_server_says(tmp_path: Path) -> None:
    """As where its output was piped to something that has ended."""
    source = stub("""
@app.get("/work")
def work(tasks: BackgroundTasks):
    tasks.add_task(time.sleep, 0.5)
""")
    (tmp_path / "appmod.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "server", "appmod:app", "--port", "0", "--rows", "tasks.rows"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            port = next(int(found[1]) for line in process.stderr if (found := re.search(r"serving on http://\S+:(\d+) ", line)))
            assert ask(port, "GET", "/work").status == 200
            process.stderr.close()
            process.terminate()
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    file = read_rows(tmp_path / "tasks.rows")
    assert [int(finished) > 0 for finished in file.rows["finished_ns"]] == [True]
    assert process.returncode == 0


def test_a_log_that_raises_does_not_end_the_server(serve: Serve) -> None:
    """What is said of an overdue task is said on the thread that serves."""
    source = """
import logging


def refuse(record):
    raise RuntimeError("this filter is broken")


logging.getLogger("server.tasks").addFilter(refuse)


@app.get("/work")
def work(tasks: BackgroundTasks):
    tasks.add_task(time.sleep, 0.5)
"""
    server = serve(stub(source), "--task-timeout", "0.1")
    assert server.ask("GET", "/work").status == 200
    until(lambda: "this filter is broken" in server.stderr(), "the overdue task was to be told of")
    assert [row.finished > 0 for row in server.wait_ended(1)] == [True]
    assert server.ask("GET", "/work").status == 200
    assert server.stop() == 0


def test_a_shutdown_that_raises_while_a_task_is_stuck_ends_with_its_traceback_and_status_1(serve: Serve) -> None:
    """And not by a thread that wakes while the interpreter ends."""
    server = serve(
        stub("""
import contextlib
@contextlib.asynccontextmanager
async def lifespan(app):
    yield
    raise ValueError("no shutdown")
app = FastAPI(lifespan=lifespan)
@app.get("/")
def root(tasks: BackgroundTasks):
    tasks.add_task(time.sleep, 60)
    return 1
"""),
        "--drain", "0.2",
    )  # fmt: skip
    assert server.ask("GET", "/").status == 200
    until(lambda: server.gauge(Gauge.STARTED) == 1, "the task runs")
    assert server.stop() == 1
    assert "ValueError: no shutdown" in server.stderr()
