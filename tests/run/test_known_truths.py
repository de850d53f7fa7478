"""What is known of real servers must come out of a run: each truth was read in their source or measured by hand before."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.evidence import judge_run
from harness.rows import RowFile, RowFileError, read_rows
from harness.rundir import RunDir
from tests.kills import TOLERATED
from tests.run.conftest import APPS, ROOT, Done, wait_until

Own = Callable[..., dict[str, Any]]

UVICORN = ("uvicorn", "orders:app", "--port", "{port}", "--no-access-log")
GRANIAN = ("granian", "--interface", "asgi", "--port", "{port}", f"{APPS / 'orders.py'}:app")
POOL = 4


@pytest.fixture
def own(afterload: Callable[..., Done]) -> Own:
    """A run of the app in apps/orders.py: its summary. The invariants hold, whatever the server did."""

    def call(*given: object, command: tuple[object, ...] = UVICORN) -> dict[str, Any]:
        path = {"PYTHONPATH": f"{APPS}{os.pathsep}{ROOT}"}
        return summary_of(afterload("run", *given, "--seed", 1, "--out", "run", "--json", "-", "--", *command, env=path))

    return call


def summary_of(done: Done) -> dict[str, Any]:
    """With every invariant, and no reason to doubt it but a busy machine."""
    assert done.status in (0, 4), done.err
    assert [each for each in done.json["invariants"] if not each["holds"]] == []
    assert [reason for reason in done.json["reasons"] if not TOLERATED.match(reason)] == []
    return done.json


def files(boot: int) -> list[RowFile]:
    return [read_rows(path) for path in sorted(Path("run").glob(f"tasks-{boot}-*.rows"))]


def begun(boot: int) -> list[RowFile]:
    """Those of which there is already something to read: the server goes on writing."""
    found = []
    for path in sorted(Path("run").glob(f"tasks-{boot}-*.rows")):
        with contextlib.suppress(RowFileError):
            found.append(read_rows(path))
    return found


def finding(summary: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in summary["findings"] if each["id"] == name]
    return found


def signalled_ns(boot: int) -> int:
    events = [json.loads(line) for line in Path("run/events.jsonl").read_text().splitlines()]
    return next(event["signalled_ns"] for event in events if event["event"] == "boot_signalled" and event["boot"] == boot)


def left_at(boot: int, at_ns: int) -> int:
    """Tasks of a boot that had been accepted at that moment and had not ended."""
    rows = [row for file in files(boot) for row in file.rows]
    ended = [max(int(row["finished_ns"]), int(row["failed_ns"])) for row in rows]
    return sum(int(row["accepted_ns"]) <= at_ns and not 0 < end <= at_ns for row, end in zip(rows, ended, strict=True))


def test_uvicorn_loses_all_that_it_has_at_sigkill_and_nothing_at_sigterm(own: Own) -> None:
    """SIGKILL: exactly what was queued and running. SIGTERM: it works all of it off first, in ceil(n / threads) turns."""
    ms = 200
    faults = ("--fault", "kill@700ms", "--fault", "term@2s")
    summary = own("--request", f"POST /sync?ms={ms}", "--rate", 40, "--for", "2800ms", "--pool", POOL, *faults)

    tasks, (killed, drained, last) = summary["tasks"], summary["boots"]
    assert tasks["server_is_witness"]
    assert killed["predicted_lost"] == killed["queued_at_death"] + killed["running_at_death"]
    assert 0 < killed["running_at_death"] <= POOL
    assert killed["queued_at_death"] > 0
    assert tasks["never_started"] + tasks["interrupted"] == killed["predicted_lost"]
    # A `def` task that was running may have had its effect: nobody but the task knows.
    assert (tasks["lost_low"], tasks["lost"]) == (killed["queued_at_death"], killed["predicted_lost"])
    assert tasks["broken_promises"] == tasks["lost"]
    assert drained["signal"] == "SIGTERM"
    assert drained["exit_status"] == -15
    assert drained["queued_at_death"] + drained["running_at_death"] == 0
    assert drained["finished"] == drained["accepted"] > 0
    turns = left_at(2, signalled_ns(2)) / POOL
    took_s = drained["died_s"] - drained["signalled_s"]
    assert (math.ceil(turns) - 1) * ms / 1e3 <= took_s <= math.ceil(turns) * ms / 1e3 * 1.5 + 1.0
    assert last["queued_at_death"] + last["running_at_death"] == 0
    assert json.loads(judge_run(RunDir(Path("run"))).model_dump_json()) == summary, "judged again, it says the same"
    assert summary["pool"]["size"] == summary["pool"]["busy_max"] == POOL


def test_a_graceful_timeout_of_uvicorn_loses_what_does_not_fit_into_it(own: Own) -> None:
    """`--timeout-graceful-shutdown T`: T / task time turns of all threads are done, the rest is lost."""
    ms, limit_s = 300, 1
    given = ("--request", f"POST /sync?ms={ms}", "--rate", 50, "--for", "1800ms", "--pool", POOL, "--fault", "term@1s")
    summary = own(*given, command=(*UVICORN, "--timeout-graceful-shutdown", limit_s))

    stopped = summary["boots"][0]
    at_ns = signalled_ns(1)
    finished_ns = np.concatenate([file.rows["finished_ns"].astype(np.int64) for file in files(1)])
    finished = int(np.count_nonzero(finished_ns > at_ns))
    lost = stopped["queued_at_death"] + stopped["running_at_death"]
    # It notices the signal a little later, and may have accepted some more by then.
    assert 0 <= finished + lost - left_at(1, at_ns) <= 20
    turns = limit_s * 1e3 / ms
    assert POOL * (math.floor(turns) - 1) <= finished <= POOL * (math.ceil(turns) + 1)
    assert lost > 0
    assert finished_ns.max() <= at_ns + (limit_s * 1e3 + ms) * 1e6 + 1e9
    assert summary["tasks"]["broken_promises"] > 0


def test_granian_loses_tasks_at_sigterm_and_its_workers_outlive_their_parent(own: Own) -> None:
    """It waits for connections and not for tasks. SIGKILL of its first process alone: the workers go on serving the port."""
    given = ("--request", "POST /async?ms=1500", "--rate", 30, "--for", "2800ms", "--fault", "term@800ms", "--fault", "parent@2s")
    summary = own(*given, command=GRANIAN)

    stopped, orphaned, _ = summary["boots"]
    assert stopped["signal"] == "SIGTERM"
    assert stopped["queued_at_death"] + stopped["running_at_death"] > 0
    assert summary["tasks"]["broken_promises"] > 0
    found = finding(summary, "orphans")
    assert found["evidence"]["served"] is True
    assert "SIGKILL to process" in found["text"]
    assert len(orphaned["orphans"]) >= 1
    assert orphaned["port_free"]
    assert orphaned["survivors"] == []
    assert not any(psutil.pid_exists(int(orphan.split()[0])) for orphan in orphaned["orphans"])


def test_a_task_that_raises_takes_the_later_ones_with_it_and_an_endpoint_that_raises_all_of_its_own(own: Own) -> None:
    """The third of five raises: two have run, two never start. What an endpoint had added before it raised is dropped."""
    summary = own("--request", "POST /five", "--request", "POST /raises", "--rate", 30, "--for", "1s")

    tasks, requests = summary["tasks"], summary["requests"]
    refused = requests["rejected"]  # status 500 is a complete refusal
    assert tasks["failed"] > 0
    assert (tasks["finished"], tasks["skipped"]) == (2 * tasks["failed"], 2 * tasks["failed"])
    assert tasks["discarded"] == refused > 0
    assert tasks["lost"] == 0
    assert "third" in finding(summary, "tasks-skipped")["text"]
    assert "work" in finding(summary, "tasks-discarded")["text"]


def test_work_that_an_app_cancels_itself_is_no_loss_of_a_restart(own: Own) -> None:
    """Each request cancels the work of the one before: at no time more than one runs, which is what a restart takes."""
    faults = ("--fault", "kill@700ms", "--fault", "term@2s")
    summary = own("--request", "POST /autosave", "--rate", 20, "--arrivals", "constant", "--for", "3600ms", *faults)

    tasks, (killed, stopped, last) = summary["tasks"], summary["boots"]
    assert [boot["running_at_death"] for boot in (killed, stopped, last)] == [1, 1, 0]
    assert killed["predicted_lost"] == 1
    assert tasks["finished"] == last["finished"] == bool(last["accepted"])
    assert tasks["failed"] == tasks["cancelled_running"] == tasks["accepted"] - tasks["finished"] - 2 > 10
    assert tasks["lost"] == 2
    assert tasks["drain_s"] is not None  # what was cancelled has ended too, and nothing was left after the load
    assert max(summary["timeline"]["busy_max"]) == 1
    assert "work_async" in finding(summary, "tasks-cancelled")["text"]
    assert not {each["id"] for each in summary["findings"]} & {"tasks-failed", "backlog-grows"}


def test_a_failing_task_closes_the_connection_of_the_next_request_which_is_not_lost(own: Own) -> None:
    """uvicorn closes the kept-alive connection; the request that runs on it gets no answer, and its work is done."""
    given = ("--request", "POST /fails?ms=60", "--request", "POST /slow?ms=150", "--rate", 40, "--for", "1500ms")
    summary = own(*given)

    requests, tasks = summary["requests"], summary["tasks"]
    assert requests["indeterminate"] == requests["closed_while_up"] > 0
    assert requests["unanswered_while_up"] == 0
    # One of those may be a failing one itself, whose work was not done.
    fails, slow = (next(each for each in summary["routes"] if name in each["name"]) for name in ("/fails", "/slow"))
    assert tasks["recovered"] == slow["indeterminate"] == requests["indeterminate"] - fails["indeterminate"] > 0
    assert (tasks["lost"], tasks["broken_promises"]) == (0, 0)
    assert finding(summary, "connections-closed")["evidence"]["requests"] == requests["indeterminate"]


def test_work_that_an_endpoint_spawns_is_lost_like_a_task(own: Own) -> None:
    """`asyncio.create_task` in a request: people use it as a background task. This app takes its port from PORT."""
    given = ("--request", "POST /spawn?ms=400", "--rate", 40, "--for", "1800ms", "--fault", "kill@800ms")
    summary = own(*given, command=("env", "PORT={port}", "python", APPS / "orders.py"))

    tasks, killed = summary["tasks"], summary["boots"][0]
    assert tasks["accepted"] == summary["requests"]["acked"] > 0
    assert {int(kind) for file in files(1) for kind in file.rows["kind"]} == {3}
    # One may have been spawned, and not have come to its turn on the loop when the server was frozen.
    assert killed["predicted_lost"] == killed["queued_at_death"] + killed["running_at_death"] == tasks["lost"] > 0
    assert killed["queued_at_death"] < killed["running_at_death"]


def by_route(name: str) -> np.ndarray:
    """Response times in ms of the answered requests of one kind."""
    file = read_rows(Path("run/requests-0.rows"))
    rows = file.rows[(file.rows["route"] == file.names.index(name)) & (file.rows["done_ns"] != 0)]
    return (rows["done_ns"].astype(np.int64) - rows["due_ns"].astype(np.int64)) / 1e6


def test_def_endpoints_and_def_tasks_starve_each_other_of_the_tokens(own: Own) -> None:
    """Both wait for one of anyio's tokens; an `async def` endpoint of the same app does not notice."""
    given = ("--request", "POST /both?ms=200", "--request", "GET /health", "--rate", 80, "--for", "1s", "--pool", POOL)
    summary = own(*given)

    assert summary["pool"]["size"] == summary["pool"]["busy_max"] == POOL
    assert summary["pool"]["saturated_s"] > 0
    assert np.quantile(by_route("POST /both?ms=200"), 0.9) > 200 > np.median(by_route("GET /health"))
    assert summary["tasks"]["lost"] == 0


def test_a_blocking_call_in_an_async_task_freezes_the_answers_and_is_named(own: Own) -> None:
    """For as long as the call takes, nobody gets an answer."""
    given = ("--request", "POST /blocking?ms=400", "--request", "GET /health", "--rate", 8, "--for", "1s")
    summary = own(*given)

    found = finding(summary, "loop-blocked")
    assert "work_blocking" in found["evidence"]["function"]
    assert found["evidence"]["file"].endswith("orders.py")
    assert found["evidence"]["blocked_ms"] > 200
    assert by_route("GET /health").max() > 200
    assert summary["loop"]["blocked_s"] > 0


@pytest.mark.parametrize(
    "command",
    [
        ("gunicorn", "-k", "uvicorn.workers.UvicornWorker", "-w", 2, "-b", "127.0.0.1:{port}", "orders:app"),
        ("hypercorn", "-b", "127.0.0.1:{port}", "orders:app"),
        (*UVICORN, "--workers", 2),
    ],
    ids=["gunicorn", "hypercorn", "uvicorn with workers"],
)
def test_any_command_is_followed_with_all_its_processes(own: Own, command: tuple[object, ...]) -> None:
    """Each process that serves writes its own file; a kill freezes them all, and the loss is exact."""
    summary = own("--request", "POST /async?ms=400", "--rate", 40, "--for", "1800ms", "--fault", "kill@800ms", command=command)

    killed, second = summary["boots"]
    assert summary["tasks"]["server_is_witness"]
    assert killed["predicted_lost"] == killed["queued_at_death"] + killed["running_at_death"] > 0
    assert summary["tasks"]["accepted"] == summary["tasks"]["finished"] + killed["predicted_lost"]
    assert len(files(1)) == (2 if "2" in map(str, command) else 1)
    assert killed["port_free"]
    assert second["port_free"]
    assert second["orphans"] == []


@pytest.mark.parametrize(("engine", "workers", "kind"), [("uvicorn", 2, "async"), ("granian", 1, "sync"), ("rust", 2, "sync")])
def test_a_scenario_is_accounted_for_on_every_engine(
    afterload: Callable[..., Done], folder: Path, engine: str, workers: int, kind: str
) -> None:
    """The same source; the world confirms what each server's rows say, through a kill. What lies about here is not imported."""
    for name in ("server.py", "scenarios.py", "uvicorn.py", "granian.py"):
        (folder / name).write_text("raise RuntimeError('not mine')\n")
    given = ("--engine", engine, "--workers", workers, "--tasks", kind, "--rate", 40, "--pool", POOL, "--for", "1800ms")
    # So long that not all mails under way arrive between the freezing of the server and its end, on a busy machine too.
    fault = ("--fault", "kill@900ms", "--set", "delay=250ms", "--seed", 1, "--out", "run", "--json", "-")
    summary = summary_of(afterload("run", "email", *given, *fault, env={"PYTHONSAFEPATH": "1"}))

    killed = summary["boots"][0]
    assert killed["predicted_lost"] == killed["queued_at_death"] + killed["running_at_death"] > 0
    assert summary["tasks"]["lost"] == summary["tasks"]["lost_low"] > 0
    assert len(files(2)) == workers
    if kind == "sync":
        assert summary["pool"]["size"] == POOL * workers


def test_a_worker_that_dies_on_its_own_is_told_and_the_run_goes_on(own: Own, folder: Path) -> None:
    """uvicorn starts another one in its place."""

    def kill_one() -> None:
        found = wait_until(lambda: [file for file in begun(1) if (file.rows["finished_ns"] != 0).sum() > 3], 20, "a busy worker")
        psutil.Process(found[0].pid).kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    summary = own("--request", "POST /async?ms=100", "--rate", 40, "--for", "2500ms", command=(*UVICORN, "--workers", 2))
    killer.join()

    found = finding(summary, "worker-died")
    assert f"Process {found['evidence']['pid']} of boot 1 ended on its own" in found["text"]
    assert summary["boots"][0]["dead_workers"] == [found["evidence"]["pid"]]
    assert summary["tasks"]["lost"] == found["evidence"]["queued"] + found["evidence"]["running"]
