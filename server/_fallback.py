"""What the compiled side hands to Python: everything but the straight way.

Requests that fail validation (or look odd) are judged again here by FastAPI's own functions, so that a 422 says
exactly what FastAPI says.
"""

from __future__ import annotations

import email.message
import json
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.utils import is_body_allowed_for_status_code
from pydantic_core import PydanticUndefined
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from server._native import TaskList
from server._routes import RouteSpec

__all__ = ["Answer", "Fallback"]

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""

_requests_log = logging.getLogger("server.requests")


class Fallback:
    """The careful way for the routes of one app."""

    def __init__(self, specs: Sequence[RouteSpec], *, has_own_handlers: bool = False) -> None:
        self.specs = specs
        self.has_own_handlers = has_own_handlers

    def validate(
        self,
        number: int,
        method: str,
        path: str,
        path_values: list[tuple[str, str]],
        query: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
    ) -> dict[str, Any] | Answer:
        """The endpoint's arguments, or the answer that says what is wrong with the request."""
        spec = self.specs[number]
        assert spec.route is not None
        dependant = spec.route.dependant
        head = Headers(raw=headers)
        try:
            received = _json_body(body, head) if dependant.body_params else PydanticUndefined
        except json.JSONDecodeError as error:
            problem = {
                "type": "json_invalid",
                "loc": ("body", error.pos),
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": error.msg},
            }
            return _unprocessable([problem])
        except (UnicodeDecodeError, RecursionError):
            return _answer(JSONResponse({"detail": "There was an error parsing the body"}, status_code=400))
        values: dict[str, Any] = {}
        problems: list[Any] = []
        for fields, source in (
            (dependant.path_params, dict(path_values)),
            (dependant.query_params, QueryParams(query)),
            (dependant.header_params, head),
        ):
            found, wrong = request_params_to_args(fields, source)
            values.update(found)
            problems.extend(wrong)
        if dependant.body_params:
            found, wrong = _run_now(request_body_to_args(dependant.body_params, received, embed_body_fields=False))
            values.update(found)
            problems.extend(wrong)
        return _unprocessable(problems) if problems else values

    def explain(self, error: BaseException, number: int) -> Answer | None:
        """The answer to an exception of an endpoint: an HTTPException's own, or a 500 and the traceback in the log.

        None: the app has handlers of its own.
        """
        if self.has_own_handlers:
            return None
        if isinstance(error, HTTPException):
            if not is_body_allowed_for_status_code(error.status_code):
                return _answer(Response(status_code=error.status_code, headers=error.headers))
            return _answer(JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers))
        if isinstance(error, RequestValidationError):
            return _unprocessable(list(error.errors()))
        _requests_log.error("%s raised %s", self.specs[number], type(error).__name__, exc_info=error)
        return (500, [(b"content-type", b"text/plain; charset=utf-8")], b"Internal Server Error")


def unpack(response: Response, tasks: TaskList | None) -> Answer | None:
    """The parts of a returned `Response`. None: it has to send itself: it streams, carries tasks of its own or has its own way.

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


def _json_body(body: bytes, headers: Headers) -> Any:
    # As in fastapi.routing.get_request_handler: only a JSON content type makes a body JSON.
    if not body:
        return PydanticUndefined
    message = email.message.Message()
    message["content-type"] = headers.get("content-type", "")
    subtype = message.get_content_subtype()
    declared = bool(headers.get("content-type")) and message.get_content_maintype() == "application"
    return json.loads(body) if declared and (subtype == "json" or subtype.endswith("+json")) else body


def _run_now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    # FastAPI's function awaits only for forms, which are no business of the fast path: it returns at the first step.
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    msg = "FastAPI's body validation wanted to wait, which it does for forms only"
    raise RuntimeError(msg)


def _unprocessable(problems: list[Any]) -> Answer:
    return _answer(JSONResponse({"detail": jsonable_encoder(problems)}, status_code=422))


def _answer(response: Response) -> Answer:
    return (response.status_code, list(response.raw_headers), bytes(response.body))
