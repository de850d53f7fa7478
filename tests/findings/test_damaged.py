"""A recorded run whose events were damaged afterwards: it is told, nothing of it is believed, and nothing breaks."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.evidence import judge_run
from harness.rundir import EventLog, RunDir

from .record import RUNS


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    with tarfile.open(RUNS / "killed.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_each_kind_of_event_may_be_damaged_and_the_run_is_not_trusted(killed: Path, tmp_path: Path) -> None:
    """Each once: its first line is no event any more. Without the first of all it is no run."""
    lines = (killed / "events.jsonl").read_text().splitlines()
    first = {json.loads(line)["event"]: number for number, line in reversed(list(enumerate(lines)))}
    assert {"run", "boot_spawned", "boot_ready", "boot_reaped", "load_started", "load_done", "end"} <= first.keys()
    path = shutil.copytree(killed, tmp_path / "run")
    for name, number in first.items():
        (path / "events.jsonl").write_text("\n".join([*lines[:number], "[1, 2]", *lines[number + 1 :]]) + "\n")
        if name == "run":
            with pytest.raises(UsageError, match="holds no run that can be judged"):
                judge_run(RunDir(path))
            continue
        summary = judge_run(RunDir(path))
        assert (summary.verdict, summary.trusted) == ("INCONCLUSIVE", False), name
        assert f"events.jsonl: line {number + 1} is damaged" in " ".join(summary.reasons), name


@pytest.mark.parametrize("damaged", ["{", "null", "3", '"text"', "[]", "{}", '{"event": 3}', "\x00\x00"])
def test_what_is_no_event_is_damage_and_a_last_line_that_was_cut_off_is_none(damaged: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"event": "run"}}\n{damaged}\n{{"event": "end"}}\n{{"event": "e')
    assert [each["event"] for each in EventLog.read(path)] == ["run", "problem", "end"]


def test_an_event_with_another_key_is_no_run_that_can_be_judged(killed: Path, tmp_path: Path) -> None:
    """As another version may have written it. It is told, and is no traceback."""
    path = shutil.copytree(killed, tmp_path / "run")
    events = path / "events.jsonl"
    events.write_text(events.read_text().replace('"spawned_ns"', '"begun_ns"', 1))
    with pytest.raises(
        UsageError, match=r"its events, plan or scenario are not as they are written: there is no 'spawned_ns'"
    ) as told:
        judge_run(RunDir(path))
    assert "another version" in str(told.value.hint)
