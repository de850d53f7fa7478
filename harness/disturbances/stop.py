"""The fault `stop`: all processes of the server are stopped, and go on later."""

from __future__ import annotations

import time

import psutil

from harness.disturbances.disturbance import DidNotLand, Disturbance, Receipt
from harness.processes import alive, freeze, is_stopped, thaw
from harness.servers import ServerUnderTest

__all__ = ["Stop"]


class Stop(Disturbance):
    """SIGSTOP, then SIGCONT. That they are stopped is seen in /proc, of each thread."""

    def __init__(self, server: ServerUnderTest) -> None:
        self._server = server
        self._members: list[psutil.Process] = []
        self._landed_ns = 0
        self._continued_ns = 0

    def begin(self) -> str:
        """Stops them. Whoever was born while the others were being stopped is stopped too."""
        self._members = self._server.members()
        is_stopped_all = freeze(self._members)
        self._members = self._server.members()
        if not (is_stopped_all and freeze(self._members)):
            self.end()
            raise DidNotLand("not all processes of the server could be stopped within 2 s")
        self._landed_ns = time.monotonic_ns()
        return f"SIGSTOP to {len(self._members)} processes of boot {self._server.boot}"

    def landed(self) -> Receipt | None:
        """Their states."""
        states = {str(each.pid): each.status() for each in self._members if alive(each)}
        return {"at_ns": self._landed_ns, "signals": ["SIGSTOP"], "states": states}

    def end(self) -> None:
        """Lets them go on."""
        self._continued_ns = self._continued_ns or time.monotonic_ns()
        thaw(self._members)

    def ended(self) -> Receipt | None:
        """None of them is stopped any more."""
        left = [each.pid for each in self._members if alive(each) and is_stopped(each.pid)]
        return None if left else {"at_ns": self._continued_ns, "signals": ["SIGSTOP", "SIGCONT"]}

    def why_not_ended(self) -> str:
        """Who does not go on."""
        left = [str(each.pid) for each in self._members if alive(each) and is_stopped(each.pid)]
        return f"still stopped: {', '.join(left)}"
