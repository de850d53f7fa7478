"""The scenarios to choose from. Asked for early where somebody will choose: to answer takes longer than to make a screen."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

__all__ = ["FIRST", "Offer", "OfferedSetting", "Offers", "offers_of"]

FIRST: Final = "email"
"""The one that a newcomer should see first."""


@dataclass(frozen=True, slots=True)
class OfferedSetting:
    """Something of a scenario that can be set."""

    name: str
    default: str
    help: str
    allowed: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A scenario, and what it does when nothing else is asked for."""

    name: str
    summary: str
    story: str
    kinds: tuple[str, ...]
    plan: dict[str, Any]  # rate_per_s, duration_s, pool, faults
    settings: tuple[OfferedSetting, ...]


def offers_of(introduced: Sequence[dict[str, Any]]) -> list[Offer]:
    """From what `python -m scenarios list` says; the first one to try comes first."""
    offers = [
        Offer(
            name=each["name"],
            summary=each["summary"],
            story=each["story"],
            kinds=tuple(each["kinds"]),
            plan=each["plan"],
            settings=tuple(OfferedSetting(**setting) for setting in each["settings"]),
        )
        for each in introduced
    ]
    return sorted(offers, key=lambda each: each.name != FIRST)


class Offers:
    """Asks in a thread, once; whoever needs the answer waits for it."""

    def __init__(self) -> None:
        self._answer: Future[list[Offer]] = Future()
        self._is_asked = False

    def ask(self) -> None:
        """Begins to, unless that has been done."""
        if not self._is_asked:
            self._is_asked = True
            Thread(target=self._ask, name="offers", daemon=True).start()

    def wait(self) -> list[Offer]:
        """The scenarios. Raises RunError if they can't be asked for."""
        self.ask()
        return self._answer.result()

    @property
    def known(self) -> list[Offer]:
        """Those that are known by now."""
        is_there = self._answer.done() and self._answer.exception() is None
        return self._answer.result() if is_there else []

    def _ask(self) -> None:
        try:
            # Here, in the thread: where a run is followed nobody has asked yet, and nobody waits for the import.
            from harness.scenario import introduce_scenarios

            self._answer.set_result(offers_of(introduce_scenarios()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            self._answer.set_exception(error)
