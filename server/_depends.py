"""Dependency trees of the straight way: flattened at start into calls in FastAPI's order.

All parameters of all callables are extracted and validated before the first one is called, so that a request with a mistake can
still be handed over whole. What FastAPI decides per request (order, caching) depends on the signatures alone and is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fastapi._compat import ModelField
from fastapi.dependencies.models import (
    Dependant,
    _get_cache_key,
    _get_oauth_scopes,
    _is_async_gen_callable,
    _is_coroutine_callable,
    _is_gen_callable,
)
from fastapi.security import SecurityScopes
from starlette.responses import Response

__all__ = ["Finish", "Hop", "Tree", "call_now", "problems_of"]

Hop = Callable[[Callable[..., Any], dict[str, Any]], Coroutine[Any, Any, Any]]
"""Calls a `def` function off the event loop."""

Finish = Callable[[Any, Response | None], Any]
"""Makes the answer of what the endpoint returned and of the Response that was injected, if one was."""

TASKS, REQUEST, RESPONSE = "tasks", "request", "response"
"""Slots of what belongs to the whole request. Those of parameters are `number.name`, those of results numbers."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call: where its arguments are found, and where its result is put."""

    call: Callable[..., Any]
    is_async: bool
    slot: str
    wants: list[tuple[str, str]] = field(default_factory=list)  # keyword, slot
    scopes: list[tuple[str, list[str]]] = field(default_factory=list)  # keyword, OAuth scopes

    def arguments(self, values: dict[str, Any]) -> dict[str, Any]:
        """The keywords of the call."""
        arguments = {keyword: values[slot] for keyword, slot in self.wants}
        for keyword, scopes in self.scopes:
            arguments[keyword] = SecurityScopes(scopes=list(scopes))
        return arguments


class Tree:
    """An endpoint with everything that it depends on, seen as one endpoint whose keywords are slots."""

    def __init__(self, dependant: Dependant, hop: Hop, finish: Finish, *, always_finish: bool) -> None:
        self._hop = hop
        self._known: dict[Any, str] = {}
        self._steps: list[Step] = []
        self.params: list[tuple[str, str, ModelField]] = []  # slot, source, field
        self.body: list[tuple[str, ModelField]] = []
        self.wanted: set[str] = set()
        self._add(dependant, self._flatten(dependant))
        self._finish = finish if always_finish or RESPONSE in self.wanted else None
        self._last = self._steps.pop()
        self.is_async = self._last.is_async or any(step.is_async and not _is_prompt(step.call) for step in self._steps)
        if not self.is_async:
            self._steps = [replace(step, call=partial(call_now, step.call)) if step.is_async else step for step in self._steps]

    @property
    def endpoint(self) -> Callable[..., Any]:
        """Takes a value for every slot; `async def` if anything in the tree is."""
        return self._run_async if self.is_async else self._run

    def _flatten(self, dependant: Dependant) -> list[tuple[str, str]]:
        wants = []
        for inner in dependant.dependencies:
            inner_wants = self._flatten(inner)
            key = _get_cache_key(dependant=inner)
            slot = self._known.get(key) if inner.use_cache else None
            if slot is None:
                slot = self._add(inner, inner_wants)
                # Also of those that ask for no cache, the first one is what the others find in it.
                self._known.setdefault(key, slot)
            if inner.name is not None:
                wants.append((inner.name, slot))
        return wants

    def _add(self, dependant: Dependant, wants: list[tuple[str, str]]) -> str:
        number = str(len(self._steps))
        assert dependant.call is not None
        for source in ("path", "query", "header", "cookie"):
            for parameter in getattr(dependant, f"{source}_params"):
                self.params.append((f"{number}.{parameter.name}", source, parameter))
                wants.append((parameter.name, self.params[-1][0]))
        for parameter in dependant.body_params:
            self.body.append((f"{number}.{parameter.name}", parameter))
            wants.append((parameter.name, self.body[-1][0]))
        for keyword, slot in (
            (dependant.http_connection_param_name, REQUEST),
            (dependant.request_param_name, REQUEST),
            (dependant.background_tasks_param_name, TASKS),
            (dependant.response_param_name, RESPONSE),
        ):
            if keyword is not None:
                self.wanted.add(slot)
                wants.append((keyword, slot))
        name = dependant.security_scopes_param_name
        scopes = [] if name is None else [(name, _get_oauth_scopes(dependant=dependant))]
        self._steps.append(Step(dependant.call, _is_coroutine_callable(dependant.call), number, wants, scopes))
        return number

    def _run(self, **values: Any) -> Any:
        if RESPONSE in self.wanted:
            values[RESPONSE] = _empty_response()
        for step in self._steps:
            # In a context of its own, as on a thread of FastAPI's: what it sets there nobody else sees.
            values[step.slot] = copy_context().run(step.call, **step.arguments(values))
        value = self._last.call(**self._last.arguments(values))
        return value if self._finish is None else self._finish(value, values.get(RESPONSE))

    async def _run_async(self, **values: Any) -> Any:
        if RESPONSE in self.wanted:
            values[RESPONSE] = _empty_response()
        for step in self._steps:
            values[step.slot] = await self._call(step, values)
        value = await self._call(self._last, values)
        return value if self._finish is None else self._finish(value, values.get(RESPONSE))

    async def _call(self, step: Step, values: dict[str, Any]) -> Any:
        arguments = step.arguments(values)
        return await (step.call(**arguments) if step.is_async else self._hop(step.call, arguments))


def problems_of(dependant: Dependant) -> Iterator[str]:
    """Why a tree cannot go the straight way."""
    for inner in dependant.dependencies:
        name = getattr(inner.call, "__name__", repr(inner.call))
        if _is_gen_callable(inner.call) or _is_async_gen_callable(inner.call):
            yield f"depends on {name}, which yields"
        if inner.concurrency is not None:
            yield f"depends on {name}, whose concurrency is limited"
        yield from problems_of(inner)
    if dependant.websocket_param_name:
        yield f"takes a web socket (parameter {dependant.websocket_param_name!r})"


def _empty_response() -> Response:
    # As in fastapi.dependencies.utils.solve_dependencies: what is set on it is merged into the answer.
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]
    return response


def _is_prompt(call: Any) -> bool:
    # FastAPI's own security schemes are `async def` and never wait: they can be called wherever the others are.
    return type(call).__module__.startswith("fastapi.security.")


def call_now(call: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    """What an `async def` function of FastAPI's own returns, which is known not to wait. Needs no event loop."""
    coroutine = call(*args, **kwargs)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    msg = f"{call!r} wanted to wait, which no security scheme and no page of FastAPI does"
    raise RuntimeError(msg)
