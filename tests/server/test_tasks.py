"""What a background task may be, in which order tasks run, what happens when one raises, and what it sees."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.rows import UNTAGGED, DropReason, Gauge, TaskKind

from .conftest import Serve
from .helpers import AppServer, Task, stub, until

APP = stub("""
import contextvars, functools
told = {}
lock = threading.Lock()
var = contextvars.ContextVar("var", default="unset")

def tell(op, what):
    with lock:
        told.setdefault(op, []).append(what)

@app.get("/told/{op}")
def told_by(op: str):
    return told.get(op, [])

def sync(op, n, seconds=0.0):
    time.sleep(seconds)
    tell(op, n)

async def asynchronous(op, n, seconds=0.0):
    await asyncio.sleep(seconds)
    tell(op, n)

@app.get("/order")
def order(op: str, kinds: str, background_tasks: BackgroundTasks):
    # Later ones are quicker: whoever does not wait overtakes.
    for n, kind in enumerate(kinds):
        background_tasks.add_task(sync if kind == "d" else asynchronous, op, n, seconds=0.03 * (len(kinds) - n) / len(kinds))
    return {}

class Callee:
    def __init__(self, op): self.op = op
    def __call__(self, *args, **kwargs): tell(self.op, ["object", list(args), kwargs])
    def method(self, *args, **kwargs): tell(self.op, ["method", list(args), kwargs])
    async def amethod(self, *args, **kwargs): tell(self.op, ["amethod", list(args), kwargs])
    @staticmethod
    def static(op, *args): tell(op, ["static", list(args), {}])
    @classmethod
    def of_class(cls, op, *args): tell(op, ["class", list(args), {}])

class AsyncCallee:
    def __init__(self, op): self.op = op
    async def __call__(self, *args, **kwargs): tell(self.op, ["aobject", list(args), kwargs])

def plain(op, *args, **kwargs): tell(op, ["plain", list(args), kwargs])
async def aplain(op, *args, **kwargs): tell(op, ["aplain", list(args), kwargs])
def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

@app.get("/kinds")
async def kinds(op: str, background_tasks: BackgroundTasks):
    callee = Callee(op)
    for n, (func, first) in enumerate([(plain, [op]), (aplain, [op]),
            (functools.partial(plain, op), []), (functools.partial(aplain, op), []),
            (callee, []), (AsyncCallee(op), []), (callee.method, []), (callee.amethod, []),
            (Callee.static, [op]), (Callee.of_class, [op]),
            (lambda *args, **kwargs: tell(op, ["lambda", list(args), kwargs]), []),
            (functools.partial(AsyncCallee(op), 0), []), (wrapped(plain), [op])]):
        kwargs = {} if func in (Callee.static, Callee.of_class) else {"key": n}
        background_tasks.add_task(func, *first, n, **kwargs)
    return len(background_tasks)

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

def late_inner(op, depth): tell(op, ["late", depth])
def late(op, background_tasks, depth):
    tell(op, ["outer", depth])
    if depth:
        background_tasks.add_task(late, op, background_tasks, depth - 1)
    background_tasks.add_task(alate_inner if depth % 2 else late_inner, op, depth)
async def alate_inner(op, depth): tell(op, ["alate", depth])

@app.get("/late")
def late_adds(op: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(late, op, background_tasks, 3)
    background_tasks.add_task(plain, op)
    return {}

kept = {}
@app.get("/keep")
def keep(op: str, background_tasks: BackgroundTasks, count: int = 1):
    kept[op] = background_tasks
    for _ in range(count):
        background_tasks.add_task(plain, op)
    return {}
@app.get("/too-late")
def too_late(op: str):
    try:
        kept[op].add_task(plain, op)
    except RuntimeError as error:
        return str(error)

def see(op, n): tell(op, [n, var.get()])
async def asee(op, n): tell(op, [n, var.get()])
def see_and_set(op, n):
    tell(op, [n, var.get()])
    var.set("set by a task")
async def asee_and_set(op, n):
    tell(op, [n, var.get()])
    var.set("set by a task")

@app.get("/context")
def context(op: str, kinds: str, background_tasks: BackgroundTasks):
    before = var.get()
    for n, kind in enumerate(kinds):
        var.set(f"value {n}")
        background_tasks.add_task({"d": see, "a": asee, "D": see_and_set, "A": asee_and_set}[kind], op, n)
    var.set("after")
    return before
@app.get("/acontext")
async def acontext(op: str, kinds: str, background_tasks: BackgroundTasks):
    return context(op, kinds, background_tasks)

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

@app.get("/many")
def many(op: str, count: int, background_tasks: BackgroundTasks):
    for _ in range(count):
        background_tasks.add_task(int)
    return {}

from starlette.background import BackgroundTask, BackgroundTasks as StarletteTasks
from fastapi.responses import JSONResponse
@app.get("/carried")
def carried(op: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(sync, op, "own")
    tasks = StarletteTasks([BackgroundTask(sync, op, "carried")])
    tasks.add_task(asynchronous, op, "carried too")
    return JSONResponse({}, background=tasks)
""")

_next_op = iter(range(1, 1 << 30))


class Asker:
    """Sends requests with operations of their own to a server that is shared, and finds their rows."""

    def __init__(self, server: AppServer) -> None:
        self.server = server

    def ask(self, path: str, **query: Any) -> tuple[int, Any]:
        """The operation and the body of the answer, which must be 200."""
        op = next(_next_op)
        target = path + "?" + "&".join(f"{name}={value}" for name, value in {"op": op, **query}.items())
        answer = self.server.ask("GET", target, x_op_id=f"{op:016x}")
        assert answer.status == 200, answer
        return op, answer.json()

    def rows(self, op: int) -> list[Task]:
        """The rows of an operation."""
        return [task for task in self.server.tasks() if task.op == op]

    def ended(self, op: int, count: int) -> list[Task]:
        """The rows of an operation, once `count` of its tasks have ended."""
        until(lambda: sum(task.ended > 0 for task in self.rows(op)) == count, f"{count} tasks of {op} have ended")
        return self.rows(op)

    def told(self, op: int) -> list[Any]:
        """What the tasks of an operation told, in order."""
        return self.server.ask("GET", f"/told/{op}").json()


@pytest.fixture(scope="module")
def start(shared: Serve) -> Callable[..., Asker]:
    """A server for each set of options that the tests of this module use."""
    known: dict[tuple[str, ...], Asker] = {}

    def get(*options: str) -> Asker:
        if options not in known:
            known[options] = Asker(shared(APP, *options))
        return known[options]

    return get


@pytest.fixture
def asker(start: Callable[..., Asker]) -> Asker:
    """A server with the default policies."""
    return start()


@pytest.mark.parametrize("kinds", ["dddd", "aaaa", "dada", "adad", "ddaad", "aadda", "a", "d"])
def test_tasks_of_one_request_run_one_after_another_in_the_order_added(asker: Asker, kinds: str):
    """Each starts after the one before has ended, also where `def` and `async def` alternate."""
    op, _ = asker.ask("/order", kinds=kinds)
    tasks = asker.ended(op, len(kinds))
    assert asker.told(op) == list(range(len(kinds)))
    assert [task.index for task in tasks] == list(range(len(kinds)))
    assert [task.kind for task in tasks] == [TaskKind.DEF if kind == "d" else TaskKind.ASYNC for kind in kinds]
    assert all(earlier.finished <= later.started for earlier, later in itertools.pairwise(tasks))


@pytest.mark.parametrize("kinds", ["dddd", "aaaa", "dada"])
def test_parallel_tasks_of_one_request_run_side_by_side(start: Callable[..., Asker], kinds: str):
    """order=parallel: all have started before the first has finished."""
    asker = start("--order", "parallel")
    op = next(_next_op)
    answer = asker.server.ask("GET", f"/order?op={op}&kinds={kinds}", x_op_id=f"{op:x}")
    assert answer.status == 200
    tasks = asker.ended(op, len(kinds))
    assert sorted(task.index for task in tasks) == list(range(len(kinds)))
    assert all(task.finished and task.flushed <= task.started for task in tasks)
    assert asker.told(op)[0] != 0, "the last one added is the quickest"


def test_every_sort_of_callable_gets_its_arguments(asker: Asker):
    """Functions, partials, bound, static and class methods, objects with __call__, lambdas; `def` and `async def`."""
    op, _ = asker.ask("/kinds")
    tasks = asker.ended(op, 13)
    assert [task.failed for task in tasks] == [0] * 13, asker.server.stderr()
    expected = [
        "plain",
        "aplain",
        "plain",
        "aplain",
        "object",
        "aobject",
        "method",
        "amethod",
        "static",
        "class",
        "lambda",
        "aobject",
        "plain",
    ]
    keywords = [{} if name in ("static", "class") else {"key": n} for n, name in enumerate(expected)]
    assert asker.told(op) == [[name, [0, n] if n == 11 else [n], keywords[n]] for n, name in enumerate(expected)]
    assert [task.kind for task in tasks] == [TaskKind.ASYNC if name.startswith("a") else TaskKind.DEF for name in expected]
    assert [task.name for task in tasks[:8]] == [
        "plain",
        "aplain",
        "plain",
        "aplain",
        "Callee",
        "AsyncCallee",
        "Callee.method",
        "Callee.amethod",
    ]


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


@pytest.mark.parametrize("options", [(), ("--order", "parallel")])
def test_a_running_task_may_add_tasks(start: Callable[..., Asker], options: tuple[str, ...]):
    """They run after those that were added before them, are accounted for like any other, and may add more."""
    asker = start(*options)
    op, _ = asker.ask("/late")
    tasks = asker.ended(op, 9)
    assert all(0 < task.accepted <= task.flushed <= task.started <= task.finished for task in tasks)
    assert sorted(task.index for task in tasks) == list(range(9))
    told = asker.told(op)
    expected = [
        ["outer", 3],
        ["plain", [], {}],
        ["outer", 2],
        ["alate", 3],
        ["outer", 1],
        ["late", 2],
        ["outer", 0],
        ["alate", 1],
        ["late", 0],
    ]
    if options:
        told, expected = sorted(told, key=str), sorted(expected, key=str)
    assert told == expected


@pytest.mark.parametrize("count", [1, 0])
def test_adding_a_task_after_the_last_one_has_ended_raises(asker: Asker, count: int):
    """It could never run: RuntimeError, whether the request had tasks or none."""
    op, _ = asker.ask("/keep", count=count)
    asker.ended(op, count)
    until(lambda: asker.server.gauge(Gauge.POOL_BUSY) == 0, "the chain is forgotten")
    answer = asker.server.ask("GET", f"/too-late?op={op}")
    assert "late" in (answer.json() or "nothing was raised: the task vanishes in silence")


@pytest.mark.parametrize("path", ["/context", "/acontext"])
@pytest.mark.parametrize("kinds", ["d", "a", "dd", "aa", "da", "ad", "DD", "AA", "DA", "AD", "DdAa"])
def test_a_task_sees_the_context_variables_of_its_add_task(asker: Asker, path: str, kinds: str):
    """The value at add_task, not that of a task before it, of a later add_task, or of another request."""
    for _ in range(2):
        op, before = asker.ask(path, kinds=kinds)
        assert before == "unset"
        asker.ended(op, len(kinds))
        assert asker.told(op) == [[n, f"value {n}"] for n in range(len(kinds))]


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
def test_with_on_error_stop_the_later_tasks_are_skipped(start: Callable[..., Asker], kind: str, name: str):
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
    op = next(_next_op)
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


def test_tasks_that_a_returned_response_carries_run_in_place_of_the_endpoints_own(asker: Asker):
    """As in FastAPI, which drops the endpoint's own in silence: here they are in the account, and in the log."""
    op, _ = asker.ask("/carried")
    tasks = asker.ended(op, 3)
    assert asker.told(op) == ["carried", "carried too"]
    assert sorted((task.index, task.reason) for task in tasks) == [(0, 0), (1, 0), (2, 3)]
    assert "carries tasks of its own" in asker.server.stderr()


def test_a_request_may_add_as_many_tasks_as_a_row_can_number(start: Callable[..., Asker]):
    """65,536, all of which run; one more is refused in words, and then none runs."""
    asker = start("--on-error", "stop")
    before, dropped = asker.server.gauge(Gauge.FINISHED), asker.server.gauge(Gauge.DROPPED)
    asker.ask("/many", count=65_536)
    until(lambda: asker.server.gauge(Gauge.FINISHED) == before + 65_536, "all have ended")

    assert asker.server.ask("GET", "/many?op=x&count=65537").status == 500
    until(lambda: asker.server.gauge(Gauge.DROPPED) == dropped + 65_536, "all are discarded")
    assert asker.server.gauge(Gauge.FINISHED) == before + 65_536
    assert "at most 65,536 tasks" in asker.server.stderr()


def test_operations_are_passed_on_and_missing_ones_are_marked(asker: Asker):
    """X-Op-Id is hexadecimal; without one, or with one that no client may make, the row's operation has the highest bit set."""
    for sent, expected in [("00000000000abcde", 0xABCDE), ("7fffffffffffffff", (1 << 63) - 1), ("FF", 0xFF)]:
        asker.server.ask("GET", "/order?op=x&kinds=d", x_op_id=sent)
        until(lambda expected=expected: asker.rows(expected), f"a row has the operation {expected:x}")
    for wrong in ("", "0", "ffffffffffffffff", "8000000000000001", "xyz", "1" * 17, "-1", "1.5", "ä"):
        seen = len(asker.server.tasks())
        asker.server.ask("GET", "/order?op=x&kinds=d", x_op_id=wrong)
        until(lambda seen=seen: len(asker.server.tasks()) > seen, "the task is accepted")
        assert asker.server.tasks()[-1].op & UNTAGGED, wrong
    placeholders = [task.op for task in asker.server.tasks() if task.op & UNTAGGED]
    assert len(set(placeholders)) == len(placeholders)


def test_the_gauges_add_up_when_all_is_quiet(asker: Asker):
    """accepted = finished + failed + dropped; nothing busy, nothing waiting; the same numbers as in the rows."""
    asker.server.wait_ended(1)
    gauges = {gauge: asker.server.gauge(gauge) for gauge in Gauge}
    until(
        lambda: (
            asker.server.gauge(Gauge.ACCEPTED)
            == sum(asker.server.gauge(g) for g in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
        ),
        "all have ended",
    )
    until(lambda: asker.server.gauge(Gauge.REQUESTS_IN_FLIGHT) == 0, "no request is in flight")
    tasks = asker.server.tasks()
    assert len(tasks) == asker.server.gauge(Gauge.ACCEPTED)
    assert sum(task.started > 0 for task in tasks) == asker.server.gauge(Gauge.STARTED)
    for gauge, field in ((Gauge.FINISHED, "finished"), (Gauge.FAILED, "failed"), (Gauge.DROPPED, "dropped")):
        assert sum(getattr(task, field) > 0 for task in tasks) == asker.server.gauge(gauge), field
    for gauge in (Gauge.POOL_BUSY, Gauge.POOL_WAITING, Gauge.LOOP_TASKS, Gauge.LANES_BUSY, Gauge.LANES_WAITING):
        until(lambda gauge=gauge: asker.server.gauge(gauge) == 0, f"{gauge.name} is 0")
    assert gauges[Gauge.REQUESTS] > 0
    assert json.dumps(gauges)
