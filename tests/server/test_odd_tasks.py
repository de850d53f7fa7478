"""Odd things as tasks: what somebody adds by mistake, what breaks on its way out, and what must not pile up."""

from __future__ import annotations

import itertools
import os
import re

import pytest

from harness.rows import DropReason, Gauge, TaskKind

from .conftest import Serve
from .helpers import AppServer, Task, stub, until

APP = stub("""
import contextvars, functools, gc, logging, weakref
told = []
def tell(what): told.append(what)
@app.get("/told")
async def what_was_told():
    said, told[:] = list(told), []
    return said

def generator():
    tell("generator ran")
    yield
async def async_generator():
    tell("async generator ran")
    yield
async def coroutine():
    tell("coroutine ran")
class Made:
    def __init__(self, what): tell(["made", what])
class Odd:
    def __call__(self): tell("object")
    def method(self): tell("method")
    async def amethod(self): tell("amethod")
    def generates(self): yield tell("ran")
    @staticmethod
    def static(): tell("static")
    @classmethod
    def of_class(cls): tell("class")
class AsyncOdd:
    async def __call__(self): tell("aobject")
def recurses(): return recurses()
async def arecurses():
    def inner(): return inner()
    inner()
class Mine(BaseException):
    def __str__(self): raise RuntimeError("no words")
    __repr__ = __str__
def raises(kind): raise kind
async def araises(kind): raise kind
class Unnamed:
    def __init__(self): self.__qualname__ = 7
    def __call__(self): raise ValueError("from a thing whose name is a number")

ODD = {
    "generator": generator, "generator partial": functools.partial(generator), "generator method": Odd().generates,
    "async generator": async_generator, "lambda": lambda: coroutine(), "partial": functools.partial(tell, "partial"),
    "async partial": functools.partial(coroutine), "partial of partial": functools.partial(functools.partial(tell), "twice"),
    "object": Odd(), "async object": AsyncOdd(), "method": Odd().method, "async method": Odd().amethod, "static": Odd.static,
    "class method": Odd.of_class, "class": functools.partial(Made, 1), "builtin": functools.partial(print, "printed by a task"),
    "builtin method": functools.partial(told.append, "appended"), "recursion": recurses, "async recursion": arecurses,
    "number": Unnamed(), "type": dict, "returns": lambda: "a value that nobody wants",
}
for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration, Mine, MemoryError):
    ODD["raises " + kind.__name__] = functools.partial(raises, kind)
    ODD["araises " + kind.__name__] = functools.partial(araises, kind)

@app.get("/odd/{name}")
def odd(name: str, background_tasks: BackgroundTasks):
    background_tasks.add_task(ODD[name])
    background_tasks.add_task(tell, "next")

# PyO3 lets its PanicException go on as a panic in the Rust code that finds it: the only panic that Python can cause at will. Each
# extension has one of its own, made when it is first looked for.
def panic_kinds(): return [kind for kind in BaseException.__subclasses__() if kind.__module__ == "pyo3_runtime"]
@app.get("/panic-kinds")
async def count_panic_kinds(): return len(panic_kinds())
def raise_panic(n): raise panic_kinds()[n]("a panic on purpose")
async def araise_panic(n): raise panic_kinds()[n]("a panic on purpose")
panic_in_log = []
class Panicking(logging.Filter):
    def filter(self, record):
        if panic_in_log: raise_panic(panic_in_log.pop())
        return True
logging.getLogger("server.tasks").addFilter(Panicking())
var = contextvars.ContextVar("var", default="unset")
@app.get("/panic-task/{n}")
def panic_task(n: int, background_tasks: BackgroundTasks):
    var.set("of the panicking request")
    for func in (raise_panic, araise_panic):
        background_tasks.add_task(func, n)
    background_tasks.add_task(tell, "next")
@app.get("/panic-log/{n}")
async def panic_log(n: int, background_tasks: BackgroundTasks):
    for func in (raises, araises):
        background_tasks.add_task(panic_in_log.append, n)
        background_tasks.add_task(func, ValueError)
    background_tasks.add_task(panic_in_log.append, n)
    background_tasks.add_task(lambda: panics_in_warning())
    background_tasks.add_task(tell, "next")
async def panics_in_warning(): pass
@app.get("/panic/{n}")
def panic(n: int, background_tasks: BackgroundTasks):
    var.set("of the panicking request")
    background_tasks.add_task(tell, "never")
    raise_panic(n)
@app.get("/apanic/{n}")
async def apanic(n: int, background_tasks: BackgroundTasks): panic(n, background_tasks)
class Unencodable:
    def __init__(self, n): self.n = n
    def __iter__(self): raise_panic(self.n)
@app.get("/panic-answer/{n}")
def panic_answer(n: int, background_tasks: BackgroundTasks):
    background_tasks.add_task(tell, "never")
    return Unencodable(n)
@app.get("/apanic-answer/{n}")
async def apanic_answer(n: int, background_tasks: BackgroundTasks): return panic_answer(n, background_tasks)
def see(): tell(var.get())
@app.get("/var")
def see_var(background_tasks: BackgroundTasks):
    background_tasks.add_task(see)
    return var.get()

class Huge:
    def __init__(self): self.bytes = bytearray(10_000_000)
alive = []
gate = threading.Event()
def takes(huge, fails=False):
    if fails: raise ValueError(huge)
async def atakes(huge, fails=False):
    await asyncio.sleep(0)
    if fails: raise ValueError(huge)
@app.get("/huge")
def huge(background_tasks: BackgroundTasks, kinds: str, fails: bool = False):
    for kind in kinds:
        thing = Huge()
        alive.append(weakref.ref(thing))
        background_tasks.add_task(takes if kind == "d" else atakes, thing, fails=fails)
    background_tasks.add_task(gate.wait, 60)
    background_tasks.add_task(tell, "next")
@app.get("/alive")
async def still_alive():
    gc.collect()
    return sum(thing() is not None for thing in alive)
@app.get("/open")
async def open_gate(): gate.set()
@app.get("/close")
async def close_gate(): gate.clear()
@app.get("/wait")
async def wait_at_gate(background_tasks: BackgroundTasks): background_tasks.add_task(gate.wait, 60)

local = threading.local()
def count_local():
    local.n = getattr(local, "n", 0) + 1
    tell([threading.get_ident(), local.n])
@app.get("/local")
async def locals_of_threads(background_tasks: BackgroundTasks):
    for _ in range(20):
        background_tasks.add_task(count_local)

@app.get("/many")
def many(count: int, background_tasks: BackgroundTasks):
    for number in range(count):
        background_tasks.add_task(int, number)
@app.get("/one")
def one(background_tasks: BackgroundTasks): background_tasks.add_task(int)
@app.get("/aone")
async def aone(background_tasks: BackgroundTasks): background_tasks.add_task(asyncio.sleep, 0)

def adds(background_tasks, depth):
    tell(depth)
    if depth: background_tasks.add_task(aadds, background_tasks, depth - 1)
async def aadds(background_tasks, depth): adds(background_tasks, depth)
@app.get("/adds")
def adding(background_tasks: BackgroundTasks, depth: int):
    background_tasks.add_task(adds, background_tasks, depth)
""")

_next_op = itertools.count(1)


@pytest.fixture(scope="module")
def server(shared: Serve) -> AppServer:
    """One server for all: whatever a test does to it must not hurt the next."""
    return shared(APP, "--pool", "2")


def ran(server: AppServer, path: str, count: int, status: int = 200) -> list[Task]:
    """The rows of one request to `path`, once its `count` tasks have ended."""
    op = next(_next_op)
    assert server.ask("GET", path, x_op_id=f"{op:x}").status == status

    def mine() -> list[Task]:
        return [task for task in server.tasks() if task.op == op and task.ended]

    until(lambda: len(mine()) == count, f"{count} tasks of {path} have ended")
    return sorted(mine(), key=lambda task: task.index)


def threads_of(server: AppServer) -> set[str]:
    """The ids of its threads."""
    return set(os.listdir(f"/proc/{server.process.pid}/task"))


def private_bytes(server: AppServer) -> int:
    """Its resident memory that belongs to no file: the row file is memory too, and grows by design."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        (line,) = [line for line in status if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("name", "told", "kind"),
    [
        ("partial", ["partial"], TaskKind.DEF),
        ("async partial", ["coroutine ran"], TaskKind.ASYNC),
        ("partial of partial", ["twice"], TaskKind.DEF),
        ("object", ["object"], TaskKind.DEF),
        ("async object", ["aobject"], TaskKind.ASYNC),
        ("method", ["method"], TaskKind.DEF),
        ("async method", ["amethod"], TaskKind.ASYNC),
        ("static", ["static"], TaskKind.DEF),
        ("class method", ["class"], TaskKind.DEF),
        ("class", [["made", 1]], TaskKind.DEF),
        ("builtin", [], TaskKind.DEF),
        ("builtin method", ["appended"], TaskKind.DEF),
        ("type", [], TaskKind.DEF),
        ("returns", [], TaskKind.DEF),
    ],
)
def test_every_callable_is_called(server: AppServer, name: str, told: list[object], kind: TaskKind):
    """On a thread or on the loop as its kind has it; what it returns is nobody's business."""
    odd, _ = ran(server, f"/odd/{name.replace(' ', '%20')}", 2)
    assert odd.finished
    assert odd.kind == kind
    assert server.ask("GET", "/told").json() == [*told, "next"]
    if name == "builtin":
        until(lambda: "printed by a task\n" in server.stdout(), "it is printed")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("generator", "generator did nothing: it returned a generator that nobody runs"),
        ("generator method", "Odd.generates did nothing: it returned a generator that nobody runs"),
        ("async generator", "async_generator did nothing: it returned an async generator that nobody runs"),
        ("lambda", "<lambda> did nothing: it returned a coroutine that nobody awaits"),
    ],
)
def test_what_a_task_returned_is_never_run_and_the_log_says_so_once(server: AppServer, name: str, said: str):
    """As in Starlette the call has finished and had no effect; the warning names the function."""
    for _ in range(3):
        assert [bool(task.finished) for task in ran(server, f"/odd/{name.replace(' ', '%20')}", 2)] == [True, True]
        assert server.ask("GET", "/told").json() == ["next"]
    until(lambda: f"background task {said}" in server.stderr(), "the log says so")
    assert server.stderr().count(f"background task {said}") == 1


def test_one_function_behind_two_partials_is_warned_of_once(serve: Serve):
    """The function is what is wrong, whatever wraps it."""
    server = serve(APP)
    for name in ("generator", "generator%20partial", "generator"):
        ran(server, f"/odd/{name}", 2)
    until(lambda: "did nothing" in server.stderr(), "the log says so")
    assert server.stop() == 0
    assert server.stderr().count("did nothing") == 1


@pytest.mark.parametrize("way", ["raises", "araises"])
@pytest.mark.parametrize(
    "kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "StopIteration", "Mine", "MemoryError"]
)
def test_whatever_is_raised_fails_the_task_and_its_thread_lives(server: AppServer, way: str, kind: str):
    """Also what cannot say what it is. The log has one line on it, and no complaint of the logging itself."""
    ran(server, "/one", 1)
    before = threads_of(server)
    odd, after = ran(server, f"/odd/{way}%20{kind}", 2)
    assert (bool(odd.failed), bool(after.finished)) == (True, True)
    assert threads_of(server) == before
    # A coroutine cannot raise StopIteration: Python makes it a RuntimeError.
    name = "RuntimeError" if (way, kind) == ("araises", "StopIteration") else kind
    until(lambda: re.search(rf"ERROR server.tasks: background task {way} raised {name}\b", server.stderr()), "the log says so")
    assert "--- Logging error ---" not in server.stderr()
    assert server.ask("GET", "/told").json() == ["next"]


@pytest.mark.parametrize("name", ["recursion", "async recursion"])
def test_recursion_without_end_is_a_failure(server: AppServer, name: str):
    """Not the end of the process."""
    odd, after = ran(server, f"/odd/{name.replace(' ', '%20')}", 2)
    assert (bool(odd.failed), bool(after.finished)) == (True, True)
    until(lambda: "raised RecursionError: maximum recursion depth exceeded" in server.stderr(), "the log says so")


def test_a_name_that_is_no_name_harms_nothing(server: AppServer):
    """The log falls back to what it can find."""
    odd, after = ran(server, "/odd/number", 2)
    assert (bool(odd.failed), bool(after.finished)) == (True, True)
    until(lambda: "from a thing whose name is a number" in server.stderr(), "the log has its traceback")


def test_a_task_may_add_tasks_that_add_tasks(server: AppServer):
    """Two hundred deep, from thread to loop: one after another, none early."""
    server.ask("GET", "/told")
    tasks = ran(server, "/adds?depth=200", 201)
    assert server.ask("GET", "/told").json() == list(range(200, -1, -1))
    assert all(earlier.ended <= later.started for earlier, later in itertools.pairwise(tasks))


def test_a_panic_is_a_failed_task_or_a_500(server: AppServer):
    """Of whatever extension: no thread ends, no context is left behind, the account goes on."""
    kinds = server.ask("GET", "/panic-kinds").json()
    assert kinds >= 2, "pydantic's and ours"
    ran(server, "/one", 1)
    before = threads_of(server)
    for kind in range(kinds):
        assert [bool(task.failed) for task in ran(server, f"/panic-task/{kind}", 3)] == [True, True, False]
        for path in ("/panic", "/apanic", "/panic-answer", "/apanic-answer"):
            (task,) = ran(server, f"{path}/{kind}", 1, status=500)
            assert (task.started, task.reason) == (0, DropReason.DISCARDED)
        server.ask("GET", "/told")
        assert server.ask("GET", "/var").json() == "unset"
        until(lambda: server.ask("GET", "/told").json() == ["unset"], "the task has seen a context without traces")
        assert [bool(task.failed) for task in ran(server, f"/panic-log/{kind}", 7)] == [
            False,
            True,
            False,
            True,
            False,
            False,
            False,
        ]
    assert "panic in the compiled code: a panic on purpose" in server.stderr(), "one of them is ours, and was a panic"
    assert threads_of(server) == before
    for gauge in (Gauge.POOL_BUSY, Gauge.LANES_BUSY, Gauge.LOOP_TASKS, Gauge.REQUESTS_IN_FLIGHT):
        until(lambda gauge=gauge: server.gauge(gauge) == 0, f"{gauge.name} is 0")


@pytest.mark.parametrize("kinds", ["d", "a", "da", "ddaa"])
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_task_held_is_let_go_of_when_it_ends(serve: Serve, kinds: str, fails: bool):
    """Ten megabytes each, while a later task of the same request still runs; also those in a traceback."""
    server = serve(APP)
    server.ask("GET", f"/huge?kinds={kinds}&fails={fails}")
    until(lambda: sum(task.started > 0 for task in server.tasks()) == len(kinds) + 1, "the last but one task runs")
    until(lambda: server.ask("GET", "/alive").json() == 0, "their arguments are gone")
    server.ask("GET", "/open")
    server.wait_ended(len(kinds) + 2)
    assert server.stop() == 0


def test_the_pools_threads_keep_their_thread_locals(server: AppServer):
    """A connection kept in one is there for the next task, as on any thread of a pool."""
    server.ask("GET", "/told")
    for _ in range(5):
        ran(server, "/local", 20)
    counts: dict[int, list[int]] = {}
    for thread, count in server.ask("GET", "/told").json():
        counts.setdefault(thread, []).append(count)
    assert 1 <= len(counts) <= 2
    assert all(seen == list(range(1, len(seen) + 1)) for seen in counts.values())


def test_no_thread_is_made_for_a_task(server: AppServer):
    """Five thousand tasks of five thousand requests on the threads that there were."""
    for path in ("/one", "/aone"):
        ran(server, path, 1)
    before, lanes, ended = threads_of(server), server.gauge(Gauge.LANES), server.gauge(Gauge.FINISHED)
    connection = server.connect()
    for number in range(50):
        path = "/one" if number % 2 else "/aone"
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode() * 100)
        until(lambda number=number: server.gauge(Gauge.FINISHED) >= ended + 100 * (number + 1), "they have finished")
        # On a busy machine requests may have waited long enough for one more endpoint thread.
        assert len(threads_of(server) - before) == server.gauge(Gauge.LANES) - lanes
    connection.close()


def test_memory_is_bounded_by_what_is_pending(serve: Serve):
    """Two hundred thousand ended tasks leave nothing behind."""
    server = serve(APP, "--pool", "2")

    def run(rounds: int) -> int:
        ended = server.gauge(Gauge.FINISHED)
        for number in range(rounds):
            assert server.ask("GET", "/many?count=5000").status == 200
            until(lambda number=number: server.gauge(Gauge.FINISHED) == ended + 5000 * (number + 1), "they have ended")
        return private_bytes(server)

    warm = run(4)
    grown = run(40) - warm
    assert grown < 8_000_000, f"{grown / 200_000:.0f} bytes a task"
    assert server.stop() == 0


def test_memory_of_a_flood_is_used_again(serve: Serve):
    """A hundred thousand tasks pending at once, three times: the third time needs no more than the first."""
    # One thread makes all of them: on a busy machine there may be more, and what the allocator keeps it keeps for each thread.
    server = serve(APP, "--pool", "1", "--endpoint-threads", "1")
    peaks = []
    for flood in range(3):
        server.ask("GET", "/close")
        server.ask("GET", "/wait")
        until(lambda: server.gauge(Gauge.POOL_BUSY) == 1, "a task holds the pool")
        for _ in range(4):
            assert server.ask("GET", "/many?count=25000").status == 200
        peaks.append(private_bytes(server))
        server.ask("GET", "/open")
        until(lambda flood=flood: server.gauge(Gauge.FINISHED) == 100_001 * (flood + 1), "they have ended")
    assert max(peaks) - peaks[0] < 8_000_000, peaks
    assert server.stop() == 0
