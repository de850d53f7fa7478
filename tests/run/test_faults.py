"""Each fault is done to real processes, and what its receipt says is held against the rows, which know nothing of faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.evidence import judge_run
from harness.processes import alive
from harness.processes.group import MARK
from harness.rows import RowFile, read_rows
from harness.rundir import RunDir
from tests.kills import TOLERATED
from tests.run.conftest import APPS, ROOT, Done, left_over, wait_until

Afterload = Callable[..., Done]
EMAIL = ("run", "email", "--rate", 40, "--seed", 1, "--json", "-")


def summary_of(done: Done, *tolerated: str) -> dict[str, Any]:
    """With every invariant, and no reason to doubt it but a busy machine and those that were to be there."""
    assert done.status in (0, 4), done.err
    assert [each for each in done.json["invariants"] if not each["holds"]] == []
    reasons = [reason for reason in done.json["reasons"] if not TOLERATED.match(reason)]
    assert [reason for reason in reasons if not any(text in reason for text in tolerated)] == []
    assert len(reasons) >= len(tolerated), reasons
    return done.json


def fault(summary: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [each for each in summary["faults"] if each["kind"] == kind]
    return found


def window_ns(run: str, kind: str) -> tuple[int, int]:
    """When a fault landed and ended, as the events say."""
    events = [json.loads(line) for line in Path(run, "events.jsonl").read_text().splitlines()]
    (landed,) = [each for each in events if each["event"] == "fault" and each["name"] == kind]
    ended = [each for each in events if each["event"] == "fault_ended" and each["number"] == landed["number"]]
    return landed["landed_ns"], ended[0]["ended_ns"] if ended else 0


def instants(rows: np.ndarray, *names: str) -> np.ndarray:
    found = np.concatenate([rows[name].astype(np.int64) for name in names])
    return np.sort(found[found != 0])


def files(run: str, boot: int) -> list[RowFile]:
    return [read_rows(path) for path in sorted(Path(run).glob(f"tasks-{boot}*.rows"))]


def test_what_lasts_is_done_proved_and_taken_back(afterload: Afterload, folder: Path) -> None:
    """Stop, squeeze, a slow world, a dead one and a hog in one run; each shows in the rows while it lasts, and not later."""
    faults = (
        "stop@1s+500ms",
        "squeeze@1700ms+600ms",
        "slow-world=200ms@2500ms+700ms",
        "dead-world@3400ms+400ms",
        "hog=1@3s+700ms",
    )
    given = [part for each in faults for part in ("--fault", each)]
    summary = summary_of(
        afterload(*EMAIL, "--rate", 60, "--pool", 4, "--for", "4500ms", "--set", "delay=30ms", *given, "--out", "run")
    )

    assert len(summary["boots"]) == 1
    assert [each["ends_boot"] for each in summary["faults"]] == [False] * 5
    assert all(each["ended_s"] > each["landed_s"] for each in summary["faults"])
    (file,) = files("run", 1)
    tasks, answers = file.rows, read_rows(Path("run/requests-0.rows")).rows
    # Stopped: not one instant, of none of its threads, and no answer.
    begin, end = window_ns("run", "stop")
    assert fault(summary, "stop")["receipt"]["states"] == {str(file.pid): "stopped"}
    seen = instants(tasks, "accepted_ns", "started_ns", "finished_ns")
    assert not np.any((seen > begin) & (seen < end))
    assert end - begin >= 500_000_000
    assert fault(summary, "stop")["recovery_s"] >= 0.5
    waiting = answers[(answers["sent_ns"] > begin) & (answers["sent_ns"] < end)]
    assert len(waiting) > 10
    assert np.all(waiting["done_ns"] > end)
    # Squeezed: what started after it found no other running; before and after, there are.
    begin, end = window_ns("run", "squeeze")
    receipt = fault(summary, "squeeze")["receipt"]
    assert (receipt["pool_size_before"], receipt["pool_size"]) == ({str(file.pid): 4}, {str(file.pid): 1})
    assert receipt["pool_size_after"] == {str(file.pid): 4}
    started, finished = tasks["started_ns"].astype(np.int64), tasks["finished_ns"].astype(np.int64)
    inside = np.flatnonzero((started > begin + 40_000_000) & (finished != 0) & (finished < begin + 600_000_000))
    order = inside[np.argsort(started[inside])]
    assert len(order) > 2
    assert np.all(finished[order[:-1]] <= started[order[1:]])
    assert fault(summary, "squeeze")["backlog_recovery_s"] > 0.6
    # A slow world: those that began to mail while it was slow took so much longer.
    begin, end = window_ns("run", "slow-world")
    slow = fault(summary, "slow-world")["receipt"]
    took_ms = (finished - started)[finished != 0] / 1e6
    during = (started[finished != 0] > begin) & (started[finished != 0] < begin + 600_000_000)
    assert np.count_nonzero(during) > 1
    assert took_ms[during].min() > 200
    assert slow["late_answers"] >= np.count_nonzero(during)
    # A dead one: tasks fail, no effect arrives; afterwards they do.
    begin, end = window_ns("run", "dead-world")
    failed, effects = instants(tasks, "failed_ns"), instants(read_rows(Path("run/effects-1.rows")).rows, "arrived_ns")
    assert len(failed) > 5
    assert np.all((failed > begin) & (failed < end + 2_000_000_000))
    # But for a mail that it was taking in at that moment: 40 ms later was seen.
    assert not np.any((effects > begin + 100_000_000) & (effects < end))
    assert np.any(effects > end)
    assert fault(summary, "dead-world")["receipt"]["refused"] == 1
    # A hog: it has used the CPU, and is gone.
    (pid,) = fault(summary, "hog")["receipt"]["pids"]
    assert 0.1 < fault(summary, "hog")["receipt"]["cpu_s"][str(pid)] < 3
    assert not psutil.pid_exists(pid)
    assert json.loads(judge_run(RunDir(Path("run"))).model_dump_json()) == summary, "judged again, it says the same"


def test_one_worker_of_several_is_lost_exactly_and_the_boot_goes_on(afterload: Afterload) -> None:
    """Killed: what it held is lost, and was counted before. Replaced in turn with the others: nothing is."""
    given = ("--workers", 2, "--pool", 2, "--for", "2s", "--set", "delay=60ms", "--out", "run")
    summary = summary_of(afterload(*EMAIL, *given, "--fault", "worker@800ms", "--fault", "rolling@1800ms"))

    killed, rolled = fault(summary, "worker"), fault(summary, "rolling")
    receipt = killed["receipt"]
    (dead,) = [file for file in files("run", 1) if file.pid == receipt["pid"]]
    open_rows = dead.rows[(dead.rows["finished_ns"] == 0) & (dead.rows["failed_ns"] == 0)]
    running = int(np.count_nonzero(open_rows["started_ns"]))
    assert (killed["left_queued"], killed["left_running"]) == (len(open_rows) - running, running)
    assert (receipt["queued"], receipt["running"]) == (killed["left_queued"], killed["left_running"])
    assert summary["tasks"]["interrupted"] + summary["tasks"]["never_started"] == len(open_rows)
    (boot,) = summary["boots"]
    assert boot["dead_workers"] == []
    assert (boot["queued_by_workers"], boot["running_by_workers"]) == (boot["queued_at_death"], boot["running_at_death"])
    assert killed["ended_s"] > killed["landed_s"], "another one serves in its place"
    assert receipt["pid"] not in rolled["receipt"]["replaced"]
    assert len(rolled["receipt"]["replaced"]) == len(rolled["receipt"]["serving"]) == 2
    assert (rolled["left_queued"], rolled["left_running"]) == (0, 0)
    assert len(files("run", 1)) == 5


UVICORN = ("uvicorn", "orders:app", "--port", "{port}", "--no-access-log", "--workers", 2)
GUNICORN = ("gunicorn", "-k", "uvicorn.workers.UvicornWorker", "-w", 2, "-b", "127.0.0.1:{port}", "orders:app")
GRANIAN = ("granian", "--interface", "asgi", "--port", "{port}", "--workers", 2, f"{APPS / 'orders.py'}:app")


@pytest.fixture
def own(afterload: Afterload) -> Callable[..., dict[str, Any]]:
    def call(
        run: str, command: tuple[object, ...], *given: object, for_s: float, request: str = "/async?ms=300"
    ) -> dict[str, Any]:
        load = ("--request", f"POST {request}", "--rate", 40, "--for", f"{for_s}s", "--out", run, "--json", "-")
        env = {"PYTHONPATH": f"{APPS}{os.pathsep}{ROOT}"}
        return summary_of(afterload("run", *load, *given, "--", *command, env=env))

    return call


def test_other_servers_lose_what_a_worker_held_or_end_with_it(own: Callable[..., dict[str, Any]]) -> None:
    """uvicorn and gunicorn start another; granian, as it is started, ends as a whole, which is told as this fault's doing."""
    with ThreadPoolExecutor(3) as pool:
        uvicorn = pool.submit(own, "uvicorn", UVICORN, "--fault", "worker@700ms", for_s=3.5)
        gunicorn = pool.submit(own, "gunicorn", GUNICORN, "--fault", "worker=term@700ms", "--fault", "rolling@2s", for_s=3)
        granian = pool.submit(own, "granian", GRANIAN, "--fault", "worker@700ms", for_s=3)

    killed = fault(uvicorn.result(), "worker")
    tasks = uvicorn.result()["tasks"]
    assert (killed["receipt"]["queued"], killed["receipt"]["running"]) == (killed["left_queued"], killed["left_running"])
    assert tasks["lost"] == killed["left_queued"] + killed["left_running"] > 0
    assert len(uvicorn.result()["boots"]) == 1
    assert killed["ended_s"] is not None

    asked, rolled = fault(gunicorn.result(), "worker"), fault(gunicorn.result(), "rolling")
    assert (asked["left_queued"], asked["left_running"]) == (0, 0)
    assert gunicorn.result()["tasks"]["lost"] == 0
    assert asked["receipt"]["replaced"] == [asked["receipt"]["pid"]]
    assert set(rolled["receipt"]["replaced"]).isdisjoint(rolled["receipt"]["serving"])

    first, second = granian.result()["boots"]
    ended = fault(granian.result(), "worker")
    assert (ended["ends_boot"], first["signal"], first["fault"]) == (True, "SIGKILL", True)
    assert first["exit_status"] == 1
    assert ended["left_running"] == first["running_at_death"] > 0
    assert first["dead_workers"] == []
    assert not [each for each in granian.result()["findings"] if each["id"] == "worker-died"]
    assert second["ready_s"] > first["died_s"]


def test_a_hang_up_ends_one_server_and_another_replaces_its_workers(
    afterload: Afterload, own: Callable[..., dict[str, Any]]
) -> None:
    """The bundled server drains and ends, and is started again; gunicorn starts new workers and goes on."""
    with ThreadPoolExecutor(2) as pool:
        bundled = pool.submit(afterload, *EMAIL, "--pool", 8, "--for", "3s", "--fault", "hup@800ms", "--out", "bundled")
        gunicorn = pool.submit(own, "gunicorn", GUNICORN, "--fault", "hup@800ms", for_s=2.5)

    summary = summary_of(bundled.result())
    first, _ = summary["boots"]
    assert (first["signal"], first["fault"], first["exit_status"]) == ("SIGHUP", True, 0)
    assert fault(summary, "hup")["receipt"]["outcome"] == "ended"
    assert fault(summary, "hup")["ends_boot"]
    assert summary["tasks"]["lost"] == 0
    hung_up = fault(gunicorn.result(), "hup")
    assert len(gunicorn.result()["boots"]) == 1
    assert hung_up["receipt"]["outcome"] == "replaced"
    assert len(hung_up["receipt"]["replaced"]) == 2


def test_a_fault_waits_for_its_condition_and_one_that_never_comes_is_told_with_how_near_it_was(afterload: Afterload) -> None:
    """The backlog grows until it is met; the kill is exact all the same. A hang is ended by a kill while it lasts."""
    faults = ("kill@backlog>12 after 300ms", "term@busy>=9", "stop@1500ms+1s", "kill@1800ms")
    given = [part for each in faults for part in ("--fault", each)]
    done = afterload(*EMAIL, "--rate", 60, "--pool", 4, "--for", "2600ms", *given, "--out", "run")
    summary = summary_of(done, "The fault term@busy>=9 did not land: busy was at most 4 (at ")

    first, second, _ = summary["boots"]
    (met,) = [each for each in summary["faults"] if each["condition"] == "backlog>12"]
    assert met["planned_s"] is None
    assert met["landed_s"] >= 0.3
    assert first["queued_at_death"] > 8, "some of them may have started before it was frozen"
    assert first["predicted_lost"] == first["queued_at_death"] + first["running_at_death"]
    assert second["fault"]
    assert fault(summary, "stop")["receipt"]["ended_with_its_boot"]
    assert "boot 2 was ended by kill@1.8s" in fault(summary, "stop")["detail"]


def test_every_world_with_servers_can_be_slow_and_dead(afterload: Afterload) -> None:
    """A web server and a cache (a mail server is above): late answers, then none and no effect, then as before."""
    faults = ("--fault", "slow-world=200ms@500ms+400ms", "--fault", "dead-world@1200ms+500ms")
    given = ("--rate", 40, "--for", "2200ms", "--seed", 1, "--warm-up", "0ms", *faults, "--json", "-")
    names = ("webhook", "cache")
    with ThreadPoolExecutor(len(names)) as pool:
        runs = {name: pool.submit(afterload, "run", name, *given, "--out", name) for name in names}
    for name, run in runs.items():
        summary = summary_of(run.result())

        slow, dead = fault(summary, "slow-world")["receipt"], fault(summary, "dead-world")["receipt"]
        assert slow["late_answers"] > 0
        assert slow["servers"] == dead["servers"]
        assert dead["refused"] == 1
        begin, end = window_ns(name, "dead-world")
        arrived = instants(read_rows(Path(name, "effects-1.rows")).rows, "arrived_ns")
        assert not np.any((arrived > begin) & (arrived < end)), name
        assert np.any(arrived < begin)
        assert np.any(arrived > end)
        assert end - begin < 5_000_000_000


MANY = '''
from fastapi import BackgroundTasks, FastAPI

from scenarios import Plan, Request, Scenario, Task, TaskKind
from scenarios.world.together import Together

N = 500


def nothing() -> None:
    """Does nothing, often."""


def app(api, kind, world, settings):
    made = api(title="many")

    @made.post("/many")
    def many(tasks: BackgroundTasks) -> dict[str, str]:
        for _ in range(N):
            tasks.add_task(nothing)
        return {}

    return made


def traffic(seed, settings, folder):
    return [Request(name="POST /many", method="POST", path="/many")]


async def world(rows, settings, folder):
    return Together()


SCENARIO = Scenario(
    name="many", summary="Many tasks for each request.", plan=Plan(rate_per_s=60.0, duration_s=2.0, pool=2, faults=()),
    tasks=tuple(Task("nothing") for _ in range(N)), settings=(), app=app, traffic=traffic, world=world, kinds=(TaskKind.SYNC,),
)
'''


@pytest.mark.parametrize(("engine", "rate", "room"), [("rust", 80, 65_536), ("uvicorn", 40, 16_384)])
def test_with_a_full_disk_the_server_goes_on_and_what_is_missing_is_told(
    afterload: Afterload, folder: Path, engine: str, rate: int, room: int
) -> None:
    """The rows that there was room for are whole; the others are counted, and nothing is made up about them."""
    (folder / "many.py").write_text(MANY)
    given = ("--engine", engine, "--rate", rate, "--for", "2s", "--fault", "full-disk@300ms", "--out", "run", "--json", "-")
    done = afterload("run", "./many.py", *given)

    assert done.status == 4, done.err
    (file,) = files("run", 1)
    sent = done.json["requests"]["acked"]
    assert sent == done.json["requests"]["attempted"] == rate * 2, "the server has answered all the same"
    assert len(file.rows) >= room
    assert len(file.rows) % room == 0
    assert file.unwritten == sent * 500 - len(file.rows) > 0
    assert np.all(file.rows["finished_ns"] != 0)
    assert f"The fault full-disk@300ms kept {file.unwritten:,} rows from being written" in " ".join(done.json["reasons"])
    assert [each["id"] for each in done.json["invariants"] if not each["holds"]] == ["8"]
    (limit,) = fault(done.json, "full-disk")["receipt"]["file_size_limits"].values()
    assert limit == file.path.stat().st_size


def test_a_world_without_servers_is_refused_before_there_is_load(afterload: Afterload) -> None:
    """Its database is a file: nobody could answer late."""
    done = afterload("run", "analytics", "--for", "2s", "--fault", "slow-world@1s+500ms")

    assert done.status == 2
    assert "fault slow-world@1s+500ms is not possible with the world of scenario 'analytics'" in done.err


def test_help_for_faults_needs_no_scenario(afterload: Afterload) -> None:
    done = afterload("run", "--fault", "help")

    assert done.status == 0
    assert "slow-world" in done.out


@pytest.fixture(params=[signal.SIGINT, signal.SIGKILL])
def ended_in_the_middle(folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], signal.Signals]]:
    """A run whose server is stopped beside a hog, and the signal that afterload gets then."""
    faults = ("--fault", "stop@300ms+25s", "--fault", "hog=1@100ms+25s")
    command = [sys.executable, "-m", "harness", "run", "email", "--rate", "20", "--for", "30s", *faults, "--out", "run"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, request.param
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_whatever_ends_a_run_nothing_stays_stopped_or_busy(
    ended_in_the_middle: tuple[subprocess.Popen[str], signal.Signals], folder: Path
) -> None:
    """Interrupted: the server goes on and drains. Killed: the janitor ends it, stopped as it is, and the hog."""
    process, number = ended_in_the_middle
    log = folder / "run" / "events.jsonl"
    wait_until(lambda: log.exists() and log.read_text().count('"event": "fault"') == 2, 30, "both faults")
    hogs = [each for each in psutil.process_iter() if "/hog-" in environment(each).get(MARK, "") and each.cwd() == str(folder)]
    process.send_signal(number)
    process.communicate(timeout=20)

    wait_until(lambda: not left_over(folder), 15, f"the end of all processes ({left_over(folder)})")
    assert len(hogs) == 1
    assert not alive(hogs[0])
    if number == signal.SIGINT:
        summary = json.loads((folder / "run" / "summary.json").read_text())
        assert summary["boots"][0]["exit_status"] == 0
        assert summary["verdict"] == "INCONCLUSIVE"
        assert [each for each in summary["invariants"] if not each["holds"]] == []


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
