"""What can go wrong in a run, as a tree.

RunError                      afterload could not do its work            exit status 1
├── UsageError                what was asked for makes no sense          exit status 2
├── ChildDied                 a process ended before it was ready        exit status 1
├── ChildNotReady             a process did not get ready in time        exit status 1
└── Interrupted               a signal ended the run                     exit status 128 + its number
"""

from __future__ import annotations

import signal

__all__ = ["ChildDied", "ChildNotReady", "Interrupted", "RunError", "UsageError"]


class RunError(Exception):
    """A run that could not be done. `hint` says what to try."""

    exit_status = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(RunError):
    """What was asked for makes no sense; nothing was started."""

    exit_status = 2


class ChildDied(RunError):
    """A process that belongs to the run ended before it was ready."""


class ChildNotReady(RunError):
    """A process that belongs to the run did not get ready in time."""


class Interrupted(RunError):
    """A signal ended the run."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.exit_status = 128 + number
        super().__init__(f"interrupted by {self.signal.name}")
