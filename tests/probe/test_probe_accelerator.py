"""The compiled part of the probe: where it is used, what happens where it cannot be, and that both ways come to the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.rows import UNTAGGED, Gauge, read_rows

from .conftest import PYTHONS, Start
from .probed import HERE, PROBE, Probed, uvicorn

ACCELERATOR = PROBE / "afterload_probe" / "_accelerator.abi3.so"


def test_it_is_used_unless_it_is_forbidden_and_the_notes_say_so(served: Probed, request: pytest.FixtureRequest):
    """One file for every CPython from 3.10 on."""
    (note,) = served.notes("hooked")
    is_pure = "pure" in request.node.callspec.id.rpartition("-")[2]
    assert note["pure"] == ("AFTERLOAD_PROBE_PURE is set" if is_pure else "")
    assert served.notes("unhooked") == []


def probe_with(folder: Path, name: str, content: str) -> Path:
    """The probe with that in the place of its accelerator."""
    probe = folder / "probe"
    shutil.copytree(PROBE, probe, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (probe / "afterload_probe" / name).write_text(content)
    return probe


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("nothing", "", "ImportError"),
        ("_accelerator.abi3.so", "of another machine", "ImportError"),
        ("_accelerator.py", "REVISION = 0", "it has to be built anew"),
        ("_accelerator.py", "REVISION = 3\nclass Sheet:\n    def __init__(self, *given): pass\n", "AttributeError"),
    ],
)
def test_what_cannot_be_loaded_is_done_without(tmp_path: Path, name: str, content: str, why: str):
    """Not built, of another machine, of another version, or not what it should be: said, and everything is Python's."""
    probe = probe_with(tmp_path, name, content)
    code = "from afterload_probe import accelerator, exchange; print(accelerator.why_not, exchange.Exchange.__module__)"
    given = {**os.environ, "PYTHONPATH": str(probe)}
    done = subprocess.run([PYTHONS[0], "-c", code], env=given, capture_output=True, text=True, timeout=30, check=True)
    assert why in done.stdout
    assert done.stdout.endswith(" afterload_probe.exchange\n")


def test_a_server_whose_accelerator_cannot_be_loaded_is_seen_all_the_same(start: Start, tmp_path: Path):
    """The note has the reason."""
    probe = probe_with(tmp_path, "_accelerator.abi3.so", "of another machine")
    server = start(uvicorn(), env={"PYTHONPATH": str(probe)}).wait_ready()
    assert server.ask("/two", 1) == 200
    assert [task.name for task in server.wait_tasks(1, 2)] == ["plain", "coro"]
    (note,) = server.notes("hooked")
    assert "ImportError" in str(note["pure"])


def oddly(python: str, folder: Path, pure: str) -> tuple[str, str, list[tuple[object, ...]], list[int]]:
    """What odd_uses.py says, and the rows and gauges of it, without the times."""
    folder.mkdir()
    given = {
        **os.environ,
        "PYTHONPATH": str(PROBE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AFTERLOAD_PROBE_ROWS": str(folder / "tasks-3.rows"),
        "AFTERLOAD_PROBE_PURE": pure,
    }
    command = [python, str(HERE / "odd_uses.py")]
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=True)
    (path,) = folder.glob("*.rows")
    file = read_rows(path)
    rows: list[tuple[object, ...]] = []
    for row in file.rows:
        instants = ("accepted_ns", "flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns")
        op = int(row["op"])
        words = [int(row[name]) for name in ("index", "kind", "attempt", "reason", "flags")]
        rows.append((op if op < UNTAGGED else "untagged", file.names[row["func"]], *words, *(n for n in instants if row[n])))
    gauges = (Gauge.ACCEPTED, Gauge.STARTED, Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED, Gauge.REQUESTS)
    return done.stdout, done.stderr, rows, [int(file.gauges[gauge]) for gauge in gauges]


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).parents[1].name)
def test_both_ways_come_to_the_same_however_oddly_apps_and_tasks_are_called(python: str, tmp_path: Path):
    """Twice, late, not to the end, cancelled, closed, thrown into; no coroutine; ids that are none: rows, answers, errors."""
    compiled = oddly(python, tmp_path / "compiled", "")
    pure = oddly(python, tmp_path / "pure", "1")
    assert compiled == pure
    said, errors, rows, gauges = compiled
    assert "is a coroutine function True True" in said
    assert "again RuntimeError" in said
    assert "was never awaited" not in errors
    assert len(rows) == gauges[0] > 50
    assert gauges[1:5] == [
        sum(instant in row for row in rows) for instant in ("started_ns", "finished_ns", "failed_ns", "dropped_ns")
    ]
