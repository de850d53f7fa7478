"""Faults that replace processes of a server which goes on: `worker` one of them, `rolling` all in turn, `hup` as it likes."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Final

import psutil

from harness.disturbances.disturbance import DidNotLand, Disturbance, Receipt
from harness.pages import unfinished
from harness.processes import alive, freeze
from harness.rows import RowFileError
from harness.rundir import EventLog
from harness.servers import ServerUnderTest

__all__ = ["HangUp", "OneWorker", "Replacing", "Rolling"]

_GOES_ON_S: Final = 3.0
"""A server that still listens so long after SIGHUP, with the same processes, has not taken it for an order."""

_LOOK_NS: Final = 200_000_000


class Replacing(Disturbance):
    """Watches processes that are to end, and others that come in their place. If the whole boot ends by it, that is told."""

    number = signal.SIGHUP

    def __init__(self, server: ServerUnderTest, events: EventLog) -> None:
        self._server = server
        self._events = events
        self.boot = server.boot
        self.pid = 0  # who was signalled
        self.signalled_ns = 0
        self.going: list[psutil.Process] = []
        self.dead_ns: dict[int, int] = {}
        self._n_before = 0
        self.ends_within_s = server.patience_s + server.ready_s

    def watch(self, pids: list[int], n_before: int) -> None:
        """From now on these processes are expected to end; `n_before` served."""
        self._n_before = n_before
        self._server.expect_end_of(pids)
        with contextlib.suppress(psutil.NoSuchProcess):
            self.going = [psutil.Process(pid) for pid in pids]

    def look(self) -> None:
        """Writes down who has ended since."""
        for process in self.going:
            if process.pid not in self.dead_ns and not alive(process):
                self.dead_ns[process.pid] = time.monotonic_ns()
                self._events.write("worker_ended", boot=self.boot, pid=process.pid, ended_ns=self.dead_ns[process.pid])

    def landed(self) -> Receipt | None:
        """At once: what comes of it is seen later."""
        return {"at_ns": self.signalled_ns, "pid": self.pid, "signal": self.number.name}

    def end(self) -> None:
        """There is nothing to take back."""

    def ended(self) -> Receipt | None:
        """All that were to end have ended, and as many serve as before."""
        self.look()
        if self.is_boot_over:
            return {"ended_with_its_boot": True}
        serving = [pid for pid in self._server.serving() if pid not in self.dead_ns]
        if len(self.dead_ns) < len(self.going) or len(serving) < self._n_before:
            return None
        return {"replaced": sorted(self.dead_ns), "serving": serving}

    def why_not_ended(self) -> str:
        """Who is still there, and how many serve."""
        left = [str(process.pid) for process in self.going if process.pid not in self.dead_ns]
        still = f"still there: {', '.join(left)}; " if left else ""
        return f"{still}{len(self._server.serving())} processes serve, and {self._n_before} did before"

    def boot_ended(self) -> None:
        """The others that were to end have ended with it."""
        self.look()
        super().boot_ended()


class OneWorker(Replacing):
    """A signal to the process that has most left to do; none that was started by afterload itself, and not the only one."""

    def __init__(self, server: ServerUnderTest, events: EventLog, how: str) -> None:
        super().__init__(server, events)
        self.number = signal.SIGKILL if how == "kill" else signal.SIGTERM
        self._counted: Receipt = {}

    def begin(self) -> str:
        """Chooses it; for a kill, stops it and counts what it holds. Then signals it."""
        serving = self._server.serving()
        pages = self._server.pages.living()
        first = self._server.child.pid if self._server.child is not None else 0
        choice = sorted(pid for pid in serving if pid != first and pid in pages)
        if not choice or len(serving) < 2:
            told = "no process of the server tells that it serves" if not serving else "only one process of the server serves"
            raise DidNotLand(told)
        left = {pid: sum(_unfinished(self._server, pid) or (0, 0)) for pid in choice}
        self.pid = max(choice, key=lambda pid: left[pid])
        process = psutil.Process(self.pid)
        if self.number is signal.SIGKILL:
            # Its own supervisor may replace it as soon as it is dead: what it held has to be counted before.
            if not freeze([process]):
                process.send_signal(signal.SIGCONT)
                raise DidNotLand(f"process {self.pid} could not be stopped within 2 s")
            if (counted := _unfinished(self._server, self.pid)) is not None:
                self._counted = {"queued": counted[0], "running": counted[1]}
        else:
            self._server.pages.announce_stop(self.pid)
        self.watch([self.pid], len(serving))
        self.signalled_ns = time.monotonic_ns()
        process.send_signal(self.number)
        return f"{self.number.name} to worker {self.pid}, one of {len(serving)}"

    def landed(self) -> Receipt | None:
        """One that is killed has landed when it is dead; one that is asked, when it was."""
        self.look()
        if self.number is signal.SIGKILL and self.pid not in self.dead_ns:
            return None
        dead = {"dead_ns": self.dead_ns[self.pid]} if self.pid in self.dead_ns else {}
        return {"at_ns": self.signalled_ns, "pid": self.pid, "signal": self.number.name, **dead, **self._counted}


class Rolling(Replacing):
    """SIGHUP to the first process of a server that is known to replace its workers then."""

    def begin(self) -> str:
        """Asks for it."""
        serving = self._server.serving()
        child = self._server.child
        if not serving or child is None or serving == [child.pid]:
            raise DidNotLand("no process of the server tells that it serves beside the first one")
        self.pid = child.pid
        self.watch([pid for pid in serving if pid != child.pid], len(serving))
        self.ends_within_s *= len(serving)
        self.signalled_ns = time.monotonic_ns()
        child.signal(signal.SIGHUP)
        return f"SIGHUP to pid {self.pid}, which has {len(serving)} workers"


class HangUp(Replacing):
    """SIGHUP to the first process, whatever it makes of it."""

    _known: frozenset[int] = frozenset()
    _next_look_ns = 0

    def begin(self) -> str:
        """Sends it."""
        child = self._server.child
        assert child is not None
        self.pid = child.pid
        serving = self._server.serving()
        self._known = frozenset(process.pid for process in self._server.members())
        self.watch([pid for pid in serving if pid != child.pid], len(serving))
        self.signalled_ns = time.monotonic_ns()
        child.signal(signal.SIGHUP)
        return f"SIGHUP to pid {self.pid}"

    def ended(self) -> Receipt | None:
        """All is replaced, or nothing has come of it. A server that closes its port is going to end."""
        if self.going and (replaced := super().ended()) is not None:
            return {**replaced, "outcome": "replaced"}
        self.look()
        if self.is_boot_over:
            return {"outcome": "ended"}
        now = time.monotonic_ns()
        if now < max(self.signalled_ns + _GOES_ON_S * 1e9, self._next_look_ns):
            return None
        # Seldom: looking for new processes goes through all of the machine.
        self._next_look_ns = now + _LOOK_NS
        if any(self._signs_of_change()):
            return None
        return {"outcome": "went on"}

    def _signs_of_change(self) -> Iterator[bool]:
        yield bool(self.dead_ns)
        yield not self._server.is_open
        yield any(process.pid not in self._known for process in self._server.members())


def _unfinished(server: ServerUnderTest, pid: int) -> tuple[int, int] | None:
    page = server.pages.living().get(pid)
    if page is None:
        return None
    try:
        return unfinished([page.path])
    except (OSError, RowFileError):
        return None
