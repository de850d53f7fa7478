"""How work gets from thread to thread: threads are called one at a time, and an I/O thread hands over a whole pass at once."""

from __future__ import annotations

import pytest

from harness.rows import Gauge

from .conftest import Serve
from .helpers import AppServer, read_answer, stub, until

APP = stub("""
import sys
meeting = threading.Barrier(40)
gate = threading.Event()
def meet(): meeting.wait(60)
def wait(): gate.wait(60)

@app.get("/meet")
def meet_later(background_tasks: BackgroundTasks): background_tasks.add_task(meet)
@app.get("/ameet")
async def meet_later_from_the_loop(background_tasks: BackgroundTasks): background_tasks.add_task(meet)
@app.get("/wait")
def wait_later(background_tasks: BackgroundTasks): background_tasks.add_task(wait)
@app.get("/one")
def one(background_tasks: BackgroundTasks): background_tasks.add_task(int)
@app.get("/open")
def open_gate(): gate.set()
@app.get("/interval")
def interval(): return sys.getswitchinterval()
""")


@pytest.mark.parametrize("path", ["/meet", "/ameet"])
def test_tasks_that_wait_for_each_other_all_begin(serve: Serve, path: str):
    """Forty requests in one packet, forty threads: none of them is forgotten behind one that blocks."""
    server = serve(APP, "--pool", "40")
    connection = server.connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode() * 40)

    until(lambda: server.gauge(Gauge.FINISHED) == 40, "every task has met the others")
    connection.close()


def test_a_task_behind_one_that_blocks_runs(serve: Serve):
    """All threads but one are held; what comes after that, one by one or in a burst, goes through the one that is left."""
    server = serve(APP, "--pool", "5")
    for _ in range(4):
        assert server.ask("GET", "/wait").status == 200
    for number in range(20):
        assert server.ask("GET", "/one").status == 200
        until(lambda number=number: server.gauge(Gauge.FINISHED) == number + 1, "it has run")
    burst(server, 100)
    until(lambda: server.gauge(Gauge.FINISHED) == 120, "the burst has run")

    server.ask("GET", "/open")
    until(lambda: server.gauge(Gauge.FINISHED) == 124, "those that blocked have ended")
    assert server.gauge(Gauge.POOL_WAITING) == server.gauge(Gauge.POOL_BUSY) == 0


def test_what_is_left_in_one_pass_is_handed_over_without_another(serve: Serve):
    """The last request of all, alone on its connection: nothing comes after it that could push its task along."""
    server = serve(APP)
    for number in range(200):
        assert server.ask("GET", "/one").status == 200
        until(lambda number=number: server.gauge(Gauge.FINISHED) == number + 1, "it has run")


def test_threads_take_turns_every_millisecond_while_serving(serve: Serve):
    """A task that computes keeps a request waiting for a fifth of what Python's own 5 ms would cost."""
    assert serve(APP).ask("GET", "/interval").json() == 0.001


def burst(server: AppServer, count: int) -> None:
    connection = server.connect()
    connection.sendall(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n" * count)
    for _ in range(count):
        assert read_answer(connection).status == 200
    connection.close()
