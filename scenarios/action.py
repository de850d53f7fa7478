"""One action, three tasks in order: write the activity log, update analytics, send a notification.

The one in the middle fails at times. What becomes of the third then? The bundled server runs it all the same (`--on-error
continue`, as its documentation says); Starlette never starts it (`--on-error stop`), and nobody is told but the log.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

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
    World,
    duration,
    share,
)
from scenarios.apps import app_of
from scenarios.wording import counted
from scenarios.world.access_log import start_access_log
from scenarios.world.logfile import start_logfile
from scenarios.world.smtp import start_smtp
from scenarios.world.together import Together

__all__ = ["SCENARIO"]


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
    app=app_of("action"),
    traffic=traffic,
    world=world,
    check=check,
)
