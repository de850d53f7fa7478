"""What no server does and somebody may: an app and tasks that are called, awaited, thrown into and closed in odd ways.

Prints what came of each. The compiled probe and the one in Python have to come to the same.
"""

import asyncio
import functools
import gc
import inspect
import weakref

from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

KEPT = []


async def quick(*args, **kwargs):
    await asyncio.sleep(0)
    return "what a task returns goes nowhere"


async def long():
    await asyncio.sleep(30)


async def tidy():
    try:
        await asyncio.sleep(30)
    finally:
        await asyncio.sleep(0)


async def stubborn():
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        return


async def fails():
    await asyncio.sleep(0)
    raise LookupError("of the task")


def plain():
    pass


class Later:
    """To be awaited, and no coroutine."""

    def __await__(self):
        yield from asyncio.sleep(0).__await__()


class Calls:
    async def __call__(self, *args):
        await asyncio.sleep(0)


def marked(task):
    task.is_async = True
    return task


class Ends(BaseException):
    pass


async def ends():
    raise Ends


def unawaitable():
    return marked(BackgroundTask(lambda: 5))


TASKS = {
    "quick": lambda: BackgroundTask(quick, 1, two=2),
    "a list of arguments": lambda: with_list(BackgroundTask(quick)),
    "long": lambda: BackgroundTask(long),
    "tidy": lambda: BackgroundTask(tidy),
    "stubborn": lambda: BackgroundTask(stubborn),
    "fails": lambda: BackgroundTask(fails),
    "plain": lambda: BackgroundTask(plain),
    "object": lambda: BackgroundTask(Calls()),
    "awaitable": lambda: marked(BackgroundTask(Later)),
    "no awaitable": unawaitable,
    "wrong arguments": lambda: BackgroundTask(fails, 1),
    "ends": lambda: BackgroundTask(ends),
    "two": lambda: BackgroundTasks([BackgroundTask(quick), BackgroundTask(plain)]),
    "one in a list": lambda: BackgroundTasks([BackgroundTask(quick)]),
    "none in a list": lambda: BackgroundTasks(),
}


def with_list(task):
    task.args, task.kwargs = [1], {"two": 2}
    return task


async def endpoint(request):
    name = request.query_params["task"]
    task = TASKS[name]()
    KEPT.append(weakref.ref(request))
    if request.query_params.get("left"):
        TASKS[request.query_params["left"]]()  # made, and carried by nobody
    if request.query_params.get("stream"):

        async def chunks():
            yield b"1"
            yield b"2"

        return StreamingResponse(chunks(), background=task)
    if request.query_params.get("spawn"):
        asyncio.create_task(asyncio.sleep(0.01))
        asyncio.create_task(quick())
    return JSONResponse({}, background=task)


async def raises(request):
    BackgroundTask(quick)
    raise KeyError("of the app")


class Direct:
    """Calls its tasks itself: more than once, late, and not to their end."""

    def __init__(self, how):
        self.how = how
        self.tasks = [BackgroundTask(quick)]

    async def __call__(self):
        (task,) = self.tasks
        if self.how == "twice":
            first, second = task(), task()
            await second
            await first
        elif self.how == "again":
            await task()
            await task()
        elif self.how == "never":
            closes(task())
        elif self.how == "thrown":
            call = task()
            try:
                call.throw(ValueError("thrown"))
            except ValueError as error:
                say("thrown", repr(error))
        elif self.how == "closed":
            call = task()
            waited = call.send(None) if hasattr(call, "send") else None
            say("waits", waited is None)
            call.close()
        elif self.how == "spawned":
            await asyncio.create_task(task())
        elif self.how == "gathered":
            await asyncio.gather(task(), task())


def closes(call):
    call.close()


def direct(request):
    background = BackgroundTasks()
    mine = Direct(request.query_params["how"])
    background.tasks = mine.tasks
    answer = PlainTextResponse("", background=background)
    answer.background = Holder(mine)
    return answer


class Holder(BackgroundTasks):
    def __init__(self, mine):
        super().__init__(mine.tasks)
        self.mine = mine

    async def __call__(self):
        await self.mine()


app = Starlette(routes=[Route("/", endpoint), Route("/raises", raises), Route("/direct", direct)])


def say(*what):
    print(*what, flush=True)


def scope_of(path, query, op, **more):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": path,
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"here"), (b"x-op-id", op if isinstance(op, bytes) else b"%016x" % op)],
        **more,
    }


class Server:
    def __init__(self):
        self.sent = []
        self.has_asked = False

    async def receive(self):
        if self.has_asked:
            await asyncio.Event().wait()  # the client stays
        self.has_asked = True
        return {"type": "http.request", "body": b""}

    async def send(self, message):
        self.sent.append((message["type"], message.get("more_body")))
        await asyncio.sleep(0)


async def ask(path, query, op, **more):
    server = Server()
    try:
        await app(scope_of(path, query, op, **more), server.receive, server.send)
    except BaseException as error:
        say(path, query, type(error).__name__, error, server.sent)
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            raise
    else:
        say(path, query, "ok", server.sent)


async def cancelled(path, query, op):
    task = asyncio.create_task(ask(path, query, op))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    say("cancelled", task.cancelled())


async def main():
    number = iter(range(1, 1000))
    await ask("/", "task=quick", next(number))
    for name in TASKS:
        if name not in ("long", "tidy", "stubborn"):
            await asyncio.create_task(ask("/", f"task={name}", next(number)))
            await asyncio.create_task(ask("/", f"task={name}&stream=1", next(number)))
    for name in ("long", "tidy", "stubborn"):
        await cancelled("/", f"task={name}", next(number))
    for left in ("quick", "plain", "two"):
        await asyncio.create_task(ask("/", f"task=one in a list&left={left}", next(number)))
    await asyncio.create_task(ask("/", "task=quick&spawn=1", next(number)))
    await asyncio.create_task(ask("/raises", "", next(number)))
    for how in ("twice", "again", "never", "thrown", "closed", "spawned", "gathered"):
        await asyncio.create_task(ask("/direct", f"how={how}", next(number)))
    for op in (b"", b"12", b"+000000000000001", b"0" * 16, b"8000000000000001", b"00000000000ABCDE", "no bytes"):
        await asyncio.create_task(ask("/", "task=quick", op if isinstance(op, bytes) else next(number)))
    await asyncio.create_task(ask("/", "task=quick", 1, headers=((b"x-op-id", b"%016x" % next(number)),)))
    await asyncio.create_task(ask("/", "task=quick", 1, headers=[[b"x-op-id", b"%016x" % next(number)]]))
    await asyncio.create_task(ask("/", "task=quick", 1, headers=iter(())))

    server = Server()
    say("is a coroutine function", inspect.iscoroutinefunction(Starlette.__call__), inspect.iscoroutinefunction(app.__call__))
    say("and so is a task's", inspect.iscoroutinefunction(BackgroundTask(quick).__call__))
    say("and a response's", asyncio.iscoroutinefunction(Response.__call__), asyncio.iscoroutinefunction(Response("x").__call__))
    for function in (Starlette.__call__, Response.__call__, BackgroundTask.__call__, BackgroundTask.__init__):
        say(
            function.__qualname__,
            function.__module__,
            inspect.signature(function),
            bool(weakref.ref(function)()),
            callable(function),
        )
        bound = function.__get__(app)
        say(bound.__self__ is app, bound.__func__ is function, bool(functools.partial(function)))
    # By name, and with what it does not take.
    named = {"scope": scope_of("/", "task=quick", next(number)), "receive": server.receive, "send": server.send}
    await asyncio.create_task(app(**named))
    await asyncio.create_task(Response("x")(**{**named, "scope": scope_of("/", "", next(number))}))
    task = BackgroundTask(func=quick)
    say("by name", task.func is quick, task.args, task.kwargs, await task.__call__())
    for wrong in (app, Response("x"), task, BackgroundTask):
        try:
            await asyncio.create_task(wrong(*[None] * 5) if wrong is not BackgroundTask else wrong())
        except TypeError as error:
            say("wrong", error)
    # What is called is a coroutine for asyncio: its own task, cancelled before it begins, and in the middle.
    for pause in (0, 0.02):
        task = asyncio.create_task(app(scope_of("/", "task=long", next(number)), server.receive, server.send))
        if pause:
            await asyncio.sleep(pause)
        task.cancel()
        await asyncio.wait([task])
        say("cancelled", task.cancelled())
    # Stepped by hand, and closed where it waits; awaited once more.
    call = app(scope_of("/", "task=long", next(number)), server.receive, server.send)
    call.send(None)
    call.close()
    for again in (call.send, call.throw):
        try:
            again(None if again == call.send else ValueError("late"))
        except BaseException as error:
            say("again", type(error).__name__)
    closes(app(scope_of("/", "task=quick", next(number)), server.receive, server.send))
    try:
        await app({"path": "/"}, server.receive, server.send)
    except Exception as error:
        say("no type", type(error).__name__)
    # Nothing of the requests is kept.
    gc.collect()
    say("kept", sum(ref() is not None for ref in KEPT))
    await asyncio.sleep(0.05)


asyncio.run(main())
