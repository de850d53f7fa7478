"""Answers: from what an endpoint returned to the bytes that are sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi._compat import ModelField
from fastapi.datastructures import DefaultPlaceholder
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import RouteContext, _extract_endpoint_context
from fastapi.utils import is_body_allowed_for_status_code
from starlette.responses import Response

from server._depends import Finish

__all__ = ["encode_anything", "encoder", "finisher", "is_plain_json", "setting"]


def setting(value: Any) -> Any:
    """A setting of a route, whether it was set or is FastAPI's default."""
    return value.value if isinstance(value, DefaultPlaceholder) else value


def encode_anything(value: Any) -> bytes:
    """JSON of a value without a response model, as FastAPI's JSONResponse writes it."""
    return json.dumps(jsonable_encoder(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def is_plain_json(context: RouteContext) -> bool:
    """Whether answers are the JSON that `encoder` and `encode_anything` make."""
    if _is_dumped(context):
        return True
    return setting(context.response_class) is JSONResponse and context.response_field is None


def encoder(context: RouteContext) -> Callable[[Any], bytes] | None:
    """Encodes by the response model. None: there is none."""
    answer: ModelField | None = context.response_field
    if answer is None:
        return None
    options = _options(context)

    def encode(value: Any) -> bytes:
        return answer.serialize_json(_validated(context, answer, value), **options)

    return encode


def finisher(context: RouteContext) -> Finish:
    """Makes the whole Response, as `fastapi.routing.get_request_handler` does, where more than a JSON body is needed."""
    answer: ModelField | None = context.response_field
    response_class = setting(context.response_class)
    status_code: int | None = context.status_code
    is_dumped = _is_dumped(context)
    options = _options(context)

    def finish(value: Any, injected: Response | None) -> Response:
        if isinstance(value, Response):
            return value
        # FastAPI's own order of precedence: what was set on the injected response, what the route declares, the class.
        status = (injected.status_code if injected is not None else None) or status_code
        arguments: dict[str, Any] = {"background": None, **({"status_code": status} if status else {})}
        response: Response
        if is_dumped and answer is not None:
            content: Any = answer.serialize_json(_validated(context, answer, value), **options)
            response = Response(content, media_type="application/json", **arguments)
        elif answer is not None:
            response = response_class(answer.serialize(_validated(context, answer, value), **options), **arguments)
        else:
            response = response_class(jsonable_encoder(value), **arguments)
        if not is_body_allowed_for_status_code(response.status_code):
            response.body = b""
        if injected is not None:
            response.headers.raw.extend(injected.headers.raw)
        return response

    return finish


def _is_dumped(context: RouteContext) -> bool:
    # Only where nobody asked for a response class does FastAPI let pydantic write the JSON.
    return context.response_field is not None and isinstance(context.response_class, DefaultPlaceholder)


def _validated(context: RouteContext, answer: ModelField, value: Any) -> Any:
    validated, errors = answer.validate(value, {}, loc=("response",))
    if errors:
        where = _extract_endpoint_context(context.dependant.call)
        where["path"] = f"{'/'.join(sorted(context.methods or ()))} {context.dependant.path}"
        raise ResponseValidationError(errors=errors, body=value, endpoint_ctx=where)
    return validated


def _options(context: RouteContext) -> dict[str, Any]:
    return {
        "include": context.response_model_include,
        "exclude": context.response_model_exclude,
        "by_alias": context.response_model_by_alias,
        "exclude_unset": context.response_model_exclude_unset,
        "exclude_defaults": context.response_model_exclude_defaults,
        "exclude_none": context.response_model_exclude_none,
    }
