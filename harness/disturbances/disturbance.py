"""What every fault that does not end the boot by itself has in common: it begins, is proved, ends, and that is proved too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["DidNotLand", "Disturbance", "Receipt"]

Receipt = dict[str, Any]
"""What proves something, as JSON; `at_ns`, if it is there, is when it was so."""


class DidNotLand(Exception):
    """A fault that could not be done; the reason in words."""


class Disturbance(ABC):
    """One fault of that sort. Nothing here waits: the session goes on and asks again and again."""

    about_server = True
    """Whether it is over when the boot is."""

    is_boot_over = False
    lands_within_s = 2.0
    ends_within_s = 5.0

    @abstractmethod
    def begin(self) -> str:
        """Does it, and says in words what. Raises DidNotLand."""

    @abstractmethod
    def landed(self) -> Receipt | None:
        """The proof that it is so; None: not yet. Raises DidNotLand."""

    @abstractmethod
    def end(self) -> None:
        """Takes it back. Also called if it has not landed, or if the run is being given up; more than once does no harm."""

    @abstractmethod
    def ended(self) -> Receipt | None:
        """The proof that it is over; None: not yet."""

    def why_not_ended(self) -> str:
        """What is still missing, in words."""
        return ""

    def boot_ended(self) -> None:
        """Its boot has ended."""
        self.is_boot_over = True
