"""The pool of threads: its size while it changes, and what becomes of endpoints that share it with tasks."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.rows import Gauge

from .conftest import Serve
from .helpers import AppServer, stays, stub, until
from .test_load_and_limits import most_at_once

APP = stub("""
order = []
gate = threading.Event()
def wait(): gate.wait(30)
def note(what): order.append(what)
lock, at_work = threading.Lock(), [0, 0]  # now, and at most
def work(seconds):
    with lock:
        at_work[0] += 1
        at_work[1] = max(at_work)
    time.sleep(seconds)
    with lock: at_work[0] -= 1

@app.get("/tasks")
async def tasks(background_tasks: BackgroundTasks, count: int = 1, seconds: float = 0):
    for _ in range(count):
        background_tasks.add_task(work, seconds)
@app.get("/waits")
async def waits(background_tasks: BackgroundTasks): background_tasks.add_task(wait)
@app.get("/notes")
async def notes(background_tasks: BackgroundTasks, what: str, count: int = 1):
    for number in range(count):
        background_tasks.add_task(note, f"{what}{number}")
@app.get("/endpoint")
def endpoint(what: str = "endpoint", seconds: float = 0, background_tasks: BackgroundTasks = None):
    order.append(what)
    work(seconds)
    background_tasks.add_task(note, f"task of {what}")
    return threading.current_thread().name
@app.get("/open")
async def open_gate(): gate.set()
@app.get("/most")
async def most(): return at_work[1]
@app.get("/order")
async def what_ran(): return order
""")


def all_ended(server: AppServer) -> bool:
    """Every accepted task has ended, says the account of the gauges."""
    ended = sum(server.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
    return server.gauge(Gauge.ACCEPTED) == ended


@pytest.mark.parametrize("options", [(), ("--shared-pool",)])
def test_a_shrunk_pool_runs_no_more_than_its_size_once_what_ran_has_ended(serve: Serve, options: tuple[str, ...]):
    """Also where each thread has a long list of one request's tasks before it: they go on elsewhere, none lost, in order."""
    server = serve(APP, "--pool", "6", *options)
    for _ in range(6):
        server.ask("GET", "/tasks?count=40&seconds=0.02")
    until(lambda: server.gauge(Gauge.POOL_BUSY) == 6, "six tasks run")
    for size in (2, 5, 1, 4):
        server.page.set(0, size)
        until(lambda size=size: server.gauge(Gauge.POOL_SIZE) == size, f"the pool has {size} threads")
        begun = server.gauge(Gauge.STARTED)
        until(lambda size=size: server.gauge(Gauge.POOL_BUSY) == size, f"{size} tasks run")
        assert stays(lambda size=size: server.gauge(Gauge.POOL_BUSY) <= size, 0.1)
        assert server.gauge(Gauge.STARTED) > begun
    server.page.set(0, 40)
    until(lambda: server.gauge(Gauge.FINISHED) == 240, "all have finished")
    tasks = server.tasks()
    assert len(tasks) == 240
    assert most_at_once(tasks) == 6
    for _, of_request in itertools.groupby(sorted(tasks, key=lambda task: (task.op, task.index)), key=lambda task: task.op):
        ended = 0
        for task in of_request:
            assert task.started >= ended
            ended = task.finished
    assert server.stop() == 0


@pytest.mark.parametrize("options", [(), ("--shared-pool",)])
def test_sizes_that_change_all_the_time_lose_no_task_and_no_request(serve: Serve, options: tuple[str, ...]):
    """Up and down at once, under load: every request is answered and the account closes."""
    server = serve(APP, "--pool", "3", *options)

    def client(number: int) -> list[int]:
        paths = ("/tasks?count=3", "/endpoint", "/notes?what=x&count=2")
        return [server.ask("GET", paths[(number + n) % 3]).status for n in range(60)]

    with ThreadPoolExecutor(6) as clients:
        answers = [clients.submit(client, number) for number in range(6)]
        for size in itertools.cycle((1, 7, 2, 12, 1, 3)):
            server.page.set(0, size)
            until(lambda size=size: server.gauge(Gauge.POOL_SIZE) == size, f"the pool has {size} threads")
            if all(answer.done() for answer in answers):
                break
        assert [status for answer in answers for status in answer.result()] == [200] * 360
    until(lambda: all_ended(server), "all have ended")
    assert server.gauge(Gauge.ACCEPTED) == server.gauge(Gauge.FINISHED) == 120 * 3 + 120 + 120 * 2
    for gauge in (Gauge.POOL_BUSY, Gauge.POOL_WAITING, Gauge.LANES_BUSY, Gauge.LANES_WAITING):
        until(lambda gauge=gauge: server.gauge(gauge) == 0, f"{gauge.name} is 0")
    assert server.stop() == 0


def test_a_shared_pool_full_of_tasks_starves_endpoints(serve: Serve):
    """As in Starlette: `def` endpoints wait for a task to end. `async def` ones, and a server of its own pool, do not."""
    server = serve(APP, "--pool", "2", "--shared-pool")
    assert server.gauge(Gauge.SHARED_POOL) == 1
    assert server.ask("GET", "/endpoint").json().startswith("task-")
    until(lambda: all_ended(server), "the pool is free")
    for _ in range(2):
        server.ask("GET", "/waits")
    until(lambda: server.gauge(Gauge.POOL_BUSY) == 2, "tasks hold the pool")
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(server.ask, "GET", "/endpoint")
        until(lambda: server.gauge(Gauge.LANES_WAITING) == 1, "the request waits")
        assert stays(lambda: not answer.done() and server.gauge(Gauge.LANES_BUSY) == 0, 0.3)
        assert server.ask("GET", "/order").status == 200
        server.ask("GET", "/open")
        assert answer.result().status == 200
    assert server.gauge(Gauge.LANES) == 0
    assert server.stop() == 0

    own = serve(APP, "--pool", "2", "--drain", "0")
    assert own.gauge(Gauge.SHARED_POOL) == 0
    for _ in range(2):
        own.ask("GET", "/waits")
    until(lambda: own.gauge(Gauge.POOL_BUSY) == 2, "tasks hold the pool")
    assert own.ask("GET", "/endpoint").status == 200


def test_endpoints_and_tasks_take_a_shared_pool_in_the_order_of_their_coming(serve: Serve):
    """One line for both kinds; each task of a request takes a turn of its own."""
    server = serve(APP, "--pool", "1", "--shared-pool")
    server.ask("GET", "/waits")
    until(lambda: server.gauge(Gauge.POOL_BUSY) == 1, "a task holds the pool")
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(server.ask, "GET", "/endpoint?what=A")
        until(lambda: server.gauge(Gauge.LANES_WAITING) == 1, "A waits")
        server.ask("GET", "/notes?what=b&count=3")
        until(lambda: server.gauge(Gauge.POOL_WAITING) == 1, "b waits")
        second = clients.submit(server.ask, "GET", "/endpoint?what=C")
        until(lambda: server.gauge(Gauge.LANES_WAITING) == 2, "C waits")
        server.ask("GET", "/notes?what=d")
        until(lambda: server.gauge(Gauge.POOL_WAITING) == 2, "d waits")
        server.ask("GET", "/open")
        assert [first.result().status, second.result().status] == [200, 200]
    until(lambda: all_ended(server), "all have ended")
    ran = [what for what in server.ask("GET", "/order").json() if "task of" not in what]
    assert ran == ["A", "b0", "C", "d0", "b1", "b2"]


def test_a_shared_pool_never_runs_more_than_it_has_threads(serve: Serve):
    """Endpoints and tasks together, as counted by the app itself; and it uses them all."""
    server = serve(APP, "--pool", "3", "--shared-pool")
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(server.ask, "GET", "/endpoint?seconds=0.03") for _ in range(40)]
        answers += [clients.submit(server.ask, "GET", "/tasks?count=2&seconds=0.03") for _ in range(20)]
        assert {answer.result().status for answer in answers} == {200}
    until(lambda: all_ended(server), "all have ended")
    assert server.ask("GET", "/most").json() == 3
    assert server.gauge(Gauge.FINISHED) == 80
    assert server.stop() == 0


def test_a_shared_pool_drains_what_it_has_accepted(serve: Serve):
    """Requests in flight are answered and their tasks run, though they all wait in one line."""
    server = serve(APP, "--pool", "1", "--shared-pool")
    server.ask("GET", "/tasks?count=5&seconds=0.05")
    with ThreadPoolExecutor(3) as clients:
        answers = [clients.submit(server.ask, "GET", "/endpoint?seconds=0.05") for _ in range(3)]
        until(lambda: server.gauge(Gauge.REQUESTS) == 4, "all have arrived")
        assert server.stop() == 0
        assert [answer.result().status for answer in answers] == [200] * 3
    assert [bool(task.finished) for task in server.tasks()] == [True] * 8
