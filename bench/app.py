"""The app under test: one source for all servers. `BENCH_SERVER=bundled` takes the class from `server`, otherwise from FastAPI.

Its tasks do nothing but step a counter, so that what was promised can be held against what was done.
"""

import itertools
import os
import threading
import time
from typing import Any

from pydantic import BaseModel, EmailStr

from bench import noop

if os.environ.get("BENCH_SERVER") == "bundled":
    from server import BackgroundTasks, FastAPI
else:
    from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

_finished = itertools.count()
_reads = itertools.count()
_release = threading.Event()


class EmailUser(BaseModel):
    email: EmailStr
    name: str


class StrUser(BaseModel):
    """The same without EmailStr, whose validator is pure Python (email-validator) and dearer than all the rest of a model."""

    email: str
    name: str


def def_task(email: str) -> None:
    next(_finished)


async def async_task(email: str) -> None:
    next(_finished)


# Each path says: model / kind of endpoint / kind of task. Without a return annotation, as in FastAPI's own example of tasks.


@app.post("/email/async/def", response_model=None)
async def email_async_def(user: EmailUser, tasks: BackgroundTasks) -> Any:
    tasks.add_task(def_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/email/async/async", response_model=None)
async def email_async_async(user: EmailUser, tasks: BackgroundTasks) -> Any:
    tasks.add_task(async_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/email/def/def", response_model=None)
def email_def_def(user: EmailUser, tasks: BackgroundTasks) -> Any:
    tasks.add_task(def_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/str/async/def", response_model=None)
async def str_async_def(user: StrUser, tasks: BackgroundTasks) -> Any:
    tasks.add_task(def_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/str/async/async", response_model=None)
async def str_async_async(user: StrUser, tasks: BackgroundTasks) -> Any:
    tasks.add_task(async_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/str/def/def", response_model=None)
def str_def_def(user: StrUser, tasks: BackgroundTasks) -> Any:
    tasks.add_task(def_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/str/async/none", response_model=None)
async def str_async_none(user: StrUser) -> Any:
    return {"message": "queued", "name": user.name}


@app.get("/finished", response_model=None)
async def finished() -> Any:
    """How many tasks have finished."""
    # Reading takes a step too: the only way to look at such a counter without a lock around each step.
    return {"finished": next(_finished) - next(_reads)}


_burst: dict[str, int] = {}


@app.post("/burst", response_model=None)
def burst(n: int, is_async: bool, tasks: BackgroundTasks) -> Any:
    """Adds `n` no-op tasks at once."""
    noop.arm(n)
    func = noop.async_task if is_async else noop.task
    add = tasks.add_task
    begun_ns = time.monotonic_ns()
    for _ in range(n):
        add(func)
    _burst.update(n=n, begun_ns=begun_ns, added_ns=time.monotonic_ns())
    return {"added": n}


@app.get("/burst", response_model=None)
async def burst_result() -> Any:
    """The last burst: n, begun_ns, added_ns, ended_ns (0: not yet)."""
    return {**_burst, "ended_ns": noop.ended_ns()}


def spin_task(seconds: float) -> None:
    """Computes without ever waiting, as a task that renders or packs in pure Python does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(1000):
            pass


@app.post("/spin", response_model=None)
async def spin(seconds: float, tasks: BackgroundTasks) -> Any:
    """Adds one task that computes so long."""
    tasks.add_task(spin_task, seconds)
    return {"seconds": seconds}


@app.post("/hold", response_model=None)
async def hold(tasks: BackgroundTasks) -> Any:
    """Adds one task that holds its thread until the release."""
    tasks.add_task(_release.wait)
    return {}


@app.post("/release", response_model=None)
async def release() -> Any:
    """Lets the held threads go."""
    _release.set()
    return {}
