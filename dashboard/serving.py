"""Serves the screen to browsers by textual-serve: one process a connection, each `afterload attach --read-only`.

What a browser on this machine may load from anywhere must not be able to look on: requests are taken only under the name that
they were served under, and from pages that came from here.
"""

from __future__ import annotations

import asyncio
import errno
import shlex
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import psutil
from aiohttp import web
from textual_serve.server import Server

from harness.errors import RunError, UsageError

__all__ = ["ScreenServer", "attach_command", "serve"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REAPING_S: Final = 5.0
_POLL_S: Final = 0.02
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


class ScreenServer(Server):
    """textual-serve's, for this machine's pages alone, and for so many lookers-on."""

    def __init__(self, command: str, *, host: str, port: int, most: int) -> None:
        super().__init__(command, host=host, port=port, title="afterload")
        self._most = most
        self._lookers_on: list[web.Request] = []

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        app.on_cleanup.append(self._reap)
        return app

    async def _reap(self, _: web.Application) -> None:
        """Waits for the end of the screens: of a process that outlives its event loop asyncio tells, on standard error."""
        end = time.monotonic() + _REAPING_S
        while psutil.Process().children() and time.monotonic() < end:  # noqa: ASYNC110  # a process sets no event
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(_POLL_S)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_own(request.headers, self.host, self.port):
            raise web.HTTPForbidden(text=f"this is served to pages of {self.public_url} alone\n")
        if request.path != "/ws":
            return await handler(request)
        if len(self._lookers_on) >= self._most:
            raise web.HTTPServiceUnavailable(text=f"{self._most} are looking on already: --most\n")
        self._lookers_on.append(request)
        try:
            return await handler(request)
        finally:
            self._lookers_on.remove(request)

    async def on_startup(self, app: web.Application) -> None:
        """Nothing: nobody can be told before it listens."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Hangs up on those who look on, which ends their screens: no browser does so first, and all would wait for it."""
        for request in tuple(self._lookers_on):
            if request.transport is not None:
                request.transport.close()

    def serve_on(self, listener: socket.socket) -> None:
        """Until SIGINT or SIGTERM; says where once it listens."""
        told = f"the screen is served on {self.public_url} (read-only; Ctrl-C ends it)"
        web.run_app(self._make_app(), sock=listener, print=lambda *_: click.echo(told, err=True), access_log=None)


def is_own(headers: Mapping[str, str], host: str, port: int) -> bool:
    """Whether a request names the server as it was told to be reached, and comes from one of its own pages or from none."""
    try:
        asked = urlsplit(f"//{headers.get('Host', '')}")
        asked_port = asked.port or 80
        origin = urlsplit(headers.get("Origin", "")).netloc
    except ValueError:
        return False
    names = _LOOPBACK if host in _LOOPBACK else None  # bound wider: by whatever name somebody reaches it
    if asked_port != port or (names is not None and asked.hostname not in names):
        return False
    return "Origin" not in headers or origin == headers.get("Host")


def attach_command(run_directory: Path, options: Mapping[str, Any]) -> str:
    """What is run for each connection."""
    words = [sys.executable, "-P", "-m", "dashboard", "attach", "--read-only"]
    for name in ("fps", "glyphs", "theme", "keys"):
        if options.get(name) is not None:
            words += [f"--{name}", str(options[name])]
    return f"exec {shlex.join([*words, '--', str(run_directory)])}"


def serve(run_directory: Path, *, host: str, port: int, most: int, options: Mapping[str, Any]) -> None:
    """Until Ctrl-C. Raises UsageError if nobody can listen there."""
    if options.get("is_plain"):
        raise UsageError("--plain is for a terminal", "leave it out, or use afterload attach --plain")
    with _listening(host, port) as listener:
        server = ScreenServer(attach_command(run_directory, options), host=host, port=listener.getsockname()[1], most=most)
        server.serve_on(listener)


def _listening(host: str, port: int) -> socket.socket:
    """At the port, or at a free one for 0."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} on {host} is taken", "name another one with --port, or 0 for a free one") from None
        raise RunError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
