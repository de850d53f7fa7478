"""What was met in apps of others, in a few lines: a slow start, a body that must be exact, a task that raises, refusals."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request


def migrate() -> None:
    time.sleep(0.4)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keeps the loop as long as a database's migration does."""
    migrate()
    yield


app = FastAPI(lifespan=lifespan)


def raises() -> None:
    raise RuntimeError("no transaction any more")


@app.get("/")
async def index() -> dict:
    return {}


@app.post("/upload")
async def upload(request: Request) -> dict:
    """As strict about the line ends of a body as a parser of multipart forms."""
    if await request.body() != b"--b\r\n\r\nhello\n--b--\r\n":
        raise HTTPException(400, "Did not find CR at end of boundary")
    return {}


@app.post("/raises")
async def has_a_task(tasks: BackgroundTasks) -> dict:
    tasks.add_task(raises)
    return {}
