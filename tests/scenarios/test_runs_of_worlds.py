"""Files, cache and webhook in every kind of task, with a kill in the middle, through the command line; and a Redis that dies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.rows import Gauge, LivePage
from harness.rows.layout import MAGIC
from tests.scenarios.conftest import Afterload, broken_invariants, figure
from tests.scenarios.redis_server import PASSWORD, running_redis
from tests.scenarios.serving import until

Together = Callable[..., dict[str, dict[str, Any]]]

SMALL = {
    "files": ("--rate", 25, "--set", "size=40KB", "--set", "limit=100KB", "--set", "bad=20%"),
    "cache": ("--rate", 60, "--set", "query=60ms", "--set", "unknown=5%"),
    "webhook": ("--rate", 40, "--set", "delay=60ms", "--set", "gone_at=300ms", "--set", "gone_for=400ms", "--set", "again=10%",
                "--set", "attempts=2", "--set", "backoff=20ms", "--set", "timeout=200ms", "--set", "slow=5%"),
}  # fmt: skip
KINDS = ("sync", "async", "blocking", "inline")


def kinds_on(engine: str, name: str) -> tuple[str, ...]:
    """All on the bundled server; on each other one a kind of its own, or all with AFTERLOAD_FULL=1."""
    if engine == "rust" or os.environ.get("AFTERLOAD_FULL"):
        return KINDS
    return (KINDS[(list(SMALL).index(name) + ("uvicorn", "granian").index(engine)) % len(KINDS)],)


@pytest.mark.parametrize("engine", ["rust", "uvicorn", "granian"])
@pytest.mark.parametrize("name", SMALL)
def test_every_kind_survives_a_kill_with_every_invariant_and_the_world_agrees(together: Together, name: str, engine: str) -> None:
    """What is left on the disk, in the cache and in the record of jobs fits with what the rows say was lost."""
    given = ("--engine", engine, "--pool", 4, "--for", "2s", "--warm-up", "0ms", "--fault", "kill@1s", "--request-timeout", "5s")
    runs = together(name, *SMALL[name], *given, each={kind: ("--tasks", kind) for kind in kinds_on(engine, name)})

    for kind, summary in runs.items():
        tasks, requests = summary["tasks"], summary["requests"]
        assert broken_invariants(summary) == [], kind
        assert summary["scenario"]["problems"] == [], kind
        assert [boot["signal"] for boot in summary["boots"]] == ["SIGKILL", "SIGTERM"], kind
        assert requests["acked"] > 0, kind
        assert tasks["effects"] > 0, kind
        # What is refused is a part of the plan; only where the work is done before answering do its failures reach the client.
        assert kind == "inline" or "refusals" not in {found["id"] for found in summary["findings"]}, kind
        assert (tasks["accepted"] == 0) == (kind == "inline"), kind
        if kind == "inline":
            continue
        if name == "files":
            # The server may have been killed after it had stored an upload, and before it had accepted the task.
            assert tasks["lost"] <= figure(summary, "unprocessed") <= tasks["lost"] + requests["indeterminate"], kind
            assert figure(summary, "half_written") <= tasks["interrupted"], kind
            assert figure(summary, "failed") == tasks["failed"], kind
            assert figure(summary, "verified") == tasks["effects"], kind
        if name == "cache":
            assert figure(summary, "out_of_date") <= tasks["lost"], kind
            assert tasks["failed"] == 0, kind
        if name == "webhook":
            # A task that had not got to its record yet is queued there; a request without an answer may have left a record alone.
            stuck = figure(summary, "stuck_running") + figure(summary, "stuck_queued")
            left = tasks["interrupted"] + tasks["never_started"]
            assert left - tasks["interrupted"] <= stuck <= left + requests["indeterminate"], kind
            assert figure(summary, "stuck_running") <= tasks["interrupted"], kind
            assert figure(summary, "gone") > 0, kind


def test_a_redis_that_dies_in_the_middle_of_a_run_makes_it_inconclusive(
    afterload: Afterload, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks fail, and whether their effects are complete nobody can say."""
    monkeypatch.setenv("REDISCLI_AUTH", PASSWORD)
    own = tmp_path / "redis"
    own.mkdir()
    with running_redis(own) as server:

        def end_it_under_load() -> None:
            page = folder / "run" / "requests-0.rows"
            until(lambda: page.exists() and page.read_bytes()[:8] == MAGIC, "the load process is there")
            load = LivePage(page)
            until(lambda: load.gauge(Gauge.STARTED) > 20, "there is load")
            load.close()
            server.process.kill()

        ending = threading.Thread(target=end_it_under_load)
        ending.start()
        given = ("--rate", 40, "--for", "2s", "--set", "query=1ms", "--fault", "none", "--warm-up", "0ms", "--redis", server.url)
        done = afterload("run", "cache", *given, "--out", "run", "--json", "-")
        ending.join()

    assert done.status == 4, done.err
    assert done.json["tasks"]["failed"] > 0
    assert any("the cache could not be watched to the end" in problem for problem in done.json["scenario"]["problems"])
    kept = [path for path in (folder / "run").rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == [], "a password is never written to a run directory"
