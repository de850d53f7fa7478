"""The hooks of `starlette.background`: where a task is made, and where it is called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import monotonic_ns
from types import FunctionType, ModuleType
from typing import Any

from . import accelerator, process
from .coroutines import Call, coroutine_function, stands_for
from .exchange import Exchange, TaskRow, current, is_cancellation
from .process import hooked, trouble, unhooked
from .rows import FINISHED, FLUSHED, STARTED, Gauge, Reason, Row

__all__ = ["hook_tasks"]

_N_STARTED, _N_FINISHED = Gauge.STARTED, Gauge.FINISHED
_RUNNING, _ENDED = Row.RUNNING, Row.ENDED

_KNOWN_NAMES = frozenset({"is_async", "func", "args", "kwargs", "run_in_threadpool"})
"""What `BackgroundTask.__call__` speaks of: `if self.is_async: await self.func(...)`, else the same in a thread."""


def hook_tasks(module: ModuleType) -> None:
    """Hooks the tasks of that module, just imported."""
    _Tasks(module)


class _Tasks:
    """The hooks of `starlette.background`."""

    def __init__(self, module: ModuleType) -> None:
        self._task: Any = module.BackgroundTask
        self._list: Any = module.BackgroundTasks
        self._seen: set[type] = {self._task, self._list}
        self._init: Call = self._task.__init__
        self._call: Call = coroutine_function(self._task, "__call__")
        missing = {"func", "args", "kwargs", "is_async"} - set(vars(self._task(_nothing)))
        if missing:
            msg = f"a BackgroundTask has no {', '.join(sorted(missing))}"
            raise TypeError(msg)
        self._is_known = set(self._call.__code__.co_names) == _KNOWN_NAMES
        self._quick: Any = accelerator.hooks if self._is_known else None
        if self._quick is None:
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
        is_known, quick = self._is_known, self._quick

        @functools.wraps(original)
        async def called(self: Any) -> None:
            unit: Any = get()
            row = unit.next_row(self) if is_known and quick is None and type(unit) is Exchange else None
            if row is not None:
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
            except BaseException as error:
                if row.state == Row.WAITING:
                    # Given up while it waited for a thread.
                    is_own = is_cancellation(error) and not row.exchange.process.is_ending(error)
                    row.drop(Reason.CANCELLED if is_own else Reason.ABANDONED)
                raise
            if row.state == Row.WAITING:
                row.begin()
                row.over(None)
                unhooked("BackgroundTask.__call__", "this Starlette does not call `self.func`: instants are those of the end")

        self._task.__call__ = called
        if quick is not None:
            made, run = quick.hook_task(task_class, self._made, called, self._init)
            self._task.__init__ = functools.wraps(self._init)(made)
            self._task.__call__ = stands_for(original, run)

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


def _whole_call(original: Call, row_of: Callable[[Any], TaskRow | None]) -> Call:
    @functools.wraps(original)
    async def called(self: Any) -> Any:
        row = row_of(self)
        if row is None:
            return await original(self)
        return await _traced_async(original, row)(self)

    return called


def _traced(func: Call, row: TaskRow) -> Call:
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


def _traced_async(func: Call, row: TaskRow) -> Call:
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


def _nothing() -> None:
    """A task function."""
