"""However a run ends, what was measured stays, and no process and no bound port is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harness.ports import free_port
from harness.processes.group import MARK
from harness.rows import RowFileError, read_rows
from tests.judged import require_judged, summary_in
from tests.run.conftest import LIARS, ROOT, Done, left_over, wait_until

GIVEN = ("--rate", "50", "--pool", "4", "--for", "30s", "--fault", "none", "--out", "run")


@contextmanager
def running(folder: Path, *given: str, column: str = "finished_ns") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A run in the middle of its load (more than ten tasks have `column`), and its port. Killed if the test did not end it."""
    port = free_port()
    command = [sys.executable, "-m", "harness", "run", "email", *GIVEN, "--port", str(port), *given]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_until(lambda: tasks_with(folder, column) > 10, 20, f"ten tasks with {column}")
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def tasks_with(folder: Path, column: str) -> int:
    try:
        return int((read_rows(folder / "run" / "tasks-1.rows").rows[column] != 0).sum())
    except (OSError, RowFileError):
        return 0


def child(folder: Path, name: str) -> psutil.Process:
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            if mark.endswith(f"/{name}") and process.cwd() == str(folder):
                return process
        except psutil.Error:
            continue
    raise AssertionError(f"no process {name}")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def check_nothing_is_left(folder: Path, port: int) -> None:
    wait_until(lambda: not left_over(folder), what=f"the end of all processes {left_over(folder)}")
    # A process that is being taken down has no environment any more, and its socket a moment longer.
    wait_until(lambda: port_is_free(port), 2, "that the port is free")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_stops_everything_keeps_its_figures_and_never_passes(
    folder: Path, number: signal.Signals, status: int
) -> None:
    """Ctrl-C reaches afterload's whole process group, SIGTERM afterload alone."""
    with running(folder) as (process, port):
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        out, err = process.communicate(timeout=20)

    assert process.returncode == status, err
    check_nothing_is_left(folder, port)
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["verdict"] == "INCONCLUSIVE"
    assert summary["requests"]["acked"] > 10
    assert f"interrupted by {number.name}" in " ".join(out.split())


def test_a_second_interrupt_ends_at_once_and_leaves_nothing(folder: Path) -> None:
    """With work that would take a minute to drain; the janitor ends what the session no longer can."""
    with running(folder, "--set", "delay=20s", column="accepted_ns") as (process, port):
        os.killpg(process.pid, signal.SIGINT)
        wait_until(lambda: '"name": "stop"' in (folder / "run" / "events.jsonl").read_text(), what="the stop")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=5)

    assert process.returncode == -signal.SIGINT
    check_nothing_is_left(folder, port)


def test_an_interrupt_while_the_run_is_judged_costs_no_summary(folder: Path) -> None:
    """Whoever presses Ctrl-C while nothing moves any more has what was measured a moment later."""
    events = folder / "run" / "events.jsonl"
    with running(folder, "--for", "1s") as (process, port):
        wait_until(lambda: '"event": "end"' in events.read_text(), what="the end of the run")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)

    require_judged(process.returncode, summary_in(folder / "run"), err)
    assert "run directory: run" in out
    check_nothing_is_left(folder, port)


def signalled(folder: Path, where: str, *command: str) -> subprocess.CompletedProcess[str]:
    """afterload, with a SIGINT at the beginning of that function: a moment that no clock would find."""
    module, _, name = where.partition(":")
    code = (
        "import importlib, signal, sys\n"
        f"module = importlib.import_module({module!r})\n"
        f"*path, last = {name!r}.split('.')\n"
        "for part in path: module = getattr(module, part)\n"
        "original = getattr(module, last)\n"
        "def signalled(*args, **kwargs):\n"
        "    setattr(owner, last, original)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    return original(*args, **kwargs)\n"
        "owner = module\n"
        "setattr(owner, last, signalled)\n"
        "from harness.commands.main import main\n"
        "main(sys.argv[1:])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_interrupt_before_the_run_listens_is_heard(folder: Path) -> None:
    """It came when the work that is worth its end had not begun, and was once told that what was measured was being judged."""
    done = signalled(folder, "harness.session:_Session.run", "run", "email", *GIVEN)

    assert done.returncode == 130, done.stderr
    assert not left_over(folder)


@pytest.mark.parametrize("command", ["capacity", "compare"])
def test_an_interrupt_while_one_of_many_runs_is_judged_makes_it_the_last(folder: Path, command: str) -> None:
    """It is whole, and kept; no other one begins."""
    given = ["--tasks", "sync", "--pool", "20", "--for", "2s", "--fault", "none", "--out", "it"]
    given += ["--rate", "20"] if command == "capacity" else ["--rate", "20", "--vary", "delay=10ms,20ms"]
    done = signalled(folder, "harness.session:judged_run", command, "email", *given)

    assert done.returncode == 130, done.stderr
    name = {"capacity": "stages.jsonl", "compare": "runs.jsonl"}[command]
    assert len((folder / "it" / name).read_text().splitlines()) == 1
    assert f"go on with: afterload {command} --resume it" in done.stderr


def test_killing_afterload_itself_leaves_no_process_and_the_run_can_be_judged(folder: Path) -> None:
    """kill -9: the children notice and end; what they had written says what happened."""
    with running(folder) as (process, port):
        process.kill()
        process.wait()
        check_nothing_is_left(folder, port)

    done = subprocess.run(
        [sys.executable, "-m", "harness", "report", "run", "--json", "-"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    summary = json.loads(done.stdout)
    assert summary["verdict"] == "INCONCLUSIVE"
    assert summary["tasks"]["finished"] > 10
    assert 12 < summary["requests"]["offered_per_s"] < 75, (
        "50/s of the time until then, and not of the 30 s that it should have been"
    )


@pytest.mark.parametrize(("name", "told"), [("server-1", "Boot 1"), ("load-0", "load-0"), ("world", "world")])
def test_the_death_of_any_part_is_told_and_nothing_measured_is_lost(folder: Path, name: str, told: str) -> None:
    """kill -9 of each child in the middle of the load: the run ends, says who died, and is inconclusive."""
    with running(folder) as (process, port):
        child(folder, name).kill()
        _, err = process.communicate(timeout=40)

    assert process.returncode == 4, err
    check_nothing_is_left(folder, port)
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["verdict"] == "INCONCLUSIVE"
    assert 12 < summary["requests"]["offered_per_s"] < 75
    assert told in " ".join(summary["reasons"])
    assert summary["tasks"]["finished"] > 10
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("after_s", [0.2, 0.6, 0.9, 1.2, 1.5])
def test_a_run_that_is_ended_while_it_starts_leaves_nothing(folder: Path, number: signal.Signals, after_s: float) -> None:
    """Whatever had been started by then, at whatever moment."""
    port = free_port()
    command = [sys.executable, "-m", "harness", "run", "email", *GIVEN, "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(after_s)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)

    assert process.returncode in ({signal.SIGINT: (130, -2), signal.SIGTERM: (143, -15), signal.SIGKILL: (-9,)}[number]), err
    assert "Traceback" not in err
    check_nothing_is_left(folder, port)


def test_killing_afterload_ends_a_child_that_had_hidden_too(folder: Path) -> None:
    """It left its session and cleared its environment; the janitor had seen it among the descendants."""
    port = free_port()
    command = [sys.executable, str(LIARS / "run.py"), "escape", str(port)]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_until(lambda: tasks_with(folder, "finished_ns") > 30, 20, "thirty finished tasks")
    process.kill()
    process.communicate()

    check_nothing_is_left(folder, port)


def test_two_runs_at_once_do_not_disturb_each_other(afterload: Callable[..., Done], folder: Path) -> None:
    """Ports, marks and directories are each run's own."""
    with running(folder) as (process, _):
        done = afterload("run", "email", "--rate", 20, "--for", "2s", "--fault", "kill@1s", "--json", "-")
        assert process.poll() is None
        assert [invariant["id"] for invariant in done.json["invariants"] if not invariant["holds"]] == []
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 143
