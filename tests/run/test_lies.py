"""A measuring tool that can be lied to is worse than nothing: each planted lie must be caught, and none may end as PASS."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.engines import Engine, Start, bundled
from harness.evidence import judge_run
from harness.plan import Plan
from harness.ports import free_port
from harness.processes import group
from harness.rows import read_rows
from harness.rundir import RunDir
from harness.schema import Summary
from harness.session import Outcome
from tests.judged import LATE
from tests.run.conftest import LIARS, liar, started

Session = Callable[..., Outcome]


def broken(summary: Summary) -> set[str]:
    return {invariant.id for invariant in summary.invariants if not invariant.holds}


def reasons(summary: Summary) -> str:
    return " ".join(summary.reasons)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run with a kill, which passed."""
    for _ in range(6):  # on a busy machine the load of one may be late
        outcome = started(tmp_path_factory.mktemp("honest"), faults=("kill@1s",))
        if outcome.summary.verdict == "PASS":
            return outcome.rundir.path
    raise AssertionError(reasons(outcome.summary))


@pytest.fixture
def kept(honest: Path, tmp_path: Path) -> RunDir:
    """A copy of it, to be damaged."""
    return RunDir(shutil.copytree(honest, tmp_path / "run"))


def assert_nothing_is_wrong(summary: Summary) -> None:
    """No lie was seen. That the machine was busy, and the load late, is none."""
    assert broken(summary) == set()
    assert all(LATE.match(reason) for reason in summary.reasons), reasons(summary)


def test_the_honest_version_of_the_lying_server_passes(session: Session) -> None:
    """The tests below fail for the lie and for nothing else."""
    summary = session(liar("none"), faults=("kill@1s",)).summary

    assert_nothing_is_wrong(summary)
    assert summary.tasks.accepted == summary.requests.acked > 0


def test_a_server_that_answers_before_it_records_is_caught(session: Session) -> None:
    """Accepted comes before the answer, or an acknowledged task could be missing from the account."""
    summary = session(liar("late")).summary

    assert summary.verdict == "INCONCLUSIVE"
    assert "1" in broken(summary)


def test_a_server_that_answers_before_it_records_is_caught_after_a_kill_too(session: Session) -> None:
    """Then some acknowledged requests are in no row at all."""
    summary = session(liar("late"), faults=("kill@1s",)).summary

    assert summary.verdict == "INCONCLUSIVE"
    assert "1" in broken(summary)


def test_a_server_that_records_and_never_answers_is_caught(session: Session) -> None:
    """An unanswered request that no outage explains makes a run inconclusive; its work was done and is told as recovered."""
    summary = session(liar("silent"), request_timeout_s=0.5).summary

    assert summary.verdict == "INCONCLUSIVE"
    assert "never answered" in reasons(summary)
    assert summary.requests.indeterminate > 0
    assert summary.tasks.recovered == summary.requests.indeterminate


def test_a_client_that_resends_in_silence_is_caught(session: Session) -> None:
    """One attempt cannot be accepted twice."""

    def engine(plan: Plan) -> Engine:
        honest = bundled(plan)

        def command(start: Start) -> list[str]:
            behind = free_port()
            return [
                honest.command(start)[0],
                str(LIARS / "resender.py"),
                str(start.port),
                *honest.command(replace(start, port=behind)),
            ]

        return replace(honest, command=command)

    summary = session(engine).summary

    assert summary.verdict == "INCONCLUSIVE"
    assert "1" in broken(summary)


@pytest.mark.parametrize("cut", ["in the middle of a row", "between two rows"])
def test_a_truncated_row_file_is_caught(kept: RunDir, cut: str) -> None:
    """A file that was cut says less than its header claims."""
    assert judge_run(kept).verdict == "PASS"
    path = kept.tasks(1)
    rows = read_rows(path).rows
    assert len(rows) > 4

    os.truncate(path, 16_384 + 64 * (len(rows) // 2) + (20 if cut == "in the middle of a row" else 0))
    summary = judge_run(kept)

    assert summary.verdict == "INCONCLUSIVE"
    assert "8" in broken(summary)


def test_a_process_that_was_killed_before_it_had_a_header_is_no_contradiction(kept: RunDir) -> None:
    """A worker that had just begun: it had claimed no row. One that has claimed rows and has no header is caught."""
    begun = kept.path / "tasks-1-99999.rows"
    begun.write_bytes(bytes(16_384))
    assert judge_run(kept).model_dump(mode="json") == json.loads(kept.summary.read_text())

    begun.write_bytes(bytes(56) + (1).to_bytes(8, "little") + bytes(16_384))
    assert judge_run(kept).verdict == "INCONCLUSIVE"


def test_a_missing_row_file_is_caught(kept: RunDir) -> None:
    """Without the server's witness nothing can be said."""
    kept.tasks(2).unlink()

    assert judge_run(kept).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("event", ["fault", "boot_reaped", "load_done", "end"])
def test_a_damaged_or_missing_event_is_caught(kept: RunDir, event: str) -> None:
    """What the session saw is evidence too: a line that cannot be read, or that is gone, makes no better run."""
    lines = kept.events.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if f'"event": "{event}"' in line)

    kept.events.write_text("".join([*lines[:place], lines[place][:30] + "\n", *lines[place + 1 :]]))
    assert judge_run(kept).verdict == "INCONCLUSIVE"
    kept.events.write_text("".join([*lines[:place], *lines[place + 1 :]]))
    assert judge_run(kept).verdict == "INCONCLUSIVE"


def test_a_child_that_left_the_session_is_killed_with_the_server(session: Session) -> None:
    """Neither a new session nor a cleared environment hides a descendant."""
    summary = session(liar("escape"), faults=("kill@1s",)).summary

    assert_nothing_is_wrong(summary)


def test_a_child_that_survives_the_kill_is_caught(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness that kills only what it started measures nonsense afterwards: that must be told, and the child ended."""
    members: Any = group.snapshot

    def only_the_leader(leader: int | None, mark: str) -> list[Any]:
        return [process for process in members(leader, mark) if process.pid == leader]

    monkeypatch.setattr("harness.processes.child.snapshot", only_the_leader)

    outcome = session(liar("escape"), faults=("kill@1s",))

    assert outcome.summary.verdict == "INCONCLUSIVE"
    assert "outlived" in reasons(outcome.summary)
    assert "port" in reasons(outcome.summary)
    (survivor,) = outcome.summary.boots[0].survivors
    assert not Path(f"/proc/{survivor.split()[0]}").exists()
