"""Serving an app: start everything, wait until it is to stop, drain, say what was abandoned. Knows nothing of signals.

The thread that serves does nothing but wait for single bytes: from whoever asks it to stop, from the I/O threads (which may not
touch Python and ask here for one more endpoint thread), from the thread that finds overdue tasks, and from the one that waits for
the drain.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

from fastapi import FastAPI
from pydantic_core import to_json
from starlette._utils import is_async_callable
from starlette.responses import Response

from server._answers import encode_anything
from server._background import BackgroundTasks
from server._bridge import Bridge, Lifespan
from server._capture import capture_tasks
from server._config import MOST_THREADS, ServerConfig
from server._errors import CannotServe
from server._fallback import Fallback, unpack
from server._lanes import Lanes
from server._loop import LoopThread
from server._native import RoutePolicy, Server
from server._policies import Policies, policy_of, with_app_settings
from server._routes import compile_routes, misses_go_to_app
from server._specs import RouteSpec, ways_of
from server._task_log import task_failed, task_never_ran, task_overdue

__all__ = ["Account", "CannotServe", "Serving", "build"]

_MORE_LANES: Final = b"L"
_TELL_OVERDUE: Final = b"O"
_WAKE: Final = b"W"
_POOL_SETTING: Final = 0
_CANCEL_GRACE_S: Final = 1.0
_LAST_GRACE_S: Final = 0.1
_SETTINGS_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Helpers:
    """The callables that the compiled side calls."""

    task_list: Any = BackgroundTasks
    is_async: Any = is_async_callable
    unpack: Any = unpack
    encode: Any = encode_anything
    explain: Any = None
    task_failed: Any = task_failed
    task_never_ran: Any = task_never_ran
    response: Any = Response
    to_json: Any = to_json


@dataclass(frozen=True, slots=True)
class Account:
    """How a server ended."""

    took_s: float  # from the first request to stop until everything had ended or was given up
    abandoned: tuple[tuple[str, bool], ...] = ()  # tasks given up at the deadline: the function's name, whether it was running
    dropped_requests: int = 0  # requests in flight that were given up
    stuck: tuple[str, ...] = ()  # threads that did not end, because somebody's code did not
    left_alone: bool = False  # the app's shutdown did not end in time
    never_started: bool = False  # it was asked to stop before the app's start-up had ended

    def __str__(self) -> str:
        """One sentence."""
        took = f"stopped after {self.took_s:.2f} s"
        dropped = f"; {self.dropped_requests} requests in flight were dropped" if self.dropped_requests else ""
        if not self.abandoned:
            return f"{took}: every accepted task has ended{dropped}"
        running = Counter(name for name, was_running in self.abandoned if was_running)
        queued = Counter(name for name, was_running in self.abandoned if not was_running)

        def names(counts: Counter[str]) -> str:
            return ", ".join(f"{name} x{count}" for name, count in counts.most_common(5)) or "none"

        return (
            f"{took}: abandoned {len(self.abandoned)} tasks, "
            f"{queued.total()} never started ({names(queued)}) and {running.total()} running ({names(running)}){dropped}"
        )


class AppSide:
    """An app and what its compiled routes share."""

    def __init__(self, app: FastAPI, way: str) -> None:
        self.app = app
        self._all_general = way == "general"
        self.lanes = Lanes()
        self.state: dict[str, Any] = {}
        self.fallback = Fallback(app, self.compile())

    def compile(self) -> list[RouteSpec]:
        """Its routes as they are now."""
        strict = getattr(self.app, "strict_fast_path", False)
        return compile_routes(self.app, self.lanes.call, self.state, strict=strict, all_general=self._all_general)

    def takes_misses(self, specs: list[RouteSpec]) -> bool:
        """Whether a request that no route takes is a matter of the app."""
        return self._all_general or misses_go_to_app(self.app, specs)


def build(app: FastAPI, config: ServerConfig, say: Callable[[str], None], *, listener: int | None = None) -> Serving:
    """Everything up to the open port; `listener` is a listening socket to use instead. Raises UnsupportedRoute or CannotServe."""
    capture_tasks()
    config = with_app_settings(config, app)
    side = AppSide(app, config.way)
    try:
        server = Server(config, Helpers(explain=side.fallback.explain))
    except OSError as error:
        msg = f"cannot serve: {error.filename or config.rows}: {_reason(error)}"
        raise CannotServe(msg) from error
    try:
        port = server.bind(config.host, config.port) if listener is None else server.adopt(listener)
        admin_port = None if config.admin_port is None else server.bind_admin(config.admin_port)
    except OSError as error:
        if config.rows is not None:
            # Nothing is in it yet, and it would be in the way of the next try.
            config.rows.unlink(missing_ok=True)
        msg = f"cannot serve: {error.filename or config.host}: {_reason(error)}"
        raise CannotServe(msg) from error
    side.lanes.open(server)
    return Serving(side, config, server, (port, admin_port), say)


class Serving:
    """One server from its first thread to its last."""

    def __init__(
        self,
        side: AppSide,
        config: ServerConfig,
        server: Server,
        ports: tuple[int, int | None],
        say: Callable[[str], None],
    ) -> None:
        self.port, self.admin_port = ports
        self._app = side.app
        self._side = side
        self._config = config
        self._server = server
        self.say = say
        self._bridge = Bridge(side.app, Policies(config), side.state)
        self._loop = LoopThread(server, self._bridge)
        self._workers = 0
        self._pool = config.pool
        self._drain_s = config.drain_s
        self._stops = 0
        self._closed = False
        self._stuck: tuple[str, ...] | None = None
        self._threads: list[threading.Thread] = []
        self._listen, self._tell = socket.socketpair()
        self._tell.setblocking(False)

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return f"http://{host}:{self.port}"

    @property
    def stuck(self) -> tuple[str, ...]:
        """Threads that had not ended when all was given back, because somebody's code had not."""
        return self._stuck or ()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way."""
        return self._server.is_quiet()

    @property
    def wake_fd(self) -> int:
        """A descriptor to which any byte can be written to make `serve` look up."""
        return self._tell.fileno()

    def ask_to_stop(self, times: int = 1, *, drain_s: float | None = None) -> None:
        """Asks to drain, in `drain_s` seconds if given, and when asked more than once, to stop at once. From any thread or
        signal handler; returns immediately.
        """
        if drain_s is not None:
            self._drain_s = drain_s
        self._stops += times
        self._wake()

    def owns(self, thread: threading.Thread) -> bool:
        """Whether it is one of the threads that endpoints and tasks run on."""
        return thread in self._threads or self._loop.owns(thread)

    def serve(self, on_ready: Callable[[], None]) -> Account:
        """Serves until asked to stop, then drains; keeps its thread meanwhile. Raises what the app's start-up or shutdown raised.

        When it returns or raises, all that it held has been given back, but for what the account calls stuck. To be called once.
        """
        begun = time.monotonic()
        try:
            if self.admin_port is not None:
                self._server.start_admin()
                self.say(f"admin on http://127.0.0.1:{self.admin_port}")
            self._grow_pool(self._config.pool)
            if not self._config.shared_pool:
                self._add_lane()
            self._loop.start()
            if not self._start_app():
                self.say("stopped by a signal before the app's start-up had ended")
                stuck = self._release(_CANCEL_GRACE_S)
                return Account(time.monotonic() - begun, stuck=stuck, never_started=True)
            self._server.start(self._tell.fileno())
            on_ready()
            self._listen.settimeout(_SETTINGS_POLL_S)
            while not self._stops:
                self._hear()
                self._obey_settings()
            return self._stop()
        finally:
            self._release(_CANCEL_GRACE_S)
            # Last, so that the drain can be watched.
            self._server.close_admin()

    def _start_app(self) -> bool:
        started = self._loop.start_app(Lifespan(self._app, self._side.state))
        if not self._wait_for(started, stops=0, timeout_s=None):
            return False
        started.result()
        # Again, because the start-up may have added routes, to routers too, and changed what the app says of itself.
        specs = self._side.fallback.specs = self._side.compile()
        policies = [RoutePolicy(policy_of(spec.route.endpoint if spec.route else None, self._config)) for spec in specs]
        self._server.set_routes(specs, policies, self._app.router.redirect_slashes, self._side.takes_misses(specs))
        self.say(ways_of(specs))
        return True

    def _stop(self) -> Account:
        begun = time.monotonic()
        drain_s = self._drain_s
        end = begun + drain_s
        pending, in_flight = self._server.pending(), self._server.in_flight()
        wait = f"waiting up to {drain_s:g} s for them; a second signal stops at once"
        self.say(
            f"stopping: {pending} background tasks and {in_flight} requests are under way"
            + (f"; {wait}" if pending + in_flight else "")
        )
        done: Future[bool] = Future()
        drain = threading.Thread(target=lambda: done.set_result(self._server.drain(drain_s)), name="drain", daemon=True)
        self._threads.append(drain)
        drain.start()
        drained = self._wait_for(done, stops=1, timeout_s=None) and done.result()
        in_flight = self._server.in_flight()
        abandoned = [] if drained else self._server.abandon()
        self._close()
        # The account is closed; what follows can no longer change it.
        grace_s = max(end - time.monotonic(), 0.0) if drained else _CANCEL_GRACE_S
        if not drained:
            self._loop.cancel(_CANCEL_GRACE_S)
        left = self._loop.stop_app()
        if not self._wait_for(left, stops=1, timeout_s=max(grace_s, _CANCEL_GRACE_S)):
            self.say("the app's shutdown did not end in time and was left alone")
        account = Account(
            time.monotonic() - begun,
            abandoned=tuple(abandoned),
            dropped_requests=0 if drained else in_flight,
            left_alone=not left.done(),
        )
        self.say(str(account))
        if left.done() and (error := left.exception()) is not None:
            raise error
        stuck = self._release(max(end - time.monotonic(), _CANCEL_GRACE_S) if drained and left.done() else _LAST_GRACE_S)
        return replace(account, stuck=stuck)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._server.close()

    def _release(self, grace_s: float) -> tuple[str, ...]:
        """Ends the threads and gives everything back. The names of those that have not ended in time: their code does not.

        The last of them may still be logging what its task raised, hence the wait.
        """
        if self._stuck is None:
            self._close()
            end = time.monotonic() + grace_s
            for thread in self._threads:
                thread.join(max(end - time.monotonic(), 0.0))
            stuck = [thread.name for thread in self._threads if thread.is_alive()]
            if not self._loop.stop(max(end - time.monotonic(), _LAST_GRACE_S)):
                stuck.append("event-loop")
            self._listen.close()
            self._tell.close()
            self._stuck = tuple(stuck)
        return self._stuck

    def _wait_for(self, future: Future[Any], *, stops: int, timeout_s: float | None) -> bool:
        """Waits for a result, doing what is asked for meanwhile. False: asked to stop more than `stops` times, or time was up."""
        tell = self._tell
        # Not `self._wake`: the future may live as long as the server, which would then hold itself.
        future.add_done_callback(lambda _: _ring(tell))
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not future.done() and self._stops <= stops:
            left_s = None if end is None else end - time.monotonic()
            if left_s is not None and left_s <= 0:
                break
            self._listen.settimeout(left_s)
            self._hear()
        return future.done()

    def _hear(self) -> None:
        try:
            requests = self._listen.recv(64)
        except TimeoutError:
            return
        if _MORE_LANES in requests:
            self._add_lane()
        if _TELL_OVERDUE in requests:
            for func, op, is_async, age_s in self._server.take_overdue():
                try:
                    task_overdue(func, op, is_async, age_s)
                except Exception:  # noqa: BLE001  # of the user's logging, or a function's name: no reason to stop serving
                    sys.excepthook(*sys.exc_info())

    def _wake(self) -> None:
        _ring(self._tell)

    def _obey_settings(self) -> None:
        wanted = self._server.setting(_POOL_SETTING)
        if 1 <= wanted <= MOST_THREADS and wanted != self._pool:
            self._pool = wanted
            self._grow_pool(wanted)
            self._server.set_pool(min(wanted, self._workers))

    def _grow_pool(self, size: int) -> None:
        while self._workers < size and self._thread(f"task-{self._workers}", self._server.run_worker, self._workers):
            self._workers += 1

    def _add_lane(self) -> None:
        number = self._server.add_lane()
        if number is not None and not self._thread(f"endpoint-{number}", self._server.run_lane, number):
            self._server.lane_failed()

    def _thread(self, name: str, target: Callable[[int], None], number: int) -> bool:
        thread = threading.Thread(target=target, args=(number,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # Those that there are go on: a server at the limit of the machine must not lose what it has accepted.
            self.say(f"no thread for {name}: {error}")
            return False
        self._threads.append(thread)
        return True


def _ring(tell: socket.socket) -> None:
    # Full: it is being woken already. Closed: what was waited for came after the end.
    with contextlib.suppress(OSError):
        tell.send(_WAKE)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
