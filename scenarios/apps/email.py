"""Registers a user, and sends the welcome mail after the response."""

from __future__ import annotations

import asyncio
import smtplib
import time
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Annotated

import aiosmtplib
from fastapi import BackgroundTasks, FastAPI, Header
from pydantic import BaseModel, EmailStr, Field

from scenarios import Settings, TaskKind, endpoint_of, task_of

__all__ = ["app"]

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
