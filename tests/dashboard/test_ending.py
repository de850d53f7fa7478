"""What is said of a run when the screen has gone, and with which exit status."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from dashboard.ending import tell_end
from dashboard.watching import Mode, Watching


@pytest.mark.parametrize("mode", [Mode.ATTACHED, Mode.OWN])
def test_a_run_that_has_ended_without_a_summary_is_not_said_to_go_on(
    mode: Mode, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody holds its directory: it has crashed."""
    (runs["killed"] / "summary.json").unlink()
    assert tell_end(Watching(runs["killed"], mode), None, ended_by=None) == 1
    assert "ended without a summary" in (told := capsys.readouterr().err)
    assert "afterload report runs/killed" in told
    assert "goes on" not in told


def test_a_run_that_somebody_holds_goes_on(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (runs["killed"] / "summary.json").unlink()
    folder = os.open(runs["killed"], os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        assert tell_end(Watching(runs["killed"], Mode.ATTACHED), None, ended_by=None) == 0
    finally:
        os.close(folder)
    assert "the run goes on: afterload attach runs/killed" in capsys.readouterr().err


def test_a_run_that_has_been_judged_is_told_with_its_summary(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert tell_end(Watching(runs["killed"], Mode.ATTACHED), None, ended_by=None) == 0
    assert "run directory: runs/killed" in capsys.readouterr().out
