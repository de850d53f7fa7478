"""The bundled server: a FastAPI whose requests are answered, and whose background tasks are run, by Rust.

`FastrAPI` is a `fastapi.FastAPI`; `BackgroundTasks` is a `fastapi.BackgroundTasks`. Declare routes as ever, then call
`app.serve(host, port)` or run `python -m server module:app`.
"""

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
