"""The hooks in Starlette: where an app is called and where a response is sent; tasks have a file of their own.

Each calls what it stands for, with what it was given. What goes wrong in between is noted, and the original is called all
the same.
"""

from __future__ import annotations

import functools
import os
import sys
from types import ModuleType
from typing import Any

from . import accelerator, process
from .coroutines import Call, coroutine_function, marked_as_coroutine, stands_for
from .exchange import Exchange, Unit, current
from .process import hooked, trouble
from .rows import Gauge
from .sampler import running_loop
from .spawned import hook_loop
from .tasks import hook_tasks

__all__ = ["install"]

_REQUESTS = Gauge.REQUESTS


def install(name: str, module: ModuleType) -> None:
    """Hooks what is in that module of Starlette's, just imported."""
    if name == "starlette.applications":
        _hook_app(module)
    elif name == "starlette.background":
        hook_tasks(module)
    else:
        _hook_responses(module)


def _hook_app(module: ModuleType) -> None:
    get, put = current.get, current.set
    original = coroutine_function(module.Starlette, "__call__")
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
            if accelerator.hooks is not None:
                accelerator.hooks.bind(found.page.sheet, loop if running_loop() is loop else None)

    def forked() -> None:
        nonlocal loop
        loop = None
        if accelerator.hooks is not None:
            accelerator.hooks.bind(None, None)

    @functools.wraps(original)
    async def called(self: Any, scope: Any, receive: Any, send: Any) -> None:
        exchange: Any
        if get() is None and scope["type"] == "http" and running_loop() is loop is not None:
            # The usual case, in line: each call that is saved here is saved for every request.
            words[_REQUESTS] = next_request()
            exchange = Exchange(found, scope, send)
            put(exchange)
            try:
                await original(self, scope, receive, exchange.answer)
            except BaseException as error:
                _leave(exchange, error, None)
                raise
            try:
                if exchange.is_simply_over():
                    put(None)
                    return
            except Exception as trouble_of_ours:  # noqa: BLE001  # the request has been answered, whatever becomes of its account
                trouble("the end of a request", trouble_of_ours)
                return
            _leave(exchange, None, None)
            return
        exchange = _enter(scope, send)
        if exchange is None:
            await original(self, scope, _until_shutdown(receive) if scope["type"] == "lifespan" else receive, send)
            return
        usual()
        before = get()
        put(exchange)
        try:
            await original(self, scope, receive, exchange.answer)
        except BaseException as error:
            _leave(exchange, error, before)
            raise
        _leave(exchange, None, before)

    os.register_at_fork(after_in_child=forked)
    if accelerator.hooks is None:
        module.Starlette.__call__ = called
    else:
        module.Starlette.__call__ = stands_for(original, accelerator.hooks.hook_app(original, called, _leave))
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
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            return None
        if loop is not None and (watched := found.loops.get(loop)) is not None:
            found.loop = loop
            watched.has_served = True
            found.serves(loop)
        unit = current.get()
        if unit is not None and not unit.exchange.is_over and unit.exchange.is_of(scope):
            return None
        if kind == "http":
            found.words[_REQUESTS] = found.next_request()
        return Exchange(found, scope, send)
    except Exception as error:  # noqa: BLE001  # the request is answered, whatever becomes of its account
        trouble("a request", error)
        return None


def _until_shutdown(receive: Any) -> Any:
    """The same for the lifespan of an app: from its shutdown on, what is cancelled goes with the process."""

    async def received() -> Any:
        message = await receive()
        if message["type"] == "lifespan.shutdown" and process.current is not None:
            process.current.ends(running_loop())
        return message

    return received


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
            kind.__call__ = _response_hook(coroutine_function(kind, "__call__"))
            done.append(f"{kind.__name__}.__call__")
    for what in done:
        hooked(what)


def _response_hook(original: Call) -> Call:
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
            await original(self, scope, receive, exchange.answer)
        except BaseException as error:
            _leave(exchange, error, None)
            raise
        _leave(exchange, None, None)

    if accelerator.hooks is not None:
        begins = accelerator.hooks.hook_response(_begins)

        @functools.wraps(original)
        def accelerated(self: Any, scope: Any, receive: Any, send: Any) -> Any:
            return original(self, scope, receive, send) if begins(self) else alone(self, scope, receive, send)

        return stands_for(original, accelerator.hooks.stand_for_response(original, alone, accelerated))

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

    return marked_as_coroutine(called)


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
