"""Signals that ask a process of ours to end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ["Heard", "only_if_asked_twice", "told_to_end"]


@contextmanager
def told_to_end(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP go to `handle`, but for those that whoever started us (nohup) wants ignored."""
    before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class Heard:
    """The signal that was answered; None: none was."""

    number: int | None = None


@contextmanager
def only_if_asked_twice(answer: str) -> Iterator[Heard]:
    """For short work that is worth its end: the first signal gets `answer` on standard error, the second one ends the process.

    Whoever has more to do afterwards finds the first one in what this gives.
    """
    heard = Heard()

    def hear(number: int, frame: FrameType | None) -> None:
        if heard.number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        heard.number = number
        # Not by print: the signal may have come in the middle of one. A terminal that is gone needs no answer.
        with suppress(OSError, ValueError, AttributeError):
            os.write(sys.stderr.fileno(), f"\n{answer}\n".encode())

    with told_to_end(hear):
        yield heard
