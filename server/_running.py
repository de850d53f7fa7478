"""Serving beside other code in one interpreter: for tests of apps, and of this server."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from server._config import ServerConfig
from server._foreign import as_app
from server._serve import Account, Serving, build

__all__ = ["Running", "TasksAbandoned", "running"]

_log = logging.getLogger("server")


class TasksAbandoned(Exception):
    """Accepted tasks had not ended at the drain deadline and were given up; `account` tells which."""

    def __init__(self, account: Account) -> None:
        super().__init__(str(account))
        self.account = account


class Running:
    """A server on threads of its own. Made by `running`."""

    def __init__(self, serving: Serving) -> None:
        self.port: int = serving.port
        self.url: str = serving.url
        self.admin_port: int | None = serving.admin_port
        self.account: Account | None = None
        self._serving: Serving | None = serving
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._stopping = threading.Lock()
        self._thread = threading.Thread(target=self._serve, args=(serving,), name="server", daemon=True)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way: no request, no task. True also when it has ended."""
        serving = self._serving
        return serving is None or serving.is_quiet

    def stop(self, drain_s: float | None = None) -> Account:
        """Drains, for at most `drain_s` seconds if given, and returns how the server ended; from any thread but its own.

        Raises what the app's shutdown raised, and RuntimeError on a thread of an endpoint or a task, for which it would wait.
        """
        if (serving := self._serving) is not None and serving.owns(threading.current_thread()):
            msg = "an endpoint or a task cannot stop the server that waits for it to end; use another thread"
            raise RuntimeError(msg)
        with self._stopping:
            if (serving := self._serving) is not None:
                serving.ask_to_stop(drain_s=drain_s)
                self._join()
        if self._error is not None:
            raise self._error
        assert self.account is not None
        return self.account

    def _start(self) -> None:
        self._thread.start()
        try:
            self._ready.wait()
        except BaseException:
            # Somebody has lost patience with the app's start-up.
            self._halt()
            raise
        if self._ended.is_set() and self._error is not None:
            self._join()
            raise self._error

    def _halt(self) -> None:
        if self._serving is not None:
            self._serving.ask_to_stop(2)
            self._join()

    def _join(self) -> None:
        self._ended.wait()
        self._thread.join()
        # The server's threads may outlive it in somebody's code; what is asked for afterwards is no business of theirs.
        self._serving = None

    def _serve(self, serving: Serving) -> None:
        try:
            self.account = serving.serve(self._ready.set)
        except BaseException as error:  # noqa: BLE001  # raised again where somebody waits
            self._error = error
        finally:
            self._ended.set()
            self._ready.set()


@contextlib.contextmanager
def running(app: FastAPI | ASGIApp, *, port: int = 0, **options: Any) -> Iterator[Running]:
    """Serves `app`, a FastAPI or another ASGI application, on threads of its own while the block runs; on any free port of
    127.0.0.1 unless told otherwise.

    From any thread, and touches no signal. `options` are the fields of `ServerConfig`, of which `workers` must be 1. The app's
    start-up has ended when the block begins. At its end the server drains; what is not done within `drain_s` seconds raises
    TasksAbandoned, unless the block raised something itself or had called `stop()`. Raises UnsupportedRoute, ValueError for a bad
    option, CannotServe if the port or the row file cannot be had, and what the app's start-up or shutdown raised.
    """
    config = ServerConfig(port=port, **options)
    if config.workers != 1:
        msg = f"workers is {config.workers}; allowed is 1 where the server runs beside other code"
        raise ValueError(msg)
    server = Running(build(as_app(app), config, _log.info))
    server._start()  # noqa: SLF001  # the two are one
    try:
        yield server
    except BaseException:
        # What the block raised is the news.
        if server.account is None:
            with contextlib.suppress(Exception):
                server.stop()
        raise
    if server.account is None and (account := server.stop()).abandoned:
        raise TasksAbandoned(account)
