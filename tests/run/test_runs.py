"""`afterload runs`: what there is, and removing what is not wanted any more, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.main import main
from harness.evidence import judge_run
from harness.leftovers import tidy_world
from harness.rundir import RunDir
from harness.runs import list_runs, make_latest, to_remove
from harness.schema import Summary

from ..findings.record import RUNS
from .conftest import Done, wait_until


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run, judged."""
    run = tmp_path_factory.mktemp("recorded") / "run"
    with tarfile.open(RUNS / "killed.tar.xz") as archive:
        archive.extractall(run, filter="data")
    (run / "summary.json").write_text(judge_run(RunDir(run)).model_dump_json())
    return run


@pytest.fixture
def place(folder: Path, recorded: Path) -> Callable[..., Path]:
    """Puts a copy of the recorded run into runs/, so many days old, with its summary changed."""

    def put(name: str, days: float = 0.0, **changes: Any) -> Path:
        run = folder / "runs" / name
        shutil.copytree(recorded, run)
        summary = json.loads((run / "summary.json").read_text())
        summary["environment"].pop("began", None)
        (run / "summary.json").write_text(json.dumps({**summary, **changes}))
        then = time.time() - days * 86_400
        os.utime(run / "plan.toml", (then, then))
        return run

    return put


def runs(*args: object) -> Done:
    """`afterload runs ...`, in this process: it starts none of its own."""
    done = CliRunner().invoke(main, ["runs", *map(str, args)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def names(done: Done) -> list[str]:
    return [each["name"] for each in json.loads(done.out)]


def test_runs_are_listed_the_newest_first_with_what_they_came_to(place: Callable[..., Path]):
    place("old", days=3)
    new = place("new")
    summary = json.loads((new / "summary.json").read_text())
    done = runs("--json")
    text = runs()

    first, second = json.loads(done.out)
    assert (first["name"], second["name"]) == ("new", "old")
    assert first["verdict"] == summary["verdict"]
    assert first["broken_promises"] == summary["tasks"]["broken_promises"] > 0
    assert first["response_p99_ms"] == summary["requests"]["response_ms"]["p99"]
    assert first["done_p95_ms"] == summary["tasks"]["done_ms"]["p95"]
    assert first["title"] == "email"
    assert first["size_bytes"] > 50_000
    assert [line.split()[0] for line in text.out.splitlines()] == ["run", "new", "old", "2"]


def test_filters_leave_what_fits(place: Callable[..., Path]):
    place("email-a", days=3)
    place("email-b", verdict="INCONCLUSIVE")
    place("shop-c", plan={"command": ["uvicorn", "shop.main:app", "--port", "{port}"]})

    assert names(runs("--json", "--scenario", "email")) == ["email-b", "email-a"]
    assert names(runs("--json", "--scenario", "shop.main:app")) == ["shop-c"]
    assert names(runs("--json", "--verdict", "inconclusive")) == ["email-b"]
    assert names(runs("--json", "--since", "2d", "--match", "EMAIL")) == ["email-b"]


def test_what_is_damaged_or_no_run_is_told_as_such(place: Callable[..., Path], folder: Path):
    (place("broken") / "summary.json").write_text('{"verdict": ')
    (place("other") / "summary.json").write_text('{"verdict": "PASS"}')
    (place("killed") / "summary.json").unlink()
    (folder / "runs" / "notes").mkdir()
    (folder / "runs" / "notes" / "todo.txt").write_text("buy milk")
    done = runs("--json")

    assert {each["name"]: each["state"] for each in json.loads(done.out)} == {
        "broken": "damaged", "other": "damaged", "killed": "unfinished", "notes": "no run"
    }  # fmt: skip
    assert "broken: damaged: summary.json cannot be read" in runs().out


def test_pruning_keeps_the_newest_and_what_is_no_run_and_puts_latest_right(place: Callable[..., Path], folder: Path):
    for days in range(5):
        place(f"r{days}", days=days)
    (folder / "runs" / "notes").mkdir()
    (folder / "runs" / "latest").symlink_to("r4")

    would = runs("prune", "--keep", 2, "--dry-run")
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["latest", "notes", "r0", "r1", "r2", "r3", "r4"]
    done = runs("prune", "--keep", 2)

    assert done.status == would.status == 0
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["latest", "notes", "r0", "r1"]
    assert os.readlink(folder / "runs" / "latest") == "r0"
    assert done.out.count("removed r") == would.out.count("would remove r") == 3


@pytest.mark.parametrize(
    "given",
    [
        ("--verdict", "FAIL", "prune", "--keep", 1),
        ("prune", "--keep", 1, "--verdict", "fail"),
        ("--in", "elsewhere", "prune", "--in", "runs", "--verdict", "fail", "--keep", 1),
        ("--match", "r", "prune", "--keep", 1, "--verdict", "fail"),
    ],
)
def test_only_runs_that_are_meant_are_removed(place: Callable[..., Path], folder: Path, given: tuple[object, ...]):
    """Wherever it is said which: what is listed by it is what is pruned, and the newest of those is kept."""
    for days in range(6):
        path = place(f"r{days}", days=days) / "summary.json"
        if days % 2:
            path.write_text(json.dumps({**json.loads(path.read_text()), "verdict": "FAIL"}))

    done = runs(*given)

    assert done.status == 0, done.err
    assert sorted(path.name for path in (folder / "runs").iterdir() if path.is_dir()) == ["r0", "r1", "r2", "r4"]


def test_all_conditions_of_pruning_must_hold(place: Callable[..., Path], folder: Path):
    for days in range(4):
        place(f"r{days}", days=days + 0.5)
    (folder / "runs" / "r3" / "big").write_bytes(b"x" * 3_000_000)
    entries = list_runs(folder / "runs")

    def chosen(**given: Any) -> list[str]:
        return [each.name for each in to_remove(entries, **{"keep": None, "older_s": None, "larger_bytes": None, **given})]

    assert chosen(older_s=86_400) == ["r1", "r2", "r3"]
    assert chosen(older_s=86_400, keep=3) == ["r3"]
    assert chosen(larger_bytes=2_500_000) == ["r3"]
    assert chosen(larger_bytes=2_500_000, older_s=10 * 86_400) == []


def test_nothing_is_removed_through_a_link(place: Callable[..., Path], folder: Path):
    """A link among the runs is no run, a link inside of one goes without what it points to, and a linked folder is refused."""
    precious = folder / "precious"
    place("one")
    shutil.copytree(folder / "runs" / "one", precious)
    (folder / "runs" / "linked").symlink_to(precious)
    (folder / "runs" / "one" / "inside").symlink_to(precious)
    (folder / "elsewhere").symlink_to(folder / "runs")

    refused = runs("--in", "elsewhere", "prune", "--keep", 0)
    done = runs("prune", "--keep", 0)

    assert refused.status == 2
    assert "is a link" in refused.err
    assert done.status == 0
    assert [path.name for path in (folder / "runs").iterdir()] == ["linked"]
    assert (precious / "summary.json").exists()


def test_a_run_that_goes_on_is_shown_as_such_and_never_removed(folder: Path):
    """Killed, it can be removed at once: the kernel has let go of its lock."""
    command = [sys.executable, "-m", "harness", "run", "email", "--rate", "5", "--for", "60s", "--fault", "none"]
    run = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: list(folder.glob("runs/*/events.jsonl")), timeout_s=60)
        seen = wait_until(lambda: [each for each in list_runs(folder / "runs") if each.state == "going on"], timeout_s=60)
        done = runs("prune", "--keep", 0)

        assert "0 runs removed" in done.out
        assert seen[0].path.exists()
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    # A child that it was just starting may still be between fork and exec, and holds the lock until then.
    wait_until(lambda: [each.state for each in list_runs(folder / "runs")] == ["unfinished"], timeout_s=30)
    wait_until(lambda: runs("prune", "--keep", 0).status == 0, timeout_s=60)
    assert not list(folder.glob("runs/*-*"))


def test_a_prune_without_a_condition_and_a_folder_without_runs_are_told(folder: Path):
    (folder / "runs").mkdir()
    unsaid, missing, wrong = (
        runs("prune"),
        runs("--in", "nowhere"),
        runs("prune", "--larger", "1 meter"),
    )

    assert (unsaid.status, missing.status, wrong.status) == (2, 2, 2)
    assert "--keep 20" in unsaid.err
    assert "cannot read nowhere" in missing.err
    assert "e.g., 500MB" in wrong.err


def test_a_thousand_runs_are_listed_quickly(folder: Path, recorded: Path):
    """About half a millisecond each; the limit leaves room for a busy machine."""
    runs = folder / "runs"
    for number in range(1000):
        run = runs / f"r{number}"
        run.mkdir(parents=True)
        for name in ("events.jsonl", "plan.toml", "summary.json"):
            os.link(recorded / name, run / name)
    begun = time.process_time()

    assert len(list_runs(runs)) == 1000
    assert time.process_time() - begun < 4


def test_latest_is_left_alone_while_its_run_is_there(place: Callable[..., Path], folder: Path):
    place("a", days=1)
    place("b")
    (folder / "runs" / "latest").symlink_to("a")
    make_latest(folder / "runs")

    assert os.readlink(folder / "runs" / "latest") == "a"


@pytest.mark.parametrize(
    ("n_bytes", "verdict", "is_removed"),
    [(12_000_000, "PASS", True), (12_000_000, "FAIL", True), (12_000_000, "INCONCLUSIVE", False), (5_000_000, "PASS", False)],
)
def test_many_files_of_a_world_are_removed_once_they_were_checked(
    place: Callable[..., Path], n_bytes: int, verdict: str, *, is_removed: bool
):
    """And the run can be judged again without them."""
    run = RunDir(place("run", verdict=verdict))
    (run.world / "done").mkdir(parents=True)
    (run.world / "done" / "upload").write_bytes(os.urandom(n_bytes))
    summary = Summary.model_validate_json(run.summary.read_bytes())
    removed = tidy_world(run, summary)

    assert (removed >= n_bytes) is is_removed
    assert run.world.exists() is not is_removed
    assert judge_run(run).verdict == "PASS"
