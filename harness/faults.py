"""Planned faults: how they are written, and what each does to the server."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from harness.durations import parse_duration_s, show_duration

__all__ = ["KINDS", "FaultPlan", "parse_fault"]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What a fault sends, to whom, and whether the server may still do something about it."""

    signal: signal.Signals
    group: bool  # to all its processes, as a terminal's Ctrl-C or a kill of the container; otherwise to the first alone
    drains: bool  # the server is expected to finish what it accepted
    freezes: bool  # all its processes are stopped first, so that what is about to be lost can be counted exactly
    help: str


KINDS: dict[str, FaultKind] = {
    "kill": FaultKind(signal.SIGKILL, group=True, drains=False, freezes=True, help="freeze, count, then SIGKILL: an exact crash"),
    "crash": FaultKind(
        signal.SIGKILL, group=True, drains=False, freezes=False, help="SIGKILL out of the blue, without freezing first"
    ),
    "parent": FaultKind(
        signal.SIGKILL,
        group=False,
        drains=False,
        freezes=False,
        help="SIGKILL to the process that was started and to none that it started itself",
    ),
    "term": FaultKind(signal.SIGTERM, group=False, drains=True, freezes=False, help="SIGTERM, as a deploy sends it"),
    "int": FaultKind(signal.SIGINT, group=True, drains=True, freezes=False, help="SIGINT, as Ctrl-C sends it"),
}


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """One fault, and when."""

    name: str
    at_s: float  # after load start

    @property
    def kind(self) -> FaultKind:
        """What it does."""
        return KINDS[self.name]

    def __str__(self) -> str:
        return f"{self.name}@{show_duration(self.at_s)}"


def parse_fault(text: str) -> FaultPlan:
    """Reads `kill@6s`. Raises ValueError naming what is allowed."""
    name, at, when = text.partition("@")
    if name not in KINDS or not at:
        allowed = ", ".join(f"{kind}@TIME" for kind in KINDS)
        msg = f"{text!r} is no fault; allowed are {allowed}, TIME counted from the start of the load, e.g., kill@6s"
        raise ValueError(msg)
    return FaultPlan(name, parse_duration_s(when))
