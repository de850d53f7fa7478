"""The `Request` of the straight way: injected where one is asked for, and handed to the app's exception handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import RouteContext

__all__ = ["request_maker"]

_LOOK_AGAIN_S = 0.05
"""For the few who wait for their client to leave. `Request.is_disconnected()` does not wait: it looks once."""


def request_maker(app: FastAPI, state: dict[str, Any], context: RouteContext, path_names: list[str]) -> Callable[..., Request]:
    """Makes a route's `Request` from an ASGI scope, the values of `path_names`, the whole body and whether its client has gone.

    Where that is None, whoever gets the request tells it in another way. `state` is the app's lifespan state. The scope
    is completed as Starlette's and FastAPI's routing do it.
    """
    route, endpoint, reads_body = context.original_route, context.endpoint, getattr(context, "body_field", None) is not None
    effective = context._route_context  # noqa: SLF001

    def make_request(scope: dict[str, Any], path_values: list[str], body: bytes, has_gone: Callable[[], bool] | None) -> Request:
        scope["app"] = app
        scope["router"] = app.router
        scope["state"] = state.copy()
        scope["route"] = route
        scope["endpoint"] = endpoint
        if effective is not None:
            scope["fastapi"] = {"effective_route_context": effective}
        scope["path_params"] = dict(zip(path_names, path_values, strict=True))
        request = Request(scope) if has_gone is None else Request(scope, _receiver(None if reads_body else body, has_gone))
        if reads_body:
            # As after FastAPI has read it: it can be read again, in every form.
            request._body = body  # noqa: SLF001
        return request

    return make_request


def _receiver(body: bytes | None, has_gone: Callable[[], bool]) -> Callable[[], Awaitable[dict[str, Any]]]:
    parts = [] if body is None else [body]

    async def receive() -> dict[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        while not has_gone():  # noqa: ASYNC110  # the I/O thread rings no bell for it
            await asyncio.sleep(_LOOK_AGAIN_S)
        return {"type": "http.disconnect"}

    return receive
