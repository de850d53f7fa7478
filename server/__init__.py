"""The bundled server: a FastAPI whose requests are answered, and whose background tasks are run, by Rust.

`FastrAPI` is a `fastapi.FastAPI`; `BackgroundTasks` is a `fastapi.BackgroundTasks`. Declare routes as ever, then call
`app.serve(host, port)` or run `python -m server module:app`.

Each name is imported when it is first asked for: FastAPI takes longer to import than all else together, and who wants the rows
alone, as the world of a scenario does, has no use for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi import (
        APIRouter,
        Body,
        Cookie,
        Depends,
        File,
        Form,
        Header,
        HTTPException,
        Path,
        Query,
        Request,
        Response,
        Security,
        UploadFile,
        WebSocket,
        status,
    )

    from server._app import FastrAPI
    from server._background import BackgroundTasks
    from server._config import ServerConfig
    from server._errors import CannotServe
    from server._native import EffectRows
    from server._policies import tasks
    from server._routes import UnsupportedRoute
    from server._running import Running, TasksAbandoned, running
    from server._serve import Account

    FastAPI = FastrAPI
    """The same class under FastAPI's name, so that an example runs with nothing changed but its import."""

__all__ = [
    "APIRouter",
    "Account",
    "BackgroundTasks",
    "Body",
    "CannotServe",
    "Cookie",
    "Depends",
    "EffectRows",
    "FastAPI",
    "FastrAPI",
    "File",
    "Form",
    "HTTPException",
    "Header",
    "Path",
    "Query",
    "Request",
    "Response",
    "Running",
    "Security",
    "ServerConfig",
    "TasksAbandoned",
    "UnsupportedRoute",
    "UploadFile",
    "WebSocket",
    "running",
    "status",
    "tasks",
]

_WHERE: Final = {
    "Account": "server._serve",
    "BackgroundTasks": "server._background",
    "CannotServe": "server._errors",
    "EffectRows": "server._native",
    "FastrAPI": "server._app",
    "Running": "server._running",
    "ServerConfig": "server._config",
    "TasksAbandoned": "server._running",
    "UnsupportedRoute": "server._routes",
    "running": "server._running",
    "tasks": "server._policies",
}
"""All others are FastAPI's."""

if not TYPE_CHECKING:  # or a name that is not here would be no error to a type checker

    def __getattr__(name: str) -> object:
        """What is asked for by that name, which is here from then on (PEP 562)."""
        if name not in __all__:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        of = "FastrAPI" if name == "FastAPI" else name
        found = globals()[name] = getattr(import_module(_WHERE.get(of, "fastapi")), of)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
