"""`afterload doctor`: what is there, what is not, and what to do about it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.host import Host

from .conftest import Done


def test_it_says_what_is_there_and_runs_are_possible_here(afterload: Callable[..., Done]):
    done = afterload("doctor")

    assert done.status == 0, done.err
    assert [line.split("  ")[0][2:] for line in done.out.splitlines() if line[:1] != " "] == [
        "system", "python", "packages", "bundled server", "cores",
        *(["CPU quota"] if Host().cpu_quota is not None else []),
        *(["CPU governor"] if Host().governor else []),
        *(["CPU turbo"] if Host().turbo is not None else []),
        "load average", "memory", "open files", "ports", "clock", "disk", "/dev/shm", "load generator",
        "--engine uvicorn", "--engine granian", "Redis", "PostgreSQL", "Rust", "git",
    ]  # fmt: skip


def test_databases_are_said_to_be_there_exactly_if_their_programs_are(afterload: Callable[..., Done], tmp_path: Path):
    """With nothing in PATH there is no redis-server, and it says how to get one; no run needs it."""
    found = {each["name"]: each for each in json.loads(afterload("doctor", "--json").out)}
    assert (found["Redis"]["state"] == "ok") == (shutil.which("redis-server") is not None)

    without = afterload("doctor", "--json", env={"PATH": str(tmp_path)})
    redis = next(each for each in json.loads(without.out) if each["name"] == "Redis")
    assert without.status == 0
    assert redis["state"] == "absent"
    assert "apt-get install redis-server" in redis["advice"]


def test_few_open_files_are_warned_of_with_the_number_to_set(folder: Path):
    command = f"ulimit -Sn 300; ulimit -Hn 2000; exec {sys.executable} -m harness doctor"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "▲ open files         300 for each process\n" in done.stdout
    assert "more than 200 requests at a time will fail: ulimit -n 2000" in done.stdout


def test_its_json_has_the_same_keys_for_everything(afterload: Callable[..., Done]):
    checks = json.loads(afterload("doctor", "--json").out)

    assert {tuple(each) for each in checks} == {("name", "state", "text", "advice")}
    assert {each["state"] for each in checks} <= {"ok", "warning", "absent", "missing"}
    assert all(each["advice"] for each in checks if each["state"] != "ok")
