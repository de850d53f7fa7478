"""Register a user, send the welcome mail after the response.

The most common background task there is. The SMTP server takes its time; with few threads the answers stay fast while the mails
fall behind, and a restart forgets every mail that had not been sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import smtplib
import time
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

import aiosmtplib
from fastapi import BackgroundTasks, FastAPI, Header
from pydantic import BaseModel, EmailStr, Field

from scenarios import (
    EffectRows,
    Plan,
    Request,
    Scenario,
    Settings,
    Task,
    TaskKind,
    World,
    count,
    duration,
    endpoint_of,
    share,
    task_of,
)
from scenarios.world.smtp import start_smtp

__all__ = ["SCENARIO"]

TIMEOUT_S = 60.0
RETRY_AFTER_S = 0.2
TEMPORARY = range(400, 500)  # of SMTP's answers: "try again later"


class User(BaseModel):
    """Who registers."""

    email: EmailStr
    name: str = Field(min_length=1, max_length=200)


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app under test, on whichever class it is given."""
    api_app = api(title="email")
    host, _, port = world["smtp"].rpartition(":")
    retries = settings.count("retries")

    def send_welcome_mail(op: str, email: str, name: str) -> None:
        message = welcome(op, email, name)
        for left in range(retries, -1, -1):
            try:
                # The local name is given because smtplib would look it up, and a slow resolver would be measured instead.
                with smtplib.SMTP(host, int(port), local_hostname="localhost", timeout=TIMEOUT_S) as smtp:
                    smtp.send_message(message)
                return
            except smtplib.SMTPResponseException as error:
                if error.smtp_code not in TEMPORARY or not left:
                    raise
            time.sleep(RETRY_AFTER_S)

    async def send_welcome_mail_async(op: str, email: str, name: str) -> None:
        message = welcome(op, email, name)
        for left in range(retries, -1, -1):
            try:
                await aiosmtplib.send(
                    message, hostname=host, port=int(port), local_hostname="localhost", timeout=TIMEOUT_S, start_tls=False
                )
                return
            except aiosmtplib.SMTPResponseException as error:
                if error.code not in TEMPORARY or not left:
                    raise
            await asyncio.sleep(RETRY_AFTER_S)

    task = task_of(kind, send_welcome_mail, send_welcome_mail_async)

    def register(user: User, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        background_tasks.add_task(task, x_op_id, user.email, user.name)
        return {"message": f"User {user.name} registered"}

    def register_inline(user: User, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        send_welcome_mail(x_op_id, user.email, user.name)
        return {"message": f"User {user.name} registered"}

    api_app.post("/register", status_code=201)(endpoint_of(kind, register, register_inline))
    return api_app


def welcome(op: str, email: str, name: str) -> EmailMessage:
    """The mail."""
    message = EmailMessage()
    message["From"] = "welcome@example.org"
    message["To"] = email
    message["Subject"] = f"Welcome, {name}"
    message["X-Op-Id"] = op
    message.set_content(f"Hello {name},\n\nthank you for registering.\n")
    return message


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """People who register."""
    people = random.Random(seed)
    first = ["Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Katherine", "Ken", "Leslie", "Margaret", "Niklaus", "Radia"]
    last = ["Allen", "Dijkstra", "Hamilton", "Hopper", "Johnson", "Lamport", "Liskov", "Lovelace", "Perlman", "Turing", "Wirth"]
    requests = []
    for _ in range(100):
        name = f"{people.choice(first)} {people.choice(last)}"
        body = json.dumps({"email": f"{name.replace(' ', '.').lower()}.{{op}}@example.org", "name": name})
        requests.append(
            Request(
                name="POST /register", method="POST", path="/register", headers={"content-type": "application/json"}, body=body
            )
        )
    return requests


async def world(rows: EffectRows, settings: Settings, folder: Path) -> World:
    """An SMTP server."""

    def refusal(op: str, attempt: int) -> str | None:
        if settings.happens("reject", op):
            return "554 5.7.1 this mail is not wanted"
        return "451 4.3.0 try again later" if settings.happens("fail", op, attempt) else None

    return await start_smtp(rows, delay_s=settings.seconds("delay"), connections=settings.count("connections"), refusal=refusal)


SCENARIO = Scenario(
    name="email",
    summary="Register a user; the welcome mail goes out over SMTP after the response.",
    story=(
        "Answers stay fast while mails fall behind: 8 threads send 80 a second and 100 come in. The kill -9 at 8 "
        "s forgets every mail that was queued."
    ),
    plan=Plan(rate_per_s=100.0, duration_s=14.0, pool=8, faults=("kill@8s",)),
    tasks=(Task("send_welcome_mail", effect="mails"),),
    settings=(
        duration("delay", "100ms", "how long the SMTP server takes to accept a mail", high="50s"),
        share("fail", "0%", "of mails are answered 451, try again later"),
        share("reject", "0%", "of mails are answered 554, never try again"),
        count("connections", "0", "that the SMTP server takes at once, one more is answered 421; 0: no limit", high=10_000),
        count("retries", "0", "after a 4xx, each 200ms later", high=10),
    ),
    app=app,
    traffic=traffic,
    world=world,
)
