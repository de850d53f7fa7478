"""What the compiled side hands to Python beside endpoints: what they raised, and the responses that they returned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.utils import is_body_allowed_for_status_code
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from server._native import TaskList
from server._specs import RouteSpec

__all__ = ["Answer", "Fallback", "set_up_logging", "unpack"]

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""

_requests_log = logging.getLogger("server.requests")


class Fallback:
    """What becomes of exceptions of the endpoints of one app."""

    def __init__(self, app: FastAPI, specs: Sequence[RouteSpec]) -> None:
        self._app = app
        self.specs = specs

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


def unpack(response: Response, tasks: TaskList | None) -> Answer | None:
    """The parts of a returned `Response`. None: it has to send itself, because it streams, carries tasks or has its own way.

    As in FastAPI, tasks that the endpoint added go with a response that carries none.
    """
    if type(response).__call__ is Response.__call__ and response.background is None:
        return _answer(response)
    if response.background is None and tasks is not None:
        response.background = tasks  # type: ignore[assignment]  # it is a BackgroundTasks
    return None


def set_up_logging() -> None:
    """Errors reach stderr with their traceback also where the app has configured no logging."""
    if not logging.getLogger().handlers and not logging.getLogger("server").handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.getLogger("server").addHandler(handler)


def _answer(response: Response) -> Answer:
    return (response.status_code, list(response.raw_headers), bytes(response.body))
