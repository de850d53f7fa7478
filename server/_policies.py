"""How background tasks are run, told per route and per app: the decorator `tasks`, the app's settings, and what holds in the end.

A route's own setting counts before the app's, the app's before the server's (`ServerConfig`, command line).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from server._native import RoutePolicy

if TYPE_CHECKING:
    from fastapi import FastAPI

    from server._config import ServerConfig

__all__ = [
    "UNSET",
    "OnError",
    "Order",
    "Policies",
    "TaskPolicy",
    "Unset",
    "app_settings",
    "check",
    "policy_of",
    "tasks",
    "with_app_settings",
]

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Order = Literal["sequential", "parallel"]
OnError = Literal["continue", "stop"]

_ON_ENDPOINT: Final = "__server_tasks__"
_ON_APP: Final = "_task_settings"
_LONGEST_S: Final = 1_000_000


class Unset(Enum):
    """Nothing was said, where None would say something."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """What holds for the tasks of one route. Read by the compiled side."""

    parallel: bool
    stop_on_error: bool
    queue_limit: int | None  # of this route's own pending tasks; the server's limit is another one
    timeout_s: float | None


def tasks(
    *,
    order: Order | Unset = UNSET,
    on_error: OnError | Unset = UNSET,
    queue_limit: int | Unset | None = UNSET,
    timeout_s: float | Unset | None = UNSET,
) -> Callable[[Endpoint], Endpoint]:
    """Says how the background tasks of one endpoint are run; goes below its path decorator.

        @app.post("/orders")
        @server.tasks(order="parallel", on_error="stop", queue_limit=100, timeout_s=5)
        async def create(background_tasks: BackgroundTasks): ...

    What is not given is as for the app. `queue_limit` counts this route's own pending tasks; the app's limit holds beside it.
    `None` takes a limit away. Raises ValueError naming the setting, what was given and what is allowed; TypeError for an endpoint
    that cannot be marked.
    """
    given = _given(order=order, on_error=on_error, queue_limit=queue_limit, timeout_s=timeout_s)
    for name, value in given.items():
        check(name, name, value)

    def mark(endpoint: Endpoint) -> Endpoint:
        try:
            setattr(endpoint, _ON_ENDPOINT, {**_of_endpoint(endpoint), **given})
        except AttributeError:
            msg = f"tasks() cannot mark {endpoint!r}: decorate the function itself, before it is bound"
            raise TypeError(msg) from None
        return endpoint

    return mark


def app_settings(
    *,
    task_order: Order | Unset = UNSET,
    task_on_error: OnError | Unset = UNSET,
    task_queue_limit: int | Unset | None = UNSET,
    task_timeout_s: float | Unset | None = UNSET,
) -> dict[str, Any]:
    """The app's settings that were given, under the names of `ServerConfig`. Raises ValueError as `tasks` does."""
    given = _given(order=task_order, on_error=task_on_error, queue_limit=task_queue_limit, task_timeout_s=task_timeout_s)
    for name, value in given.items():
        check(name.removeprefix("task_"), f"task_{name.removeprefix('task_')}", value)
    return given


def with_app_settings(config: ServerConfig, app: FastAPI | None) -> ServerConfig:
    """The server's settings, where the app says nothing else."""
    said: dict[str, Any] = getattr(app, _ON_APP, {})
    return dataclasses.replace(config, **said)


def policy_of(endpoint: Callable[..., Any] | None, config: ServerConfig) -> TaskPolicy:
    """What holds for the tasks of an endpoint; `config` is what `with_app_settings` returned."""
    said = _of_endpoint(endpoint)
    return TaskPolicy(
        parallel=said.get("order", config.order) == "parallel",
        stop_on_error=said.get("on_error", config.on_error) == "stop",
        queue_limit=said.get("queue_limit"),
        timeout_s=said.get("timeout_s", config.task_timeout_s),
    )


class Policies:
    """The policies of endpoints that only the app knows (behind mounts, convertors, route classes), made when first asked for."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._known: dict[tuple[int, int], tuple[object, object, RoutePolicy]] = {}

    def of(self, endpoint: Callable[..., Any] | None, app: FastAPI | None) -> RoutePolicy:
        """One and the same for an endpoint of an app each time; one for all endpoints of an app that say nothing."""
        if not _of_endpoint(endpoint):
            # Some apps make their endpoints anew for each request, and apps: none of those may be kept.
            endpoint = None
        app = app if getattr(app, _ON_APP, None) else None
        key = id(endpoint), id(app)
        known = self._known.get(key)
        if known is None:
            # Both are kept, so that their ids stay their own.
            known = endpoint, app, RoutePolicy(policy_of(endpoint, with_app_settings(self._config, app)))
            self._known[key] = known
        return known[2]


def check(setting: str, name: str, value: object) -> None:
    """Raises ValueError if `setting` cannot be `value`; the message calls it `name`."""
    if setting in _CHOICES:
        is_good, allowed = value in _CHOICES[setting], " or ".join(map(repr, _CHOICES[setting]))
    elif setting == "queue_limit":
        is_good = value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62)
        allowed = "a whole number of 0 or more, or None for no limit"
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        is_good = value is None or (is_number and 0 < value <= _LONGEST_S)  # type: ignore[operator]
        allowed = f"a number of seconds above 0 and up to {_LONGEST_S:,}, or None for no limit"
    if not is_good:
        msg = f"{name} is {value!r}; allowed is {allowed}"
        raise ValueError(msg)


_CHOICES: Final = {"order": ("sequential", "parallel"), "on_error": ("continue", "stop")}


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not UNSET}


def _of_endpoint(endpoint: Callable[..., Any] | None) -> dict[str, Any]:
    # A partial is marked itself or has a marked function; an object is marked itself or has a marked __call__.
    while isinstance(endpoint, functools.partial) and not hasattr(endpoint, _ON_ENDPOINT):
        endpoint = endpoint.func
    call = getattr(type(endpoint), "__call__", None)  # noqa: B004  # the method is wanted, not whether there is one
    said: dict[str, Any] = getattr(endpoint, _ON_ENDPOINT, None) or getattr(call, _ON_ENDPOINT, {})
    return said
