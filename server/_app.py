"""`FastrAPI`: FastAPI's decorators, models, dependencies and documentation over another server."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from server._config import ServerConfig

__all__ = ["FastrAPI"]


class FastrAPI(FastAPI):
    """A FastAPI application that can serve itself."""

    def __init__(self, *, strict_fast_path: bool = False, **settings: Any) -> None:
        """`settings` are FastAPI's. With `strict_fast_path` the server refuses to start if a route does not go straight."""
        super().__init__(**settings)
        self.strict_fast_path = strict_fast_path

    def serve(self, host: str = "127.0.0.1", port: int = 8080, **options: Any) -> None:
        """Serves until SIGTERM or SIGINT; then finishes requests in flight and accepted tasks, up to `drain_s` seconds.

        `options` are the fields of `ServerConfig`. Must be called on the main thread, which it keeps. Raises UnsupportedRoute for
        a route that cannot be served, ValueError for a bad option, CannotServe if the port cannot be had, and whatever the app's
        start-up or shutdown raises. If tasks were abandoned at the deadline, the process exits with status 3.
        """
        from server._serve import prepare  # an app can be built and inspected without loading the server

        prepare(self, ServerConfig(host=host, port=port, **options)).run()
