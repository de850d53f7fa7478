"""What the compiled side hands to Python: everything but the straight way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.utils import is_body_allowed_for_status_code
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from server._native import TaskList
from server._specs import RouteSpec

__all__ = ["Answer", "Fallback", "task_failed"]

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""

_tasks_log = logging.getLogger("server.tasks")
_requests_log = logging.getLogger("server.requests")


class Fallback:
    """What happens to the requests of one app when something is not in order."""

    def __init__(self, app: FastAPI, specs: Sequence[RouteSpec]) -> None:
        self._app = app
        self.specs = specs

    def hand_over(self, scope: dict[str, Any], body: bytes) -> Answer:
        """What the app itself answers to a request."""
        return _drive(self._app, scope, body)

    def raise_in_app(self, scope: dict[str, Any], body: bytes, error: BaseException) -> Answer:
        """What the app's own exception handlers answer."""

        async def failing(scope: Any, receive: Any, send: Any) -> None:
            raise error

        handlers = dict(self._app.exception_handlers)
        last = handlers.pop(500, None) or handlers.pop(Exception, None)
        scope["app"] = self._app
        return _drive(ServerErrorMiddleware(ExceptionMiddleware(failing, handlers), last), scope, body)

    def explain(self, error: BaseException, number: int) -> Answer | None:
        """The answer to an exception of an endpoint: an HTTPException's own, or a 500 and the traceback in the log.

        None: the app has a handler of its own for it.
        """
        handler = self._handler(error)
        if handler is http_exception_handler and isinstance(error, HTTPException):
            if not is_body_allowed_for_status_code(error.status_code):
                return _answer(Response(status_code=error.status_code, headers=error.headers))
            return _answer(JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers))
        if handler is request_validation_exception_handler and isinstance(error, RequestValidationError):
            return _answer(JSONResponse({"detail": jsonable_encoder(error.errors())}, status_code=422))
        if handler is not None:
            return None
        _requests_log.error("%s raised %s", self.specs[number], type(error).__name__, exc_info=error)
        return (500, [(b"content-type", b"text/plain; charset=utf-8")], b"Internal Server Error")

    def _handler(self, error: BaseException) -> Callable[..., Any] | None:
        # Starlette's order: handlers of a status, then of the class and its bases, then whoever takes what nobody else does.
        handlers = self._app.exception_handlers
        if isinstance(error, HTTPException) and error.status_code != 500 and error.status_code in handlers:
            return handlers[error.status_code]
        if not isinstance(error, Exception):
            return None
        for kind in type(error).__mro__:
            if kind in handlers and kind is not Exception:
                return handlers[kind]
        return handlers.get(500) or handlers.get(Exception)


def unpack(response: Response, tasks: TaskList | None) -> Answer:
    """The parts of a returned `Response`. Tasks that it carries run after those that the endpoint added.

    (FastAPI drops the endpoint's own tasks in silence when the response carries some.) Raises TypeError for a streaming response.
    """
    if not hasattr(response, "body"):
        msg = f"the endpoint returned a {type(response).__name__}, and streamed answers cannot be served yet"
        raise TypeError(msg)
    if response.background is not None:
        if tasks is None:
            msg = (
                "the returned Response carries background tasks: declare a BackgroundTasks parameter for them to be accounted for"
            )
            raise TypeError(msg)
        for task in _tasks_of(response.background):
            tasks.add_task(task.func, *task.args, **task.kwargs)
    return _answer(response)


def task_failed(func: Callable[..., Any], error: BaseException) -> None:
    """Logs what a background task raised, with its traceback."""
    # Not its repr, which is the user's code and may raise too.
    name = (getattr(func, "__qualname__", None) or type(func).__qualname__).rpartition("<locals>.")[2]
    _tasks_log.error("background task %s raised %s: %s", name, type(error).__name__, error, exc_info=error)


def set_up_logging() -> None:
    """Errors reach stderr with their traceback also where the app has configured no logging."""
    if not logging.getLogger().handlers and not logging.getLogger("server").handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.getLogger("server").addHandler(handler)


def _tasks_of(background: BackgroundTask) -> list[BackgroundTask]:
    return list(background.tasks) if isinstance(background, BackgroundTasks) else [background]


def _drive(app: ASGIApp, scope: dict[str, Any], body: bytes) -> Answer:
    # A loop of its own on a thread of its own, until there is a bridge.
    parts: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        parts.append(message)

    def run() -> None:
        with contextlib.suppress(Exception):
            asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return (parts[0]["status"], list(parts[0]["headers"]), b"".join(part.get("body", b"") for part in parts[1:]))


def _answer(response: Response) -> Answer:
    return (response.status_code, list(response.raw_headers), bytes(response.body))
