"""Register a user, send the welcome mail after the response.

The most common background task there is. The SMTP server takes its time; with few threads the answers stay fast while the mails
fall behind, and a restart forgets every mail that had not been sent.
"""

from __future__ import annotations

import json
import random
import smtplib
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Annotated, Any

import aiosmtplib
from fastapi import BackgroundTasks, FastAPI, Header
from pydantic import BaseModel, EmailStr, Field

from scenarios.scenario import Plan, Request, Scenario, Setting, TaskKind
from scenarios.world.smtp import start_smtp

__all__ = ["SCENARIO"]

_TIMEOUT_S = 60.0


class User(BaseModel):
    """Who registers."""

    email: EmailStr
    name: str = Field(min_length=1, max_length=200)


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Mapping[str, float]) -> FastAPI:
    """The app under test, on whichever class it is given."""
    api_app = api(title="email")
    host, _, port = world["smtp"].rpartition(":")

    def send_welcome_mail(op: str, email: str, name: str) -> None:
        # The local name is given because smtplib would look it up, and a slow resolver would be measured instead of the mail.
        with smtplib.SMTP(host, int(port), local_hostname="localhost", timeout=_TIMEOUT_S) as smtp:
            smtp.send_message(_welcome(op, email, name))

    async def send_welcome_mail_async(op: str, email: str, name: str) -> None:
        message = _welcome(op, email, name)
        await aiosmtplib.send(
            message, hostname=host, port=int(port), local_hostname="localhost", timeout=_TIMEOUT_S, start_tls=False
        )

    async def send_welcome_mail_blocking(op: str, email: str, name: str) -> None:
        send_welcome_mail(op, email, name)

    def register(user: User, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        background_tasks.add_task(send_welcome_mail, x_op_id, user.email, user.name)
        return {"message": f"User {user.name} registered"}

    async def register_async(user: User, background_tasks: BackgroundTasks, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        send = send_welcome_mail_async if kind is TaskKind.ASYNC else send_welcome_mail_blocking
        background_tasks.add_task(send, x_op_id, user.email, user.name)
        return {"message": f"User {user.name} registered"}

    def register_inline(user: User, x_op_id: Annotated[str, Header()]) -> dict[str, str]:
        send_welcome_mail(x_op_id, user.email, user.name)
        return {"message": f"User {user.name} registered"}

    endpoints: dict[TaskKind, Callable[..., Any]] = {TaskKind.SYNC: register, TaskKind.INLINE: register_inline}
    endpoint = endpoints.get(kind, register_async)
    api_app.post("/register", status_code=201)(endpoint)
    return api_app


def _welcome(op: str, email: str, name: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "welcome@example.org"
    message["To"] = email
    message["Subject"] = f"Welcome, {name}"
    message["X-Op-Id"] = op
    message.set_content(f"Hello {name},\n\nthank you for registering.\n")
    return message


def traffic(seed: int) -> list[Request]:
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


SCENARIO = Scenario(
    name="email",
    summary="Register a user; the welcome mail goes out over SMTP after the response.",
    effect="mails",
    plan=Plan(rate_per_s=100.0, duration_s=14.0, pool=8, faults=("kill@8s",)),
    settings=(Setting("delay", "100ms", "how long the SMTP server takes to accept a mail", high_ms=50_000.0),),
    traffic=traffic,
    app=app,
    world=start_smtp,
)
