"""`FastrAPI`: FastAPI's decorators, models, dependencies and documentation over another server."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from server._config import ServerConfig
from server._policies import UNSET, OnError, Order, Unset, app_settings

__all__ = ["FastrAPI"]


class FastrAPI(FastAPI):
    """A FastAPI application that can serve itself.

    It takes what FastAPI takes, and how its background tasks are run (docs/server.md); a single endpoint says it with `tasks`.
    """

    def __init__(
        self,
        *,
        task_order: Order | Unset = UNSET,
        task_on_error: OnError | Unset = UNSET,
        task_queue_limit: int | Unset | None = UNSET,
        task_timeout_s: float | Unset | None = UNSET,
        strict_fast_path: bool = False,
        **of_fastapi: Any,
    ) -> None:
        """With `strict_fast_path` the server refuses to start if a route goes the general way.

        Raises ValueError naming the setting, what was given and what is allowed.
        """
        self.strict_fast_path = strict_fast_path
        self._task_settings = app_settings(
            task_order=task_order, task_on_error=task_on_error, task_queue_limit=task_queue_limit, task_timeout_s=task_timeout_s
        )
        super().__init__(**of_fastapi)

    def serve(self, host: str = "127.0.0.1", port: int = 8080, **options: Any) -> None:
        """Serves until SIGTERM, SIGINT or SIGHUP; then finishes requests in flight and accepted tasks, up to `drain_s` seconds.

        `options` are the fields of `ServerConfig`. Must be called on the main thread, which it keeps. Raises UnsupportedRoute if
        the app is strict and a route does not go straight, ValueError for a bad option, CannotServe if the port cannot be had,
        and whatever the app's start-up or shutdown raises. If tasks were abandoned at the deadline, the process exits with status
        3.

        With `workers=N` this process watches N others, each of which runs the program again from its start and serves when it
        gets here. Only in the watching process does it return, or exit if a worker did not end with status 0.
        """
        # Imported here: an app can be built and inspected without loading the server.
        from server._process import prepare
        from server._supervisor import supervise
        from server._worker import Worker

        config = ServerConfig(host=host, port=port, **options)
        if config.workers > 1 and not Worker.is_this_process():
            if status := supervise(config):
                raise SystemExit(status)
            return
        prepare(self, config).run()
