"""The faults `slow-world` and `dead-world`: what the tasks talk to answers late, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from harness.disturbances.disturbance import DidNotLand, Disturbance, Receipt
from harness.talk import Talk

__all__ = ["WorldControl", "WorldTrouble"]


class WorldControl:
    """What is said to the world's process, and what it says of it."""

    def __init__(self, talk: Talk, can: Sequence[str]) -> None:
        """`can`: the faults that this world knows."""
        self.can = tuple(can)
        self._talk = talk
        self._heard: list[dict[str, Any]] = []

    def say(self, number: int, fault: str, *, on: bool, delay_s: float) -> None:
        """Turns a fault on or off. `number` is that of the fault."""
        self._talk.say({"number": number, "fault": fault, "on": on, "delay_s": delay_s})

    def answer(self, number: int, *, on: bool) -> dict[str, Any] | None:
        """What the world said to that, if it did already."""
        while (message := self._talk.listen()) is not None:
            self._heard.append(message)
        return next((each for each in self._heard if each["number"] == number and each["on"] == on), None)


class WorldTrouble(Disturbance):
    """The world itself says that it has done it and how often it was felt. That it is dead is tried from outside as well."""

    about_server = False

    def __init__(self, control: WorldControl, number: int, fault: str, delay_s: float) -> None:
        self._control = control
        self._number = number
        self._fault = fault
        self._delay_s = delay_s
        self._servers: list[tuple[str, int]] = []
        self._is_over = False

    def begin(self) -> str:
        """Tells the world."""
        self._control.say(self._number, self._fault, on=True, delay_s=self._delay_s)
        return f"its servers answer {self._delay_s:g} s later" if self._fault == "slow-world" else "its servers are gone"

    def landed(self) -> Receipt | None:
        """What the world said; and, where it is dead, that connections are refused."""
        said = self._control.answer(self._number, on=True)
        if said is None:
            return None
        self._servers = [(host, port) for host, port in said["servers"]]
        receipt: Receipt = {"at_ns": said["at_ns"], "servers": [f"{host}:{port}" for host, port in self._servers]}
        if self._fault == "slow-world":
            return {**receipt, "delay_s": self._delay_s}
        if taken := [f"{host}:{port}" for host, port in self._servers if _is_taken(host, port)]:
            raise DidNotLand(f"{', '.join(taken)} still took connections")
        return {**receipt, "refused": len(self._servers), "dropped": said["dropped"]}

    def end(self) -> None:
        """Tells the world."""
        if not self._is_over:
            self._is_over = True
            self._control.say(self._number, self._fault, on=False, delay_s=0.0)

    def ended(self) -> Receipt | None:
        """What the world said; and, where it was dead, that connections are taken again."""
        said = self._control.answer(self._number, on=False)
        if said is None:
            return None
        if self._fault == "slow-world":
            return {"at_ns": said["at_ns"], "late_answers": said["late"]}
        return {"at_ns": said["at_ns"]} if all(_is_taken(host, port) for host, port in self._servers) else None


def _is_taken(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.2):
            return True
    except OSError:
        return False
