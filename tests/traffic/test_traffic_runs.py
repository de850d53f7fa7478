"""Whole runs of an app of one's own with its own traffic: a real server, real kills."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.rows import Outcome, read_rows
from tests.judged import require_judged
from tests.run.conftest import Done

Afterload = Callable[..., Done]
HERE = Path(__file__).parent
SHOP = ("--cwd", HERE, "--", sys.executable, "-m", "uvicorn", "shop:app", "--port", "{port}")

LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, constant, task
class Reader(HttpUser):
    wait_time = constant(0.02)
    @task
    def read(self):
        self.client.get("/items/7", name="read")
class Writer(FastHttpUser):
    wait_time = constant(0.02)
    @task
    def write(self):
        self.client.post("/trees", json={"name": "oak"})
    def on_start(self):
        raise ValueError("no tree today")
class Other(Writer):
    def on_start(self): self.client.get("https://shop.example.com/")
"""


def test_requests_and_schema_together_and_no_secret_is_left_in_the_run_directory(afterload: Afterload, folder: Path) -> None:
    """The app accepts all of it; the plan that was written asks for the secret again."""
    requests = ("--request", "PUT /users/{op}?q=abc", "--header", "authorization: Bearer hush-hush", "--weight", "4")
    openapi = ("--from-openapi", "auto", "--header", "X-Trace: $TRACE", "--exclude", "POST /upload")
    load = ("--rate", 60, "--for", "1s", "--out", "run", "--json", "-")
    done = afterload("run", *requests, *openapi, *load, *SHOP, env={"TRACE": "s3cr3t-trace"})

    require_judged(done.status, done.json, done.err)
    counts = done.json["requests"]
    assert (counts["model"], counts["attempted"], counts["acked"], counts["rejected"]) == ("open", 60, 60, 0)
    assert "traffic: " in done.err
    assert "of 6 operations, from /openapi.json of the app" in done.err
    assert "to run its plan again, set AFTERLOAD_AUTHORIZATION" in done.err
    account = read_rows(folder / "run" / "requests-0.rows")
    names = {account.names[route] for route in account.rows["route"]}
    assert "PUT /users/{op}?q=abc" in names
    assert len(names) == 7
    for path in (folder / "run").rglob("*"):
        if path.is_file():
            assert b"hush-hush" not in path.read_bytes(), path
            assert b"s3cr3t-trace" not in path.read_bytes(), path
    assert len(json.loads((folder / "run" / "traffic.json").read_text())["templates"]) > 100

    again = afterload("run", "--plan", folder / "run" / "plan.toml", "--out", "again", env={"TRACE": "x"})
    assert again.status == 2
    assert "takes its value from the environment variable AFTERLOAD_AUTHORIZATION, which is not set" in again.err
    assert not (folder / "again").exists()


def test_a_locustfile_loads_an_app_through_a_kill_and_is_told_as_a_closed_model(afterload: Afterload, folder: Path) -> None:
    """Two load processes share its users; the plan can be run again from elsewhere."""
    (folder / "mine.py").write_text(LOCUSTFILE)
    load = ("--locustfile", "mine.py", "--users", 6, "--processes", 2, "--for", "4s", "--fault", "kill@500ms")
    done = afterload("run", *load, "--out", "run", "--json", "-", *SHOP)

    require_judged(done.status, done.json, done.err)
    summary = done.json
    assert summary["requests"]["model"] == "closed"
    assert summary["requests"]["acked"] > 10
    assert summary["requests"]["lag_ms"]["max"] == 0
    (closed,) = [finding for finding in summary["findings"] if finding["id"] == "closed-model"]
    assert (closed["severity"], closed["evidence"]) == ("info", {"users": 6})
    told = {finding["id"]: finding for finding in summary["findings"]}
    assert told["user-raised"]["severity"] == "warning"
    assert told["user-raised"]["evidence"] == {"where": "mine.py, line 14, in on_start: ValueError: no tree today", "times": 2}
    notes = " ".join(finding["text"] for finding in summary["findings"] if finding["id"] == "traffic-note")
    assert "requests to shop.example.com:443 were not sent" in notes
    assert "users left before the end" in notes
    assert summary["plan"]["locustfile"] == str(folder / "mine.py")
    accounts = [read_rows(folder / "run" / f"requests-{process}.rows") for process in range(2)]
    rows = np.concatenate([account.rows for account in accounts])
    assert {account.names[route] for account in accounts for route in account.rows["route"]} == {"GET read", "POST /trees"}
    assert len(set(rows["op"].tolist())) == len(rows) == summary["requests"]["attempted"]
    assert int(Outcome.OPEN) not in rows["outcome"].tolist()
    # What was refused while the server was down is some, and not a storm: each user pauses.
    assert summary["requests"]["rejected"] < 6 * 4.5 / 0.05


def test_a_locustfile_with_a_mistake_is_told_before_anything_is_started(afterload: Afterload, folder: Path) -> None:
    (folder / "mine.py").write_text("from locust import HttpUser\nclass A(HttpUser):\n    host = nowhere\n")
    done = afterload("run", "--locustfile", "mine.py", "--users", 2, "--out", "run", *SHOP)

    assert done.status == 2
    assert "error: locustfile mine.py, line 3, in A: NameError: name 'nowhere' is not defined" in done.err
    assert not (folder / "run").exists()
