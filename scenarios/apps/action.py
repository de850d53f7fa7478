"""Reports an action, then three tasks in order: activity log, analytics, notification."""

from __future__ import annotations

import asyncio
import smtplib
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from email.message import EmailMessage
from typing import Annotated

import aiosmtplib
from fastapi import BackgroundTasks, FastAPI, Header
from pydantic import BaseModel

from scenarios import Settings, TaskKind, endpoint_of, task_of
from scenarios.world.logfile import append_line

__all__ = ["app"]

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
