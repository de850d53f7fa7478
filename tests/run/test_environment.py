"""What a run says of its machine, and what it must not say of its user."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.environment import COMPARED, describe_environment, fingerprint
from harness.host import Host, Throttled
from harness.traffic.secret import has_password
from tests.judged import require_judged, summary_in

from .conftest import Done

APP = """
from fastapi import FastAPI
app = FastAPI()
@app.post("/orders")
def order() -> dict[str, bool]:
    return {"ok": True}
"""
SECRET = "hunter2-hunter2-hunter2"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


def test_the_least_quota_of_all_groups_above_counts(tmp_path: Path):
    """A pod of two cores in a node group of one: one."""
    write(tmp_path, "proc/self/cgroup", "0::/kubepods/pod1/c1")
    write(tmp_path, "sys/fs/cgroup/kubepods/pod1/c1/cpu.max", "max 100000")
    write(tmp_path, "sys/fs/cgroup/kubepods/pod1/cpu.max", "200000 100000")
    write(tmp_path, "sys/fs/cgroup/kubepods/cpu.max", "100000 100000")

    assert Host(tmp_path).cpu_quota == 1.0


def test_inside_a_container_the_top_group_is_its_own(tmp_path: Path):
    write(tmp_path, "proc/self/cgroup", "0::/../../somewhere/else")
    write(tmp_path, "sys/fs/cgroup/cpu.max", "150000 100000")

    assert Host(tmp_path).cpu_quota == 1.5


def test_the_group_that_was_stopped_most_often_is_told(tmp_path: Path):
    """With its own period; whoever has no quota is never stopped, whatever its file says."""
    assert Host(tmp_path).throttled is None
    write(tmp_path, "proc/self/cgroup", "0::/pod1/c1")
    for group, allowed, times in (("pod1/c1", "50000 100000", 3), ("pod1", "80000 200000", 7), ("", "max 100000", 99)):
        write(tmp_path, f"sys/fs/cgroup/{group}/cpu.max", allowed)
        write(
            tmp_path, f"sys/fs/cgroup/{group}/cpu.stat", f"usage_usec 5\nnr_periods 100\nnr_throttled {times}\nthrottled_usec 4"
        )

    assert Host(tmp_path).throttled == Throttled(7, 200_000_000)


def test_so_is_one_of_the_first_version(tmp_path: Path):
    write(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n0::/")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "50000")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 123")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")

    assert Host(tmp_path).throttled == Throttled(2, 100_000_000)


def test_a_quota_of_the_first_version_counts_too(tmp_path: Path):
    write(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n0::/")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "50000")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000")

    assert Host(tmp_path).cpu_quota == 0.5


def test_a_machine_that_shows_nothing_is_unknown_and_no_error(tmp_path: Path):
    host = Host(tmp_path)

    assert (host.governor, host.clock, host.container, host.file_system(tmp_path)) == ("", "", "", "")
    assert (host.cpu_quota, host.memory_limit_bytes, host.turbo, host.cores) == (None, None, None, None)


def test_processor_governor_turbo_and_memory_limit_are_read(tmp_path: Path):
    cpu = "physical id\t: 0\ncore id\t\t: {}\nmodel name\t: Fast 9000\nflags\t\t: fpu hypervisor sse\n\n"
    write(tmp_path, "proc/cpuinfo", cpu.format(0) + cpu.format(0) + cpu.format(1))
    write(tmp_path, "proc/meminfo", "MemTotal:       8000000 kB")
    for number, governor in enumerate(("powersave", "performance")):
        write(tmp_path, f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_governor", governor)
    write(tmp_path, "sys/devices/system/cpu/intel_pstate/no_turbo", "0")
    write(tmp_path, "proc/self/cgroup", "0::/a")
    write(tmp_path, "sys/fs/cgroup/a/memory.max", "4000000000")
    write(tmp_path, "proc/1/cgroup", "0::/system.slice/docker-12ab.scope")
    host = Host(tmp_path)

    assert (host.cpu, host.cores, host.is_virtual) == ("Fast 9000", 2, True)
    assert (host.governor, host.turbo) == ("performance,powersave", True)
    assert (host.memory_limit_bytes, host.container) == (4_000_000_000, "docker")


def test_the_file_system_of_a_folder_is_that_of_the_mount_it_is_in(tmp_path: Path):
    where = tmp_path / "runs"
    where.mkdir()
    mounts = f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\nnone {tmp_path}/run tmpfs rw 0 0"
    write(tmp_path / "root", "proc/self/mounts", mounts)

    assert Host(tmp_path / "root").file_system(where) == "nfs4"


def test_the_hash_changes_with_what_makes_runs_comparable_and_with_nothing_else():
    described = describe_environment()

    assert described["hash"] == fingerprint(described) == fingerprint(json.loads(json.dumps(described)))
    assert re.fullmatch(r"[0-9a-f]{12}", described["hash"])
    for name in COMPARED:
        key = "memory_bytes" if name == "memory_gb" else name
        assert fingerprint({**described, key: 77 * 10**9}) != described["hash"], name
    for name in ("load_average", "began", "git", "clock"):
        assert fingerprint({**described, name: "other"}) == described["hash"], name
    assert fingerprint({**described, "memory_bytes": described["memory_bytes"] + 4096}) == described["hash"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_told_and_whether_something_was_changed_since(tmp_path: Path):
    def git(*args: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        return subprocess.run(["git", *who, *args], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    assert describe_environment(tmp_path)["git"] is None
    git("init", "-q")
    (tmp_path / "app.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    assert describe_environment(tmp_path)["git"] == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "app.py").write_text("2")
    assert describe_environment(tmp_path)["git"]["dirty"] is True


def test_no_secret_reaches_any_file_of_a_run_directory(afterload: Callable[..., Done], folder: Path):
    """From a header, the environment that the server inherits, a variable that a header names: looked for in all bytes."""
    command = (sys.executable, "-m", "uvicorn", "plain:app", "--port", "{port}")
    (folder / "plain.py").write_text(APP)
    done = afterload(
        *("run", "--request", "POST /orders", "--header", f"Authorization: Bearer {SECRET}-a", "--header", "X-Token: $MY_TOKEN"),
        *("--rate", 20, "--for", "1s", "--out", "run", "--", *command),
        env={"MY_TOKEN": f"{SECRET}-b", "DATABASE_URL": f"postgresql://me:{SECRET}-c@localhost/shop"},
    )

    require_judged(done.status, summary_in(folder / "run"), done.err)
    files = [path for path in (folder / "run").rglob("*") if path.is_file()]
    assert len(files) >= 8
    assert [path.name for path in files if SECRET.encode() in path.read_bytes()] == []
    environment = json.loads((folder / "run" / "environment.json").read_text())
    assert not {"host", "user", "hostname", "env", "cwd"} & environment.keys()
    assert str(Path.home()) not in (folder / "run" / "environment.json").read_text()
    assert json.loads((folder / "run" / "summary.json").read_text())["environment"]["server"]["python"].startswith("3.")


def test_a_password_in_a_url_is_refused_before_anything_is_written(afterload: Callable[..., Done], folder: Path):
    own = ("run", "--request", "POST /orders", "--rate", 5, "--for", "1s", "--")
    given = (
        (*own, "env", f"DATABASE_URL=postgresql://me:{SECRET}@localhost/shop", "uvicorn", "main:app", "--port", "{port}"),
        ("run", "--from-openapi", f"http://me:{SECRET}@localhost/openapi.json", "--", "uvicorn", "main:app", "--port", "{port}"),
    )
    for args in given:
        done = afterload(*args)
        assert done.status == 2, done.err
        assert "password in it" in done.err
        assert SECRET not in done.out + done.err
        assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("postgresql://me:pw@host/db", True),
        ("X=redis://:pw@host", True),
        ("amqp+ssl://a:b%40c@h", True),
        ("http://host:8000/path", False),
        ("http://me@host/", False),
        ("http://host/a:b@c", False),
        ("postgresql://me:$PGPASSWORD@host/db", False),
        ("main:app", False),
    ],
)
def test_a_password_in_a_url_is_known(text: str, is_one: bool):
    assert has_password(text) is is_one
