"""Serving an app: start everything, wait for a signal, drain, say what was abandoned.

The main thread does nothing but wait for single bytes: from Python's signal handling, from the I/O threads (which may not touch
Python and ask here for one more endpoint thread) and from the thread that waits for the drain.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from fastapi import FastAPI
from pydantic_core import to_json
from starlette._utils import is_async_callable
from starlette.responses import Response

from server._background import BackgroundTasks
from server._config import ServerConfig
from server._fallback import Fallback, last_words, set_up_logging, task_failed, unpack
from server._loop import LoopThread
from server._native import Server
from server._routes import compile_routes, encode_anything

__all__ = ["ABANDONED_STATUS", "serve"]

ABANDONED_STATUS: Final = 3
"""Exit status of a server that gave up tasks at its drain deadline."""

_MORE_LANES: Final = b"L"
_DRAINED: Final = b"D"
_POOL_SETTING: Final = 0
_CANCEL_GRACE_S: Final = 1.0
_SETTINGS_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Helpers:
    """The callables that the compiled side calls."""

    task_list: Any = BackgroundTasks
    is_async: Any = is_async_callable
    validate: Any = None
    unpack: Any = unpack
    encode: Any = encode_anything
    explain: Any = None
    task_failed: Any = task_failed
    response: Any = Response
    to_json: Any = to_json


def serve(app: FastAPI, config: ServerConfig) -> None:
    """Serves `app` until a signal ends it. See `FastrAPI.serve`."""
    if threading.current_thread() is not threading.main_thread():
        msg = "serve() must be called on the main thread, which receives the signals that stop it"
        raise RuntimeError(msg)
    set_up_logging()
    specs = compile_routes(app)
    fallback = Fallback(specs)
    server = Server(config, Helpers(validate=fallback.validate, explain=fallback.explain))
    server.set_routes(specs)
    port = server.bind(config.host, config.port)
    _Serving(app, config, server, port).run()


class _Serving:
    """One server from its first thread to its last."""

    def __init__(self, app: FastAPI, config: ServerConfig, server: Server, port: int) -> None:
        self._config = config
        self._server = server
        self._port = port
        self._lifespan = app.router.lifespan_context(app)
        self._loop = LoopThread(server)
        self._workers = 0
        self._signals = 0
        self._listen, self._tell = socket.socketpair()
        self._tell.setblocking(False)

    def run(self) -> None:
        # Each signal writes a byte, which wakes the main thread; the handlers themselves only count.
        signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._grow_pool(self._config.pool)
        self._add_lane()
        self._loop.start()
        self._loop.enter(self._lifespan)
        self._server.start(self._tell.fileno())
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        _say(f"serving on http://{host}:{self._port} (pid {os.getpid()}, {self._config.pool} task threads)")
        self._wait()
        self._stop()

    def _wait(self) -> None:
        self._listen.settimeout(_SETTINGS_POLL_S)
        while not self._signals:
            try:
                requests = self._listen.recv(64)
            except TimeoutError:
                requests = b""
            if _MORE_LANES in requests:
                self._add_lane()
            self._obey_settings()

    def _stop(self) -> None:
        begun = time.monotonic()
        pending = self._server.pending()
        _say(f"stopping: {pending} background tasks are pending; waiting up to {self._config.drain_s:g} s (a second signal: not)")
        drained = self._drain()
        if drained:
            self._loop.leave(self._lifespan)
            self._server.close()
            self._loop.stop(_CANCEL_GRACE_S)
            _say(f"stopped: every accepted task has ended, {time.monotonic() - begun:.2f} s after the signal")
            return
        abandoned = self._server.abandon()
        self._server.close()
        self._loop.stop(_CANCEL_GRACE_S)
        _say(_report(abandoned, time.monotonic() - begun))
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads that are stuck in a task cannot be ended, and the interpreter would wait for what they hold: leave at once.
        os._exit(ABANDONED_STATUS if abandoned else 0)

    def _drain(self) -> bool:
        outcome: list[bool] = []

        def wait() -> None:
            outcome.append(self._server.drain(self._config.drain_s))
            self._tell.send(_DRAINED)

        threading.Thread(target=wait, name="drain", daemon=True).start()
        self._listen.settimeout(None)
        while not outcome and self._signals < 2:
            if _MORE_LANES in self._listen.recv(64):
                self._add_lane()
        return outcome == [True]

    def _obey_settings(self) -> None:
        wanted = self._server.setting(_POOL_SETTING)
        if wanted and wanted != self._config.pool and wanted != getattr(self, "_obeyed", None):
            self._obeyed = wanted
            self._grow_pool(wanted)
            self._server.set_pool(wanted)

    def _grow_pool(self, size: int) -> None:
        while self._workers < size:
            self._thread(f"task-{self._workers}", self._server.run_worker, self._workers)
            self._workers += 1

    def _add_lane(self) -> None:
        number = self._server.add_lane()
        if number is not None:
            self._thread(f"endpoint-{number}", self._server.run_lane, number)

    def _thread(self, name: str, target: Any, number: int) -> None:
        threading.Thread(target=target, args=(number,), name=name, daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1


def _report(abandoned: list[tuple[str, bool]], took_s: float) -> str:
    if not abandoned:
        return f"stopped: requests in flight were dropped after {took_s:.2f} s; no accepted task was"
    running = Counter(name for name, was_running in abandoned if was_running)
    queued = Counter(name for name, was_running in abandoned if not was_running)

    def names(counts: Counter[str]) -> str:
        return ", ".join(f"{name} x{count}" for name, count in counts.most_common(5)) or "none"

    return (
        f"stopped after {took_s:.2f} s: abandoned {len(abandoned)} tasks, "
        f"{queued.total()} never started ({names(queued)}) and {running.total()} running ({names(running)})"
    )


def _say(text: str) -> None:
    print(f"server: {text}", file=sys.stderr, flush=True)  # noqa: T201


def fail(error: BaseException) -> None:
    """Reports an error that keeps the server from serving."""
    _say(f"error: {last_words(error)}")
