"""Commands of one's own that cannot be measured, or only in part: told clearly, and nothing is left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.commands.main import main
from tests.judged import require_judged
from tests.run.conftest import APPS, ROOT, Done

Afterload = Callable[..., Done]
BARE = ("python", APPS / "bare.py")
SHORT = ("--request", "GET /", "--rate", 40, "--for", "1s", "--out", "run", "--json", "-")


def said(done: Done) -> str:
    return " ".join(done.err.split())


def finding(summary: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in summary["findings"] if each["id"] == name]
    return found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("--request", "GET /", "--", "uvicorn", "main:app"), "does not say where its port goes: write {port} there"),
        (("--request", "GET /", "--", "uvicornx", "--port", "{port}"), "the command 'uvicornx' was not found in PATH"),
        (("--request", "GET /", "--", "./serve", "{port}"), "the command './serve' was not found in"),
        (("--request", "GET /", "--"), "there is no command after --"),
        (("--", "uvicorn", "main:app", "--port", "{port}"), "nothing says what to send"),
        (("email", "--", "uvicorn", "main:app", "--port", "{port}"), "write -- before a command"),
        (("uvicorn", "main:app"), "write -- before a command: afterload run --request 'POST /orders' -- uvicorn"),
        (("uvicorn", "main:app", "--port", "{port}"), "{port} belongs to the command of your app; write -- before it"),
        (("--request", "GET /", "--cwd", "nowhere", "--", "true", "{port}"), "there is no such directory"),
        (("--request", "GET /", "--ready", "health", "--", "true", "{port}"), "ready is 'health'"),
        (("--request", "GET /", "--workers", "2", "--", "true", "{port}"), "workers is 2, which is for scenarios alone"),
        (("--request", "GET /", "--order", "parallel", "--", "true", "{port}"), "only the bundled server knows"),
        (("email", "--engine", "uvicorn", "--on-error", "stop"), "on_error is 'stop', which only the bundled server knows"),
        (("email", "--loop", "uvloop"), "loop is 'uvloop', which only the engines uvicorn and granian take"),
        (("email", "--ready", "/health"), "ready is '/health', which is for an app of your own alone"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], folder: Path, given: tuple[str, ...], expected: str
) -> None:
    """Exit status 2; nothing is started and no run directory made."""
    with pytest.raises(SystemExit) as ended:
        main(["run", *given], prog_name="afterload")

    out, err = capsys.readouterr()
    assert expected in " ".join(err.split())
    assert (ended.value.code, out) == (2, "")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "given", "expected"),
    [
        ("exits", (), ["exited with status 1 before it was ready", "bare: exits", "no database today", "full log:"]),
        (
            "sleeps",
            ("--ready-within", "500ms"),
            ["not ready after 0.5 s: nothing listened on port", "bare: sleeps", "--ready-within"],
        ),
        (
            "serves",
            ("--ready-within", "500ms", "--ready", "/nothing"),
            ["not ready after 0.5 s: GET /nothing was answered with status 404", "bare: serves"],
        ),
    ],
)
def test_an_app_that_never_gets_ready_is_told_with_what_it_printed(
    afterload: Afterload, mode: str, given: tuple[str, ...], expected: list[str]
) -> None:
    """Also what it had printed into a buffer: it is asked to end before it is killed."""
    done = afterload("run", *SHORT, *given, "--", *BARE, mode, "{port}")

    assert done.status == 1
    for part in expected:
        assert part in said(done)
    assert "Traceback (most recent call last)" not in done.err.partition("last lines")[0]


def test_an_app_that_ignores_sigterm_is_killed_and_told(afterload: Afterload) -> None:
    """At the end of the time that it is given; that is the server's doing, and the figures stand."""
    done = afterload("run", *SHORT, "--drain", "300ms", "--fault", "term@500ms", "--", *BARE, "stubborn", "{port}")

    require_judged(done.status, done.json, done.err)
    first, second = [each for each in done.json["findings"] if each["id"] == "signal-ignored"]
    assert (first["evidence"]["boot"], second["evidence"]["boot"]) == (1, 2)
    assert "ignored SIGTERM at 0.5 s: it listened until it was killed" in first["text"]
    assert [boot["exit_status"] for boot in done.json["boots"]] == [-9, -9]
    assert all(boot["port_free"] for boot in done.json["boots"])


def test_children_of_a_parent_that_was_killed_are_told_and_ended(afterload: Afterload) -> None:
    """A parent that hands on no signal: SIGKILL and SIGTERM end it alone, and its child goes on serving."""
    done = afterload("run", *SHORT, "--fault", "parent@500ms", "--", *BARE, "parent", "{port}")

    require_judged(done.status, done.json, done.err)
    first, second = [each for each in done.json["findings"] if each["id"] == "orphans"]
    assert "SIGKILL to process" in first["text"]
    assert "went on serving the port" in first["text"]
    assert first["evidence"]["served"] is True
    assert "SIGTERM to process" in second["text"]
    assert [len(boot["orphans"]) for boot in done.json["boots"]] == [1, 1]
    for boot in done.json["boots"]:
        assert boot["port_free"]
        assert not Path(f"/proc/{boot['orphans'][0].split()[0]}").exists()


def test_without_starlette_there_are_figures_of_the_client_and_no_guess(afterload: Afterload) -> None:
    """What a kill lost nobody saw: an interval from nothing to everything, and not 0."""
    done = afterload("run", *SHORT, "--fault", "kill@500ms", "--", *BARE, "serves", "{port}")

    require_judged(done.status, done.json, done.err)
    summary = done.json
    requests, tasks = summary["requests"], summary["tasks"]
    assert requests["acked"] > 0
    assert requests["response_ms"]["p50"] > 0
    assert not tasks["server_is_witness"]
    assert (tasks["broken_promises_low"], tasks["broken_promises"]) == (0, requests["acked"])
    assert (tasks["lost_low"], tasks["lost"]) == (0, requests["acked"] + requests["indeterminate"])
    assert "No process of the server was seen from inside" in finding(summary, "server-unseen")["text"]
    assert "unknown" in done.err
    assert "No promise was broken" not in done.err


def test_the_environment_and_the_directory_are_the_users_own(afterload: Afterload, folder: Path) -> None:
    """Only PYTHONPATH has the probe in front, and what is new begins with AFTERLOAD_."""
    (folder / "app").mkdir()
    code = "import json, os; json.dump([dict(os.environ), os.getcwd()], open('seen.json', 'w'))"
    given = {"PYTHONPATH": f"/somewhere:{ROOT}", "MINE": "as it was", "AFTERLOAD_TEST": "1"}

    done = afterload("run", *SHORT, "--cwd", "app", "--", "python", "-c", code, "{port}", env=given)

    assert done.status == 1, "it ends at once"
    seen, where = json.loads((folder / "app" / "seen.json").read_text())
    probe, _, rest = seen["PYTHONPATH"].partition(":")
    assert probe.endswith("/harness/probe")
    assert rest == given["PYTHONPATH"]
    assert seen["MINE"] == "as it was"
    assert where == str(folder / "app")
    before = {**os.environ, **given}
    changed = {name for name in {*seen, *before} if seen.get(name) != before.get(name)} - {"PYTHONPATH"}
    assert all(name.startswith("AFTERLOAD_") for name in changed), changed
