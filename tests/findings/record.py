"""Records small real runs of which the right findings are known: `python -m tests.findings.record [NAME ...]`.

Each becomes runs/NAME.tar.xz: the run directory, its row files cut to the rows that were claimed, without the world's files and
without paths of the machine. All of them take about three minutes; what the machine has (cores, speed) is part of the recording.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.rows import ROW_TYPES, read_rows
from harness.rows.layout import HEADER_BYTES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = HERE / "runs"
KEPT_LOG_BYTES = 20_000


@dataclass(frozen=True)
class Case:
    """One run, and what has to be found in it: no more and no less."""

    args: tuple[str, ...]
    findings: frozenset[str]


def case(args: str, *findings: str) -> Case:
    return Case(tuple(args.split()), frozenset(findings))


STARVING = "--request POST+/orders --pool 4 --rate 20 --for 9s --warm-up 1s -- PYTHON -m uvicorn starving:app --port {port}"

CASES = {
    "healthy": case("email --pool 8 --set delay=20ms --rate 40 --for 6s --fault none"),
    "healthy-async": case("email --tasks async --set delay=50ms --rate 40 --for 6s --fault none"),
    "healthy-inline": case("email --tasks inline --set delay=20ms --rate 40 --for 5s --fault none"),
    "healthy-term": case("email --pool 8 --set delay=20ms --rate 40 --for 6s --fault term@3s"),
    "healthy-uvicorn": case("email --engine uvicorn --set delay=20ms --rate 40 --for 6s --fault none"),
    "behind": case("email --pool 2 --set delay=100ms --rate 40 --for 7s --fault none", "backlog-grows", "pool-saturated"),
    "rising": case(
        "email --pool 4 --set delay=100ms --fault none --stages 10..100+for+9s", "falls-behind-from", "pool-saturated"
    ),
    "step": case(
        "email --pool 8 --set delay=100ms --fault none --stages 20+for+4s,+150+for+4s,+20+for+6s",
        "backlog-grows",
        "pool-saturated",
    ),
    "nearly-full": case("email --pool 5 --set delay=100ms --rate 40 --for 7s --fault none", "pool-nearly-full"),
    "killed": case("email --pool 8 --set delay=100ms --rate 40 --for 7s --fault kill@4s", "restart-lost", "move-to-queue"),
    "short-grace": case(
        "email --pool 2 --set delay=100ms --rate 40 --for 6s --fault term@4s --drain 1s",
        "grace-too-short",
        "backlog-grows",
        "pool-saturated",
        "move-to-queue",
    ),
    "computing": case(
        "files --pool 2 --rate 70 --for 6s --fault none", "backlog-grows", "pool-saturated", "tasks-failed", "move-to-queue"
    ),
    "hanging": case(
        "flaky --rate 30 --for 10s --set hangs=2% --set hang=3s --pool 4 --warm-up 1s --fault none",
        "few-slow-tasks",
        "tasks-failed",
    ),
    "gone": case(
        "webhook --rate 40 --for 10s --fault none --set gone_at=4s --set gone_for=2s --pool 32",
        "world-slowed-down",
        "tasks-failed",
    ),
    "blocking": case("email --tasks blocking --set delay=400ms --rate 2 --for 6s --fault none", "loop-blocked"),
    "skipped": case("action --engine uvicorn --rate 20 --for 5s --fault none --pool 8", "tasks-skipped"),
    "no-drain": case(
        "email --engine granian --tasks async --set delay=300ms --rate 30 --for 6s --fault term@4s",
        "stops-without-draining",
        "move-to-queue",
    ),
    "starving": case(STARVING, "endpoints-starved", "pool-saturated", "world-slowed-down"),
}


def record(name: str) -> None:
    """Runs it and packs what is left."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        args = [arg.replace("+", " ").replace("PYTHON", sys.executable) for arg in CASES[name].args]
        where = ["--cwd", str(HERE / "apps")] if "--" in args else []
        done = subprocess.run(
            [sys.executable, "-m", "harness", "run", "--out", str(out), *where, *args],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        pack(out, RUNS / f"{name}.tar.xz")
    found = {each["id"] for each in json.loads(_summary(name))["findings"]}
    agrees = "as expected" if found == CASES[name].findings else f"FOUND {sorted(found)}, expected {sorted(CASES[name].findings)}"
    print(f"{name}: {(RUNS / f'{name}.tar.xz').stat().st_size:,} bytes, {agrees}", flush=True)


def _summary(name: str) -> str:
    with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
        file = archive.extractfile("summary.json")
        assert file is not None
        return file.read().decode()


def pack(run: Path, archive: Path) -> None:
    """Everything that a judge reads."""
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(run.iterdir()):
            if path.is_dir() or path.name == "report.html":
                continue
            content = path.read_bytes()
            if path.suffix == ".rows":
                file = read_rows(path)
                content = (
                    _without_path(content[:HEADER_BYTES]) + content[HEADER_BYTES:][: file.claimed * ROW_TYPES[file.kind].itemsize]
                )
            else:
                content = content.replace(str(run).encode(), b"run").replace(str(ROOT).encode(), b".")
                content = content.replace(sys.executable.encode(), b"python")
                content = content.replace(sysconfig.get_path("purelib").encode(), b"site-packages")
                if path.suffix == ".log":
                    content = content[:KEPT_LOG_BYTES]
            entry = tarfile.TarInfo(path.name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))


def _without_path(header: bytes) -> bytes:
    """The header of a row file, whose label may be the command of a server: nothing in it moves."""
    interpreter = sys.executable.encode()
    return re.sub(re.escape(interpreter) + rb"([^\0]*)", lambda found: (b"python" + found[1]).ljust(len(found[0]), b"\0"), header)


if __name__ == "__main__":
    for each in sys.argv[1:] or CASES:
        record(each)
