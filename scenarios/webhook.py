"""Deliver a webhook: answered 202 with a job id at once, delivered after the response, with retries.

Every job is recorded in a database, with its status, attempts and error. That looks durable and is not: the record outlives a
restart, the task does not, and what was `queued` or `running` stays so for ever. The retries make it worse: while the receiver is
gone each task holds its thread, and the backlog that a restart forgets grows.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from scenarios import (
    Plan,
    Request,
    Scenario,
    Settings,
    Task,
    choice,
    count,
    duration,
    share,
)
from scenarios.apps import app_of
from scenarios.world.jobs import job_of_key, old_keys
from scenarios.world.receiver import check_deliveries, start_receiver

__all__ = ["SCENARIO"]


def traffic(seed: int, settings: Settings, folder: Path) -> list[Request]:
    """Orders that somebody wants to hear of; some are sent again, and now and then somebody asks after a job."""
    orders = random.Random(seed)
    events = ["order.created", "order.paid", "order.shipped", "order.cancelled"]
    again = settings.share("again")
    deliveries = [
        json.dumps({"payload": {"event": orders.choice(events), "order_id": orders.randrange(10**6), "id": "{op}"}})
        for _ in range(50)
    ]
    weight = again / (1 - again)
    requests = [
        Request(
            name="POST /webhooks/deliver",
            method="POST",
            path="/webhooks/deliver",
            headers={"content-type": "application/json", "idempotency-key": "{op}"},
            body=body,
            weight=1.0 / len(deliveries),
        )
        for body in deliveries
    ]
    for key in old_keys() if again else ():
        requests.append(
            Request(
                name="POST /webhooks/deliver (again)",
                method="POST",
                path="/webhooks/deliver",
                headers={"content-type": "application/json", "idempotency-key": key},
                body=orders.choice(deliveries),
                weight=weight / len(old_keys()),
                has_tasks=False,
            )
        )
        requests.append(
            Request(
                name="GET /webhooks/jobs",
                method="GET",
                path=f"/webhooks/jobs/{job_of_key(key)}",
                weight=weight / len(old_keys()),
                has_tasks=False,
            )
        )
    return requests


SCENARIO = Scenario(
    name="webhook",
    summary="Deliver a webhook: answered 202 with a job id, delivered after the response with retries, recorded in a database.",
    story=(
        "The receiver goes away at 4 s and retries hold every thread. Then the kill: jobs that were queued or "
        "running stay so for ever."
    ),
    plan=Plan(rate_per_s=60.0, duration_s=14.0, pool=16, faults=("kill@7s",)),
    tasks=(Task("deliver_webhook", effect="events"),),
    settings=(
        duration("delay", "100ms", "how long the receiver takes for an event", high="50s"),
        share("fail", "5%", "deliveries that the receiver answers with 503"),
        share("slow", "1%", "events that are taken in, and answered only after twice the time-out"),
        duration("gone_at", "4s", "the receiver is gone from so long after the first delivery", high="10m"),
        duration("gone_for", "3s", "for so long; 0s: never", high="10m"),
        duration("timeout", "1s", "how long a delivery waits for the receiver", low="10ms", high="60s"),
        count("attempts", "5", "how often an event is tried at most", low=1, high=20),
        duration(
            "backoff", "100ms", "the first pause before another try; doubles each time, and as much again by chance", high="5s"
        ),
        share("again", "4%", "requests that repeat an Idempotency-Key, and as many that ask after a job", high="50%"),
        choice(
            "duplicates", "reject", "what a repeated Idempotency-Key gets: 409, or the job that exists", ("reject", "existing")
        ),
    ),
    app=app_of("webhook"),
    traffic=traffic,
    world=start_receiver,
    check=check_deliveries,
)
