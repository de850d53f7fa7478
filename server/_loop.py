"""The event loop's thread: `async def` endpoints, `async def` tasks, and the app's lifespan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any

from server._native import AsyncChain, AsyncJob, Server

__all__ = ["LoopThread"]

BEAT_S = 0.02
"""Seconds between two beats. A loop that misses beats is blocked: the harness sees that from outside."""


class LoopThread:
    """One thread with one event loop, started by `start` and ended by `stop`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = _new_loop()
        self._running: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="event-loop", daemon=True)

    def start(self) -> None:
        """Starts the loop; work rings its bell."""
        self._thread.start()

    def enter(self, lifespan: AbstractAsyncContextManager[Any]) -> None:
        """Runs the app's start-up. Raises what it raises."""
        self._call(lifespan.__aenter__)

    def leave(self, lifespan: AbstractAsyncContextManager[Any]) -> None:
        """Runs the app's shutdown. Raises what it raises."""
        self._call(lambda: lifespan.__aexit__(None, None, None))

    def stop(self, grace_s: float) -> None:
        """Cancels what still runs, gives it `grace_s` seconds to clean up, and ends the loop."""

        async def cancel() -> None:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=grace_s)

        future = asyncio.run_coroutine_threadsafe(cancel(), self._loop)
        try:
            future.result(timeout=grace_s + 1.0)
        except TimeoutError:
            # The loop is blocked by somebody's code; its thread ends with the process.
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1.0)

    def _call(self, make: Callable[[], Any]) -> None:
        done: Future[None] = Future()

        async def run() -> None:
            try:
                await make()
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised again where the caller waits
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(lambda: self._keep(self._loop.create_task(run())))
        done.result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.add_reader(self._server.doorbell(), self._on_bell)
        self._beat()
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _beat(self) -> None:
        self._server.beat(BEAT_S)
        self._loop.call_later(BEAT_S, self._beat)

    def _on_bell(self) -> None:
        create = self._loop.create_task
        for work in self._server.take():
            if isinstance(work, AsyncJob):
                self._keep(create(_run_job(work)))
            else:
                self._keep(create(_run_chain(work), context=work.context()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        # The loop itself holds tasks weakly: without this one could vanish half-way.
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def _run_job(job: AsyncJob) -> None:
    call = job.prepare()
    if call is None:
        return
    endpoint, arguments = call
    try:
        value = await endpoint(**arguments)
    except BaseException as error:  # noqa: BLE001  # also a SystemExit of an endpoint is an answer, not the server's end
        job.fail(error)
    else:
        job.respond(value)


async def _run_chain(chain: AsyncChain) -> None:
    while (step := chain.begin()) is not None:
        func, args, kwargs = step
        try:
            await func(*args, **(kwargs or {}))
        except BaseException as error:  # noqa: BLE001  # a task that raises, whatever it raises, has failed; the loop goes on
            chain.failed(error)
        else:
            chain.finished()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # optional: asyncio's own loop serves as well, slower
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
