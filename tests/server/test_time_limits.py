"""Tasks that take longer than they may: what ends, what only is overdue, and what is said of it."""

from __future__ import annotations

import re
import time

import pytest

from harness.rows import DropReason, Gauge

from .conftest import Serve
from .helpers import PATIENCE_S, AppServer, ran, stays, stub, until

TIMES = stub(
    """
app = FastAPI(task_timeout_s=0.3)
gate = threading.Event()
told = []
def tell(what): told.append(what)
@app.get("/told")
async def what_was_told(): return told

async def sleeps(): await asyncio.sleep(60)
async def quick(): await asyncio.sleep(0)
async def swallows():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        tell("swallowed")
async def goes_on():
    while not gate.is_set():
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            tell("goes on")
async def blocks(): time.sleep(1.2)
async def breaks_down():
    try:
        await asyncio.sleep(60)
    finally:
        raise KeyError("the cleanup failed")
async def own_timeout(): raise TimeoutError("of its own")
async def inner_timeout():
    async with asyncio.timeout(0.05):
        await asyncio.sleep(60)
def thread(): gate.wait(30)

@app.get("/run/{name}")
async def run(name: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(globals()[name])
    background_tasks.add_task(tell, "next")
@app.get("/stop/{name}")
@tasks(on_error="stop")
async def stop(name: str, background_tasks: BackgroundTasks):
    await run(name, background_tasks)
@app.get("/unlimited")
@tasks(timeout_s=None)
async def unlimited(background_tasks: BackgroundTasks):
    background_tasks.add_task(asyncio.sleep, 0.7)
@app.get("/longer")
@tasks(timeout_s=5)
async def longer(background_tasks: BackgroundTasks):
    background_tasks.add_task(asyncio.sleep, 0.7)
@app.get("/open")
async def open_gate(): gate.set()
"""
)


@pytest.fixture(scope="module")
def times(shared: Serve) -> AppServer:
    """A server whose app gives tasks 0.3 s."""
    return shared(TIMES)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sleeps", "background task sleeps timed out: it had run for 0.3 s and was cancelled"),
        (
            "swallows",
            "background task swallows timed out: it had run for 0.3 s, swallowed its cancellation and returned after [0-9.]+ s",
        ),
        ("breaks_down", "background task breaks_down timed out: it had run for 0.3 s and raised KeyError when cancelled"),
    ],
)
def test_an_async_task_that_takes_too_long_is_cancelled_and_has_failed(times: AppServer, name: str, said: str):
    """Its row says failed and the log that it timed out; the next task runs, or with on_error=stop does not."""
    before = times.ask("GET", "/told").json().count("next")
    slow, after = ran(times, f"/run/{name}", 2)
    assert slow.failed - slow.started > 0.25e9
    assert after.finished
    until(lambda: re.search(said, times.stderr()), "the log says so")
    assert times.ask("GET", "/told").json().count("next") == before + 1
    assert ran(times, f"/stop/{name}", 2)[1].reason == DropReason.SKIPPED


def test_the_log_says_where_a_task_was_when_it_timed_out(times: AppServer):
    """The line of the user's code."""
    ran(times, "/run/sleeps", 2)
    until(lambda: "async def sleeps(): await asyncio.sleep(60)" in times.stderr(), "the traceback names the line")


@pytest.mark.parametrize("name", ["own_timeout", "inner_timeout"])
def test_a_timeout_of_a_tasks_own_is_an_exception_like_any_other(times: AppServer, name: str):
    """Its limit had not passed."""
    assert ran(times, f"/run/{name}", 2)[0].failed
    until(lambda: f"background task {name} raised TimeoutError" in times.stderr(), "the log calls it what it is")
    assert f"{name} timed out" not in times.stderr()


@pytest.mark.parametrize("path", ["/unlimited", "/longer"])
def test_a_route_may_give_its_tasks_more_time_or_any(times: AppServer, path: str):
    """The app's limit does not count where the route has said something."""
    (task,) = ran(times, path, 1)
    assert task.finished - task.started > 0.6e9


def test_a_task_in_time_is_not_disturbed(times: AppServer):
    """Nothing is left behind that could cancel somebody else."""
    for _ in range(50):
        assert all(task.finished for task in ran(times, "/run/quick", 2))


def test_a_def_task_past_its_limit_is_overdue_until_it_ends(serve: Serve):
    """A thread cannot be ended: one is counted in the gauge, named once in the log, and may finish."""
    server = serve(TIMES)
    server.ask("GET", "/run/thread", x_op_id="abc")
    until(lambda: server.gauge(Gauge.OVERDUE) == 1, "it is overdue")
    until(lambda: "is overdue" in server.stderr(), "the log says so")
    assert stays(lambda: server.gauge(Gauge.OVERDUE) == 1, 0.3)
    server.ask("GET", "/open")
    first, _ = server.wait_ended(2)
    assert first.finished
    until(lambda: server.gauge(Gauge.OVERDUE) == 0, "it is not any more")
    (line,) = [line for line in server.stderr().splitlines() if "is overdue" in line]
    said = re.search(
        r"background task thread of operation 0+abc is overdue: it has run for (\d+\.\d) s and goes on; a thread", line
    )
    assert said, line
    assert 0.3 <= float(said[1]) < PATIENCE_S
    assert server.stop() == 0


@pytest.mark.parametrize("name", ["goes_on", "blocks"])
def test_an_async_task_that_cannot_be_cancelled_is_overdue(serve: Serve, name: str):
    """It goes on in spite of its cancellation, and has failed; or holds the loop, so that nobody can cancel it, and finishes."""
    server = serve(TIMES)
    server.ask("GET", f"/run/{name}")
    until(lambda: server.gauge(Gauge.OVERDUE) == 1, "it is overdue")
    until(lambda: f"background task {name} is overdue" in server.stderr(), "the log says so")
    server.ask("GET", "/open")
    first, after = server.wait_ended(2)
    assert bool(first.failed) == (name == "goes_on")
    assert after.finished
    until(lambda: server.gauge(Gauge.OVERDUE) == 0, "it is not any more")
    assert server.stderr().count("is overdue") == 1


def test_the_command_line_sets_a_limit_for_all(serve: Serve):
    """An async task is cancelled after it."""
    server = serve(
        stub("""
async def sleeps(): await asyncio.sleep(60)
@app.get("/")
async def root(background_tasks: BackgroundTasks): background_tasks.add_task(sleeps)
"""),
        "--task-timeout",
        "0.1",
    )
    begun = time.monotonic()
    (task,) = ran(server, "/", 1)
    assert task.failed
    assert time.monotonic() - begun < 30
