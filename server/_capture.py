"""Taking an app's background tasks from Starlette and FastAPI, where they would run in the request's own task.

Works on what every response has to go through, and only for requests of this server: those have `EXCHANGE` in their scope. An app
that is called by somebody else in this process (a TestClient, another ASGI server) keeps Starlette's own behaviour.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import fastapi.dependencies.utils as dependencies
import fastapi.routing
from fastapi.background import BackgroundTasks as FastAPIBackgroundTasks
from fastapi.dependencies.models import Dependant
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from server._bridge import HttpSide

__all__ = ["EXCHANGE", "Handed", "calls_of", "capture_tasks", "wants_tasks"]

EXCHANGE = "server.exchange"
"""Key of a scope under which this server's requests carry their side of the exchange."""

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_KNOWN_WAYS = (BackgroundTask.__call__, BackgroundTasks.__call__, FastAPIBackgroundTasks.__call__)
_solve_dependencies = dependencies.solve_dependencies
_is_installed = False


def capture_tasks() -> None:
    """Installs the hooks, once per process."""
    global _is_installed  # the classes that are changed are the process's too
    if _is_installed:
        return
    _is_installed = True
    _note_all(Response)
    Response.__init_subclass__ = classmethod(_note_subclass)  # type: ignore[assignment]
    vars(fastapi.routing)["solve_dependencies"] = _solve


class Handed:
    """Stands in for a response's `background` while it is sent."""

    def __init__(self, side: HttpSide, background: Any) -> None:
        self._side = side
        self.background = background
        self.n_taken = 0
        """Calls of it that have been taken over so far."""

    async def __call__(self) -> None:
        """The response has been sent, says the app."""
        await self._side.run_tasks(self)


def calls_of(background: Any) -> Iterator[Call]:
    """The calls that a response's `background` stands for. One of a kind of its own is a call itself."""
    if type(background).__call__ not in _KNOWN_WAYS:
        yield background, (), {}
    elif isinstance(background, BackgroundTasks):
        for task in background.tasks:
            yield from calls_of(task)
    else:
        yield background.func, background.args, background.kwargs


def _note_all(kind: type[Response]) -> None:
    if "__call__" in vars(kind):
        kind.__call__ = _noted(kind.__call__)  # type: ignore[method-assign]
    for subclass in kind.__subclasses__():
        _note_all(subclass)


def _note_subclass(kind: type[Response], /, **options: Any) -> None:
    super(Response, kind).__init_subclass__(**options)
    if "__call__" in vars(kind):
        kind.__call__ = _noted(kind.__call__)  # type: ignore[method-assign]


def _noted(send_response: Callable[[Any, Scope, Receive, Send], Awaitable[None]]) -> Any:
    @functools.wraps(send_response)
    async def noted(self: Response, scope: Scope, receive: Receive, send: Send) -> None:
        side: HttpSide | None = scope.get(EXCHANGE)
        background: Any = getattr(self, "background", None)
        if side is None or background is None or isinstance(background, Handed):
            await send_response(self, scope, receive, send)
            return
        # A copy, because one response may be sent by several requests at once.
        sent = copy.copy(self)
        handed: Any = Handed(side, background)
        sent.background = handed
        side.sending.append(handed)
        try:
            await send_response(sent, scope, receive, send)
        finally:
            side.sending.remove(handed)

    return noted


def _solve(*, request: Any, dependant: Dependant, background_tasks: Any = None, **rest: Any) -> Awaitable[Any]:
    side: HttpSide | None = request.scope.get(EXCHANGE)
    if side is not None and background_tasks is None and wants_tasks(dependant):
        background_tasks = side.tasks(request.scope)
    return _solve_dependencies(request=request, dependant=dependant, background_tasks=background_tasks, **rest)


def wants_tasks(dependant: Dependant) -> bool:
    # Not remembered: a Dependant can neither be hashed nor weakly referred to, and whoever remembers it keeps its app alive.
    return dependant.background_tasks_param_name is not None or any(map(wants_tasks, dependant.dependencies))
