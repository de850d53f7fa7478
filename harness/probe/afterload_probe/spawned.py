"""Work that the application starts by asyncio inside a request: `create_task`, `ensure_future`, task groups, `loop.create_task`.

People use it as a background task and lose it the same. It becomes a row when what has started it is over and it is not:
docs/probe.md has the rule.
"""

from __future__ import annotations

import functools
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from time import monotonic_ns
from typing import Any

from . import process
from .exchange import Exchange, Unit, current, is_cancellation
from .frames import is_application, top_package
from .process import hooked, trouble, unhooked
from .rows import SPAWNED, Reason, Row, meta_of, name_of

__all__ = ["Spawned", "hook_loop"]

_classes: set[type] = set()


def hook_loop(loop: AbstractEventLoop) -> None:
    """Has the loop's class tell of the tasks that it is asked for. Every way of asking ends there."""
    kind = type(loop)
    if kind in _classes:
        return
    _classes.add(kind)
    what = f"{kind.__module__}.{kind.__qualname__}.create_task"
    original: Callable[..., Any] = kind.create_task
    if hasattr(original, "afterload_probe"):
        return  # inherited from a class that is hooked

    get = current.get

    @functools.wraps(original)
    def create_task(self: AbstractEventLoop, coro: Any, *args: Any, **kwargs: Any) -> Any:
        unit = get()
        if unit is None:
            return original(self, coro, *args, **kwargs)
        spawned = None
        try:
            if isinstance(unit, Exchange) and unit.running is not None:
                unit = unit.running
            if isinstance(coro, Coroutine) and is_application(sys._getframe(1), _packages(unit.exchange)):  # noqa: SLF001
                spawned = Spawned(coro, unit)
                unit.spawned(spawned)
        except Exception as error:  # noqa: BLE001  # the task runs, whatever becomes of its account
            trouble("create_task", error)
        if spawned is None:
            return original(self, coro, *args, **kwargs)
        try:
            return original(self, spawned, *args, **kwargs)
        except BaseException:
            spawned.forget()
            raise

    create_task.afterload_probe = True  # type: ignore[attr-defined]
    _hook_end(kind)
    try:
        kind.create_task = create_task  # type: ignore[method-assign]
    except TypeError as error:
        unhooked(what, str(error))
    else:
        hooked(what)


def _hook_end(kind: type[AbstractEventLoop]) -> None:
    """Has the loop's class tell when a loop that has served is run again: to wind down what it still has.

    `asyncio.run`, and what servers have in its place, cancel all tasks once their own has ended, and run the loop until they are.
    """
    what = f"{kind.__module__}.{kind.__qualname__}.run_until_complete"
    original: Callable[..., Any] = kind.run_until_complete

    @functools.wraps(original)
    def run_until_complete(self: AbstractEventLoop, *args: Any, **kwargs: Any) -> Any:
        found = process.current
        if found is not None:
            watched = found.loops.get(self)
            # One that has only started the app is about to serve: Granian runs it once for each. And one that runs refuses to be
            # run: code that is called with a loop and without one tries it all the same.
            if watched is not None and watched.has_served and not self.is_running():
                found.ends(self)
        return original(self, *args, **kwargs)

    try:
        kind.run_until_complete = run_until_complete  # type: ignore[method-assign]
    except TypeError as error:
        unhooked(what, str(error))
    else:
        hooked(what)


def _packages(exchange: Exchange) -> set[str]:
    packages: set[str] = exchange.process.packages
    module = getattr(exchange.scope.get("endpoint"), "__module__", None)
    if module:
        packages.add(top_package(module))
    return packages


class Spawned(Unit, Coroutine[Any, Any, Any]):
    """Stands for the coroutine of a spawned task, to see its first step and its last. Else it is that one."""

    def __init__(self, coro: Coroutine[Any, Any, Any], parent: Unit) -> None:
        self._coro = coro
        self._parent: Unit | None = parent
        self._accepted_ns = monotonic_ns()
        self._started_ns = 0
        self._row: Row | None = None
        self.exchange = parent.exchange
        self.is_over = False
        self.children = None

    def publish(self) -> None:
        """What has started it is over: from now on it can be lost by itself."""
        self._parent = None
        exchange = self.exchange
        row = Row()
        index = exchange.next_spawned()
        page = exchange.process.page
        if index > 0xFFFF:
            page.count_unwritten()
            return
        meta = meta_of(index, page.name(name_of(self._coro)), SPAWNED)
        if page.claim(row, exchange.op, meta, self._accepted_ns, self._started_ns):
            row.state = Row.RUNNING if self._started_ns else Row.WAITING
            self._row = row

    def forget(self) -> None:
        """There is no such task after all."""
        self._over(None if self._row is None else GeneratorExit())

    def send(self, value: Any) -> Any:
        """One step."""
        if not self._started_ns:
            self._begin()
        try:
            return self._coro.send(value)
        except BaseException as error:
            self._over(error)
            raise

    def throw(self, *error: Any) -> Any:
        """One step, into which an exception comes."""
        try:
            return self._coro.throw(*error)
        except BaseException as raised:
            self._over(raised)
            raise

    def close(self) -> None:
        """It is given up."""
        try:
            self._coro.close()
        finally:
            self._over(GeneratorExit())

    def __await__(self) -> Any:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coro, name)

    def _begin(self) -> None:
        try:
            current.set(self)  # in the context of the task: what it starts is its own
            if self._row is not None:
                self._row.start(False)
                self._started_ns = 1
            else:
                self._started_ns = monotonic_ns()
        except Exception as error:  # noqa: BLE001  # it runs, whatever becomes of its account
            trouble("the start of a spawned task", error)

    def _over(self, error: BaseException | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        try:
            parent, row = self._parent, self._row
            self._parent = None
            if parent is not None and parent.children is not None:
                parent.children.pop(self, None)
            if row is not None:
                if error is None or isinstance(error, StopIteration):
                    row.finish()
                elif not is_cancellation(error):
                    row.fail()
                elif self.exchange.process.is_winding_down(error):
                    row.drop(Reason.ABANDONED)
                elif self._started_ns:
                    row.fail(Reason.CANCELLED)
                else:
                    row.drop(Reason.CANCELLED)
            if self.children:
                self.let_go()
        except Exception as trouble_of_ours:  # noqa: BLE001  # as above
            trouble("the end of a spawned task", trouble_of_ours)
