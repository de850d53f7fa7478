"""The hooks in Starlette: where an app is called, where a task is made and called, and where a response is sent.

Each calls what it stands for, with what it was given. What goes wrong in between is noted, and the original is called all
the same.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
from collections.abc import Callable
from time import monotonic_ns
from types import FunctionType, ModuleType
from typing import Any

from . import process
from .exchange import Exchange, TaskRow, Unit, current
from .process import hooked, trouble, unhooked
from .rows import FINISHED, FLUSHED, STARTED, Gauge, Reason, Row
from .sampler import running_loop
from .spawned import hook_loop

__all__ = ["install"]

_Call = Callable[..., Any]
_REQUESTS, _N_STARTED, _N_FINISHED = Gauge.REQUESTS, Gauge.STARTED, Gauge.FINISHED
_RUNNING, _ENDED = Row.RUNNING, Row.ENDED

_KNOWN_NAMES = frozenset({"is_async", "func", "args", "kwargs", "run_in_threadpool"})
"""What `BackgroundTask.__call__` speaks of: `if self.is_async: await self.func(...)`, else the same in a thread."""


def install(name: str, module: ModuleType) -> None:
    """Hooks what is in that module of Starlette's, just imported."""
    if name == "starlette.applications":
        _hook_app(module)
    elif name == "starlette.background":
        _Tasks(module)
    else:
        _hook_responses(module)


def _hook_app(module: ModuleType) -> None:
    get, put = current.get, current.set
    original = _coroutine_function(module.Starlette, "__call__")
    found: Any = None
    loop: Any = None
    words: Any = None
    next_request: Any = None

    def usual() -> None:
        """Binds what a request of this process needs. Not before there was one, and anew in a process that was forked."""
        nonlocal found, loop, words, next_request
        found = process.current
        if found is not None:
            loop, words, next_request = found.loop, found.words, found.next_request

    def forked() -> None:
        nonlocal loop
        loop = None

    @functools.wraps(original)
    async def called(self: Any, scope: Any, receive: Any, send: Any) -> None:
        exchange: Exchange | None
        if get() is None and scope["type"] == "http" and running_loop() is loop is not None:
            # The usual case, in line: each call that is saved here is saved for every request.
            words[_REQUESTS] = next_request()
            exchange = Exchange(found, scope, send)
            put(exchange)
            try:
                await original(self, scope, receive, exchange.send)
            except BaseException as error:
                _leave(exchange, error, None)
                raise
            if exchange.is_simply_over():
                put(None)
            else:
                _leave(exchange, None, None)
            return
        exchange = _enter(scope, send)
        if exchange is None:
            await original(self, scope, receive, send)
            return
        usual()
        before = get()
        put(exchange)
        try:
            await original(self, scope, receive, exchange.send)
        except BaseException as error:
            _leave(exchange, error, before)
            raise
        _leave(exchange, None, before)

    os.register_at_fork(after_in_child=forked)
    module.Starlette.__call__ = called
    hooked("Starlette.__call__")


def _enter(scope: Any, send: Any) -> Exchange | None:
    """A new exchange, if a request comes in here; None if it is under way already, or is none."""
    try:
        found = process.current or process.begin()
        if found is None or not found.page.is_open:
            return None
        loop = running_loop()
        if loop is None:
            found.notes.once("unhooked", "the event loop: it is not asyncio's; lag and pool are not seen", what="loop")
        elif loop not in found.loops:
            found.sampler.watch(loop)
            hook_loop(loop)
            found.loop = loop
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            return None
        unit = current.get()
        if unit is not None and not unit.exchange.is_over and unit.exchange.is_of(scope):
            return None
        if kind == "http":
            found.words[_REQUESTS] = found.next_request()
        return Exchange(found, scope, send)
    except Exception as error:  # noqa: BLE001  # the request is answered, whatever becomes of its account
        trouble("a request", error)
        return None


def _leave(exchange: Exchange, error: BaseException | None, before: Unit | None) -> None:
    try:
        if not exchange.is_simply_over():
            exchange.end(error)
        current.set(before)
    except Exception as trouble_of_ours:  # noqa: BLE001  # as above
        trouble("the end of a request", trouble_of_ours)


def _hook_responses(module: ModuleType) -> None:
    base = sys.modules["starlette.responses"].Response
    done = []
    for kind in list(vars(module).values()):
        own = (
            isinstance(kind, type) and issubclass(kind, base) and kind.__module__ == module.__name__ and "__call__" in vars(kind)
        )
        if own:
            kind.__call__ = _response_hook(_coroutine_function(kind, "__call__"))
            done.append(f"{kind.__name__}.__call__")
    for what in done:
        hooked(what)


def _response_hook(original: _Call) -> _Call:
    get = current.get

    async def alone(self: Any, scope: Any, receive: Any, send: Any) -> None:
        """A response that is an app of its own, without a Starlette round it."""
        exchange = _enter(scope, send)
        if exchange is None:
            await original(self, scope, receive, send)
            return
        _begins(exchange, self)
        current.set(exchange)
        try:
            await original(self, scope, receive, exchange.send)
        except BaseException as error:
            _leave(exchange, error, None)
            raise
        _leave(exchange, None, None)

    # Not `async def`, but what it returns is to be awaited all the same: one coroutine less for every request.
    @functools.wraps(original)
    def called(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        unit = get()
        if unit is None:
            return alone(self, scope, receive, send)
        if type(unit) is not Exchange or unit.rows:
            _begins(unit.exchange, self)
        elif unit.made:
            # As nearly always: the injected list, and nothing else.
            if unit.made == getattr(self.background, "tasks", None):
                try:
                    unit.accept_all()
                except Exception as error:  # noqa: BLE001  # the response is sent, whatever becomes of its account
                    trouble("a response", error)
            else:
                _begins(unit, self)
        elif self.background is not None:
            _begins(unit, self)
        return original(self, scope, receive, send)

    return _marked_as_coroutine(called)


def _begins(exchange: Exchange, response: Any) -> None:
    """A response is about to be sent: what it carries gets its rows."""
    try:
        background = response.background
        if background is not None or exchange.made or exchange.rows:
            exchange.response_begins(_leaves(background))
    except Exception as error:  # noqa: BLE001  # the response is sent, whatever becomes of its account
        trouble("a response", error)


def _leaves(background: Any) -> list[Any]:
    """The tasks that a response carries, lists taken apart."""
    if background is None:
        return []
    module = sys.modules["starlette.background"]
    task_class, list_class = module.BackgroundTask, module.BackgroundTasks
    if isinstance(background, list_class):
        tasks = background.tasks
        for task in tasks:
            if type(task) is not task_class or isinstance(task.func, task_class):
                break
        else:
            return list(tasks)
    found: list[Any] = []
    left = [background]
    while left:
        task = left.pop()
        if isinstance(task, list_class):
            left.extend(reversed(task.tasks))
        elif isinstance(task, task_class):
            func = getattr(task, "func", None)
            if isinstance(func, task_class):
                left.append(func)
            else:
                found.append(task)
        elif process.current is not None:
            kind = type(task).__qualname__
            process.current.notes.once(
                "unhooked", f"a background of type {kind}: it is no BackgroundTask", what=f"background {kind}"
            )
    return found


class _Tasks:
    """The hooks of `starlette.background`."""

    def __init__(self, module: ModuleType) -> None:
        self._task: Any = module.BackgroundTask
        self._list: Any = module.BackgroundTasks
        self._seen: set[type] = {self._task, self._list}
        self._init: _Call = self._task.__init__
        self._call: _Call = _coroutine_function(self._task, "__call__")
        missing = {"func", "args", "kwargs", "is_async"} - set(vars(self._task(_nothing)))
        if missing:
            msg = f"a BackgroundTask has no {', '.join(sorted(missing))}"
            raise TypeError(msg)
        self._hook_init()
        self._hook_call()
        hooked("BackgroundTask")

    def _hook_init(self) -> None:
        original, made, get, task_class = self._init, self._made, current.get, self._task

        @functools.wraps(original)
        def initialised(self: Any, func: Any, *args: Any, **kwargs: Any) -> None:
            original(self, func, *args, **kwargs)
            unit = get()
            if unit is not None:
                if type(unit) is Exchange and not unit.has_left and type(self) is task_class and type(func) is FunctionType:
                    if unit.made:
                        unit.made.append(self)
                    else:
                        unit.made = [self]
                else:
                    made(self, unit.exchange)

        self._task.__init__ = initialised

    def _hook_call(self) -> None:
        original, row_of, task_class, get = self._call, self._row_of, self._task, current.get

        # Where Starlette's own does just this, it is done here: a layer less for every task.
        is_known = set(original.__code__.co_names) == _KNOWN_NAMES

        @functools.wraps(original)
        async def called(self: Any) -> None:
            unit: Any = get()
            row = unit.next_row(self) if type(unit) is Exchange else None
            if row is not None and is_known:
                # The usual case, in line: an `async def` task that Starlette calls after the answer.
                words, base, page = row.words, row.base, row.page
                row.state = _RUNNING
                unit.running = row
                words[base + FLUSHED] = words[base + STARTED] = monotonic_ns()
                page.words[_N_STARTED] = page.next_started()
                try:
                    await self.func(*self.args, **self.kwargs)
                except BaseException as error:
                    unit.running = None
                    row.over(error)
                    raise
                unit.running = None
                if row.children is None and page.is_open:
                    row.is_over = True
                    row.state = _ENDED
                    words[base + FINISHED] = monotonic_ns()
                    page.words[_N_FINISHED] = page.next_finished()
                else:
                    row.over(None)
                return
            if row is None:
                row = row_of(self)
                if row is None:
                    await original(self)
                    return
            if is_known and self.is_async:
                exchange = row.exchange
                exchange.running = row
                row.begin()
                try:
                    await self.func(*self.args, **self.kwargs)
                except BaseException as error:
                    exchange.running = None
                    row.over(error)
                    raise
                exchange.running = None
                row.over(None)
                return
            # A copy, with a function that tells when it is called: the same object may be called for many requests at once.
            copy = object.__new__(task_class)
            vars(copy).update(vars(self))
            copy.func = (_traced_async if self.is_async else _traced)(self.func, row)
            try:
                await original(copy)
            except BaseException:
                if row.state == Row.WAITING:
                    row.drop(Reason.ABANDONED)  # given up while it waited for a thread
                raise
            if row.state == Row.WAITING:
                row.begin()
                row.over(None)
                unhooked("BackgroundTask.__call__", "this Starlette does not call `self.func`: instants are those of the end")

        self._task.__call__ = called

    def _made(self, task: Any, exchange: Exchange) -> None:
        try:
            if type(task) not in self._seen:
                self._hook_kind(type(task))
            if not isinstance(task.func, self._task):
                exchange.task_made(task)
        except Exception as error:  # noqa: BLE001  # the task is made, whatever becomes of its account
            trouble("a new task", error)

    def _row_of(self, task: Any) -> TaskRow | None:
        """The row of a task that is called. None: it has none of its own."""
        try:
            if isinstance(getattr(task, "func", None), self._task):
                return None  # a list in a task: its tasks have rows
            unit = current.get()
            if unit is None:
                found = process.current or process.begin()
                if found is None or not found.page.is_open:
                    return None
                exchange = Exchange(found, {}, None)
                exchange.is_over = True  # called by hand, outside of any request
                return exchange.start_of(task)
            exchange = unit.exchange
            running = unit if isinstance(unit, TaskRow) else exchange.running
            if running is not None and running.task is task and running.state == Row.RUNNING:
                return None  # `super().__call__()` of one that has a row
            return exchange.start_of(task)
        except Exception as error:  # noqa: BLE001  # the task runs, whatever becomes of its account
            trouble("a call of a task", error)
            return None

    def _hook_kind(self, kind: type) -> None:
        """A class of somebody's own: where it calls the function itself, its call is the task."""
        self._seen.add(kind)
        if issubclass(kind, self._list):
            return
        for each in kind.__mro__:
            if each is self._task:
                return
            original = vars(each).get("__call__")
            if original is None:
                continue
            code = getattr(original, "__code__", None)
            if each not in self._seen or each is kind:
                self._seen.add(each)
                if code is None or not {"super", self._task.__name__} & set(code.co_names):
                    each.__call__ = _whole_call(original, self._row_of)  # type: ignore[method-assign]
            return


def _whole_call(original: _Call, row_of: Callable[[Any], TaskRow | None]) -> _Call:
    @functools.wraps(original)
    async def called(self: Any) -> Any:
        row = row_of(self)
        if row is None:
            return await original(self)
        return await _traced_async(original, row)(self)

    return called


def _traced(func: _Call, row: TaskRow) -> _Call:
    def traced(*args: Any, **kwargs: Any) -> Any:
        current.set(row)  # in the copy of the context that the thread was given
        row.begin()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            row.over(error)
            raise
        row.over(None)
        return result

    return traced


def _traced_async(func: _Call, row: TaskRow) -> _Call:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        token = current.set(row)
        row.begin()
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            row.over(error)
            raise
        else:
            row.over(None)
            return result
        finally:
            try:
                current.reset(token)
            except ValueError as error:  # closed from another context, at the end of the loop
                trouble("the context of a task", error)

    return traced


def _coroutine_function(kind: type, name: str) -> _Call:
    found: _Call = getattr(kind, name)
    if not inspect.iscoroutinefunction(found):
        msg = f"{kind.__name__}.{name} is no `async def` any more"
        raise TypeError(msg)
    return found


def _nothing() -> None:
    """A task function."""


def _marked_as_coroutine(function: _Call) -> _Call:
    """For those who ask before they await."""
    if hasattr(inspect, "markcoroutinefunction"):  # 3.12
        inspect.markcoroutinefunction(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001
    return function
