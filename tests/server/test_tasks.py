"""What a background task may be, in which order tasks run, and what it sees."""

from __future__ import annotations

import itertools
import json

import pytest

from harness.rows import UNTAGGED, Gauge, TaskKind

from .asker import TELLING, Asker, StartAsker, askers, next_op
from .conftest import Serve
from .helpers import until

APP = (
    TELLING
    + """
import contextvars, functools
var = contextvars.ContextVar("var", default="unset")

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
def test_parallel_tasks_of_one_request_run_side_by_side(start: StartAsker, kinds: str):
    """order=parallel: all have started before the first has finished."""
    asker = start("--order", "parallel")
    op = next_op()
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


@pytest.mark.parametrize("options", [(), ("--order", "parallel")])
def test_a_running_task_may_add_tasks(start: StartAsker, options: tuple[str, ...]):
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


def test_tasks_that_a_returned_response_carries_run_in_place_of_the_endpoints_own(asker: Asker):
    """As in FastAPI, which drops the endpoint's own in silence: here they are in the account, and in the log."""
    op, _ = asker.ask("/carried")
    tasks = asker.ended(op, 3)
    assert asker.told(op) == ["carried", "carried too"]
    assert sorted((task.index, task.reason) for task in tasks) == [(0, 0), (1, 0), (2, 3)]
    assert "carries tasks of its own" in asker.server.stderr()


def test_a_request_may_add_as_many_tasks_as_a_row_can_number(start: StartAsker):
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
