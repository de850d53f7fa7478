"""The four ways to write background work, and how a scenario's functions become one of them."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

__all__ = ["TaskKind", "endpoint_of", "task_of"]

P = ParamSpec("P")
R = TypeVar("R")


class TaskKind(StrEnum):
    """How the background work is written: the comparison that people ask for."""

    SYNC = "sync"  # a `def` task with a blocking client
    ASYNC = "async"  # an `async def` task with an async client
    BLOCKING = "blocking"  # an `async def` task that calls the blocking client: the classic mistake
    INLINE = "inline"  # no task: the work is done before answering

    @property
    def is_async(self) -> bool:
        """Whether endpoints and tasks are `async def`."""
        return self in {TaskKind.ASYNC, TaskKind.BLOCKING}


def task_of(kind: TaskKind, blocking: Callable[P, None], asynchronous: Callable[P, Awaitable[None]]) -> Callable[P, Any]:
    """The task to add: `blocking` as it is, `asynchronous`, or an `async def` that calls the blocking one on the event loop."""
    if kind is TaskKind.ASYNC:
        return asynchronous
    if kind is not TaskKind.BLOCKING:
        return blocking

    @functools.wraps(blocking)
    async def blocks_the_loop(*args: P.args, **kwargs: P.kwargs) -> None:
        blocking(*args, **kwargs)

    return blocks_the_loop


def endpoint_of(kind: TaskKind, endpoint: Callable[P, R], inline: Callable[P, Any]) -> Callable[P, Any]:
    """The endpoint to route to: `inline`, which does the work itself; `endpoint`, which adds tasks; or the same as `async def`.

    An endpoint that only adds tasks never blocks, so it may run on the event loop as it is.
    """
    if kind is TaskKind.INLINE:
        return inline
    if not kind.is_async:
        return endpoint

    @functools.wraps(endpoint)
    async def on_the_loop(*args: P.args, **kwargs: P.kwargs) -> R:
        return endpoint(*args, **kwargs)

    return on_the_loop
