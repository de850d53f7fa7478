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


@app.post("/slow")
async def slow(tasks: BackgroundTasks, ms: float = 100.0) -> dict:
    """Takes its time to answer, so that something can happen to its connection meanwhile."""
    await asyncio.sleep(ms / 1e3)
    tasks.add_task(work, 1.0)
    return {}


@app.post("/fails")
async def fails(tasks: BackgroundTasks, ms: float = 30.0) -> dict:
    tasks.add_task(fail_after, ms)
    return {}


kept: set[asyncio.Task] = set()


@app.post("/spawn")
async def spawn(ms: float = 100.0) -> dict:
    """No background task for Starlette, and one for everybody who reads the code."""
    task = asyncio.create_task(work_async(ms))
    kept.add(task)
    task.add_done_callback(kept.discard)
    return {}


async def fail_after(ms: float) -> None:
    await asyncio.sleep(ms / 1e3)
    raise RuntimeError("after the answer")


def main() -> None:
    """Started as people do it who have a main.py."""
    import os

    import uvicorn

    uvicorn.run(app, port=int(os.environ["PORT"]))


if __name__ == "__main__":
    main()


@app.post("/autosave")
async def autosave(ms: float = 400) -> dict:
    """The newest save takes the place of the one before, if that has not been written yet."""
    if (last := getattr(app.state, "last", None)) is not None:
        last.cancel()
    app.state.last = asyncio.create_task(work_async(ms))
    return {}
