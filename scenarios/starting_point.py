"""A scenario of your own: place an order, write it to the audit log after the response.

It runs as it is:  afterload run ./my_scenario.py  (or whatever you have called this file)
Change it from top to bottom: the app, what the client sends, the world that the tasks act on, and the plan.
"""

from __future__ import annotations

import asyncio
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
    task_of,
)
from scenarios.world.logfile import append_line, start_logfile

# 1. The app under test, on whichever class it is given: the bundled server's or plain FastAPI. `world` holds the addresses
#    of the world below, `settings` what was given with --set, `kind` how the background work is to be written (--tasks).


class Order(BaseModel):
    """What the client sends."""

    item: str
    amount: int


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app."""
    api_app = api(title="orders")

    def write_audit_log(op: str, item: str, amount: int) -> None:
        time.sleep(settings.seconds("work"))
        if settings.happens("fail", op):
            raise OSError("the audit log is not there today")
        # Every effect carries the operation id of its request: by it the world can tell what has arrived.
        append_line(world["audit"], op, f"{amount} x {item}")

    async def write_audit_log_async(op: str, item: str, amount: int) -> None:
        await asyncio.sleep(settings.seconds("work"))
        if settings.happens("fail", op):
            raise OSError("the audit log is not there today")
        append_line(world["audit"], op, f"{amount} x {item}")

    # For --tasks sync, async, or blocking (an `async def` that calls the first one).
    task = task_of(kind, write_audit_log, write_audit_log_async)

    def order(order: Order, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        background_tasks.add_task(task, x_op_id, order.item, order.amount)
        return {"status": "ordered"}

    def order_inline(order: Order, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        # For --tasks inline: the work is done before answering.
        write_audit_log(x_op_id, order.item, order.amount)
        return {"status": "ordered"}

    api_app.post("/orders", status_code=201)(endpoint_of(kind, order, order_inline))
    return api_app


# 2. What the client sends: each request is one of these, picked by weight. The same seed makes the same traffic.


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """Orders."""
    chance = random.Random(seed)
    return [
        Request(
            name="POST /orders",
            method="POST",
            path="/orders",
            headers={"content-type": "application/json"},
            body=f'{{"item": "{chance.choice(["tea", "milk", "sugar"])}", "amount": {chance.randint(1, 9)}}}',
        )
        for _ in range(20)
    ]


# 3. The world: what the tasks act on. It runs in a process of its own, writes down each effect that arrives (`rows.append(op,
#    index=…)`), and says where it is. `folder` is its own, inside the run directory. Yours may be any server, or a database.


async def world(rows: EffectRows, settings: Settings, folder: Path) -> World:
    """A log file, watched."""
    return start_logfile(rows, folder / "audit.log", name="audit", index=0)


# 4. The check, when everything has ended: what is left in the world? Leave it out if the effects say it all.


def check(rows: Rows, settings: Settings, folder: Path) -> Check:
    """Whether the log holds what was written down as arrived."""
    n_lines = len((folder / "audit.log").read_text(encoding="utf-8").splitlines())
    n_effects = len(rows.effects)
    if n_lines != n_effects:
        return Check(problems=(f"the audit log has {n_lines} lines, and {n_effects} were seen to arrive",))
    return Check()


# 5. All of it together. `tasks` are those of one request, in the order in which they are added; `effect` is what each leaves.

SCENARIO = Scenario(
    name="orders",
    summary="Place an order; the audit log is written after the response.",
    plan=Plan(rate_per_s=60.0, duration_s=8.0, pool=4, faults=("kill@5s",)),
    tasks=(Task("write_audit_log", effect="log lines"),),
    settings=(
        duration("work", "100ms", "how long writing takes"),
        share("fail", "0%", "of orders whose task raises"),
    ),
    app=app,
    traffic=traffic,
    world=world,
    check=check,
)
