"""Serves the screen to browsers by textual-serve: one process a connection, each `afterload attach --read-only`.

What a browser on this machine may load from anywhere must not be able to look on: requests are taken only under the name that
they were served under, and from pages that came from here.
"""

from __future__ import annotations

import errno
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from aiohttp import web
from textual_serve.server import Server

from harness.errors import RunError, UsageError

__all__ = ["ScreenServer", "attach_command", "serve"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


class ScreenServer(Server):
    """textual-serve's, for this machine's pages alone, and for so many lookers-on."""

    def __init__(self, command: str, *, host: str, port: int, most: int) -> None:
        super().__init__(command, host=host, port=port, title="afterload")
        self._most = most
        self._n = 0

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_own(request.headers, self.host, self.port):
            raise web.HTTPForbidden(text=f"this is served to pages of {self.public_url} alone\n")
        if request.path != "/ws":
            return await handler(request)
        if self._n >= self._most:
            raise web.HTTPServiceUnavailable(text=f"{self._most} are looking on already: --most\n")
        self._n += 1
        try:
            return await handler(request)
        finally:
            self._n -= 1

    async def on_startup(self, app: web.Application) -> None:
        """Says where, and nothing else."""
        click.echo(f"the screen is served on {self.public_url} (read-only; Ctrl-C ends it)", err=True)

    def initialize_logging(self) -> None:
        """No log: what happens there is shown here by nobody."""


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
    port = _free(host, port)
    ScreenServer(attach_command(run_directory, options), host=host, port=port, most=most).serve()


def _free(host: str, port: int) -> int:
    """The port, or a free one for 0."""
    try:
        with socket.create_server((host, port)) as listener:
            found: int = listener.getsockname()[1]
            return found
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} on {host} is taken", "name another one with --port, or 0 for a free one") from None
        raise RunError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
