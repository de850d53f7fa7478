"""A process whose main thread serves: signals, what is said on standard error, the exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

from fastapi import FastAPI

from server._config import ServerConfig
from server._fallback import set_up_logging
from server._serve import Account, Serving, build
from server._signals import ABANDONED_STATUS, Stops, say
from server._worker import Worker

__all__ = ["Process", "prepare"]

_AT_ONCE: Final = 2


def prepare(app: FastAPI, config: ServerConfig) -> Process:
    """Everything up to the open port. Raises UnsupportedRoute, CannotServe, or RuntimeError if not on the main thread."""
    if threading.current_thread() is not threading.main_thread():
        msg = (
            "a server must be run on the main thread, which receives the signals that stop it; server.running() needs no signals"
        )
        raise RuntimeError(msg)
    set_up_logging()
    worker = Worker.of_this_process() if config.workers > 1 else None
    if worker is None:
        return Process(build(app, config, say), config, None)

    def say_who(text: str) -> None:
        say(f"worker {worker.number}: {text}")

    try:
        return Process(build(app, worker.settings(config), say_who, listener=worker.listener), config, worker)
    finally:
        # The server listens on a duplicate: once it stops listening, the port must not be kept open by this process.
        os.close(worker.listener)


class Process:
    """Serves until signals say otherwise."""

    def __init__(self, serving: Serving, config: ServerConfig, worker: Worker | None) -> None:
        self._serving = serving
        self._config = config
        self._worker = worker
        self._stops = Stops()

    def run(self) -> None:
        """Serves until a signal, then drains. Raises what the app's start-up or shutdown raised; exits if it cannot return."""
        # Each signal writes a byte, which wakes the main thread; the handlers themselves only count.
        fd_before = signal.set_wakeup_fd(self._serving.wake_fd, warn_on_full_buffer=False)
        before = {number: signal.signal(number, handler) for number, handler in self._handlers().items()}
        interval_before = sys.getswitchinterval()
        try:
            sys.setswitchinterval(self._config.switch_interval_s)
            account = self._serving.serve(self._ready)
        except BaseException as error:
            if self._serving.stuck:
                # A thread that somebody's code still holds could wake while the interpreter ends, which aborts the process.
                traceback.print_exc()
                _leave(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
            raise
        finally:
            # What the caller does afterwards can be stopped as ever.
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.setswitchinterval(interval_before)
        self._finish(account)

    def _handlers(self) -> dict[signal.Signals, Callable[[int, FrameType | None], None]]:
        if self._worker is not None:
            # The supervisor alone decides, whatever else is sent to a whole group of processes: TERM asks to drain however
            # often it comes, QUIT to stop at once.
            return {signal.SIGTERM: self._on_term, signal.SIGQUIT: self._on_quit}
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]]
        handlers = {signal.SIGTERM: self._on_signal, signal.SIGINT: self._on_signal}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # Otherwise `nohup` has asked to go on without the terminal.
            handlers[signal.SIGHUP] = self._on_signal
        return handlers

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stops.heard(number):
            self._serving.ask_to_stop()

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if not self._stops.count:
            self._stops.count += 1
            self._serving.ask_to_stop()

    def _on_quit(self, number: int, frame: FrameType | None) -> None:
        self._stops.count += _AT_ONCE
        self._serving.ask_to_stop(_AT_ONCE)

    def _ready(self) -> None:
        self._serving.say(f"serving on {self._serving.url} (pid {os.getpid()}, {self._config.pool} task threads)")
        if self._worker is not None:
            self._worker.say_ready()

    def _finish(self, account: Account) -> None:
        if account.abandoned:
            _leave(ABANDONED_STATUS)
        if account.never_started or account.left_alone:
            _leave(1)
        if account.stuck:
            # Threads that are stuck in somebody's code cannot be ended, and the interpreter would wait for what they hold.
            _leave(0)
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more: the interpreter would make a failure of that at its end.
            _leave(0)
        if self._worker is not None:
            # What the script does after serving is the supervisor's to do, once.
            raise SystemExit(0)


def _leave(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        # Where nobody reads any more, the exit status says it all.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
