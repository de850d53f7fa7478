"""The webhook scenario: the documented endpoints, retries, idempotency; a receiver that is slow, failing or gone; stuck jobs."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from scenarios.apps.webhook import is_worth_another_try
from scenarios.kinds import TaskKind
from scenarios.webhook import SCENARIO
from scenarios.world.jobs import JobStore, create_store, job_of_key
from server import FastrAPI
from tests.scenarios.serving import Served, figures, in_world, op, serving, until

CALM = {"delay": "1ms", "fail": "0%", "slow": "0%", "gone_for": "0s", "backoff": "5ms"}


def deliver(served: Served, number: int, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {"x-op-id": op(number)} | ({"idempotency-key": key} if key else {})
    return served.client.post("/webhooks/deliver", json={"payload": {"order_id": number}, **body}, headers=headers)


def job_when(served: Served, answer: httpx.Response, *statuses: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = served.client.get(f"/webhooks/jobs/{answer.json()['job_id']}").json()
        return job if job["status"] in statuses else None

    return until(look, f"the job is {' or '.join(statuses)}")


@pytest.mark.parametrize("kind", list(TaskKind))
@pytest.mark.parametrize("api", [FastrAPI, FastAPI], ids=["bundled", "fastapi"])
def test_a_delivery_is_accepted_and_its_job_can_be_followed(tmp_path: Path, kind: TaskKind, api: type[FastAPI]) -> None:
    """202 with a job id; status, attempts, started and finished as documented; one event at the receiver."""
    with serving(SCENARIO, tmp_path, kind=kind, api=api, **CALM) as served:
        answer = deliver(served, 1)
        assert answer.status_code == (200 if kind is TaskKind.INLINE else 202)
        assert answer.json()["status"] == ("succeeded" if kind is TaskKind.INLINE else "queued")
        job = job_when(served, answer, "succeeded")
        assert job["attempts"] == 1
        assert job["error"] is None
        assert job["created_at"] <= job["started_at"] <= job["finished_at"]
        assert served.effects() == [int(op(1), 16)]
        assert served.client.get("/webhooks/jobs/nothing").status_code == 404

    assert served.check().problems == ()


@pytest.mark.parametrize(("duplicates", "status"), [("reject", 409), ("existing", 200)])
@pytest.mark.parametrize("kind", [TaskKind.SYNC, TaskKind.ASYNC])
def test_a_key_that_comes_again_delivers_nothing_again(tmp_path: Path, kind: TaskKind, duplicates: str, status: int) -> None:
    """409, or the job that exists; also for many at once, of which one wins."""
    with serving(SCENARIO, tmp_path, kind=kind, duplicates=duplicates, **CALM) as served:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda number: deliver(served, number, key="order-77"), range(8)))
        first = next(answer for answer in answers if answer.status_code == 202)
        assert sorted(answer.status_code for answer in answers) == sorted([202, *[status] * 7])
        if duplicates == "existing":
            assert {answer.json()["job_id"] for answer in answers} == {first.json()["job_id"]}
        else:
            again = next(answer for answer in answers if answer.status_code == 409)
            assert again.json() == {"detail": "Duplicate Idempotency-Key"}
            assert again.headers["location"] == f"/webhooks/jobs/{first.json()['job_id']}"
        assert deliver(served, 8, key="order-1").status_code == status, "a job of yesterday"
        assert deliver(served, 9).status_code == deliver(served, 10).status_code == 202, "no key is no duplicate"
        job_when(served, first, "succeeded")

    assert len(served.effects()) == 3


@pytest.mark.parametrize("kind", [TaskKind.SYNC, TaskKind.ASYNC])
def test_a_refusal_is_tried_again_and_given_up_after_so_many_attempts(tmp_path: Path, kind: TaskKind) -> None:
    """The job says how often, and why; the task has failed, and says so too."""
    with serving(SCENARIO, tmp_path, kind=kind, **CALM | {"fail": "100%", "attempts": "3"}) as served:
        job = job_when(served, deliver(served, 1), "failed")

    assert job["attempts"] == 3
    assert "503" in job["error"]
    check = served.check()
    assert check.problems == ()
    assert figures(check)["failed"] == 1
    assert figures(check)["refused"] == 3
    assert figures(check)["retries"] == 2
    assert served.effects() == []


@pytest.mark.parametrize("kind", [TaskKind.SYNC, TaskKind.ASYNC, TaskKind.INLINE])
def test_an_answer_that_comes_too_late_makes_a_second_delivery_that_the_receiver_recognises(
    tmp_path: Path, kind: TaskKind
) -> None:
    """The event id is the same in each attempt: one effect, and the sender's time-out was no loss."""
    with serving(SCENARIO, tmp_path, kind=kind, **CALM | {"slow": "100%", "timeout": "150ms"}) as served:
        job = job_when(served, deliver(served, 1), "succeeded")

    assert job["attempts"] == 2
    assert served.effects() == [int(op(1), 16)]
    assert figures(served.check())["repeated"] == 1


def test_a_receiver_that_is_gone_for_a_while_is_reached_when_it_is_back(tmp_path: Path) -> None:
    """Gone means that nobody listens on its port; then it is the same one, on the same port, with its memory."""
    given = CALM | {"gone_at": "100ms", "gone_for": "600ms", "attempts": "20", "backoff": "20ms"}
    with serving(SCENARIO, tmp_path, **given) as served:
        job_when(served, deliver(served, 1), "succeeded")
        receiver = httpx.URL(served.addresses["receiver"])

        def is_refused() -> bool:
            try:
                httpx.get(receiver, trust_env=False)
            except httpx.ConnectError:
                return True
            return False

        until(is_refused, "it is gone")
        job = job_when(served, deliver(served, 2), "succeeded")
        assert job["attempts"] > 1

    assert served.effects() == [int(op(1), 16), int(op(2), 16)]
    assert 0.5 < (figures(served.check())["gone"] or 0) < 10


def test_a_world_that_dies_makes_tasks_that_fail(tmp_path: Path) -> None:
    """Connections are refused from then on: the job says so, and the task has failed."""
    with serving(SCENARIO, tmp_path, **CALM | {"attempts": "2"}) as served:
        job_when(served, deliver(served, 1), "succeeded")
        served.close_world()
        job = job_when(served, deliver(served, 2), "failed")

    assert job["attempts"] == 2
    assert "ConnectError" in job["error"]
    assert served.check().problems == ()


def test_what_cannot_be_delivered_is_refused_before_there_is_a_job(tmp_path: Path) -> None:
    """Above all a target that only the server could reach."""
    good: dict[str, Any] = {"payload": {}}
    wrong: list[tuple[dict[str, Any], dict[str, str]]] = [
        (good | {"target_url": "http://169.254.169.254/latest/meta-data"}, {}),
        (good | {"target_url": "file:///etc/passwd"}, {}),
        (good | {"target_url": "no url"}, {}),
        ({"payload": "text"}, {}),
        ({}, {}),
        (good, {"idempotency-key": "k" * 201}),
        (good, {"x-op-id": "no id"}),
    ]
    with serving(SCENARIO, tmp_path, **CALM) as served:
        for body, headers in wrong:
            answer = served.client.post("/webhooks/deliver", json=body, headers={"x-op-id": op(1), **headers})
            assert answer.status_code == 422, (body, answer.text)
        own = {"target_url": f"{served.addresses['receiver']}/hooks"}
        job_when(served, deliver(served, 2, **own), "succeeded")

    with closing(sqlite3.connect(served.addresses["jobs"])) as store:
        assert store.execute("SELECT count(*) FROM jobs WHERE op != ''").fetchone() == (1,)


def test_jobs_that_nobody_works_on_are_counted_by_what_they_are_stuck_in(tmp_path: Path) -> None:
    """As a killed server leaves them; one of those in `running` has been delivered all the same."""
    with in_world(SCENARIO, tmp_path, **CALM) as served:
        jobs = JobStore(served.addresses["jobs"])
        for number in range(5):
            jobs.create(f"job-{number}", op(number), "http://there", None)
        for number in range(3):
            jobs.attempted(f"job-{number}", 1)
        jobs.succeeded("job-0")
        headers = {"x-op-id": op(1), "webhook-id": "job-1"}
        assert httpx.post(f"{served.addresses['receiver']}/hooks", headers=headers, trust_env=False).status_code == 200
        jobs.close()

    check = served.check()
    assert figures(check) | {"stuck_running": 2, "stuck_queued": 2} == figures(check)
    assert check.figures[0].text == "2 jobs stuck in running (1 of them delivered)"
    assert [problem.split(" (")[0] for problem in check.problems] == ["1 job that succeeded without an event at the receiver"]


def test_the_receiver_refuses_what_is_no_event(tmp_path: Path) -> None:
    """No operation id, no event id: 400 and no effect."""
    with in_world(SCENARIO, tmp_path, **CALM) as served:
        hooks = f"{served.addresses['receiver']}/hooks"
        for headers in (
            {},
            {"x-op-id": op(1)},
            {"webhook-id": "e"},
            {"x-op-id": "g" * 16, "webhook-id": "e"},
            {"x-op-id": "0" * 16},
        ):
            assert httpx.post(hooks, headers=headers, trust_env=False).status_code == 400
        assert served.effects() == []


def test_the_store_takes_writes_of_many_threads(tmp_path: Path) -> None:
    """None is lost, and none fails because another one writes."""
    create_store(tmp_path / "jobs.sqlite3")
    jobs = JobStore(tmp_path / "jobs.sqlite3")
    begin = threading.Barrier(8)

    def work(thread: int) -> None:
        begin.wait()
        for number in range(20):
            job_id = f"{thread}-{number}"
            jobs.create(job_id, op(number), "http://there", job_id)
            jobs.attempted(job_id, 1)
            jobs.succeeded(job_id)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))

    assert all(jobs.get(f"{thread}-{number}").status == "succeeded" for thread in range(8) for number in range(20))  # type: ignore[union-attr]
    yesterday = jobs.get(job_of_key("order-1"))
    assert yesterday is not None
    assert yesterday.created_at < time.time() - 80_000
    jobs.close()


def test_only_what_may_pass_is_tried_again() -> None:
    """A 404 stays a 404."""
    request = httpx.Request("POST", "http://there/hooks")

    def status(code: int) -> httpx.HTTPStatusError:
        return httpx.HTTPStatusError("", request=request, response=httpx.Response(code, request=request))

    again = [status(408), status(425), status(429), status(500), status(503), httpx.ReadTimeout(""), httpx.ConnectError("")]
    never = [status(400), status(404), status(410), status(301), httpx.InvalidURL(""), ValueError("")]
    assert [is_worth_another_try(error) for error in again + never] == [True] * len(again) + [False] * len(never)
