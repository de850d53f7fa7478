"""The server under test over its boots: started, made ready, hit by faults, started again, stopped.

Every step leaves its receipt in the event log.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable

import psutil

from harness.engines import Engine, Start
from harness.errors import RunError, UsageError
from harness.faults import FaultPlan
from harness.grouping import TaskState, chunks, states
from harness.processes import Child, freeze, kill_all, survivors
from harness.rows import Gauge, LivePage, RowFileError, read_rows
from harness.rundir import EventLog, RunDir

__all__ = ["ServerUnderTest", "free_port"]

HOST = "127.0.0.1"
READY_S = 30.0
FORCE_AFTER_S = 5.0
"""Beyond its own drain deadline a server gets this long to end before it is killed."""

_KILL_S = 10.0
_HURRY_S = 3.0
_POLL_S = 0.005


class ServerUnderTest:
    """One server, one boot after another, always on the same port."""

    def __init__(
        self,
        engine: Engine,
        rundir: RunDir,
        events: EventLog,
        *,
        port: int,
        scenario: str,
        tick: Callable[[], None],
    ) -> None:
        """`tick` is called about every 5 ms during a wait. `port` 0 takes a free one."""
        self._engine = engine
        self._rundir = rundir
        self._events = events
        self._scenario = scenario
        self._tick = tick
        self.port = port or free_port()
        self.boot = 0
        self.child: Child | None = None
        self.page: LivePage | None = None
        self.process: psutil.Process | None = None

    def start(self) -> None:
        """Starts the next boot and waits until it is ready. Raises ChildDied or ChildNotReady."""
        self.boot += 1
        start = Start(HOST, self.port, self.boot, self._rundir.tasks(self.boot), self._scenario)
        name = f"server-{self.boot}"
        self.child = child = Child(
            name, self._engine.command(start), self._rundir.log(name), run_id=self._rundir.run_id, env=self._engine.env(start)
        )
        self._close_page()
        self._events.write("boot_spawned", boot=self.boot, pid=child.pid, spawned_ns=child.spawned_ns)
        self.process = psutil.Process(child.pid)
        end = time.monotonic() + READY_S
        while (ready_ns := self._ready_ns()) is None:
            if child.poll() is not None:
                self._reaped()
                raise child.died("before it was ready")
            if time.monotonic() > end:
                self._kill(fault=False)
                raise child.not_ready(READY_S)
            self._tick()
            time.sleep(_POLL_S)
        self._events.write("boot_ready", boot=self.boot, ready_ns=ready_ns)

    def tell_scenario(self, scenario: str) -> None:
        """Sets what boots from now on are told of the scenario, once its world has addresses."""
        self._scenario = scenario

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self.child is not None and self.child.poll() is None

    def note_own_death(self) -> str | None:
        """Writes down a death that nobody planned, and says so; None while the server lives."""
        if self.child is None or self.is_up or self.child.exit is None:
            return None
        self._reaped()
        self._check_gone([])
        text = str(self.child.died("on its own, in the middle of the run"))
        self.child = None
        return text

    def hit(self, fault: FaultPlan) -> None:
        """Does `fault` to the server, waits for its end and writes it down. The next boot is the caller's to start.

        Raises RunError if the server had died on its own before.
        """
        child = self.child
        if death := self.note_own_death():
            self._receipt(fault, None, "the server had died before")
            raise RunError(death)
        assert child is not None, "a fault comes between start() and stop()"
        kind = fault.kind
        members = child.members()
        if kind.freezes:
            frozen_ns = time.monotonic_ns()
            is_frozen = freeze(members)
            # Whoever was born while the others were being frozen is frozen too; then nothing of the server moves any more.
            members = child.members()
            if not (is_frozen and freeze(members)):
                self._receipt(fault, None, "not all processes of the server could be frozen within 2 s")
                self._kill(fault=True)
                return
            self._predict(frozen_ns)
        signalled_ns = time.monotonic_ns()
        self._events.write("boot_signalled", boot=self.boot, signal=kind.signal.name, fault=True, signalled_ns=signalled_ns)
        if kind.signal is signal.SIGKILL:
            kill_all(members)
        else:
            child.signal(kind.signal, group=kind.group)
        patience_s = _KILL_S if kind.signal is signal.SIGKILL else self._engine.drain_s + FORCE_AFTER_S
        if child.wait(patience_s, self._tick) is None:
            self._events.write("problem", text=self._too_slow(kind.signal, patience_s))
            child.kill()
        self._reaped()
        self._check_gone(members)
        self._receipt(fault, signalled_ns, "")
        self.child = None

    def stop(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Ends the server in good order at the end of a run: SIGTERM, its drain, then force; sooner in a hurry."""
        child = self.child
        if child is None:
            return
        members: list[psutil.Process] = []
        if self.is_up:
            members = child.members()
            self._events.write("boot_signalled", boot=self.boot, signal="SIGTERM", fault=False, signalled_ns=time.monotonic_ns())
            child.signal(signal.SIGTERM)
            patience_s = self._engine.drain_s + FORCE_AFTER_S
            if child.wait(patience_s, self._tick, until=is_hurried) is None and not is_hurried():
                self._events.write("problem", text=self._too_slow(signal.SIGTERM, patience_s))
            if child.wait(_HURRY_S if is_hurried() else 0.0, self._tick) is None:
                child.kill()
        self._reaped()
        self._check_gone(members)
        self.child = None

    def unfinished(self) -> tuple[int, int]:
        """Tasks of this boot that were accepted and not started, and that were started and have not ended; 0 without rows."""
        try:
            return self._count_unfinished()
        except (OSError, RowFileError):
            return 0, 0

    def pending(self) -> int:
        """Tasks of this boot that have not ended; from its gauges, or from its rows if it keeps none."""
        page = self.live_page()
        if page is not None and page.gauge(Gauge.ACCEPTED):
            ended = sum(page.gauge(gauge) for gauge in (Gauge.FINISHED, Gauge.FAILED, Gauge.DROPPED))
            return max(0, page.gauge(Gauge.ACCEPTED) - ended)
        return sum(self.unfinished())

    def live_page(self) -> LivePage | None:
        """The gauges of the newest boot; None if it has none (yet)."""
        if self.page is None and self.boot:
            try:
                self.page = LivePage(self._rundir.tasks(self.boot))
            except (OSError, RowFileError):
                return None
        return self.page

    def close(self) -> None:
        """Lets go of the gauge page; kills what still runs."""
        if self.child is not None and self.is_up:
            self._kill(fault=False)
        self._close_page()

    def _ready_ns(self) -> int | None:
        if self._engine.ready_by_page:
            page = self.live_page()
            return (page.gauge(Gauge.READY) or None) if page is not None else None
        return time.monotonic_ns() if _answers(self.port) else None

    def _kill(self, *, fault: bool) -> None:
        assert self.child is not None
        self._events.write("boot_signalled", boot=self.boot, signal="SIGKILL", fault=fault, signalled_ns=time.monotonic_ns())
        members = self.child.members()
        self.child.kill()
        self._reaped()
        self._check_gone(members)
        self.child = None

    def _reaped(self) -> None:
        assert self.child is not None
        if self.child.exit is not None:
            self._events.write(
                "boot_reaped",
                boot=self.boot,
                reaped_ns=self.child.exit.reaped_ns,
                exit_status=self.child.exit.status,
                forced=self.child.exit.forced,
            )

    def _check_gone(self, members: list[psutil.Process]) -> None:
        assert self.child is not None
        left = survivors(self.child.mark, members)
        # Looked at before the survivors are ended: a port that one of them still serves is the thing to be told.
        port_free = not _answers(self.port)
        self._events.write(
            "boot_checked",
            boot=self.boot,
            port_free=port_free,
            survivors=[{"pid": survivor.pid, "command": survivor.command} for _, survivor in left],
        )
        kill_all(process for process, _ in left)
        # The next boot needs the port that they may have held.
        psutil.wait_procs([process for process, _ in left], timeout=FORCE_AFTER_S)

    def _receipt(self, fault: FaultPlan, landed_ns: int | None, detail: str) -> None:
        self._events.write("fault", name=fault.name, planned_s=fault.at_s, landed_ns=landed_ns, boot=self.boot, detail=detail)

    def _too_slow(self, number: signal.Signals, waited_s: float) -> str:
        return f"boot {self.boot} had not ended {waited_s:g} s after {number.name} and was killed"

    def _predict(self, frozen_ns: int) -> None:
        # Of all rows, also those that no client of this run sent: the server cannot tell them apart.
        queued: int | None = None
        running: int | None = None
        # An engine without rows: then nothing is predicted.
        with contextlib.suppress(OSError, RowFileError):
            queued, running = self._count_unfinished()
        self._events.write("boot_frozen", boot=self.boot, frozen_ns=frozen_ns, queued=queued, running=running)

    def _count_unfinished(self) -> tuple[int, int]:
        file = read_rows(self._rundir.tasks(self.boot))
        queued = running = 0
        for rows in chunks(file):
            found = states(rows, reaped=True)
            queued += int((found == TaskState.NEVER_STARTED).sum())
            running += int((found == TaskState.INTERRUPTED).sum())
        return queued, running

    def _close_page(self) -> None:
        if self.page is not None:
            self.page.close()
            self.page = None


def require_free(port: int) -> None:
    """Raises UsageError if `port` is taken; 0 is always free."""
    if port and not _bindable(port):
        raise UsageError(f"port {port} on {HOST} is in use", "choose another one with --port, or leave it out to take a free one")


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0
