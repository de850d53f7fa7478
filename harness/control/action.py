"""What every command has in common while it is being done: it is begun, and asked again and again whether it has landed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

__all__ = ["Action", "Landed", "Refused"]


class Refused(Exception):
    """A command that is not done; why, in words."""


@dataclass(frozen=True, slots=True)
class Landed:
    """The proof that it is done."""

    at_ns: int  # since when, CLOCK_MONOTONIC
    detail: str  # what it did


class Action(ABC):
    """One command that is being done. Nothing here waits: the session goes on meanwhile."""

    @abstractmethod
    def begin(self) -> None:
        """Asks whoever has to do it. Raises Refused."""

    @abstractmethod
    def landed(self) -> Landed | None:
        """The proof; None: not yet. Raises Refused."""
