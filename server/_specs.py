"""What a compiled route is made of (read by the compiled side, server/native/src/route.rs), and what is told of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi.routing import RouteContext

__all__ = ["BodySpec", "ConstantSpec", "HandOver", "ParamSpec", "RouteSpec", "ways_of"]


class HandOver(Exception):
    """A request is not in order: it is handed over whole to the general way, where FastAPI itself says what is wrong."""


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One parameter: where it comes from and how it is validated."""

    name: str  # the endpoint's keyword
    source: str  # "path", "query", "header" or "cookie"; with " whole", `validate` takes all that there is of it
    aliases: list[str]  # names in the request, the first one present counts; of headers in lower case
    many: bool  # all values of the name, as a list
    validate: Callable[[Any], Any] | None  # None: the text as it is
    required: bool
    default: Any
    make_default: Callable[[], Any] | None  # for a default that cannot be shared


@dataclass(frozen=True, slots=True)
class BodySpec:
    """What is made of the body's JSON."""

    name: str | None  # the endpoint's keyword; None: `validate` returns several arguments by their keywords
    validate: Callable[[bytes], Any]
    absent: Callable[[], Any] | None  # takes the place of `validate` where there is no body; None: there must be one
    lenient: bool  # a body without a content type is JSON


@dataclass(frozen=True, slots=True)
class ConstantSpec:
    """An answer that never changes."""

    content_type: str
    body: list[int]


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route. If `general` says why the straight way cannot take it, only methods and path count beside it."""

    methods: list[str]
    path: str
    general: str | None = None
    is_other: bool = False  # its path is of a kind that the router matches on the safe side only
    path_names: list[str] = field(default_factory=list)
    endpoint: Callable[..., Any] | None = None
    is_async: bool = False
    params: list[ParamSpec] = field(default_factory=list)
    body: BodySpec | None = None
    tasks: str | None = None  # keyword that gets the task list
    request: str | None = None  # keyword that gets the Request
    make_request: Callable[..., Any] | None = None  # from an ASGI scope, the path's values and the body; for handlers, too
    overridable: Any = None  # whose `dependency_overrides` must be empty for the straight way
    status: int = 200
    encode: Callable[[Any], bytes] | None = None
    constant: ConstantSpec | None = None
    route: RouteContext | None = None

    @property
    def declared(self) -> Callable[..., Any] | None:
        """The endpoint as it was declared; `endpoint` may be what calls it."""
        return self.endpoint if self.route is None else self.route.endpoint

    def __str__(self) -> str:
        path = self.path if self.route is None else self.route.path
        return f"{'/'.join(self.methods)} {path}".lstrip()


_NAMED = 3
"""So many routes that go the general way are named at start; `/routes` on the admin port has them all."""


def ways_of(specs: list[RouteSpec]) -> str:
    """One line: how many routes go which way, and why the general ones do, the most frequent reasons first."""
    general = [spec for spec in specs if spec.general is not None]
    if not general:
        return f"all {len(specs)} routes go straight"
    reasons = Counter(spec.general for spec in general)
    told = []
    for reason, count in reasons.most_common(_NAMED):
        first = next(spec for spec in general if spec.general == reason)
        told.append(f"{first} {reason}" if count == 1 else f"{first} and {count - 1} more: {reason}")
    left = sum(reasons.values()) - sum(count for _, count in reasons.most_common(_NAMED))
    more = f"; and {left} more" if left else ""
    return f"{len(specs) - len(general)} routes go straight, {len(general)} the general way: {'; '.join(told)}{more}"
