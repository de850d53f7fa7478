"""The session's part of steering: takes commands while the run goes on, has them done, and writes down what became of each.

Every command has an event `command`, and later `command_landed` or `command_refused`. A run that nobody steers pays one system
call for each tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.calibration import Calibration
from harness.control.action import Action, Landed, Refused
from harness.control.commands import (
    Command,
    FaultNow,
    Mark,
    SetLength,
    SetPool,
    SetRate,
    SetTasks,
    SetUsers,
    Stop,
)
from harness.control.inbox import Inbox, Received
from harness.control.loading import LoadChange, Wanted, require_load
from harness.control.sending import COMMANDS
from harness.control.serving import FaultAtOnce, PoolChange, TasksChange, keep_pool
from harness.faulting import Faulting
from harness.faults import FaultPlan, Target, unfit
from harness.faultsyntax import parse_fault_now
from harness.loads import Loads
from harness.plan import Plan
from harness.rundir import EventLog, RunDir
from harness.servers import ServerUnderTest
from harness.wording import duration_s

__all__ = ["Steering"]

_KEEP_NS: Final = 50_000_000
_NEWER_WINS: Final = frozenset({"rate", "users", "pool", "for"})


@dataclass(eq=False, slots=True)
class _Pending:
    """A command that has not landed."""

    received: Received
    command: Command
    action: Action | None = None  # None: it waits for its turn


class Steering:
    """What is asked of one run. `on_tick` must be called again and again; it never waits, and raises nothing."""

    def __init__(
        self,
        plan: Plan,
        rundir: RunDir,
        events: EventLog,
        loads: Loads,
        tell: Callable[[str], None],
        calibration: Calibration | None,
    ) -> None:
        """`tell` shows a line to whoever watches the run."""
        self._plan = plan
        self._events = events
        self._loads = loads
        self._tell = tell
        self._calibration = calibration
        self._pending: list[_Pending] = []
        self._rate_per_s = plan.rate
        self._tasks: str | None = plan.tasks
        self._next_keep_ns = 0
        self._inbox: Inbox | None = None
        self.server: ServerUnderTest | None = None
        self.faulting: Faulting | None = None
        self.entry: Callable[[str], str] | None = None
        """What a boot is told of the scenario with tasks of a kind; None for somebody's own app."""
        try:
            self._inbox = Inbox(rundir.path / COMMANDS)
        except OSError as error:
            tell(f"note: this run takes no commands: {COMMANDS}: {error.strerror}")

    def on_tick(self) -> None:
        """Takes what is new, and looks after what is being done."""
        if self._inbox is None:
            return
        for received in self._inbox.take():
            self._take(received)
        for each in list(self._pending):
            self._look_after(each)
        if self.server is not None and self.server.pool is not None and not self._is_squeezed():
            now_ns = time.monotonic_ns()
            if now_ns >= self._next_keep_ns:
                self._next_keep_ns = now_ns + _KEEP_NS
                keep_pool(self.server)

    def close(self) -> None:
        """Refuses what has not landed: the run ends."""
        if self._inbox is None:
            return
        for received in self._inbox.take():
            self._take(received)
        for each in list(self._pending):
            self._refuse(each.received, "the run ended before it was done")
        self._pending.clear()
        self._inbox.close()
        self._inbox = None

    def _take(self, received: Received) -> None:
        command = received.command
        text = str(command) if command is not None else received.do
        self._events.write(
            "command",
            id=received.id,
            text=text,
            who=received.who,
            do=received.do,
            value=received.value,
            asked_ns=received.asked_ns,
        )
        if command is None:
            self._refuse(received, received.why_not)
            return
        if received.do in _NEWER_WINS:
            for other in [each for each in self._pending if each.received.do == received.do and each.action is None]:
                self._pending.remove(other)
                self._refuse(other.received, f"{text} came before it was its turn")
        self._pending.append(_Pending(received, command))

    def _look_after(self, each: _Pending) -> None:
        try:
            if each.action is None:
                if self._has_to_wait(each):
                    return
                each.action = self._action(each)
                each.action.begin()
            landed = each.action.landed()
        except Refused as why:
            self._pending.remove(each)
            self._refuse(each.received, str(why))
            return
        if landed is not None:
            self._pending.remove(each)
            self._landed(each, landed)

    def _has_to_wait(self, each: _Pending) -> bool:
        """Two changes of one thing are done one after the other."""
        kind = _thing(each.command)
        return kind is not None and any(
            _thing(other.command) == kind for other in self._pending if other is not each and other.action is not None
        )

    def _action(self, each: _Pending) -> Action:
        number = each.received.id
        match each.command:
            case Mark(text=text):
                return _Marked(each.received.asked_ns, text)
            case SetRate(per_s=per_s):
                return self._load_change(number, self._rate(per_s), f"{per_s:g} requests/s{self._in_place_of()}")
            case SetUsers(n=n):
                if not self._plan.is_closed:
                    raise Refused("requests start on their own, not by users: change their rate")
                return self._load_change(number, Wanted(users=n), f"{n:,} users")
            case SetLength(for_s=for_s):
                return self._load_change(number, self._length(for_s), f"the load lasts {duration_s(for_s)}")
            case Stop():
                return self._load_change(number, self._end_now(), "the load ended by hand")
            case SetPool(n=n):
                if self.server is None:
                    raise Refused("the server has not been started")
                return PoolChange(self.server, n, self._is_squeezed)
            case FaultNow(text=text):
                return FaultAtOnce(self.faulting, self._loads, number, self._fault(text))
            case SetTasks(kind=kind):
                return self._tasks_change(number, kind)

    # What each of them needs.

    def _load_change(self, number: str, wanted: Wanted, what: str) -> LoadChange:
        return LoadChange(self._loads, self._events, number, wanted, what)

    def _rate(self, per_s: float) -> Wanted:
        plan = self._plan
        if plan.is_closed:
            raise Refused("users send the next request when the last one was answered: change their number")
        ceiling = None if self._calibration is None or self._calibration.is_disturbed else self._calibration.ceiling_per_s
        if ceiling is not None and per_s > ceiling and not plan.above_ceiling:
            raise Refused(f"the load generator can send at most {ceiling:,.0f} requests/s here")
        return Wanted(rate_per_s=per_s)

    def _in_place_of(self) -> str:
        if self._rate_per_s is not None:
            return ""
        return ", in place of what was left of the " + ("stages" if self._plan.stages is not None else "replay")

    def _length(self, for_s: float) -> Wanted:
        loads, now_ns = self._loads, time.monotonic_ns()
        require_load(loads, now_ns)
        until_ns = loads.start_ns + round(for_s * 1e9)
        if for_s <= self._plan.warm_up_s:
            raise Refused(f"the warm-up alone takes {self._plan.warm_up_s:g} s")
        if until_ns <= now_ns:
            raise Refused(f"the load is {(now_ns - loads.start_ns) / 1e9:.1f} s old: stop ends it now")
        if self._plan.is_closed:
            return Wanted(until_ns=until_ns)
        if until_ns <= loads.end_ns:
            return Wanted(rate_per_s=0.0, from_ns=until_ns, until_ns=until_ns)
        if (rate_per_s := self._last_rate()) is None:
            raise Refused("a replay ends with the last of its times: set a rate first")
        return Wanted(rate_per_s=rate_per_s, from_ns=loads.end_ns, until_ns=until_ns)

    def _end_now(self) -> Wanted:
        return Wanted(rate_per_s=None if self._plan.is_closed else 0.0, ends_now=True)

    def _last_rate(self) -> float | None:
        """What the load goes on with when it is made longer."""
        profile = self._plan.profile
        if self._rate_per_s is not None or profile is None:
            return self._rate_per_s
        return float(profile.segments[-1].end_per_s)

    def _fault(self, text: str) -> FaultPlan:
        fault, plan = parse_fault_now(text), self._plan
        server = self.server
        pool = plan.pool if server is None or server.pool is None else server.pool
        if why := unfit(fault, Target(plan.engine, plan.workers, pool, plan.scenario is not None, plan.command)):
            raise Refused(why)
        return fault

    def _tasks_change(self, number: str, kind: str) -> TasksChange:
        entry, server = self.entry, self.server
        if self._plan.scenario is None:
            raise Refused("what kind of tasks an app of one's own has, only its code says")
        if entry is None or server is None:
            raise Refused("the server has not been started")
        if kind == self._tasks:
            raise Refused(f"the tasks are {kind} already")
        if "inline" in {kind, self._tasks}:
            raise Refused("inline there are no tasks, and one run is not counted in two ways: run it again")

        def change() -> None:
            server.tell_scenario(entry(kind))
            self._tasks = kind

        return TasksChange(self.faulting, self._loads, number, parse_fault_now("term"), kind, change)

    def _is_squeezed(self) -> bool:
        return self.faulting is not None and self.faulting.lasts("squeeze")

    # Receipts.

    def _landed(self, each: _Pending, landed: Landed) -> None:
        received = each.received
        if isinstance(each.command, SetRate):
            self._rate_per_s = each.command.per_s
        self._events.write("command_landed", id=received.id, do=received.do, at_ns=landed.at_ns, detail=landed.detail)
        self._say(f"{each.command} (by hand): {landed.detail}")

    def _refuse(self, received: Received, why: str) -> None:
        self._events.write("command_refused", id=received.id, do=received.do, why=why)
        self._say(f"{received.command or received.do or 'a command'} (by hand) was not done: {why}")

    def _say(self, text: str) -> None:
        at_s = (time.monotonic_ns() - self._loads.start_ns) / 1e9 if self._loads.start_ns else 0.0
        self._tell(f"{at_s:6.1f} s  {text}")


class _Marked(Action):
    """A note: it has landed when it was made."""

    def __init__(self, at_ns: int, text: str) -> None:
        self._landed = Landed(at_ns, text)

    def begin(self) -> None:
        """Nothing is to be done."""

    def landed(self) -> Landed:
        """At once."""
        return self._landed


def _thing(command: Command) -> Any:
    """What a command changes, where two of them have to be done one after the other."""
    if isinstance(command, (SetRate, SetUsers, SetLength, Stop)):
        return "load"
    return type(command) if isinstance(command, (SetPool, SetTasks)) else None
