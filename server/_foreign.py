"""Apps that are no FastAPI: any ASGI application, all of whose requests go the general way."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Foreign", "as_app"]


class Foreign(FastAPI):
    """Stands in for an ASGI application where a FastAPI is expected. It has no routes: everything is left to the application.

    What a FastAPI that is wrapped in middleware was told about tasks and ways holds for the whole.
    """

    def __init__(self, inner: ASGIApp) -> None:
        super().__init__(openapi_url=None)
        self._inner = inner
        wrapped: Any = inner
        # By this name middleware knows what it is wrapped round: Starlette's, and all that is made after its example.
        while wrapped is not None and not isinstance(wrapped, FastAPI):
            wrapped = getattr(wrapped, "app", None)
        self._task_settings: dict[str, Any] = getattr(wrapped, "_task_settings", {})
        self.strict_fast_path: bool = getattr(wrapped, "strict_fast_path", False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inner(scope, receive, send)


def as_app(app: Any) -> FastAPI:
    """What the server understands. Raises TypeError for what is neither a FastAPI nor called as ASGI 3 has it."""
    if isinstance(app, FastAPI):
        return app
    called = app
    while isinstance(called, functools.partial):
        called = called.func
    call = getattr(called, "__call__", None)  # noqa: B004  # the method is wanted
    is_asgi = inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(call)
    if inspect.isclass(called):
        # An endpoint class of Starlette's: to make one is to have something that can be awaited.
        is_asgi = hasattr(called, "__await__")
    if not is_asgi:
        msg = f"{type(app).__name__}, not a FastrAPI or FastAPI app, nor another ASGI application"
        raise TypeError(msg)
    return Foreign(app)
