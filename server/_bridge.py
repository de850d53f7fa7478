"""The general way: any request, through the whole app, by ASGI.

What the app does is the app's own; only its background tasks are taken from it (server/_capture.py) and run where all others run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI
from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from server._background import BackgroundTasks
from server._capture import EXCHANGE, Handed, calls_of
from server._native import AsgiCall, TaskList, WebSocketCall
from server._policies import Policies

__all__ = ["Bridge", "HttpSide", "Lifespan"]

Message = MutableMapping[str, Any]

_log = logging.getLogger("server.requests")

_LAST_WORDS_S = 1.0
"""How long an app that has ended its lifespan may take to return or raise."""


class Bridge:
    """One app and its calls under way. Used on the event loop's thread alone."""

    def __init__(self, app: FastAPI, policies: Policies, state: dict[str, Any]) -> None:
        self._app = app
        self._policies = policies
        self._explain = _explaining(app)
        self._under_way: dict[int, _Side] = {}
        self.state = state

    def wake(self, number: int) -> None:
        """The call with this number may go on."""
        side = self._under_way.get(number)
        if side is not None:
            side.wake()

    async def run(self, call: AsgiCall | WebSocketCall) -> None:
        """Takes a call to its end. Raises nothing: what the app raises is logged, and answered with 500 if nothing else was."""
        side = HttpSide(call, self._policies) if isinstance(call, AsgiCall) else _WebSocketSide(call)
        self._under_way[call.id] = side
        failed = True
        try:
            scope = call.scope()
            scope["state"] = self.state.copy()
            await self._call(call, scope, side)
            failed = False
        except BaseException as error:  # noqa: BLE001  # also a SystemExit of an app is one request's failure, not the server's end
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                # The server gives up what is left at its drain deadline. Any other such error is the app's own.
                return
            _log.error("%s %s raised %s", *side.named(), type(error).__name__, exc_info=error)
        finally:
            del self._under_way[call.id]
            side.finish(failed=failed)

    async def _call(self, call: AsgiCall | WebSocketCall, scope: Scope, side: HttpSide | _WebSocketSide) -> None:
        if isinstance(side, _WebSocketSide):
            await self._app(scope, side.receive, side.send)
            return
        assert isinstance(call, AsgiCall)
        scope[EXCHANGE] = side
        side.scope = scope
        wanted, subject, request = call.wanted()
        if wanted == "answer":
            await self._app(scope, side.receive, side.send)
            return
        if request is not None:
            # What the straight way has made, routing included. From here on it listens to the client as every other.
            request._receive = side.receive  # noqa: SLF001
            scope = side.scope = request.scope
            scope[EXCHANGE] = side
        scope["app"] = self._app
        if wanted == "send":
            await subject(scope, side.receive, side.send)
        else:
            scope[_ERROR] = subject, request
            await self._explain(scope, side.receive, side.send)


_ERROR = "server.error"


def _explaining(app: FastAPI) -> ASGIApp:
    """The exception handlers of the app round an endpoint that raises what the straight way's endpoint raised."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        # As in fastapi.routing.request_response: round the route, with the endpoint's own Request, and round the app, so that
        # what a handler raises finds a handler too.
        error, request = scope.pop(_ERROR)

        async def raise_again(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        await wrap_app_handling_exceptions(raise_again, request or Request(scope, receive, send))(scope, receive, send)

    # As in Starlette.build_middleware_stack.
    of_server = [handler for kind, handler in app.exception_handlers.items() if kind in (500, Exception)]
    others = {kind: handler for kind, handler in app.exception_handlers.items() if kind not in (500, Exception)}
    inner = ExceptionMiddleware(endpoint, handlers=others, debug=app.debug)
    return ServerErrorMiddleware(inner, handler=of_server[-1] if of_server else None, debug=app.debug)


class _Side:
    """The app's end of one call, which may have to wait for the client."""

    _call: AsgiCall | WebSocketCall

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    async def receive(self) -> Message:
        while (event := self._call.receive()) is None:
            await self._wait()
        return event

    def wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


class HttpSide(_Side):
    """`receive` and `send` of one HTTP request, and what is known of its tasks."""

    def __init__(self, call: AsgiCall, policies: Policies) -> None:
        super().__init__()
        self._call: AsgiCall = call
        self._policies = policies
        self.scope: Scope = {}
        self._is_started = False
        self._is_refused = False
        self.sending: list[Handed] = []
        """The tasks of the responses that are being sent."""
        self._called_early: list[Handed] = []
        self._carried: list[Handed] = []
        self._accepted: TaskList | None = None

    def named(self) -> tuple[str, str]:
        scope = self._call.scope()
        return scope["method"], scope["path"]

    def tasks(self, scope: Scope) -> TaskList:
        """The list that is injected in this request. Raises HTTPException where a limit is reached that was not seen before."""
        found = self._call.list()
        if found is None:
            if not self._settle(scope, admit=True):
                raise HTTPException(503, "Too many background tasks are pending", headers={"Retry-After": "1"})
            found = BackgroundTasks()
            self._call.adopt(found)
        return found

    async def run_tasks(self, handed: Handed) -> None:
        """The app has called for tasks of its answer. Returns when they have ended, as they do in Starlette: the exits of
        dependencies and what middleware does afterwards come after them. Where the answer has not reached its end, that would be
        to wait for oneself.
        """
        if self._is_refused:
            return
        if not self._is_started:
            # A middleware has taken the response in and has still to answer: the tasks go with that answer.
            self._called_early.append(handed)
        elif handed in self._carried:
            self._accept_late()
            if self._call.run_tasks():
                while not self._call.have_tasks_ended:
                    await self._wait()
        else:
            # The client has an answer already.
            self._call.accept_apart(self._list_of([handed]))

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            if self._is_refused:
                return
            more = message.get("more_body", False)
            if self._carried and not more and not self._accept_late():
                msg = "the server is stopping and takes no tasks any more: the answer is broken off"
                raise RuntimeError(msg)
            if self._call.send(message.get("body", b""), more):
                while not self._call.is_writable:
                    await self._wait()
        elif kind == "http.response.start":
            self._start(message)
        else:
            msg = f"the app sent {kind!r}; expected 'http.response.start' or 'http.response.body'"
            raise RuntimeError(msg)

    def finish(self, *, failed: bool) -> None:
        self._call.finish()

    def _settle(self, scope: Scope, *, admit: bool) -> bool:
        # Where the server found no route of its own, the app's own routing has left the endpoint in the scope.
        if not self._call.needs_policy:
            return True
        return self._call.use_policy(self._policies.of(scope.get("endpoint"), scope.get("app")), admit)

    def _start(self, message: Message) -> None:
        carried = [*self._called_early, *self.sending]
        tasks = self._list_of(carried) if carried else None
        # An empty list stays open: a streamed answer may add to it until its end.
        accepted = tasks if tasks is not None and len(tasks) else None
        status, headers = message["status"], message.get("headers", ())
        try:
            self._is_refused = not self._call.start(status, headers, accepted)
        except TypeError:
            # ASGI allows any iterables; Starlette's headers are a list of tuples, which need not be copied first.
            pairs = [(bytes(name), bytes(value)) for name, value in headers]
            self._is_refused = not self._call.start(status, pairs, accepted)
        self._is_started = True
        self._carried, self._accepted = carried, tasks
        if self._called_early:
            self._call.run_tasks()
        # An app that does not send a piece of its body at once has its head sent without.
        asyncio.get_running_loop().call_soon(self._call.flush_head)

    def _list_of(self, carried: list[Handed]) -> TaskList:
        """One list of all calls. Where the injected list is among them, it is that one."""
        self._settle(self.scope, admit=False)
        injected = self._call.list()
        if injected is not None:
            if any(handed.background is injected for handed in carried):
                self._fill(injected, carried)
                return injected
            if len(injected):
                text = (
                    "%s %s: the answer carries tasks of its own, so that, as in FastAPI, the %d added by its endpoint do not run"
                )
                _log.warning(text, *self.named(), len(injected))
        tasks = BackgroundTasks()
        self._call.bind(tasks)
        self._fill(tasks, carried)
        return tasks

    def _fill(self, tasks: TaskList, carried: list[Handed]) -> None:
        for handed in carried:
            if handed.background is tasks:
                continue
            calls = list(calls_of(handed.background))
            for func, args, kwargs in calls[handed.n_taken :]:
                tasks.add_task(func, *args, **kwargs)
            handed.n_taken = len(calls)

    def _accept_late(self) -> bool:
        """Accepts what was added while the answer was streamed. False: nothing is accepted any more."""
        assert self._accepted is not None
        self._fill(self._accepted, self._carried)
        return self._call.accept_late(self._accepted)


class _WebSocketSide(_Side):
    """`receive` and `send` of one web socket."""

    def __init__(self, call: WebSocketCall) -> None:
        super().__init__()
        self._call: WebSocketCall = call
        self._denial: tuple[int, list[tuple[bytes, bytes]], list[bytes]] | None = None

    def named(self) -> tuple[str, str]:
        return "WEBSOCKET", self._call.scope()["path"]

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._call.accept(message.get("subprotocol"), [(bytes(k), bytes(v)) for k, v in message.get("headers", ())])
        elif kind == "websocket.send":
            behind = self._call.send(message.get("text"), message.get("bytes"))
            if behind is None:
                # As uvicorn does, so that Starlette makes a WebSocketDisconnect of it.
                msg = "the client has gone"
                raise ConnectionError(msg)
            while behind and not self._call.is_writable:
                await self._wait()
        elif kind == "websocket.close":
            # FastAPI gives the list of its validation errors for a reason, which fits into no close frame.
            reason = message.get("reason")
            self._call.close(message.get("code", 1000), reason if isinstance(reason, str) else "")
        elif kind == "websocket.http.response.start":
            self._denial = (message["status"], [(bytes(k), bytes(v)) for k, v in message.get("headers", ())], [])
        elif kind == "websocket.http.response.body" and self._denial is not None:
            status, headers, parts = self._denial
            parts.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._call.deny(status, headers, b"".join(parts))
        else:
            msg = f"the app sent {kind!r}, which has no place here in the WebSocket protocol of ASGI"
            raise RuntimeError(msg)

    def finish(self, *, failed: bool) -> None:
        self._call.finish(failed)


class Lifespan:
    """The app's start-up and shutdown by ASGI's lifespan protocol, as an async context manager."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], state: dict[str, Any]) -> None:
        self._app = app
        self._state = state

    async def __aenter__(self) -> None:
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._is_started = False
        self._error: BaseException | None = None
        scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._task = asyncio.create_task(self._run(scope))
        await self._ask("lifespan.startup")
        # An app that raises without a word does not know this protocol. One that says that it failed may raise why.
        if self._answered.is_set() and not self._is_started:
            await self._raise_error()

    async def __aexit__(self, *exc_info: object) -> None:
        if self._is_started:
            self._answered.clear()
            await self._ask("lifespan.shutdown")
            await self._raise_error()

    async def _ask(self, event: str) -> None:
        self._events.put_nowait(event)
        answered = asyncio.create_task(self._answered.wait())
        await asyncio.wait({self._task, answered}, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()

    async def _raise_error(self) -> None:
        await asyncio.wait({self._task}, timeout=_LAST_WORDS_S)
        if self._error is not None:
            raise self._error

    async def _run(self, scope: Scope) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except BaseException as error:  # noqa: BLE001  # raised again where somebody waits for it, and not out of the event loop
            self._error = error

    async def _receive(self) -> Message:
        return {"type": await self._events.get()}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        self._is_started |= kind == "lifespan.startup.complete"
        if kind.endswith(".failed"):
            self._error = RuntimeError(message.get("message") or f"the app says {kind!r}")
        self._answered.set()
