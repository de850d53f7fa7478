"""A task that goes wrong in every way: it raises, hangs, leaks, or is slow with a heavy tail, each at a known rate.

Which operation meets which fate is decided by its number and the seed alone, so the check knows it without asking the server.
A task that hangs keeps its thread: a few of them are enough to starve the pool, and nothing in the answers shows it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Header
from pydantic import BaseModel

from scenarios import (
    Check,
    EffectRows,
    Figure,
    Plan,
    Request,
    Rows,
    Scenario,
    Settings,
    Task,
    TaskKind,
    World,
    duration,
    endpoint_of,
    share,
    size,
    task_of,
)
from scenarios.settings import chance
from scenarios.world.logfile import append_line, start_logfile

__all__ = ["SCENARIO"]

TAIL = 1.16  # exponent of the Pareto distribution that is known as "80 to 20"
MB = 1_000_000


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


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """Anything."""
    words = random.Random(seed)
    bodies = [json.dumps({"data": f"item {words.randint(1, 999)}"}) for _ in range(50)]
    json_body = {"content-type": "application/json"}
    return [Request(name="POST /task", method="POST", path="/task", headers=json_body, body=body) for body in bodies]


async def world(rows: EffectRows, settings: Settings, folder: Path) -> World:
    """A log file."""
    return start_logfile(rows, folder / "done.log", name="done")


def check(rows: Rows, settings: Settings, folder: Path) -> Check:
    """What was meant to happen to the operations that were acknowledged, and what is left of them."""
    requests, effects, gauges = rows.requests, rows.effects, rows.gauges
    acknowledged = [f"{op:016x}" for op in requests["op"][requests["outcome"] == 1].tolist()]
    meant = {name: sum(settings.happens(name, op) for op in acknowledged) for name in ("raises", "hangs", "slow", "leaks")}
    wrong = sum(settings.happens("raises", f"{op:016x}") for op in effects["op"].tolist())
    grown = 0
    for boot in set(gauges["boot"].tolist()):
        # From its first task on: what came before is a server that starts.
        rss = gauges["server_rss_bytes"][(gauges["boot"] == boot) & (gauges["accepted"] > 0)]
        grown += int(rss[-1]) - int(rss[0]) if len(rss) else 0
    leaked_mb = meant["leaks"] * settings.bytes("leak") / MB
    hang = f"{settings.seconds('hang'):g} s"
    return Check(
        figures=(
            Figure(
                "raises", meant["raises"], "tasks", f"{meant['raises']:,} tasks were meant to raise, {wrong:,} left an effect"
            ),
            Figure("hangs", meant["hangs"], "tasks", f"{meant['hangs']:,} were meant to hang for {hang}, each with its thread"),
            Figure("slow", meant["slow"], "tasks", f"{meant['slow']:,} were slow, with a heavy tail"),
            Figure(
                "memory",
                grown / MB,
                "MB",
                f"{meant['leaks']:,} were meant to leak {leaked_mb:,.0f} MB; the server's memory grew by {grown / MB:,.0f} MB",
            ),
        ),
        problems=(f"{wrong} tasks that always raise have left an effect",) if wrong else (),
    )


SCENARIO = Scenario(
    name="flaky",
    summary="Tasks that raise, hang, leak, or are slow with a heavy tail, at known rates.",
    story=(
        "A few tasks that hang are enough to starve the pool, and no answer shows it: see the oldest task's age "
        "climb while responses stay flat."
    ),
    plan=Plan(rate_per_s=60.0, duration_s=14.0, pool=8, faults=("kill@10s",)),
    tasks=(Task("risky_operation", effect="log lines"),),
    settings=(
        share("raises", "5%", "of tasks, after they have worked"),
        share("hangs", "3%", "of tasks"),
        duration("hang", "5s", "how long such a task hangs"),
        share("slow", "20%", "of tasks, whose time has a heavy tail"),
        duration("slowest", "5s", "no task takes longer, but for those that hang"),
        share("leaks", "5%", "of tasks"),
        size("leak", "1MB", "what such a task keeps for ever", high="100MB"),
        duration("work", "20ms", "how long a task takes that nothing is wrong with"),
    ),
    app=app,
    traffic=traffic,
    world=world,
    check=check,
)
