"""Why a directory cannot be shown: an empty picture of something that is no run would look as if a run had just begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from harness.errors import UsageError
from harness.rundir import RunDir, is_held

__all__ = ["require_run", "runs_within"]

_MOST_NAMED: Final = 4
_DEPTHS: Final = ("*/events.jsonl", "*/*/events.jsonl", "*/*/*/events.jsonl")
"""A comparison has its runs two folders down, a search for the capacity one or two."""


def require_run(path: Path) -> None:
    """Raises UsageError for a directory that is none of a run, or of one whose rows have been removed. One that begins is one."""
    rundir = RunDir(path)
    if rundir.dropped.exists():
        raise UsageError(
            f"the run {path} cannot be shown: its rows were removed when a comparison had taken its figures",
            f"its figures are in {path / 'report.html'}; afterload compare --keep-runs keeps the rows as well",
        )
    # A comparison that goes on holds its directory too.
    is_run = _has_begun(path / "events.jsonl") or (is_held(path) and not (path / "design.json").exists())
    if is_run:
        return
    if within := [str(each) for each in runs_within(path)]:
        named = ", ".join(within[:_MOST_NAMED]) + (f" and {len(within) - _MOST_NAMED} more" if len(within) > _MOST_NAMED else "")
        raise UsageError(f"{path} is no run but holds some: {named}", "name one of them, or press H in afterload")
    raise UsageError(f"{path} is no run directory: there is no events.jsonl in it", "afterload runs lists those that there are")


def runs_within(path: Path) -> list[Path]:
    """The run directories below a directory that is none itself, e.g., those of a comparison. `latest` is no further one."""
    real = path.resolve()
    found = {events.parent for pattern in _DEPTHS for events in path.glob(pattern)}
    return sorted(each for each in found if each.resolve() == real / each.relative_to(path))


def _has_begun(events: Path) -> bool:
    """Whether a session has written its first line; of more nobody can be sure while it writes."""
    try:
        with events.open("rb") as file:
            first = json.loads(file.readline(1 << 20))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.get("event") == "run"
