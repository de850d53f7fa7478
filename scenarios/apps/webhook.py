"""Accepts an event, and delivers it to a receiver after the response, with retries and the job's state in SQLite."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import httpx
import stamina
import stamina.instrumentation
from fastapi import BackgroundTasks, FastAPI, Header, HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, HttpUrl

from scenarios import Settings, TaskKind, endpoint_of, task_of
from scenarios.world.jobs import Job, JobStore

__all__ = ["app"]

_LONGEST_BACKOFF_S = 5.0

OpId = Annotated[str, Header(alias="x-op-id", pattern=r"^[0-9a-f]{16}$")]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200)]


class WebhookRequest(BaseModel):
    """What is to be delivered, and where."""

    target_url: HttpUrl | None = None  # None: the receiver of this world
    payload: dict[str, Any]


class Accepted(BaseModel):
    """The answer to a request for delivery."""

    job_id: str
    status: Literal["queued", "running", "succeeded", "failed"]


def app(api: type[FastAPI], kind: TaskKind, world: Mapping[str, str], settings: Settings) -> FastAPI:
    """The app under test, on whichever class it is given."""
    receiver, jobs = world["receiver"], JobStore(world["jobs"])
    # Connections are waited for without limit: with many tasks at once that is our own queue, and no fault of the receiver.
    timeout = httpx.Timeout(settings.seconds("timeout"), pool=None)
    client = httpx.Client(timeout=timeout, trust_env=False)
    async_client = httpx.AsyncClient(timeout=timeout, trust_env=False)
    # Each job says how often it was tried; the log would say nothing more.
    stamina.instrumentation.set_on_retry_hooks([])

    def attempts() -> Any:
        backoff_s = settings.seconds("backoff")
        return stamina.retry_context(
            on=is_worth_another_try,
            attempts=settings.count("attempts"),
            timeout=None,
            wait_initial=backoff_s,
            wait_max=_LONGEST_BACKOFF_S,
            wait_jitter=backoff_s,
        )

    def deliver_webhook(op: str, job_id: str, url: str, payload: dict[str, Any]) -> None:
        try:
            for attempt in attempts():
                with attempt:
                    jobs.attempted(job_id, attempt.num)
                    client.post(url, json=payload, headers=event_headers(op, job_id)).raise_for_status()
        except Exception as error:
            jobs.failed(job_id, repr(error))
            raise
        jobs.succeeded(job_id)

    async def deliver_webhook_async(op: str, job_id: str, url: str, payload: dict[str, Any]) -> None:
        try:
            async for attempt in attempts():
                with attempt:
                    await run_in_threadpool(jobs.attempted, job_id, attempt.num)
                    answer = await async_client.post(url, json=payload, headers=event_headers(op, job_id))
                    answer.raise_for_status()
        except Exception as error:
            await run_in_threadpool(jobs.failed, job_id, repr(error))
            raise
        await run_in_threadpool(jobs.succeeded, job_id)

    deliver = task_of(kind, deliver_webhook, deliver_webhook_async)

    def record(request: WebhookRequest, op: str, key: str | None) -> tuple[Job, str, bool]:
        url = target(request, receiver)
        job, is_new = jobs.create(str(uuid.uuid4()), op, url, key)
        if not is_new and settings.text("duplicates") == "reject":
            raise HTTPException(409, "Duplicate Idempotency-Key", headers={"location": f"/webhooks/jobs/{job.job_id}"})
        return job, url, is_new

    def schedule(
        request: WebhookRequest,
        background_tasks: BackgroundTasks,
        response: Response,
        op: OpId,
        idempotency_key: IdempotencyKey = None,
    ) -> Accepted:
        job, url, is_new = record(request, op, idempotency_key)
        if is_new:
            background_tasks.add_task(deliver, op, job.job_id, url, request.payload)
        else:
            response.status_code = 200
        return Accepted(job_id=job.job_id, status=job.status)

    async def schedule_async(
        request: WebhookRequest,
        background_tasks: BackgroundTasks,
        response: Response,
        op: OpId,
        idempotency_key: IdempotencyKey = None,
    ) -> Accepted:
        job, url, is_new = await run_in_threadpool(record, request, op, idempotency_key)
        if is_new:
            background_tasks.add_task(deliver, op, job.job_id, url, request.payload)
        else:
            response.status_code = 200
        return Accepted(job_id=job.job_id, status=job.status)

    def deliver_inline(request: WebhookRequest, op: OpId, idempotency_key: IdempotencyKey = None) -> Accepted:
        job, url, is_new = record(request, op, idempotency_key)
        if is_new:
            try:
                deliver_webhook(op, job.job_id, url, request.payload)
            except httpx.HTTPError as error:
                raise HTTPException(502, f"not delivered: {error!r}") from None
        return Accepted(job_id=job.job_id, status="succeeded" if is_new else job.status)

    def get_job(job_id: str) -> Job:
        if job := jobs.get(job_id):
            return job
        raise HTTPException(404, "Job not found")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        client.close()  # noqa: ASYNC212  # it closes sockets, and waits for nothing
        await async_client.aclose()
        jobs.close()

    webhook_app = api(title="webhook", lifespan=lifespan)
    endpoint = schedule_async if kind is TaskKind.ASYNC else endpoint_of(kind, schedule, deliver_inline)
    webhook_app.post("/webhooks/deliver", status_code=200 if kind is TaskKind.INLINE else 202)(endpoint)
    webhook_app.get("/webhooks/jobs/{job_id}")(get_job)
    return webhook_app


def target(request: WebhookRequest, receiver: str) -> str:
    """Where to deliver. Only to the receiver: who delivers anywhere can be used by anybody to reach what only he can reach."""
    if request.target_url is None:
        return f"{receiver}/hooks"
    allowed = httpx.URL(receiver)
    wanted = httpx.URL(str(request.target_url))
    if (wanted.scheme, wanted.host, wanted.port) != (allowed.scheme, allowed.host, allowed.port):
        raise HTTPException(422, f"target_url must be on {receiver}, where this app delivers to")
    return str(wanted)


def event_headers(op: str, job_id: str) -> dict[str, str]:
    """The event's id is the same in every attempt, so the receiver can tell a repetition from a new event."""
    return {"x-op-id": op, "webhook-id": job_id}


def is_worth_another_try(error: Exception) -> bool:
    """Time-outs, broken connections and what the receiver says is temporary; not what it refuses for good."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in {408, 425, 429} or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
