"""Two run directories compared by their rows: takes a second or more, so it is done in a thread."""

from __future__ import annotations

from pathlib import Path

from harness.compare.loading import read_run
from harness.compare.pairing import compare_runs
from harness.compare.record import Comparison

__all__ = ["compared"]


def compared(one: Path, other: Path) -> Comparison:
    """With intervals for what chance does within the two. Raises UsageError if one cannot be read."""
    return compare_runs([read_run(one.expanduser()), read_run(other.expanduser())])
