"""The server under test over its boots: started, made ready, hit by faults, started again, stopped.

Every step leaves its receipt in the event log.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from harness.engines import Engine, Start
from harness.errors import ChildNotReady
from harness.faults import FaultPlan
from harness.model import SurvivingProcess
from harness.pages import BootPages, unfinished
from harness.ports import HOST, free_port
from harness.processes import Child, alive, freeze, kill_all, survivors
from harness.readiness import Answer, ask
from harness.rows import Gauge, RowFileError
from harness.rundir import EventLog, RunDir

__all__ = ["Landing", "ServerUnderTest"]

FORCE_AFTER_S = 5.0
"""Beyond its own drain deadline a server gets this long to end before it is killed."""

_KILL_S = 10.0
_HURRY_S = 3.0
_POLL_S = 0.005
_LOOK_EVERY_S = 0.05
_SETTLE_S = 0.5
_ORPHANS_S = 1.0
"""Processes that go on serving without the one that started them are not going to end by themselves."""

_LAST_WORDS_S = 2.0
_PORT_S = 2.0


@dataclass(frozen=True, slots=True)
class Landing:
    """The receipt of a fault that ended a boot."""

    landed_ns: int | None  # None: it did not land
    detail: str = ""  # why not
    receipt: dict[str, Any] | None = None


class ServerUnderTest:
    """One server, one boot after another, always on the same port."""

    def __init__(
        self,
        engine: Engine,
        rundir: RunDir,
        events: EventLog,
        *,
        port: int,
        host: str = HOST,
        scenario: str,
        tick: Callable[[], None],
    ) -> None:
        """`tick` is called about every 5 ms during a wait. `port` 0 takes a free one."""
        self._engine = engine
        self._rundir = rundir
        self._events = events
        self._scenario = scenario
        self._tick = tick
        self.host = host
        self.port = port or free_port(host)
        self.boot = 0
        self.pool: int | None = None
        """Threads that its later boots are started with, if that was changed."""
        self.child: Child | None = None
        self.pages = BootPages(rundir, 0)
        self.process: psutil.Process | None = None
        self.counted_before: Counter[Gauge] = Counter()
        """What the pages of earlier boots have counted."""
        self._told_dead: set[int] = set()
        self._served_to_the_end = False
        self._next_look_s = 0.0
        self._last_answer: Answer | None = None

    def start(self) -> None:
        """Starts the next boot and waits until it is ready. Raises ChildDied or ChildNotReady."""
        self.boot += 1
        start = Start(self.host, self.port, self.boot, self._rundir.tasks(self.boot), self._scenario, self.pool)
        name = f"server-{self.boot}"
        engine = self._engine
        self.child = child = Child(
            name,
            engine.command(start),
            self._rundir.log(name),
            run_id=self._rundir.run_id,
            env=engine.env(start),
            cwd=engine.cwd,
            is_own=engine.is_own,
        )
        for gauge in (Gauge.ACCEPTED, Gauge.FINISHED, Gauge.FAILED):
            self.counted_before[gauge] += self.pages.total(gauge)
        self.pages.close()
        self.pages = BootPages(self._rundir, self.boot)
        self._told_dead.clear()
        self._served_to_the_end = False
        self._events.write("boot_spawned", boot=self.boot, pid=child.pid, spawned_ns=child.spawned_ns)
        self.process = psutil.Process(child.pid)
        end = time.monotonic() + engine.ready_s
        while (ready_ns := self._ready_ns()) is None:
            if child.poll() is not None:
                self._reaped([])
                raise child.died("before it was ready")
            if time.monotonic() > end:
                raise self._give_up(child)
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

    @property
    def patience_s(self) -> float:
        """How long it may take to end when asked."""
        return self._engine.drain_s + (FORCE_AFTER_S if self._engine.keeps_deadline else 0.0)

    @property
    def ready_s(self) -> float:
        """How long a start may take."""
        return self._engine.ready_s

    @property
    def is_open(self) -> bool:
        """Whether something listens on its port."""
        return ask(self.host, self.port).is_open

    def members(self) -> list[psutil.Process]:
        """All its processes."""
        return self.child.members() if self.child is not None else []

    def serving(self) -> list[int]:
        """Pids of the processes that serve, as far as they tell."""
        self.pages.refresh()
        living = self.pages.living()
        says_ready = self._engine.ready_by == "page"
        return [pid for pid, page in living.items() if not says_ready or page.gauge(Gauge.READY)]

    def expect_end_of(self, pids: list[int]) -> None:
        """Deaths of these processes are somebody's doing, and not told as their own."""
        self._told_dead.update(pids)

    def note_own_death(self) -> str | None:
        """Writes down a death that nobody planned, and says so; None while the server lives."""
        if self.child is None or self.is_up or self.child.exit is None:
            return None
        self._reaped([])
        text = str(self.child.died("on its own, in the middle of the run"))
        self.child = None
        return text

    def note_dead_workers(self) -> list[int]:
        """Writes down the processes of the boot that ended on their own while it goes on; those not told before."""
        self.pages.refresh()
        found = [pid for pid in self.pages.dead_pids() if pid not in self._told_dead]
        # Whoever started it may be ending as well, and then it is no news of its own.
        if not found or not self.is_up:
            return []
        self._told_dead.update(found)
        for pid in found:
            self._events.write("worker_died", boot=self.boot, pid=pid)
        return found

    def hit(self, fault: FaultPlan) -> Landing:
        """Does a fault that ends the boot, waits for the end and writes that down. The next boot is the caller's to start."""
        child = self.child
        assert child is not None, "a fault comes between start() and stop()"
        kind = fault.kind
        assert kind.signal is not None
        members = child.members()
        if kind.freezes:
            frozen_ns = time.monotonic_ns()
            is_frozen = freeze(members)
            # Whoever was born while the others were being frozen is frozen too; then nothing of the server moves any more.
            members = child.members()
            if not (is_frozen and freeze(members)):
                self._kill(fault=True)
                return Landing(None, "not all processes of the server could be frozen within 2 s")
            self._predict(frozen_ns)
        if kind.signal is not signal.SIGKILL:
            self.pages.announce_stop()
        signalled_ns = time.monotonic_ns()
        self._events.write("boot_signalled", boot=self.boot, signal=kind.signal.name, fault=True, signalled_ns=signalled_ns)
        if kind.signal is signal.SIGKILL and kind.group:
            kill_all(members)
        else:
            child.signal(kind.signal, group=kind.group)
        # Whoever says how long it may take wants to see what comes of it.
        patience_s = _KILL_S if kind.signal is signal.SIGKILL else float(fault.value or self.patience_s)
        if child.wait(patience_s, self._tick) is None:
            if kind.signal is signal.SIGKILL or (self._engine.keeps_deadline and fault.value is None):
                self._events.write("problem", text=self._too_slow(kind.signal, patience_s))
            self._served_to_the_end = ask(self.host, self.port).is_open
            child.kill()
        self._reaped(members, killed_all=kind.signal is signal.SIGKILL and kind.group)
        self.child = None
        assert child.exit is not None
        pids = [process.pid for process in members] if kind.group else [child.pid]
        receipt = {"signal": kind.signal.name, "pids": pids, "exit_status": child.exit.status, "reaped_ns": child.exit.reaped_ns}
        return Landing(signalled_ns, receipt=receipt)

    def note_end_by(self, number: signal.Signals, pid: int, signalled_ns: int) -> int | None:
        """Writes down the end of the boot as that of a fault that need not have ended it: a signal to its process `pid`.

        Returns the exit status.
        """
        assert self.child is not None
        self._events.write("boot_signalled", boot=self.boot, signal=number.name, fault=True, signalled_ns=signalled_ns, pid=pid)
        ended = self.child.poll()
        self._reaped([])
        self.child = None
        return ended.status if ended is not None else None

    def stop(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Ends the server in good order at the end of a run: SIGTERM, its drain, then force; sooner in a hurry."""
        child = self.child
        if child is None:
            return
        members: list[psutil.Process] = []
        if self.is_up:
            members = child.members()
            self.pages.announce_stop()
            self._events.write("boot_signalled", boot=self.boot, signal="SIGTERM", fault=False, signalled_ns=time.monotonic_ns())
            child.signal(signal.SIGTERM)
            patience_s = self.patience_s
            if child.wait(patience_s, self._tick, until=is_hurried) is None and not is_hurried() and self._engine.keeps_deadline:
                self._events.write("problem", text=self._too_slow(signal.SIGTERM, patience_s))
            if child.wait(_HURRY_S if is_hurried() else 0.0, self._tick) is None:
                self._served_to_the_end = ask(self.host, self.port).is_open
                child.kill()
        self._reaped(members, is_hurried=is_hurried)
        self.child = None

    def unfinished(self) -> tuple[int, int]:
        """Tasks of this boot that were accepted and not started, and that were started and have not ended; 0 without rows."""
        try:
            return unfinished(self._rundir.task_files(self.boot))
        except (OSError, RowFileError):
            return 0, 0

    def pending(self) -> int:
        """Tasks of this boot that have not ended and still can."""
        self.pages.refresh()
        return self.pages.pending()

    def close(self) -> None:
        """Lets go of the gauge pages; kills what still runs."""
        if self.child is not None and self.is_up:
            self._kill(fault=False)
        self.pages.close()

    def _ready_ns(self) -> int | None:
        if self._engine.ready_by == "page":
            self.pages.refresh()
            return self.pages.ready_ns(self._engine.processes)
        now = time.monotonic()
        if now < self._next_look_s:
            return None
        self._next_look_s = now + _LOOK_EVERY_S
        self._last_answer = answer = ask(self.host, self.port, self._engine.ready_path)
        return time.monotonic_ns() if answer.is_ready else None

    def _give_up(self, child: Child) -> ChildNotReady:
        # Asked as by Ctrl-C first: what a program has printed into a buffer is written when it ends, and not when it is killed.
        asked_at = child.log.stat().st_size
        child.signal(signal.SIGINT)
        child.wait(_LAST_WORDS_S, self._tick)
        if self.is_up:
            self._kill(fault=False)
        else:
            self._reaped([])
            self.child = None
        why = self._last_answer.text if self._last_answer is not None else ""
        error = child.not_ready(self._engine.ready_s, why, asked_at)
        if not self._engine.is_own:
            error.hint = "give it longer with --ready-within, if that is what it needs; start it by hand to see how long it takes"
        return error

    def _kill(self, *, fault: bool) -> None:
        assert self.child is not None
        self._events.write("boot_signalled", boot=self.boot, signal="SIGKILL", fault=fault, signalled_ns=time.monotonic_ns())
        members = self.child.members()
        self.child.kill()
        self._reaped(members, killed_all=True)
        self.child = None

    def _reaped(
        self, members: list[psutil.Process], *, killed_all: bool = False, is_hurried: Callable[[], bool] = lambda: False
    ) -> None:
        """Writes down the end of a boot: the first process has been reaped, and all others have ended or are ended here."""
        assert self.child is not None
        ended = self.child.exit
        if ended is None:
            return
        # A process that nobody killed may still be finishing what it has; one that was killed is only being taken down.
        left = survivors(self.child.mark, members, settle_s=_SETTLE_S)
        if left and not killed_all:
            left = self._orphans(left, is_hurried)
        # Looked at before they are ended: a port that one of them still serves is the thing to be told.
        port_free = not ask(self.host, self.port).is_open if left else self._port_gets_free()
        kill_all(process for process, _ in left)
        # The next boot needs the port that they may have held.
        psutil.wait_procs([process for process, _ in left], timeout=FORCE_AFTER_S)
        others = len(members) > 1 or bool(left)
        self._events.write(
            "boot_reaped",
            boot=self.boot,
            reaped_ns=time.monotonic_ns() if others else ended.reaped_ns,
            exit_status=ended.status,
            forced=ended.forced,
            served_to_the_end=self._served_to_the_end,
        )
        who = [{"pid": survivor.pid, "command": survivor.command} for _, survivor in left]
        self._events.write(
            "boot_checked",
            boot=self.boot,
            port_free=port_free if killed_all or not left else self._port_gets_free(),
            survivors=who if killed_all else [],
            orphans=[] if killed_all else who,
            orphans_served=bool(left) and not killed_all and not port_free,
        )

    def _port_gets_free(self) -> bool:
        # The first thread of a killed process may be gone while others are still being taken down, and its sockets with them.
        end = time.monotonic() + _PORT_S
        while ask(self.host, self.port).is_open:
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True

    def _orphans(
        self, left: list[tuple[psutil.Process, SurvivingProcess]], is_hurried: Callable[[], bool]
    ) -> list[tuple[psutil.Process, SurvivingProcess]]:
        """Lets processes whose parent has ended end too: all its time if tasks are left and nobody listens, else a moment."""
        begun = time.monotonic()
        while any(alive(process) for process, _ in left) and not is_hurried():
            waited_s = time.monotonic() - begun
            is_draining = self.pending() > 0 and not ask(self.host, self.port).is_open
            if waited_s > (self.patience_s if is_draining else _ORPHANS_S):
                break
            self._tick()
            time.sleep(_LOOK_EVERY_S)
        return [(process, who) for process, who in left if alive(process)]

    def _too_slow(self, number: signal.Signals, waited_s: float) -> str:
        return f"boot {self.boot} had not ended {waited_s:g} s after {number.name} and was killed"

    def _predict(self, frozen_ns: int) -> None:
        # Of all rows, also those that no client of this run sent: the server cannot tell them apart.
        queued: int | None = None
        running: int | None = None
        # An engine without rows: then nothing is predicted.
        if files := self._rundir.task_files(self.boot):
            with contextlib.suppress(OSError, RowFileError):
                queued, running = unfinished(files)
        self._events.write("boot_frozen", boot=self.boot, frozen_ns=frozen_ns, queued=queued, running=running)
