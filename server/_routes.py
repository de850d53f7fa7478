"""Compiling an app's routes for the fast path, from FastAPI's own analysis of their signatures.

A route that needs more than the fast path can do is refused at start, by name, with the reason: better than one that half works.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, params
from fastapi._compat import ModelField, field_annotation_is_sequence
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import _get_param_aliases, _get_param_model
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic_core import from_json
from starlette._utils import is_async_callable
from starlette.routing import Mount, Route, WebSocketRoute

__all__ = ["RouteSpec", "UnsupportedRoute", "compile_routes"]


class UnsupportedRoute(TypeError):
    """A route that this server cannot take yet."""

    def __init__(self, route: str, reason: str) -> None:
        super().__init__(f"{route} cannot be served: it {reason}")


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One parameter: where it comes from and how it is validated. Read by the compiled side."""

    name: str
    source: str
    alias: str
    validate: Callable[[Any], Any] | None
    required: bool
    default: Any
    make_default: Callable[[], Any] | None


@dataclass(frozen=True, slots=True)
class BodySpec:
    """The JSON body."""

    name: str
    validate_json: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class ConstantSpec:
    """An answer that never changes."""

    content_type: str
    body: list[int]


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One compiled route. Read by the compiled side."""

    methods: list[str]
    path: str
    path_names: list[str]
    endpoint: Callable[..., Any]
    is_async: bool
    params: list[ParamSpec] = field(default_factory=list)
    body: BodySpec | None = None
    tasks: str | None = None
    status: int = 200
    encode: Callable[[Any], bytes] | None = None
    constant: ConstantSpec | None = None
    general: str | None = None
    is_other: bool = False
    route: RouteContext | None = None

    def __str__(self) -> str:
        return f"{'/'.join(self.methods)} {self.path}"


_SHARED = (str, int, float, bool, bytes, type(None))
_BARE_STR = ({"type": "str"}, {"type": "default", "schema": {"type": "str"}})


def compile_routes(app: FastAPI) -> list[RouteSpec]:
    """Every route of the app, in order: compiled for the straight way, or with the reason why it goes the general way."""
    of_app = next(_problems_of_app(app), None)
    own = {app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url} - {None}
    specs = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) or (isinstance(route, Route) and context.path in own and not of_app):
            if of_app is None and not isinstance(route, APIRoute):
                specs.append(_constant(context))
                continue
            problem = (
                next(_problems(app, context, context.dependant), None) if of_app is None else f"belongs to an app that {of_app}"
            )
            specs.append(_general(context, problem) if problem else _compile(app, context))
        else:
            specs.append(_general(context, f"is a {type(route).__name__}"))
    return specs


def _general(context: RouteContext, reason: str) -> RouteSpec:
    path = context.path or "/"
    methods = sorted(context.methods or ())
    is_simple = bool(methods) and isinstance(context.original_route, Route) and ":" not in path and not _PARTIAL.search(path)
    if isinstance(context.original_route, Mount):
        path = path.rstrip("/") + "/{path:path}"
    if isinstance(context.original_route, WebSocketRoute):
        is_simple = True  # without methods it takes no HTTP request; every web socket goes to the app
    elif type(context.original_route).__module__.partition(".")[0] not in ("starlette", "fastapi"):
        path, is_simple = "/{path:path}", False
    return RouteSpec(
        methods=methods,
        path=path,
        path_names=[],
        endpoint=context.endpoint,  # type: ignore[arg-type]
        is_async=True,
        tasks=_tasks_parameter(getattr(context, "dependant", None)),
        general=reason,
        is_other=not is_simple,
        route=context,
    )


def _tasks_parameter(dependant: Dependant | None) -> str | None:
    """The parameter that takes the task list, of the endpoint or of something that it depends on."""
    if dependant is None:
        return None
    if dependant.background_tasks_param_name is not None:
        return dependant.background_tasks_param_name
    return next(filter(None, map(_tasks_parameter, dependant.dependencies)), None)


_PARTIAL = re.compile(r"[^/{]\{|\}[^/]")


def has_own_handlers(app: FastAPI) -> bool:
    """Whether exceptions are answered by handlers of the app's own."""
    return app.exception_handlers != _HANDLERS


def misses_go_to_app(app: FastAPI, specs: list[RouteSpec]) -> bool:
    """Whether what no route takes is a matter of the app's own: of its middleware, handlers or routes of other kinds."""
    return any(_problems_of_app(app)) or has_own_handlers(app) or any(spec.is_other for spec in specs)


def _compile(app: FastAPI, context: RouteContext) -> RouteSpec:
    dependant: Dependant = context.dependant
    name = f"{'/'.join(sorted(context.methods or ()))} {context.path}"
    for problem in _problems(app, context, dependant):
        raise UnsupportedRoute(name, problem)
    endpoint = context.endpoint
    assert endpoint is not None
    parameters = [
        _param(source, parameter)
        for source, fields in (
            ("path", dependant.path_params),
            ("query", dependant.query_params),
            ("header", dependant.header_params),
        )
        for parameter in fields
    ]
    body = None
    if dependant.body_params:
        (parameter,) = dependant.body_params
        body = BodySpec(parameter.name, _body_validator(parameter))
    return RouteSpec(
        methods=sorted(context.methods or ()),
        path=context.path or "/",
        path_names=_path_names(context.path or "/"),
        endpoint=endpoint,
        is_async=is_async_callable(endpoint),
        params=parameters,
        body=body,
        tasks=dependant.background_tasks_param_name,
        status=context.status_code or 200,
        encode=_encoder(context),
        route=context,
    )


def _problems_of_app(app: FastAPI) -> Iterator[str]:
    if app.user_middleware:
        names = ", ".join(getattr(entry.cls, "__name__", repr(entry.cls)) for entry in app.user_middleware)
        yield f"has middleware ({names}), which the fast path cannot run yet"
    if not getattr(type(app).__call__, "__module__", "").startswith("fastapi."):
        yield f"is a {type(app).__name__} with a __call__ of its own, which the fast path would pass over"
    if app.root_path:
        yield f"has the root_path {app.root_path!r}, which cannot be taken into account yet"
    if app.debug:
        yield "asks for debug answers, which cannot be given yet"


def _problems(app: FastAPI, context: RouteContext, dependant: Dependant) -> Iterator[str]:
    response_class, strict_content_type = _value(context.response_class), _value(context.strict_content_type)
    if getattr(type(context.original_route), "get_route_handler", None) is not APIRoute.get_route_handler:
        yield f"is a {type(context.original_route).__name__} with a handler of its own, which the fast path would pass over"
    if not strict_content_type:
        yield "takes JSON without its content type (strict_content_type=False), which cannot be done yet"
    if context.max_body_size is not None:
        yield f"limits its body to {context.max_body_size} bytes, and only the server's own max_body can be obeyed yet"
    if dependant.dependencies:
        names = ", ".join(getattr(sub.call, "__name__", repr(sub.call)) for sub in dependant.dependencies)
        yield f"depends on {names}, and dependencies cannot be taken yet"
    if dependant.cookie_params:
        yield f"takes the cookie {dependant.cookie_params[0].alias!r}, and cookies cannot be taken yet"
    for kind in ("request", "websocket", "http_connection", "response", "security_scopes"):
        if name := getattr(dependant, f"{kind}_param_name"):
            yield f"takes the {kind.replace('_', ' ')} itself (parameter {name!r}), which cannot be injected yet"
    if ":" in "".join(part for part in (context.path or "").split("{")[1:]):
        yield f"has a path convertor in {context.path}, and only plain parameters like {{name}} can be taken yet"
    if any(not (part.startswith("{") and part.endswith("}")) for part in (context.path or "").split("/") if "{" in part):
        yield f"has a parameter that is only a part of a path segment in {context.path}, which cannot be taken yet"
    for parameter in (*dependant.query_params, *dependant.header_params):
        if _get_param_model(parameter) is not None or field_annotation_is_sequence(parameter.field_info.annotation):
            yield f"collects several values in {parameter.name!r}, and only single values can be taken yet"
        if len(_get_param_aliases(parameter)) > 1:
            yield f"gives {parameter.name!r} several aliases, and only one can be taken yet"
    if any(isinstance(parameter.field_info, params.Form) for parameter in dependant.body_params):
        yield "takes a form or files, and only JSON bodies can be taken yet"
    if len(dependant.body_params) > 1 or context._embed_body_fields:  # noqa: SLF001
        yield "takes its body in several parts, and only one whole JSON body can be taken yet"
    if response_class is not JSONResponse:
        yield f"answers with {response_class.__name__}, and only JSON can be answered yet"
    if context.is_sse_stream or context.is_json_stream:
        yield "streams its answer, which cannot be done yet"


def _value(setting: Any) -> Any:
    return setting.value if isinstance(setting, DefaultPlaceholder) else setting


def _body_validator(parameter: ModelField) -> Callable[[bytes], Any]:
    # FastAPI parses JSON and validates Python values. pydantic can do both in one step, but then in its JSON mode, in which some
    # types take other values (a `date | str` takes a date, strict models take strings for dates). Only where both agree is that
    # step taken.
    validator = parameter._type_adapter.validator  # noqa: SLF001
    if _same_from_json(parameter._type_adapter.core_schema):  # noqa: SLF001
        return validator.validate_json

    def validate(body: bytes) -> Any:
        return validator.validate_python(from_json(body), from_attributes=True)

    return validate


_HANDLERS = FastAPI().exception_handlers
_SAME_FROM_JSON = frozenset(
    ("bool", "default", "dict", "float", "int", "list", "model", "model-field", "model-fields", "none", "nullable", "str")
)


def _same_from_json(schema: Any) -> bool:
    """Whether pydantic's JSON mode takes the same values as its Python mode: JSON's own types, lax, and functions after them."""
    if isinstance(schema, dict) and "type" in schema:
        is_function = schema["type"] == "function-after" and schema["function"]["type"] == "no-info"
        if (
            schema.get("strict")
            or schema.get("config", {}).get("strict")
            or not (is_function or schema["type"] in _SAME_FROM_JSON)
        ):
            return False
        fields = schema["fields"].values() if schema["type"] == "model-fields" else ()
        if schema.get("extras_schema") or schema.get("custom_init") or schema.get("computed_fields"):
            return False
        inner = (schema[key] for key in ("schema", "items_schema", "keys_schema", "values_schema") if key in schema)
        return all(map(_same_from_json, (*inner, *fields)))
    return False


def _param(source: str, parameter: ModelField) -> ParamSpec:
    info = parameter.field_info
    ((_, alias),) = _get_param_aliases(parameter, convert_underscores=getattr(info, "convert_underscores", False))
    required = info.is_required()
    has_factory = info.default_factory is not None
    default = None if required or has_factory else parameter.get_default()
    shared = not has_factory and not info.validate_default and isinstance(default, _SHARED)
    adapter = parameter._type_adapter  # noqa: SLF001

    def make_default() -> Any:
        value = copy.deepcopy(parameter.get_default())
        return adapter.validator.validate_python(value) if info.validate_default else value

    return ParamSpec(
        name=parameter.name,
        source=source,
        alias=alias.lower() if source == "header" else alias,
        validate=None if adapter.core_schema in _BARE_STR else adapter.validator.validate_python,
        required=required,
        default=default if shared else None,
        make_default=None if shared else make_default,
    )


def _encoder(context: RouteContext) -> Callable[[Any], bytes] | None:
    answer: ModelField | None = context.response_field
    if answer is None:
        return None
    options = {
        "include": context.response_model_include,
        "exclude": context.response_model_exclude,
        "by_alias": context.response_model_by_alias,
        "exclude_unset": context.response_model_exclude_unset,
        "exclude_defaults": context.response_model_exclude_defaults,
        "exclude_none": context.response_model_exclude_none,
    }

    def encode(value: Any) -> bytes:
        validated, errors = answer.validate(value, {}, loc=("response",))
        if errors:
            raise ResponseValidationError(errors=errors, body=value)
        return answer.serialize_json(validated, **options)

    return encode


def encode_anything(value: Any) -> bytes:
    """JSON of a value without a response model, as FastAPI's JSONResponse writes it."""
    return json.dumps(jsonable_encoder(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _constant(context: RouteContext) -> RouteSpec:
    endpoint = context.endpoint
    assert endpoint is not None
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": context.path,
        "root_path": "",
        "headers": [],
        "query_string": b"",
    }
    response = asyncio.run(endpoint(Request(scope)))
    constant = ConstantSpec(response.headers["content-type"], list(response.body))
    return RouteSpec(["GET", "HEAD"], context.path or "/", [], endpoint, is_async=True, constant=constant, route=context)


def _path_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{") and part.endswith("}")]
