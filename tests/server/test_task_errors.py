"""What happens when a task raises, an endpoint raises, or something is added that is no task."""

from __future__ import annotations

import pytest

from harness.rows import DropReason, Gauge

from .asker import TELLING, Asker, StartAsker, askers, next_op
from .conftest import Serve
from .helpers import until

APP = (
    TELLING
    + """
@app.get("/not-callable")
def not_callable(background_tasks: BackgroundTasks):
    background_tasks.add_task(17)
    return {}

@app.get("/not-callable-caught")
def not_callable_caught(background_tasks: BackgroundTasks):
    said = []
    for wrong in (17, None, "name", print("x")):
        try:
            background_tasks.add_task(wrong, 1)
        except TypeError as error:
            said.append(str(error))
    try:
        background_tasks.add_task()
    except TypeError as error:
        said.append(str(error))
    return said

def wrong_arguments(a): pass
async def awrong_arguments(a): pass

@app.get("/wrong-arguments")
def wrong(op: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(wrong_arguments)
    background_tasks.add_task(awrong_arguments, 1, 2)
    background_tasks.add_task(plain, op)
    return {}

class Own(BaseException): pass
def made(name, mistake):
    return {"ValueError": ValueError(mistake), "SystemExit": SystemExit(5), "KeyboardInterrupt": KeyboardInterrupt(),
        "CancelledError": asyncio.CancelledError(),
        "GeneratorExit": GeneratorExit(), "StopIteration": StopIteration(1),
        "Own": Own("own"), "StopAsyncIteration": StopAsyncIteration()}[name]
def raise_it(op, name):
    tell(op, name)
    raise made(name, "a sync mistake")  # the line of the sync mistake
async def araise_it(op, name):
    await asyncio.sleep(0)
    tell(op, name)
    raise made(name, "an async mistake")  # the line of the async mistake

@app.get("/raise")
def raising(op: str, kind: str, name: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(sync, op, "before")
    background_tasks.add_task(raise_it if kind == "d" else araise_it, op, name)
    background_tasks.add_task(sync, op, "next")
    background_tasks.add_task(asynchronous, op, "last")
    return {}

class Unprintable(Exception):
    def __str__(self): raise RuntimeError("not even that")
    __repr__ = __str__
class Unnameable:
    def __call__(self): raise ValueError("from the unnameable")
    def __repr__(self): raise RuntimeError("no name")
def unprintable(): raise Unprintable
async def cancel_me():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)
@app.get("/nasty")
def nasty(op: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(unprintable)
    background_tasks.add_task(Unnameable())
    background_tasks.add_task(cancel_me)
    background_tasks.add_task(asynchronous, op, "next", 0.01)
    background_tasks.add_task(sync, op, "last")
    return {}

@app.get("/raising-endpoint")
def raising_endpoint(op: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(plain, op)
    background_tasks.add_task(aplain, op)
    raise RuntimeError("an endpoint's mistake")
@app.get("/http-exception")
async def http_exception(op: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(plain, op)
    raise HTTPException(409, "no")
@app.get("/endpoint-raises/{name}")
def endpoint_raises(name: str): raise_it("endpoint", name)
@app.get("/aendpoint-raises/{name}")
async def aendpoint_raises(name: str): await araise_it("endpoint", name)
@app.get("/unencodable")
def unencodable(op: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(plain, op)
    return object()
"""
)


@pytest.fixture(scope="module")
def start(shared: Serve) -> StartAsker:
    """A server for each set of options that the tests of this module use."""
    return askers(shared, APP)


@pytest.fixture
def asker(start: StartAsker) -> Asker:
    """A server with the default policies."""
    return start()


def test_adding_what_cannot_be_called_is_a_mistake_of_the_endpoint(asker: Asker):
    """TypeError where it is added, so 500 where it is not caught."""
    assert asker.server.ask("GET", "/not-callable").status == 500
    said = asker.server.ask("GET", "/not-callable-caught").json()
    assert len(said) == 5
    assert "17" in said[0]


def test_wrong_arguments_fail_the_task_not_the_server(asker: Asker):
    """A call that Python refuses is a failed task; the next one runs."""
    op, _ = asker.ask("/wrong-arguments")
    tasks = asker.ended(op, 3)
    assert [bool(task.failed) for task in tasks] == [True, True, False]
    assert "TypeError" in asker.server.stderr()


ODD = [
    "ValueError",
    "SystemExit",
    "KeyboardInterrupt",
    "CancelledError",
    "GeneratorExit",
    "StopIteration",
    "Own",
    "StopAsyncIteration",
]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["d", "a"])
def test_whatever_a_task_raises_it_has_failed_and_the_next_ones_run(asker: Asker, kind: str, name: str):
    """Logged, counted in row and gauge; neither the server, nor its thread, nor its loop ends."""
    failed = asker.server.gauge(Gauge.FAILED)
    op, _ = asker.ask("/raise", kind=kind, name=name)
    tasks = asker.ended(op, 4)
    assert [bool(task.failed) for task in tasks] == [False, True, False, False]
    assert [bool(task.finished) for task in tasks] == [True, False, True, True]
    assert asker.told(op) == ["before", name, "next", "last"]
    assert asker.server.gauge(Gauge.FAILED) == failed + 1
    assert asker.server.process.poll() is None


@pytest.mark.parametrize("kind", ["d", "a"])
def test_the_traceback_of_a_task_names_the_line_that_raised(asker: Asker, kind: str):
    """On stderr, with the line of the user's code and the name of the task."""
    op, _ = asker.ask("/raise", kind=kind, name="ValueError")
    asker.ended(op, 4)
    mistake = "a sync mistake" if kind == "d" else "an async mistake"
    until(lambda: f"ValueError: {mistake}\n" in asker.server.stderr(), "the traceback is written")
    stderr = asker.server.stderr()
    assert "Traceback (most recent call last)" in stderr
    assert "appmod.py" in stderr
    assert f"# the line of the {mistake[mistake.index(' ') + 1 :]}" in stderr
    assert ("raise_it" if kind == "d" else "araise_it") in stderr


@pytest.mark.parametrize("kind", ["d", "a"])
@pytest.mark.parametrize("name", ODD)
def test_with_on_error_stop_the_later_tasks_are_skipped(start: StartAsker, kind: str, name: str):
    """Never started, with the reason in their rows; as in Starlette."""
    asker = start("--on-error", "stop")
    op, _ = asker.ask("/raise", kind=kind, name=name)
    tasks = asker.ended(op, 4)
    assert [bool(task.finished) for task in tasks] == [True, False, False, False]
    assert [bool(task.failed) for task in tasks] == [False, True, False, False]
    assert [(bool(task.dropped), task.reason, task.started) for task in tasks[2:]] == [(True, DropReason.SKIPPED, 0)] * 2
    assert asker.told(op) == ["before", name]


def test_an_exception_that_cannot_even_be_printed_harms_nothing(asker: Asker):
    """Nor does a callable without a name, nor a task that cancels itself: the next tasks run undisturbed."""
    op, _ = asker.ask("/nasty")
    tasks = asker.ended(op, 5)
    assert [bool(task.failed) for task in tasks] == [True, True, True, False, False]
    assert asker.told(op) == ["next", "last"]
    until(lambda: "from the unnameable" in asker.server.stderr(), "its traceback is written")


@pytest.mark.parametrize(
    ("path", "status", "count"), [("/raising-endpoint", 500, 2), ("/http-exception", 409, 1), ("/unencodable", 500, 1)]
)
def test_the_tasks_of_an_endpoint_that_raises_are_discarded(asker: Asker, path: str, status: int, count: int):
    """As in FastAPI they never run; the rows say why."""
    op = next_op()
    assert asker.server.ask("GET", f"{path}?op={op}", x_op_id=f"{op:x}").status == status
    rows = asker.ended(op, count)
    assert [(task.started, task.reason, bool(task.dropped)) for task in rows] == [(0, DropReason.DISCARDED, True)] * count
    assert asker.told(op) == []


@pytest.mark.parametrize("path", ["/endpoint-raises", "/aendpoint-raises"])
@pytest.mark.parametrize("name", ODD)
def test_whatever_an_endpoint_raises_is_answered_500(asker: Asker, path: str, name: str):
    """The thread and the loop live on."""
    assert asker.server.ask("GET", f"{path}/{name}").status == 500
    assert asker.server.ask("GET", "/told/0").status == 200
    op, _ = asker.ask("/order", kinds="da")
    asker.ended(op, 2)
