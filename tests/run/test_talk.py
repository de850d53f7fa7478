"""The talk between session and children."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from harness.errors import ChildDied
from harness.processes import Child
from harness.talk import Talk


def child(folder: Path, code: str) -> Child:
    return Child("child", [sys.executable, "-c", code], folder / "child.log", run_id="talk", piped=True)


def test_what_a_child_said_last_is_heard_also_after_it_was_reaped(folder: Path) -> None:
    """A child that ends while another one is listened to."""
    speaker = child(folder, "print('{\"done\": true}')")
    talk = Talk(speaker, lambda: None)
    while speaker.poll() is None:
        time.sleep(0.01)

    assert talk.hear(1.0, "early") == {"done": True}
    with pytest.raises(ChildDied, match="status 0"):
        talk.hear(1.0, "early")
    speaker.stop(1.0)


def test_a_child_that_dies_silently_is_told_with_its_log(folder: Path) -> None:
    """Status, what it was doing, last words."""
    silent = child(folder, "import sys; sys.exit('the last words')")

    with pytest.raises(ChildDied, match=r"child exited with status 1 before it was ready(.|\n)*the last words"):
        Talk(silent, lambda: None).hear(5.0, "before it was ready")
    silent.stop(1.0)
