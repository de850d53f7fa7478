"""Findings of a run that is too large to look for them beside a screen are looked for in a process of their own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.live import history as of_history
from harness.live.finder import Finder
from harness.live.frame import Look
from harness.live.history import History
from harness.schema import Finding
from tests.live.test_recorded import unpacked

NAME = "killed"


def taken(finder: Finder) -> tuple[int, tuple[Finding, ...] | None]:
    end = time.monotonic() + 60
    while (found := finder.take()) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_they_are_those_that_are_found_here(tmp_path: Path):
    path = unpacked(NAME, tmp_path)
    history = History(path)
    history.refresh()
    at_ns = history._newest_ns
    finder = Finder(path)
    assert finder.take() is None
    finder.ask(at_ns)
    finder.ask(at_ns + 1)  # one at a time
    assert taken(finder) == (at_ns, history.found_at(at_ns))
    assert history.found_at(at_ns)
    assert finder.take() is None


def test_what_cannot_be_found_elsewhere_is_said_to_be_so(tmp_path: Path):
    finder = Finder(tmp_path / "gone")
    finder.ask(1)
    assert taken(finder) == (1, None)


def test_so_is_what_no_process_can_be_had_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As where there are too many of them; the next time it may be otherwise."""
    finder = Finder(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("harness.live.finder.sys.executable", str(tmp_path / "gone"))
        finder.ask(1)
    finder.ask(2)
    assert finder.take() == (1, None)
    assert finder.take() is None


def test_a_picture_does_not_wait_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It has those that are known; in the end those that are found here as well, also where no process can be had."""
    path = unpacked(NAME, tmp_path)
    (path / "summary.json").unlink(missing_ok=True)
    here = History(path)
    here.refresh()
    wanted = here.frame(Look(0.0, 60.0, 1.0)).findings
    assert wanted
    monkeypatch.setattr(of_history, "MANY_ROWS", 1)
    for is_well in (True, False):
        there = History(path)
        there.refresh()
        if not is_well:
            monkeypatch.setattr("harness.live.finder.sys.executable", "/bin/false")
        assert there.frame(Look(0.0, 60.0, 1.0)).findings == ()
        end = time.monotonic() + 60
        while (found := there.frame(Look(0.0, 60.0, 1.0)).findings) == () and time.monotonic() < end:
            time.sleep(0.05)
        assert found == wanted
        there.close()
