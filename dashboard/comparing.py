"""Two run directories compared by their rows: takes a second or more, so it is done in a thread."""

from __future__ import annotations

from pathlib import Path

from harness.compare.alike import unlike
from harness.compare.loading import read_run
from harness.compare.pairing import compare_runs
from harness.compare.record import Comparison
from harness.errors import UsageError

__all__ = ["compared"]


def compared(one: Path, other: Path) -> Comparison:
    """With intervals for what chance does within the two. Raises UsageError if one cannot be read, or the two are too unlike."""
    runs = [read_run(one.expanduser()), read_run(other.expanduser())]
    if why := unlike([run.summary for run in runs]):
        raise UsageError(f"these runs cannot be compared: {why}")
    return compare_runs(runs)
