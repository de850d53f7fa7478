"""The other examples of the documentation: what is advised, what is warned of, and the webhook, here and on plain FastAPI."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import Serve
from .documented import (
    EXPLICIT,
    FRAGILE,
    GLOBAL_STATE,
    QUICK_AND_LONG,
    SAFE,
    SAFER,
    SAFER_TASK,
    WEBHOOK,
    WEBHOOK_REQUESTS,
)
from .helpers import PATIENCE_S, Answer, ask, until
from .plain import PlainServer
from .test_documented_examples import BASIC

JSON = [("content-type", "application/json")]


@dataclass(frozen=True)
class Host:
    """An example that runs somewhere."""

    port: int
    output: Any  # all that was printed so far

    def ask(self, method: str, target: str, body: bytes | None = None, headers: list[tuple[str, str]] | None = None) -> Answer:
        return ask(self.port, method, target, body, headers)

    def lines(self, *beginnings: str) -> list[str]:
        """The lines that the example printed, without those of the server."""
        return [line for line in self.output().splitlines() if line.startswith(beginnings)]


@pytest.fixture(params=["plain", "straight or general", "general"])
def host(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Iterator[Any]:
    """Runs a source that imports from fastapi: on plain FastAPI as it is, on the bundled server with that import changed."""
    plain: list[PlainServer] = []

    def start(source: str) -> Host:
        if request.param == "plain":
            plain.append(PlainServer(tmp_path / "plain", source))
            return Host(plain[-1].port, plain[-1].output)
        changed = source.replace("from fastapi import", "from server import")
        assert changed != source
        server = serve(changed, *(("--way", "general") if request.param == "general" else ()))
        return Host(server.port, server.stdout)

    yield start
    for server in plain:
        server.end()


def test_the_main_block_of_the_basic_example_serves_as_a_script(tmp_path: Path):
    """`python basic.py`, with another port in it, ends with status 0 when it is asked to stop."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    source = BASIC.replace("from fastrapi import", "from server import")
    script = tmp_path / "basic.py"
    script.write_text(source.replace('app.serve("127.0.0.1", 8080)', f'app.serve("127.0.0.1", {port})'), encoding="utf-8")
    command = [sys.executable, "-u", str(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            while f"http://127.0.0.1:{port} " not in (line := process.stderr.readline()):
                assert line, "it ended before it served"
            assert ask(port, "POST", "/send?email=ann@example.org").status == 200
            process.terminate()
            out, _ = process.communicate(timeout=2 * PATIENCE_S)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "Sending email to ann@example.org: Welcome to our service!\n")


APP = """
from fastrapi import FastrAPI, BackgroundTasks
import logging, threading
app = FastrAPI()
logger = logging.getLogger(__name__)
"""


def test_quick_long_and_guarded_operations_are_tasks_as_they_stand(serve: Serve):
    """The long one too: its documentation says that it should not be one, and nothing here prevents it."""
    route = """
@app.post("/all")
def all_of_them(background_tasks: BackgroundTasks):
    background_tasks.add_task(send_email, "a@example.org")
    background_tasks.add_task(process_video, video_path="a.mp4")
    background_tasks.add_task(safe_background_task, "data")
"""
    server = serve((APP + QUICK_AND_LONG + SAFE + route).replace("from fastrapi import", "from server import"))
    assert server.ask("POST", "/all").status == 200
    tasks = server.wait_ended(3)
    assert [(task.name, bool(task.finished)) for task in tasks] == [
        ("send_email", True),
        ("process_video", True),
        ("safe_background_task", True),
    ]


@pytest.mark.parametrize(("example", "seen"), [(GLOBAL_STATE, ["2", "2"]), (EXPLICIT, ["1", "2"])], ids=["bad", "good"])
def test_a_task_that_relies_on_global_state_sees_that_of_a_later_request(serve: Serve, example: str, seen: list[str]):
    """One that was handed its data does not."""
    route = """
gate = threading.Event()

def process(user):
    print(user, flush=True)

@app.post("/login/{user_id}")
def login(user_id: int, background_tasks: BackgroundTasks):
    global current_user
    current_user = user_id
    background_tasks.add_task(gate.wait)
    background_tasks.add_task(background_task, *([user_id] if background_task.__code__.co_argcount else []))

@app.post("/open")
def open_gate():
    gate.set()
"""
    server = serve((APP + example + route).replace("from fastrapi import", "from server import"), "--pool", "1")
    for target in ("/login/1", "/login/2", "/open"):
        assert server.ask("POST", target).status == 200
    server.wait_ended(4)
    assert server.stdout().split() == seen


SESSIONS = """
import asyncio, itertools
from fastapi import BackgroundTasks, Depends, FastAPI

app = FastAPI()
numbers = itertools.count(1)

class UserRecord:
    def __init__(self, email):
        self.email, self.id = email, None

class AsyncSession:
    def __init__(self):
        self.number, self.is_open, self.new = next(numbers), True, []
        print(f"session {self.number} opened", flush=True)
    def add(self, record):
        self.new.append(record)
    async def commit(self):
        for record in self.new:
            record.id = 1
    async def get(self, kind, key):
        if not self.is_open:
            raise RuntimeError("this session is closed")
        return kind("neo@example.com")
    async def __aenter__(self):
        return self
    async def __aexit__(self, *raised):
        self.is_open = False
        print(f"session {self.number} closed", flush=True)

AsyncSessionFactory = AsyncSession

async def get_session():
    async with AsyncSessionFactory() as session:
        yield session
"""

FRAGILE_TASK = """
async def send_welcome_email(session, user_id):
    print("task begins", flush=True)
    await asyncio.sleep(0.05)
    try:
        user = await session.get(UserRecord, user_id)
        print(f"task mails {user.email}", flush=True)
    except RuntimeError as error:
        print(f"task cannot: {error}", flush=True)
"""

ROUTE = '\napp.post("/users")(create_user)\n'


def test_the_fragile_session_is_held_until_its_task_has_ended(host: Any):
    """What is warned of: the request's session, and a connection of the pool with it, is not given back with the answer."""
    running = host(SESSIONS + FRAGILE_TASK + FRAGILE + ROUTE)
    assert running.ask("POST", "/users").json() == {"status": "ok"}
    seen = until(lambda: (lines := running.lines("session", "task")) and "closed" in lines[-1] and lines, "the session is closed")
    assert seen == ["session 1 opened", "task begins", "task mails neo@example.com", "session 1 closed"]


def test_the_fragile_session_is_closed_before_its_task_where_dependencies_end_early(host: Any):
    """The same example over a dependency that ends with its endpoint: the task finds its session closed."""
    early = FRAGILE.replace("Depends(get_session)", 'Depends(get_session, scope="function")')
    running = host(SESSIONS + FRAGILE_TASK + early + ROUTE)
    assert running.ask("POST", "/users").json() == {"status": "ok"}
    seen = until(lambda: (lines := running.lines("session", "task")) and "cannot" in lines[-1] and lines, "the task has failed")
    assert seen == ["session 1 opened", "session 1 closed", "task begins", "task cannot: this session is closed"]


def test_the_safer_shape_opens_a_session_of_its_own(host: Any):
    """It gets an identifier, and its session lives as long as it does."""
    running = host(SESSIONS + SAFER + SAFER_TASK + ROUTE)
    assert running.ask("POST", "/users").json() == {"status": "ok"}
    until(lambda: len(running.lines("session")) == 2, "the session is closed")
    assert running.lines("session") == ["session 1 opened", "session 1 closed"]


def test_the_webhook_answers_at_once_and_its_job_goes_from_queued_to_succeeded(host: Any):
    """Accepted with 202; then running; after two seconds, succeeded, with all that the example writes down."""
    running = host(WEBHOOK)
    body = b'{"target_url": "https://example.com/webhook", "payload": {"order_id": 123}}'
    begun = time.time()
    accepted = running.ask("POST", "/webhooks/deliver", body, JSON)
    assert (accepted.status, accepted.json()["status"]) == (202, "queued")
    target = f"/webhooks/jobs/{accepted.json()['job_id']}"

    def job(status: str) -> dict[str, Any]:
        return until(lambda: (found := running.ask("GET", target).json())["status"] == status and found, f"the job is {status}")

    is_running = job("running")
    assert set(is_running) == {"job_id", "status", "created_at", "target_url", "started_at"}
    done = job("succeeded")
    assert done == {**is_running, "status": "succeeded", "finished_at": done["finished_at"], "result": done["result"]}
    assert done["result"] == {"delivered_to": "https://example.com/webhook"}
    assert begun <= done["created_at"] <= done["started_at"] <= done["finished_at"] - 1.9


def test_the_webhook_refuses_what_it_should(host: Any):
    """404 for an unknown job, 422 for a body that is none, 409 for a key that was used.

    `convert_underscores=False` makes the header's name `idempotency_key`: the `Idempotency-Key` that the example's own requests
    carry is never read, so that it protects nobody.
    """
    running = host(WEBHOOK)
    unknown = running.ask("GET", "/webhooks/jobs/nobody")
    assert (unknown.status, unknown.json()) == (404, {"detail": "Job not found"})
    refused = running.ask("POST", "/webhooks/deliver", b'{"target_url": "nowhere"}', JSON)
    assert (refused.status, [error["loc"] for error in refused.json()["detail"]]) == (
        422,
        [["body", "target_url"], ["body", "payload"]],
    )
    body = b'{"target_url": "https://example.com", "payload": {}}'
    statuses = {}
    for name in ("idempotency_key", "Idempotency-Key"):
        answers = [running.ask("POST", "/webhooks/deliver", body, [*JSON, (name, "k1")]) for _ in range(2)]
        statuses[name] = [answer.status for answer in answers]
        if name == "idempotency_key":
            assert answers[1].json() == {"detail": "Duplicate Idempotency-Key"}
    assert statuses == {"idempotency_key": [202, 409], "Idempotency-Key": [202, 202]}


def test_the_requests_of_the_webhook_work_as_they_stand(host: Any):
    """The commands for curl, with nothing changed but the port and the job's id."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    running = host(WEBHOOK)
    schedule, look = (
        part.replace("\\\n", " ").replace(":8000/", f":{running.port}/")
        for part in WEBHOOK_REQUESTS.strip().split("\n\n")
    )  # fmt: skip

    def curl(text: str) -> Any:
        command = shlex.split(text.partition("\n")[2])
        done = subprocess.run([*command, "-sS"], capture_output=True, timeout=PATIENCE_S, check=True, stdin=subprocess.DEVNULL)
        return json.loads(done.stdout)

    accepted = curl(schedule)
    assert accepted == {"job_id": accepted["job_id"], "status": "queued"}
    job = curl(look.replace("<job_id>", accepted["job_id"]))
    assert (job["job_id"], job["status"] in ("queued", "running"), job["target_url"]) == (
        accepted["job_id"],
        True,
        "https://example.com/webhook",
    )
