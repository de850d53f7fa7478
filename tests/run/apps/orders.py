"""An app as anybody could have written it: nothing in it knows of afterload."""

import asyncio
import time

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()


def work(ms: float) -> None:
    time.sleep(ms / 1e3)


async def work_async(ms: float) -> None:
    await asyncio.sleep(ms / 1e3)


async def work_blocking(ms: float) -> None:
    time.sleep(ms / 1e3)  # noqa: ASYNC251  # the classic mistake


def third(ms: float) -> None:
    raise RuntimeError("the third one")


@app.get("/health")
async def health() -> dict:
    return {}


@app.post("/sync")
async def sync(tasks: BackgroundTasks, ms: float = 100.0) -> dict:
    tasks.add_task(work, ms)
    return {}


@app.post("/async")
async def async_(tasks: BackgroundTasks, ms: float = 100.0) -> dict:
    tasks.add_task(work_async, ms)
    return {}


@app.post("/blocking")
async def blocking(tasks: BackgroundTasks, ms: float = 300.0) -> dict:
    tasks.add_task(work_blocking, ms)
    return {}


@app.post("/both")
def both(tasks: BackgroundTasks, ms: float = 100.0) -> dict:
    """A `def` endpoint and a `def` task: both need one of the 40 tokens."""
    tasks.add_task(work, ms)
    return {}


@app.post("/five")
async def five(tasks: BackgroundTasks, ms: float = 1.0) -> dict:
    for task in (work, work, third, work, work):
        tasks.add_task(task, ms)
    return {}


@app.post("/raises")
async def raises(tasks: BackgroundTasks) -> dict:
    tasks.add_task(work, 1.0)
    raise RuntimeError("after it had added its task")
