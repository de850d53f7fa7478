"""The event loop's thread: `async def` endpoints, `async def` tasks, and the app's lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any

from server._bridge import Bridge
from server._native import AsgiCall, AsyncChain, AsyncJob, Server, WebSocketCall
from server._runners import Runners, Running, keep
from server._task_log import TaskTimedOut

__all__ = ["LoopThread"]

_log = logging.getLogger("server.requests")

BEAT_S = 0.02
"""Seconds between two beats. A loop that misses beats is blocked: the harness sees that from outside."""


class LoopThread:
    """One thread with one event loop, started by `start` and ended by `stop`."""

    def __init__(self, server: Server, bridge: Bridge) -> None:
        self._server = server
        self._bridge = bridge
        self._loop = _new_loop()
        # The loop itself holds tasks weakly: without this one could vanish half-way. By what each works on, so that it can take
        # itself out; a callback for that would cost another turn of the loop.
        self._running: Running = {}
        self._runners = Runners(self._loop, self._running)
        self._life: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self._end = asyncio.Event()
        self._left: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="event-loop", daemon=True)

    def start(self) -> None:
        """Starts the loop; work rings its bell."""
        self._thread.start()

    def start_app(self, lifespan: AbstractAsyncContextManager[Any]) -> Future[None]:
        """Begins the app's start-up. The result is there when it has ended, or holds what it raised."""
        started: Future[None] = Future()

        async def live() -> None:
            # One task from start-up to shutdown, as the lifespan protocol has it: a task group may not change tasks.
            try:
                async with lifespan:
                    started.set_result(None)
                    await self._leave.wait()
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised again where somebody waits for it
                (self._left if started.done() else started).set_exception(error)
            else:
                self._left.set_result(None)

        self._loop.call_soon_threadsafe(self._begin, live())
        return started

    def stop_app(self) -> Future[None]:
        """Begins the app's shutdown. As `start_app`."""
        self._loop.call_soon_threadsafe(self._leave.set)
        return self._left

    def cancel(self, grace_s: float) -> None:
        """Cancels the requests and tasks that still run and gives them `grace_s` seconds to clean up. Not the app's lifespan."""

        async def cancel() -> None:
            self._runners.drop()
            for task in self._running.values():
                task.cancel()
            if self._running:
                await asyncio.wait(self._running.values(), timeout=grace_s)
            # Those that were cancelled before their first step could not take themselves out.
            self._running.clear()

        future = asyncio.run_coroutine_threadsafe(cancel(), self._loop)
        # A loop that is blocked by somebody's code is left alone: its thread ends with the process.
        with contextlib.suppress(TimeoutError):
            future.result(timeout=grace_s + 0.5)

    def owns(self, thread: threading.Thread) -> bool:
        """Whether it is the loop's."""
        return thread is self._thread

    def stop(self, grace_s: float = 1.0) -> bool:
        """Cancels what is left, ends the loop and its thread, and gives its descriptors back. False: somebody's code blocks the
        loop, or does not end, for longer than `grace_s`; then it ends as soon as that code lets it.
        """
        if self._thread.ident is None:
            self._loop.close()
            return True
        with contextlib.suppress(RuntimeError):  # closed: it has ended by itself
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(timeout=grace_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        doorbell = self._server.doorbell()
        loop.add_reader(doorbell, self._on_bell)
        self._beat()
        # A task that runs to completion: anyio ties the threads of `run_in_threadpool` to it, else each to its request.
        life = loop.create_task(self._live())
        try:
            while not life.done():
                self._go_on(life)
            loop.remove_reader(doorbell)
            if left := asyncio.all_tasks(loop):
                # The app's own, mostly: those of the server have ended or were cancelled before.
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _go_on(self, life: asyncio.Task[None]) -> None:
        try:
            self._loop.run_until_complete(life)
        except BaseException as error:  # noqa: BLE001  # a SystemExit in a task of the app's own comes out of the loop
            _log.error("a task on the event loop raised %s; the server goes on", type(error).__name__, exc_info=error)

    async def _live(self) -> None:
        await self._end.wait()

    def _beat(self) -> None:
        self._server.beat(BEAT_S)
        self._loop.call_later(BEAT_S, self._beat)

    def _on_bell(self) -> None:
        create, running, runners = self._loop.create_task, self._running, self._runners
        for work in self._server.take():
            if isinstance(work, AsyncJob):
                runners.add(work)
            elif isinstance(work, AsyncChain):
                keep(running, work, create(_run_chain(work, running), context=work.context()))
            elif isinstance(work, int):
                self._bridge.wake(work)
            else:
                keep(running, work, create(_run_call(self._bridge, work, running)))
        runners.run()

    def _begin(self, life: Coroutine[Any, Any, None]) -> None:
        self._life = self._loop.create_task(life)


async def _run_chain(chain: AsyncChain, running: Running) -> None:
    try:
        step = chain.begin()
        if step is None:
            return
        func, args, kwargs, timeout_s = step
        try:
            if timeout_s is None:
                await func(*args, **(kwargs or {}))
            else:
                await _limited(func(*args, **(kwargs or {})), timeout_s)
        except BaseException as error:  # noqa: BLE001  # a task that raises, whatever it raises, has failed; the loop goes on
            chain.failed(error)
        else:
            chain.finished()
    finally:
        running.pop(chain, None)


async def _run_call(bridge: Bridge, call: AsgiCall | WebSocketCall, running: Running) -> None:
    try:
        await bridge.run(call)
    finally:
        running.pop(call, None)


async def _limited(work: Awaitable[Any], timeout_s: float) -> None:
    """Cancels the work after `timeout_s` seconds. Raises TaskTimedOut then, whatever the work made of its cancellation."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s) as limit:
            await work
    except BaseException as error:
        if not limit.expired():
            raise
        # A timeout's own TimeoutError stands for the CancelledError, which knows where the task was.
        inner = error.__cause__ if isinstance(error, TimeoutError) and error.__cause__ is not None else error
        became = "was cancelled" if isinstance(inner, asyncio.CancelledError) else f"raised {type(inner).__name__} when cancelled"
        msg = f"it had run for {timeout_s:g} s and {became}"
        raise TaskTimedOut(msg) from inner
    if limit.expired():
        took_s = time.monotonic() - begun
        msg = f"it had run for {timeout_s:g} s, swallowed its cancellation and returned after {took_s:.1f} s"
        raise TaskTimedOut(msg)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # optional: asyncio's own loop serves as well, slower
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
