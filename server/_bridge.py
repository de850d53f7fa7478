"""The general way: any request, through the whole app, by ASGI.

What the app does is the app's own; only its background tasks are taken from it (server/_capture.py) and run where all others run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from server._background import BackgroundTasks
from server._capture import EXCHANGE, Handed, calls_of
from server._native import AsgiCall, TaskList, WebSocketCall
from server._policies import Policies

__all__ = ["Bridge", "Lifespan"]

Message = MutableMapping[str, Any]

_log = logging.getLogger("server.requests")


class Bridge:
    """One app and its calls under way. Used on the event loop's thread alone."""

    def __init__(self, app: FastAPI, policies: Policies, state: dict[str, Any]) -> None:
        self._app = app
        self._policies = policies
        self._explain = _explaining(app)
        self._under_way: dict[int, _Waiting] = {}
        self.state = state

    def wake(self, number: int) -> None:
        """The call with this number may go on."""
        waiting = self._under_way.get(number)
        if waiting is not None:
            waiting.wake()

    async def run(self, call: AsgiCall | WebSocketCall) -> None:
        """Takes a call to its end. Raises nothing: what the app raises is logged, and answered with 500 if nothing was answered."""
        side = HttpSide(call, self._policies) if isinstance(call, AsgiCall) else _WebSocketSide(call)
        self._under_way[call.id] = side
        failed = True
        try:
            scope = call.scope()
            scope["state"] = self.state.copy()
            await self._call(call, scope, side)
            failed = False
        except asyncio.CancelledError:
            # The server gives up what is left at its drain deadline.
            pass
        except BaseException as error:  # noqa: BLE001  # also a SystemExit of an app is one request's failure, not the server's end
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
        wanted, subject = call.wanted()
        if wanted == "answer":
            await self._app(scope, side.receive, side.send)
            return
        scope["app"] = self._app
        if wanted == "send":
            await subject(scope, side.receive, side.send)
        else:
            scope[_ERROR] = subject
            await self._explain(scope, side.receive, side.send)


_ERROR = "server.error"


def _explaining(app: FastAPI) -> ASGIApp:
    """The exception handlers of the app round an endpoint that raises what the straight way's endpoint raised."""

    async def raise_again(scope: Scope, receive: Receive, send: Send) -> None:
        raise scope[_ERROR]

    # As in Starlette.build_middleware_stack.
    of_server = [handler for kind, handler in app.exception_handlers.items() if kind in (500, Exception)]
    others = {kind: handler for kind, handler in app.exception_handlers.items() if kind not in (500, Exception)}
    inner = ExceptionMiddleware(raise_again, handlers=others, debug=app.debug)
    return ServerErrorMiddleware(inner, handler=of_server[-1] if of_server else None, debug=app.debug)


class _Waiting:
    """Something that may have to wait for the client."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class HttpSide(_Waiting):
    """`receive` and `send` of one HTTP request, and what is known of its tasks."""

    def __init__(self, call: AsgiCall, policies: Policies) -> None:
        super().__init__()
        self._call = call
        self._policies = policies
        self.scope: Scope = {}
        self._is_refused = False
        self.sending: list[Handed] = []
        """The tasks of the responses that are being sent."""
        self._accepted: list[Handed] = []

    def named(self) -> tuple[str, str]:
        scope = self._call.scope()
        return scope["method"], scope["path"]

    def tasks(self, scope: Scope) -> TaskList:
        """The list that is injected in this request. Raises HTTPException where a limit is reached that could not be seen before."""
        found = self._call.list()
        if found is None:
            if not self._settle(scope, admit=True):
                raise HTTPException(503, "Too many background tasks are pending", headers={"Retry-After": "1"})
            found = BackgroundTasks()
            self._call.adopt(found)
        return found

    def run_tasks(self, handed: Handed) -> bool:
        """The app has called for tasks of its answer. False: they are not among those that were accepted with it."""
        if self._is_refused:
            return True
        if handed not in self._accepted:
            return False
        self._call.run_tasks()
        return True

    async def receive(self) -> Message:
        while (event := self._call.receive()) is None:
            await self._wait()
        return event

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            self._is_refused = not self._call.start(message["status"], headers, self._accept())
            # An app that does not send a piece of its body at once has its head sent without.
            asyncio.get_running_loop().call_soon(self._call.flush_head)
        elif kind == "http.response.body":
            if not self._is_refused and self._call.send(message.get("body", b""), message.get("more_body", False)):
                while not self._call.is_writable:
                    await self._wait()
        else:
            msg = f"the app sent {kind!r}; expected 'http.response.start' or 'http.response.body'"
            raise RuntimeError(msg)

    def finish(self, *, failed: bool) -> None:
        self._call.finish()

    def _settle(self, scope: Scope, *, admit: bool) -> bool:
        # Where the server found no route of its own, the app's own routing has left the endpoint in the scope.
        if not self._call.needs_policy:
            return True
        return self._call.use_policy(self._policies.of(scope.get("endpoint"), scope["app"]), admit)

    def _accept(self) -> TaskList | None:
        self._accepted = list(self.sending)
        if not self._accepted:
            return None
        self._settle(self.scope, admit=False)
        injected = self._call.list()
        if len(self._accepted) == 1 and self._accepted[0].background is injected:
            return injected
        if injected is not None and len(injected) and not any(handed.background is injected for handed in self._accepted):
            text = "%s %s: the answer carries tasks of its own, so that, as in FastAPI, the %d added by its endpoint do not run"
            _log.warning(text, *self.named(), len(injected))
        carried = BackgroundTasks()
        self._call.bind(carried)
        for handed in self._accepted:
            for func, args, kwargs in calls_of(handed.background):
                carried.add_task(func, *args, **kwargs)
        return carried


class _WebSocketSide(_Waiting):
    """`receive` and `send` of one web socket."""

    def __init__(self, call: WebSocketCall) -> None:
        super().__init__()
        self._call = call
        self._denial: tuple[int, list[tuple[bytes, bytes]], list[bytes]] | None = None

    def named(self) -> tuple[str, str]:
        return "WEBSOCKET", self._call.scope()["path"]

    async def receive(self) -> Message:
        while (event := self._call.receive()) is None:
            await self._wait()
        return event

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
            self._call.close(message.get("code", 1000), message.get("reason") or "")
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
        self._started = asyncio.Event()
        self._has_spoken = False
        self._error: BaseException | None = None
        self._events.put_nowait("lifespan.startup")
        scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._task = asyncio.create_task(self._run(scope))
        waiting = asyncio.create_task(self._started.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        # An app that raises without a word does not know this protocol; one that says that it failed raises why.
        if self._task.done() and not self._started.is_set() and self._has_spoken and self._error is not None:
            raise self._error

    async def __aexit__(self, *exc_info: object) -> None:
        if self._started.is_set():
            self._events.put_nowait("lifespan.shutdown")
            await self._task
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
        self._has_spoken = True
        if message["type"] == "lifespan.startup.complete":
            self._started.set()
