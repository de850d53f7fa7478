"""One thing that `afterload doctor` looked at. A value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "State", "check"]

State = Literal["ok", "warning", "absent", "missing"]
"""`absent` is something that only some runs need; without what is `missing` there is no run at all."""


@dataclass(frozen=True, slots=True)
class Check:
    """What there is, and what to do about it."""

    name: str
    state: State
    text: str
    advice: str = ""


def check(name: str, text: str, advice: str) -> Check:
    """All right if there is nothing to advise, else a warning."""
    return Check(name, "warning" if advice else "ok", text, advice)
