"""Serving an app: start everything, wait for a signal, drain, say what was abandoned.

The main thread does nothing but wait for single bytes: from Python's signal handling, from the I/O threads (which may not touch
Python and ask here for one more endpoint thread), from the thread that finds overdue tasks, and from the one that waits for the
drain.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, NoReturn

from fastapi import FastAPI
from pydantic_core import to_json
from starlette._utils import is_async_callable
from starlette.responses import Response

from server._answers import encode_anything
from server._background import BackgroundTasks
from server._bridge import Bridge, Lifespan
from server._capture import capture_tasks
from server._config import MOST_THREADS, ServerConfig
from server._fallback import Fallback, set_up_logging, unpack
from server._lanes import Lanes
from server._loop import LoopThread
from server._native import RoutePolicy, Server
from server._policies import Policies, policy_of, with_app_settings
from server._routes import RouteSpec, compile_routes, misses_go_to_app
from server._task_log import task_failed, task_never_ran, task_overdue

__all__ = ["ABANDONED_STATUS", "CannotServe", "Serving", "prepare"]

ABANDONED_STATUS: Final = 3
"""Exit status of a server that gave up tasks at its drain deadline."""

_MORE_LANES: Final = b"L"
_TELL_OVERDUE: Final = b"O"
_WAKE: Final = b"W"
_POOL_SETTING: Final = 0
_CANCEL_GRACE_S: Final = 1.0
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


class CannotServe(Exception):
    """The port or the row file cannot be had."""


def prepare(app: FastAPI, config: ServerConfig) -> Serving:
    """Everything up to the open port. Raises UnsupportedRoute, CannotServe, or RuntimeError if not on the main thread."""
    if threading.current_thread() is not threading.main_thread():
        msg = "a server must be run on the main thread, which receives the signals that stop it"
        raise RuntimeError(msg)
    set_up_logging()
    capture_tasks()
    config = with_app_settings(config, app)
    lanes, bridge = Lanes(), Bridge(app, Policies(config))
    specs = _compile(app, lanes, bridge)
    fallback = Fallback(app, specs)
    try:
        server = Server(config, Helpers(explain=fallback.explain))
    except OSError as error:
        msg = f"cannot serve: {error.filename or config.rows}: {_reason(error)}"
        raise CannotServe(msg) from error
    try:
        port = server.bind(config.host, config.port)
        admin_port = None if config.admin_port is None else server.bind_admin(config.admin_port)
    except OSError as error:
        if config.rows is not None:
            # Nothing is in it yet, and it would be in the way of the next try.
            config.rows.unlink(missing_ok=True)
        msg = f"cannot serve: {error.filename or config.host}: {_reason(error)}"
        raise CannotServe(msg) from error
    lanes.open(server)
    return Serving(app, config, server, (port, admin_port), Ways(fallback, lanes, bridge))


@dataclass(frozen=True, slots=True)
class Ways:
    """What Python does for the straight way and for the general one."""

    fallback: Fallback
    lanes: Lanes
    bridge: Bridge


def _compile(app: FastAPI, lanes: Lanes, bridge: Bridge) -> list[RouteSpec]:
    return compile_routes(app, lanes.call, bridge.state, strict=getattr(app, "strict_fast_path", False))


class Serving:
    """One server from its first thread to its last."""

    def __init__(self, app: FastAPI, config: ServerConfig, server: Server, ports: tuple[int, int | None], ways: Ways) -> None:
        self._app = app
        self._config = config
        self._server = server
        self._port, self._admin_port = ports
        self._ways = ways
        self._loop = LoopThread(server, ways.bridge)
        self._workers = 0
        self._pool = config.pool
        self._signals = 0
        self._threads: list[threading.Thread] = []
        self._listen, self._tell = socket.socketpair()
        self._tell.setblocking(False)

    def run(self) -> None:
        """Serves until a signal, then drains. Raises what the app's start-up or shutdown raised."""
        # Each signal writes a byte, which wakes the main thread; the handlers themselves only count.
        fd_before = signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._serve()
        finally:
            self._server.close_admin()
            # What the caller does afterwards can be stopped as ever.
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _serve(self) -> None:
        if self._admin_port is not None:
            self._server.start_admin()
            _say(f"admin on http://127.0.0.1:{self._admin_port}")
        self._grow_pool(self._config.pool)
        if not self._config.shared_pool:
            self._add_lane()
        self._loop.start()
        self._start_app()
        self._server.start(self._tell.fileno())
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        _say(f"serving on http://{host}:{self._port} (pid {os.getpid()}, {self._config.pool} task threads)")
        self._listen.settimeout(_SETTINGS_POLL_S)
        while not self._signals:
            self._hear()
            self._obey_settings()
        self._stop()

    def _start_app(self) -> None:
        routes = list(self._app.routes)
        started = self._loop.start_app(Lifespan(self._app, self._ways.bridge.state))
        if not self._wait_for(started, signals=0, timeout_s=None):
            _say("stopped by a signal before the app's start-up had ended")
            _leave(1)
        started.result()
        # The start-up may have added routes.
        if routes != list(self._app.routes):
            self._ways.fallback.specs = _compile(self._app, self._ways.lanes, self._ways.bridge)
        specs = list(self._ways.fallback.specs)
        policies = [RoutePolicy(policy_of(spec.declared, self._config)) for spec in specs]
        misses_to_app = misses_go_to_app(self._app, specs)
        self._server.set_routes(specs, policies, self._app.router.redirect_slashes, misses_to_app)

    def _stop(self) -> None:
        begun = time.monotonic()
        end = begun + self._config.drain_s
        pending, in_flight = self._server.pending(), self._server.in_flight()
        wait = f"waiting up to {self._config.drain_s:g} s for them; a second signal stops at once"
        _say(
            f"stopping: {pending} background tasks and {in_flight} requests are under way"
            + (f"; {wait}" if pending + in_flight else "")
        )
        done: Future[bool] = Future()
        threading.Thread(
            target=lambda: done.set_result(self._server.drain(self._config.drain_s)), name="drain", daemon=True
        ).start()
        drained = self._wait_for(done, signals=1, timeout_s=None) and done.result()
        in_flight = self._server.in_flight()
        abandoned = [] if drained else self._server.abandon()
        self._server.close()
        # The account is closed; what follows can no longer change it.
        grace_s = max(end - time.monotonic(), 0.0) if drained else _CANCEL_GRACE_S
        if not drained:
            self._loop.cancel(_CANCEL_GRACE_S)
        left = self._loop.stop_app()
        if not self._wait_for(left, signals=1, timeout_s=max(grace_s, _CANCEL_GRACE_S)):
            _say("the app's shutdown did not end in time and was left alone")
        _say(_report(abandoned, 0 if drained else in_flight, time.monotonic() - begun))
        if left.done() and (error := left.exception()) is not None:
            raise error
        if drained and left.done() and self._join(end):
            self._loop.stop()
            return
        # Threads that are stuck in a task cannot be ended, and the interpreter would wait for what they hold: leave at once.
        _leave(ABANDONED_STATUS if abandoned else 0 if left.done() else 1)

    def _join(self, end: float) -> bool:
        """Waits for the threads, the last of which may still be logging what its task raised. False: one does not end."""
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), _CANCEL_GRACE_S))
        return not any(thread.is_alive() for thread in self._threads)

    def _wait_for(self, future: Future[Any], *, signals: int, timeout_s: float | None) -> bool:
        """Waits for a result, doing what is asked for meanwhile. False: more than `signals` came, or the time was up."""
        future.add_done_callback(lambda _: self._wake())
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not future.done() and self._signals <= signals:
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
                task_overdue(func, op, is_async, age_s)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._tell.send(_WAKE)

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
            _say(f"no thread for {name}: {error}")
            return False
        self._threads.append(thread)
        return True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1


def _report(abandoned: list[tuple[str, bool]], in_flight: int, took_s: float) -> str:
    dropped = f"; {in_flight} requests in flight were dropped" if in_flight else ""
    if not abandoned:
        return f"stopped after {took_s:.2f} s: every accepted task has ended{dropped}"
    running = Counter(name for name, was_running in abandoned if was_running)
    queued = Counter(name for name, was_running in abandoned if not was_running)

    def names(counts: Counter[str]) -> str:
        return ", ".join(f"{name} x{count}" for name, count in counts.most_common(5)) or "none"

    return (
        f"stopped after {took_s:.2f} s: abandoned {len(abandoned)} tasks, "
        f"{queued.total()} never started ({names(queued)}) and {running.total()} running ({names(running)}){dropped}"
    )


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _say(text: str) -> None:
    print(f"server: {text}", file=sys.stderr, flush=True)  # noqa: T201
