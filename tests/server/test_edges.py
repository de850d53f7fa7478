"""What a review found: cases in which everything looked right and something was not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from harness.rows import Gauge, TaskKind

from .conftest import Serve
from .helpers import AppServer, read_answer, stub, until


def test_an_empty_task_list_is_true(serve: Serve):
    """`if background_tasks:` asks whether there is one; in FastAPI there is."""
    server = serve(
        stub("""
@app.post("/")
def root(background_tasks: BackgroundTasks = None):
    if background_tasks:
        background_tasks.add_task(int)
""")
    )
    assert server.ask("POST", "/").status == 200
    server.wait_ended(1)


def test_functions_that_one_decorator_wrapped_are_told_apart(serve: Serve):
    """They share a code object, and neither their names nor their kinds."""
    server = serve(
        stub("""
import functools
def logged(function):
    @functools.wraps(function)
    def wrapper():
        return function()
    return wrapper
@logged
def first(): pass
@logged
def second(): pass
class Marked:
    async def __call__(self): print("ran", flush=True)
@app.post("/")
def root(background_tasks: BackgroundTasks):
    for task in (first, second, Marked()):
        background_tasks.add_task(task)
""")
    )
    server.ask("POST", "/")
    tasks = server.wait_ended(3)
    assert [task.name for task in tasks] == ["first", "second", "Marked"]
    assert [task.kind for task in tasks] == [TaskKind.DEF, TaskKind.DEF, TaskKind.ASYNC]
    assert server.stdout() == "ran\n"


def test_a_request_whose_client_has_gone_still_counts_at_a_stop(serve: Serve):
    """Its endpoint runs on and adds a task: the server waits for both before it closes its account."""
    server = serve(
        stub("""
@app.post("/slow")
def slow(background_tasks: BackgroundTasks):
    print("in", flush=True)
    time.sleep(0.7)
    background_tasks.add_task(print, "ran", flush=True)
""")
    )
    with server.connect() as client:
        client.sendall(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        until(lambda: "in" in server.stdout(), "the endpoint runs")
    assert server.stop() == 0
    assert server.stdout().split() == ["in", "ran"]
    (task,) = server.tasks()
    assert task.finished
    assert task.finished <= server.file().closed_ns


def test_two_signals_at_once_are_a_second_signal(serve: Serve):
    """Nothing is taken back, and nothing is acknowledged that has no row."""
    for _ in range(5):
        server = serve(
            stub("""
@app.post("/")
async def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(time.sleep, 60)
"""),
            "--drain",
            "60",
        )
        server.ask("POST", "/")
        until(lambda server=server: server.gauge(Gauge.POOL_BUSY) == 1, "the task runs")
        server.send(signal.SIGTERM)
        server.send(signal.SIGINT)
        assert server.wait() == 3
        assert "abandoned 1 tasks" in server.stderr()


def test_a_request_that_hands_its_task_list_to_a_task_is_forgotten_in_the_end(serve: Serve):
    """The list holds its tasks, and a task may hold the list: that must not keep both for ever."""
    server = serve(
        stub("""
import gc, weakref
class Big: pass
seen = []
def use(tasks, big): pass
@app.post("/")
def root(background_tasks: BackgroundTasks):
    big = Big()
    seen.append(weakref.ref(big))
    background_tasks.add_task(use, background_tasks, big)
@app.get("/left")
def left():
    gc.collect()
    return sum(ref() is not None for ref in seen)
""")
    )
    for _ in range(5):
        assert server.ask("POST", "/").status == 200
    server.wait_ended(5)
    until(lambda: server.ask("GET", "/left").json() == 0, "nothing is kept")


def test_after_serving_the_process_can_be_stopped_as_ever(tmp_path: Path):
    """Handlers of signals are the caller's again."""
    source = """
import os, signal, sys, threading, time
from server import *
app = FastAPI()
def stop():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=stop, daemon=True).start()
app.serve(port=0)
print("served", flush=True)
signal.raise_signal(signal.SIGTERM)
print("not reached")
"""
    (tmp_path / "main.py").write_text(source)
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "served\n")


def test_a_validated_default_is_validated(serve: Serve):
    """`validate_default=True` turns a text into the number that was asked for."""
    server = serve(
        stub("""
from typing import Annotated
@app.get("/")
def root(n: Annotated[int, Query(validate_default=True)] = "5"):
    return {"n": n}
""")
    )
    assert server.ask("GET", "/").body == b'{"n":5}'


def test_a_taken_port_leaves_no_row_file_behind(serve: Serve, tmp_path: Path):
    """It would be in the way of the next try."""
    first: AppServer = serve(stub("@app.get('/')\ndef root(): pass\n"))
    rows = tmp_path / "second.rows"
    command = [sys.executable, "-m", "server", "appmod:app", "--port", str(first.port), "--rows", str(rows)]
    done = subprocess.run(command, cwd=first.folder, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert not rows.exists()


def test_what_needs_no_python_is_answered_while_a_task_holds_the_gil(serve: Serve):
    """The I/O threads never touch Python: 404, 405, 413 and constants come while nothing in the interpreter can move."""
    server = serve(
        stub("""
import ctypes
def hold():
    ctypes.PyDLL(None).sleep(3)  # PyDLL, unlike CDLL, keeps the GIL during the call
@app.post("/hold")
def root(background_tasks: BackgroundTasks):
    background_tasks.add_task(hold)
""")
    )
    server.ask("POST", "/hold")
    until(lambda: server.gauge(Gauge.STARTED) == 1, "the task holds the GIL")

    assert server.ask("GET", "/nothing").status == 404
    assert server.ask("DELETE", "/hold").status == 405
    assert server.ask("GET", "/docs").status == 200
    with server.connect() as client:
        client.sendall(b"POST /hold HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n")
        assert read_answer(client).status == 413

    assert server.gauge(Gauge.FINISHED) == 0, "all of that came while the task was still holding it"
    server.wait_ended(1)
