"""Compiling an app's routes from FastAPI's own analysis of their signatures.

A route that needs more than the straight way can do goes the general way, with the reason in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, FastAPI, Request, params
from fastapi.dependencies.models import Dependant, _is_async_gen_callable, _is_coroutine_callable, _is_gen_callable
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.security.base import SecurityBase
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from server._answers import encoder, finisher, is_plain_json, setting
from server._capture import wants_tasks
from server._depends import REQUEST, TASKS, Hop, Tree, call_now, problems_of
from server._params import body_spec, param_spec
from server._requests import request_maker
from server._specs import ConstantSpec, RouteSpec

__all__ = ["RouteSpec", "UnsupportedRoute", "compile_routes", "misses_go_to_app"]


TOLD = "is sent there because the server was told to (way='general')"
"""Why a route of an app that is served with `ServerConfig.way` "general" does not go straight."""


class UnsupportedRoute(TypeError):
    """Routes that the straight way cannot take, of an app that allows no other (`strict_fast_path`)."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What routes need that is not their own."""

    app: FastAPI
    hop: Hop
    state: dict[str, Any]


def compile_routes(
    app: FastAPI, hop: Hop | None = None, state: dict[str, Any] | None = None, *, strict: bool = False, all_general: bool = False
) -> list[RouteSpec]:
    """Every route of the app, in order: compiled for the straight way, or with the reason why it goes the general way.

    `hop` calls `def` functions off the event loop; `state` is the app's lifespan state, which its start-up fills. If `strict`,
    raises UnsupportedRoute with all routes that do not go straight. If `all_general`, none does.
    """
    surroundings = Surroundings(app, hop or _no_hop, {} if state is None else state)
    problem_of_app = next(_problems_of_app(app), None)
    of_app = TOLD if all_general else problem_of_app and f"belongs to an app that {problem_of_app}"
    own = {app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url} - {None}
    specs: list[RouteSpec] = []
    for context, router in _contexts(app):
        route = context.original_route
        if of_app is not None:
            specs.append(_general(context, of_app))
        elif router is not None:
            specs.append(replace(_general(context, f"belongs to a {router}"), path="/{path:path}", is_other=True))
        elif isinstance(route, APIRoute):
            problem = next(_problems(context, context.dependant), None)
            specs.append(_general(context, problem) if problem else _compile(surroundings, context))
        elif (
            isinstance(route, Route) and context.path in own and getattr(route.endpoint, "__module__", None) == FastAPI.__module__
        ):
            specs.append(_schema(surroundings, context) if context.path == app.openapi_url else _page(context))
        else:
            specs.append(_general(context, _kind_of(route)))
    if strict and problem_of_app and not specs:
        msg = f"the app cannot be served straight: it {problem_of_app}"
        raise UnsupportedRoute(msg)
    if strict and (general := [spec for spec in specs if spec.general is not None]):
        raise UnsupportedRoute("; ".join(f"{spec} cannot be served straight: it {spec.general}" for spec in general))
    return specs


def _contexts(app: FastAPI) -> Iterator[tuple[RouteContext, str | None]]:
    """Every route, with the class of the router that has a way of its own to match or handle, if it is in one."""
    for route in app.routes:
        router = _own_router(route)
        for context in iter_route_contexts([route]):
            yield context, router


def _own_router(route: Any) -> str | None:
    included = getattr(route, "original_router", None)
    if included is None:
        return None
    if _overrides(included, APIRouter, "matches", "handle", "__call__", "app"):
        return f"{type(included).__name__} with a way of its own"
    return next((found for inner in included.routes if (found := _own_router(inner)) is not None), None)


def _overrides(thing: Any, base: type, *methods: str) -> bool:
    return any(getattr(type(thing), method, None) is not getattr(base, method, None) for method in methods)


def misses_go_to_app(app: FastAPI, specs: list[RouteSpec]) -> bool:
    """Whether a request that no route takes is a matter of the app: of its middleware, handlers or routes of other kinds."""
    # FastAPI's frontends are looked at when nothing else fits, and are no routes of the app.
    has_frontends = any(True for _ in app.router._iter_low_priority_routes())  # noqa: SLF001
    has_own_handlers = app.exception_handlers != _HANDLERS
    return any(_problems_of_app(app)) or has_own_handlers or has_frontends or any(spec.is_other for spec in specs)


def _kind_of(route: BaseRoute) -> str:
    name = type(route).__name__
    known = {Mount: "is a mounted app", WebSocketRoute: "is a web socket", Route: "is a route of Starlette's"}
    return next((words for kind, words in known.items() if isinstance(route, kind)), f"is of the kind {name}")


def _general(context: RouteContext, reason: str) -> RouteSpec:
    path = context.path or "/"
    methods = sorted(context.methods or ())
    is_simple = bool(methods) and isinstance(context.original_route, Route) and ":" not in path and not _PARTIAL.search(path)
    if isinstance(context.original_route, Mount):
        path = path.rstrip("/") + "/{path:path}"
    if isinstance(context.original_route, WebSocketRoute):
        is_simple = True  # without methods it takes no HTTP request; every web socket goes to the app
    elif type(context.original_route).matches.__module__.partition(".")[0] not in ("starlette", "fastapi"):
        path, is_simple = "/{path:path}", False  # it says itself what it matches
    is_analysed = isinstance(context.original_route, APIRoute)
    tasks = _SOMEWHERE if is_analysed and wants_tasks(context.dependant) else None
    return RouteSpec(methods, path, reason, is_other=not is_simple, tasks=tasks, route=context)


_SOMEWHERE = "background_tasks"
"""Keyword of the task list where only the app knows it: all that matters is that there is one, and that admission may refuse."""


_PARTIAL = re.compile(r"[^/{]\{|\}[^/]")
_HANDLERS = FastAPI().exception_handlers


def _compile(surroundings: Surroundings, context: RouteContext) -> RouteSpec:
    dependant: Dependant = context.dependant
    assert dependant.call is not None
    path = context.path or "/"
    is_json = is_plain_json(context)
    is_simple = (
        is_json
        and not dependant.dependencies
        and not (dependant.response_param_name or dependant.security_scopes_param_name)
        and not (dependant.request_param_name and dependant.http_connection_param_name)
    )
    names: dict[str, str | None]
    if is_simple:
        endpoint, is_async = dependant.call, _is_coroutine_callable(dependant.call)
        found = [
            (parameter.name, source, parameter) for source in _SOURCES for parameter in getattr(dependant, f"{source}_params")
        ]
        body = [(parameter.name, parameter) for parameter in dependant.body_params]
        names = {
            TASKS: dependant.background_tasks_param_name,
            REQUEST: dependant.request_param_name or dependant.http_connection_param_name,
        }
    else:
        tree = Tree(dependant, surroundings.hop, finisher(context), always_finish=not is_json)
        endpoint, is_async, found, body = tree.endpoint, tree.is_async, tree.params, tree.body
        names = {slot: slot if slot in tree.wanted else None for slot in (TASKS, REQUEST)}
    path_names = _path_names(path)
    return RouteSpec(
        methods=sorted(context.methods or ()),
        path=path,
        path_names=path_names,
        endpoint=endpoint,
        is_async=is_async,
        params=[param_spec(*parameter) for parameter in found],
        body=body_spec(
            body,
            embed=context._embed_body_fields,  # noqa: SLF001
            lenient=not setting(context.strict_content_type),
        ),
        tasks=names[TASKS],
        request=names[REQUEST],
        make_request=request_maker(surroundings.app, surroundings.state, context, path_names),
        overridable=context.dependency_overrides_provider if dependant.dependencies else None,
        status=context.status_code or 200,
        encode=encoder(context),
        route=context,
    )


_SOURCES = ("path", "query", "header", "cookie")


def _problems_of_app(app: FastAPI) -> Iterator[str]:
    if app.user_middleware:
        names = ", ".join(getattr(entry.cls, "__name__", repr(entry.cls)) for entry in app.user_middleware)
        yield f"has middleware ({names})"
    if not getattr(type(app).__call__, "__module__", "").startswith("fastapi."):
        yield f"is a {type(app).__name__} with a __call__ of its own"
    if type(app.router) is not APIRouter:
        yield f"has a {type(app.router).__name__} for a router"
    if app.root_path:
        yield f"has the root_path {app.root_path!r}"
    if app.debug:
        yield "asks for debug answers"
    if app._native_telemetry.enabled():  # noqa: SLF001
        yield "records telemetry"
    if app.max_body_size is not None:
        yield f"limits bodies to {app.max_body_size} bytes, and the straight way knows the server's own max_body only"


def _problems(context: RouteContext, dependant: Dependant) -> Iterator[str]:
    response_class, path = setting(context.response_class), context.path or "/"
    if _overrides(context.original_route, APIRoute, "get_route_handler", "handle", "matches"):
        yield f"is a {type(context.original_route).__name__} with a way of its own"
    elif getattr(context.app, "__code__", None) is not _OF_ANY_ROUTE and context.max_body_size is None:
        yield "has had its `app` replaced"
    if context.max_body_size is not None:
        yield f"limits its body to {context.max_body_size} bytes, and the straight way knows the server's own max_body only"
    yield from problems_of(dependant)
    if ":" in "".join(part for part in path.split("{")[1:]):
        yield f"has a path convertor in {path}"
    if any(not _is_parameter(part) for part in path.split("/") if "{" in part):
        yield f"has a parameter that is only a part of a path segment in {path}"
    if any(isinstance(parameter.field_info, params.Form) for parameter in _body_fields(dependant)):
        yield "takes a form or files"
    if _takes_request(dependant) and context.body_field is None and not set(context.methods or ()) <= _WITHOUT_BODY:
        yield "takes the Request, from which it may read the body as it arrives"
    is_generator = _is_gen_callable(dependant.call) or _is_async_gen_callable(dependant.call)
    if context.is_sse_stream or context.is_json_stream or is_generator:
        yield "streams its answer"
    elif issubclass(response_class, StreamingResponse | FileResponse):
        yield f"answers with {response_class.__name__}, which is sent in pieces"


_WITHOUT_BODY = {"GET", "HEAD", "OPTIONS"}
_OF_ANY_ROUTE = getattr(APIRoute("/", lambda: None).app, "__code__", None)


def _takes_request(dependant: Dependant) -> bool:
    # Security schemes look at its headers.
    wants = dependant.request_param_name is not None and not isinstance(dependant.call, SecurityBase)
    return wants or any(map(_takes_request, dependant.dependencies))


def _body_fields(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.body_params
    for inner in dependant.dependencies:
        yield from _body_fields(inner)


def _is_parameter(part: str) -> bool:
    return part.startswith("{") and part.endswith("}") and part.count("{") == 1


def _path_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if _is_parameter(part)]


async def _no_hop(call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    msg = f"{call!r} needs a server to be called off its event loop"
    raise RuntimeError(msg)


def _schema(surroundings: Surroundings, context: RouteContext) -> RouteSpec:
    # Made when it is asked for, as FastAPI does: it may fail, take long, and be the work of an `openapi` of the app's own.
    return RouteSpec(
        ["GET", "HEAD"],
        context.path or "/",
        endpoint=context.endpoint,
        is_async=True,
        request="req",
        make_request=request_maker(surroundings.app, surroundings.state, context, []),
        route=context,
    )


def _page(context: RouteContext) -> RouteSpec:
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
    # FastAPI's pages are `async def` and never wait, so that no event loop is needed: there may be one already, somebody else's.
    response = call_now(endpoint, Request(scope))
    constant = ConstantSpec(response.headers["content-type"], list(response.body))
    return RouteSpec(["GET", "HEAD"], context.path or "/", endpoint=endpoint, is_async=True, constant=constant, route=context)
