"""What apps of others have taught (docs/field-notes.md), each with an app of our own that does the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.run.conftest import APPS, ROOT, Done

Afterload = Callable[..., Done]

COMMAND = ("--", sys.executable, "-m", "uvicorn", "upset:app", "--port", "{port}", "--no-access-log")
LOAD = ("--rate", 40, "--for", "2s", "--out", "run", "--json", "-")
ENV = {"PYTHONPATH": f"{APPS}{os.pathsep}{ROOT}"}


def test_refusals_and_failed_tasks_are_told_by_name_and_a_start_blocks_nobody(afterload: Afterload, folder: Path) -> None:
    """Which status went to which request, and which function raised. The app blocks its loop at each start, also after a kill."""
    (folder / "form.txt").write_bytes(b"--b\r\n\r\nhello\n--b--\r\n")
    requests = ("--request", "POST /upload", "--body", "@form.txt", "--request", "POST /raises", "--request", "POST /nothing")
    done = afterload("run", *requests, "--fault", "kill@700ms", *LOAD, *COMMAND, env=ENV)

    assert done.status in (0, 4), done.err
    findings = {each["id"]: each for each in done.json["findings"]}
    assert "404 Not Found to POST /nothing" in findings["refusals"]["text"]
    answers = findings["refusals"]["evidence"]["answers"]
    # The upload is accepted: its CRLFs went out as they are in the file.
    assert [(each["status"], each["request"]) for each in answers] == [(404, "POST /nothing")]
    failed = done.json["tasks"]["failed"]
    assert failed > 0
    assert f"raises ({failed} of {failed})" in findings["tasks-failed"]["text"]
    assert "loop-blocked" not in findings


def test_an_app_without_a_background_task_is_not_said_to_have_done_its_work(afterload: Afterload, folder: Path) -> None:
    """Nothing was promised, and the load ends before the server is back: it did come back, and the text says when."""
    load = ("--rate", 20, "--for", "1s", "--out", "run")
    done = afterload("run", "--request", "GET /", "--fault", "kill@900ms", *load, *COMMAND, env=ENV)

    assert done.status in (0, 4), done.err
    said = " ".join(done.out.split())
    assert "acknowledged requests and no background task" in said
    assert "No background task was seen" in said
    assert "later, and no request was answered after it" in said
