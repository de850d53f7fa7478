"""One action, three tasks in order: write the activity log, update analytics, send a notification.

The one in the middle fails at times. What becomes of the third then? The bundled server runs it all the same (`--on-error
continue`, as its documentation says); Starlette never starts it (`--on-error stop`), and nobody is told but the log.
"""

from __future__ import annotations

import asyncio
import json
import random
import smtplib
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

import aiosmtplib
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
    task_of,
)
from scenarios.wording import counted
from scenarios.world.access_log import start_access_log
from scenarios.world.logfile import append_line, start_logfile
from scenarios.world.smtp import start_smtp
from scenarios.world.together import Together

__all__ = ["SCENARIO"]

TIMEOUT_S = 60.0


class AnalyticsDown(Exception):
    """The task in the middle could not do its work."""


class Action(BaseModel):
    """Who has done what."""

    user_id: int
    action: str


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app under test, on whichever class it is given."""
    api_app = api(title="action")
    host, _, port = world["smtp"].rpartition(":")

    def log_activity(op: str, user_id: int, action: str) -> None:
        append_line(world["activity"], op, f"user {user_id} performed {action}")

    async def log_activity_async(op: str, user_id: int, action: str) -> None:
        append_line(world["activity"], op, f"user {user_id} performed {action}")

    def update_analytics(op: str, user_id: int, action: str) -> None:
        time.sleep(settings.seconds("analytics"))
        if settings.happens("fail", op):
            raise AnalyticsDown(action)
        with closing(sqlite3.connect(world["sqlite"], timeout=TIMEOUT_S)) as db, db:
            db.execute(
                "INSERT INTO access_log (op, user_id, endpoint, at) VALUES (?, ?, ?, ?)", (op, user_id, action, time.time())
            )

    async def update_analytics_async(op: str, user_id: int, action: str) -> None:
        import aiosqlite

        await asyncio.sleep(settings.seconds("analytics"))
        if settings.happens("fail", op):
            raise AnalyticsDown(action)
        async with aiosqlite.connect(world["sqlite"], timeout=TIMEOUT_S) as db:
            await db.execute(
                "INSERT INTO access_log (op, user_id, endpoint, at) VALUES (?, ?, ?, ?)", (op, user_id, action, time.time())
            )
            await db.commit()

    def send_notification(op: str, user_id: int) -> None:
        with smtplib.SMTP(host, int(port), local_hostname="localhost", timeout=TIMEOUT_S) as smtp:
            smtp.send_message(notification(op, user_id))

    async def send_notification_async(op: str, user_id: int) -> None:
        message = notification(op, user_id)
        await aiosmtplib.send(
            message, hostname=host, port=int(port), local_hostname="localhost", timeout=TIMEOUT_S, start_tls=False
        )

    log = task_of(kind, log_activity, log_activity_async)
    update = task_of(kind, update_analytics, update_analytics_async)
    notify = task_of(kind, send_notification, send_notification_async)

    def perform(done: Action, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        background_tasks.add_task(log, x_op_id, done.user_id, done.action)
        background_tasks.add_task(update, x_op_id, done.user_id, done.action)
        background_tasks.add_task(notify, x_op_id, done.user_id)
        return {"status": "success", "action": done.action}

    def perform_inline(done: Action, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        log_activity(x_op_id, done.user_id, done.action)
        update_analytics(x_op_id, done.user_id, done.action)
        send_notification(x_op_id, done.user_id)
        return {"status": "success", "action": done.action}

    api_app.post("/action")(endpoint_of(kind, perform, perform_inline))
    return api_app


def notification(op: str, user_id: int) -> EmailMessage:
    """The mail."""
    message = EmailMessage()
    message["From"] = "notifications@example.org"
    message["To"] = f"user{user_id}@example.org"
    message["Subject"] = "Something has happened"
    message["X-Op-Id"] = op
    message.set_content("Have a look.\n")
    return message


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """Users who do things."""
    chance = random.Random(seed)
    actions = ("login", "logout", "purchase", "comment", "share", "upload")
    bodies = [json.dumps({"user_id": chance.randint(1, 500), "action": chance.choice(actions)}) for _ in range(100)]
    json_body = {"content-type": "application/json"}
    return [Request(name="POST /action", method="POST", path="/action", headers=json_body, body=body) for body in bodies]


async def world(rows: EffectRows, settings: Settings, folder: Path) -> World:
    """A log file, a database and an SMTP server, one for each task."""
    return Together(
        start_logfile(rows, folder / "activity.log", name="activity", index=0),
        start_access_log(rows, folder, index=1),
        await start_smtp(rows, delay_s=settings.seconds("delay"), index=2),
    )


def check(rows: Rows, settings: Settings, folder: Path) -> Check:
    """Which of the three have arrived, action by action."""
    requests, effects = rows.requests, rows.effects
    arrived: dict[int, set[int]] = {op: set() for op in requests["op"][requests["outcome"] == 1].tolist()}
    for op, index in zip(effects["op"].tolist(), effects["index"].tolist(), strict=True):
        arrived.setdefault(op, set()).add(index)
    found = Counter(frozenset(indices) for indices in arrived.values())
    whole, gap, stopped = found[frozenset({0, 1, 2})], found[frozenset({0, 2})], found[frozenset({0})]
    nothing = found[frozenset()]
    others = len(arrived) - whole - gap - stopped - nothing
    figures = (
        ("whole", whole, "whole: logged, counted, notified"),
        ("gap", gap, "logged and notified, and analytics never heard of them"),
        ("stopped", stopped, "logged, and nothing came after that"),
        ("nothing", nothing, "acknowledged, and not even logged"),
        ("others", others, "that ended in another way"),
    )
    # What did not happen is a figure, and not worth a line.
    return Check(
        tuple(
            Figure(name, number, "actions", counted(number, "action", words) if number else "") for name, number, words in figures
        )
    )


SCENARIO = Scenario(
    name="action",
    summary="One action, three tasks in order: log, analytics, notify; the one in the middle fails at times.",
    story=(
        "Three tasks for each action, in order; the one in the middle fails at times. What becomes of the third "
        "depends on --on-error."
    ),
    plan=Plan(rate_per_s=60.0, duration_s=14.0, pool=8, faults=("kill@9s",)),
    tasks=(
        Task("log_activity", effect="log lines"),
        Task("update_analytics", effect="database rows"),
        Task("send_notification", effect="notifications"),
    ),
    settings=(
        share("fail", "20%", "of actions whose analytics task raises"),
        duration("analytics", "20ms", "how long the analytics task takes", high="50s"),
        duration("delay", "100ms", "how long the SMTP server takes to accept a notification", high="50s"),
    ),
    app=app,
    traffic=traffic,
    world=world,
    check=check,
)
