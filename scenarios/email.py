"""Register a user, send the welcome mail after the response.

The most common background task there is. The SMTP server takes its time; with few threads the answers stay fast while the mails
fall behind, and a restart forgets every mail that had not been sent.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from scenarios import (
    EffectRows,
    Plan,
    Request,
    Scenario,
    Settings,
    Task,
    World,
    count,
    duration,
    share,
)
from scenarios.apps import app_of
from scenarios.world.smtp import start_smtp

__all__ = ["SCENARIO"]


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
    app=app_of("email"),
    traffic=traffic,
    world=world,
)
