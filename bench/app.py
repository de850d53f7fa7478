"""The app under test: one source for both servers. `BENCH_SERVER=bundled` takes the class from `server`, otherwise from FastAPI.

Its tasks do nothing but step a counter, so that what was promised can be held against what was done.
"""

import itertools
import os
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


class User(BaseModel):
    email: EmailStr
    name: str


class PlainUser(BaseModel):
    """The same without EmailStr, whose validator is pure Python (email-validator) and dearer than all the rest of a model."""

    email: str
    name: str


def def_task(email: str) -> None:
    next(_finished)


async def async_task(email: str) -> None:
    next(_finished)


# Each path says: kind of endpoint / kind of task. Without a return annotation, as in FastAPI's own example of background tasks.


@app.post("/async/def", response_model=None)
async def async_def(user: User, tasks: BackgroundTasks) -> Any:
    tasks.add_task(def_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/async/async", response_model=None)
async def async_async(user: User, tasks: BackgroundTasks) -> Any:
    tasks.add_task(async_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/def/def", response_model=None)
def def_def(user: User, tasks: BackgroundTasks) -> Any:
    tasks.add_task(def_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/def/async", response_model=None)
def def_async(user: User, tasks: BackgroundTasks) -> Any:
    tasks.add_task(async_task, user.email)
    return {"message": "queued", "name": user.name}


@app.post("/plain/def", response_model=None)
def plain_def(user: PlainUser, tasks: BackgroundTasks) -> Any:
    """As /def/def, with a body that pydantic validates without entering Python."""
    tasks.add_task(def_task, user.email)
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
