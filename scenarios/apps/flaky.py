"""Accepts work that raises at times, and that rarely takes very long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Header
from pydantic import BaseModel

from scenarios import Settings, TaskKind, endpoint_of, task_of
from scenarios.settings import chance
from scenarios.world.logfile import append_line

__all__ = ["app"]

TAIL = 1.16  # exponent of the Pareto distribution that is known as "80 to 20"


class Risky(Exception):
    """What a task raises that was meant to."""


class Work(BaseModel):
    """What is to be done."""

    data: str


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app under test, on whichever class it is given."""
    api_app = api(title="flaky")
    leaked: list[bytearray] = []  # never emptied: that is the leak

    def before_the_work(op: str) -> float:
        """Leaks, if this one is to; returns the seconds that the task takes."""
        if settings.happens("leaks", op):
            leaked.append(bytearray(settings.bytes("leak")))
        return seconds_of(op, settings)

    def after_the_work(op: str, data: str) -> None:
        if settings.happens("raises", op):
            raise Risky(data)
        append_line(world["done"], op, data)

    def risky_operation(op: str, data: str) -> None:
        time.sleep(before_the_work(op))
        after_the_work(op, data)

    async def risky_operation_async(op: str, data: str) -> None:
        await asyncio.sleep(before_the_work(op))
        after_the_work(op, data)

    task = task_of(kind, risky_operation, risky_operation_async)

    def create_task(work: Work, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        background_tasks.add_task(task, x_op_id, work.data)
        return {"status": "accepted"}

    def do_at_once(work: Work, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        risky_operation(x_op_id, work.data)
        return {"status": "done"}

    api_app.post("/task", status_code=202)(endpoint_of(kind, create_task, do_at_once))
    return api_app


def seconds_of(op: str, settings: Settings) -> float:
    """How long the task of an operation takes."""
    if settings.happens("hangs", op):
        return settings.seconds("hang")
    work_s = settings.seconds("work")
    if settings.happens("slow", op):
        work_s *= (1.0 - chance(settings.seed, "tail", op)) ** (-1.0 / TAIL)
    return min(work_s, settings.seconds("slowest"))
