"""What is said of a run that ended without a summary."""

from __future__ import annotations

import signal
from pathlib import Path

from dashboard.child import RunChild
from dashboard.modals.error import ErrorModal
from harness.live.frame import Frame, Phase

__all__ = ["crash_of", "failure_of", "has_begun"]

_LINES = 12


def has_begun(frame: Frame | None) -> bool:
    """Whether there is anything of the run to be looked at."""
    return frame is not None and frame.phase is not Phase.START and frame.totals.attempted > 0


def failure_of(child: RunChild, status: int, frame: Frame | None) -> ErrorModal:
    """Of a run that was started here: what its process said last."""
    how = f"exit status {status}" if status < 128 else f"killed by {signal.Signals(status - 128).name}"
    is_crash = has_begun(frame) or status >= 128
    return ErrorModal(
        "The run has crashed" if is_crash else "The run could not begin",
        f"Its process ended ({how}) without a summary.",
        lines=child.last_lines(_LINES),
        hint=_hint(child.path) if has_begun(frame) else None,
    )


def crash_of(path: Path, frame: Frame) -> ErrorModal:
    """Of a run of somebody else: what its server said last."""
    return ErrorModal(
        "The run has crashed",
        frame.problem or "Nobody holds its directory any more, and there is no summary.",
        lines=[f"{line.source}: {line.text}" for line in frame.log[-_LINES:]],
        hint=_hint(path),
    )


def _hint(path: Path) -> str:
    return f"What was measured is kept: afterload report {path} judges it."
