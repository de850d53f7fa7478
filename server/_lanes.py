"""`def` callables of requests that live on the event loop: called on endpoint threads, as `def` endpoints are."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from server._native import Server

__all__ = ["Lanes"]

_LOOK_AFTER_S = 0.001


class Lanes:
    """The way from the event loop to the endpoint threads. Open once there is a server."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._looking = False

    def open(self, server: Server) -> None:
        """Calls go to the endpoint threads of `server` from now on."""
        self._server = server

    async def call(self, func: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """What `func` returns or raises on an endpoint thread, in a copy of the caller's context."""
        assert self._server is not None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                value = context.run(func, **arguments)
            except StopIteration as error:
                # A future cannot carry it: to a coroutine it would look like its own end.
                told = RuntimeError(f"{func!r} raised StopIteration")
                told.__cause__ = error
                loop.call_soon_threadsafe(_fail, future, told)
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised again where somebody waits for it
                loop.call_soon_threadsafe(_fail, future, error)
            else:
                loop.call_soon_threadsafe(_succeed, future, value)

        if self._server.lend(work) and not self._looking:
            self._looking = True
            loop.call_later(_LOOK_AFTER_S, self._look, loop, self._server.lane_progress(None))
        return await future

    def _look(self, loop: asyncio.AbstractEventLoop, before: int | None) -> None:
        # As for requests: one more thread when nobody took anything for a whole millisecond.
        assert self._server is not None
        now = self._server.lane_progress(before)
        self._looking = now is not None
        if now is not None:
            loop.call_later(_LOOK_AFTER_S, self._look, loop, now)


def _succeed(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
