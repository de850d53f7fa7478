"""When faults happen: at their time or on their condition, several at once where they can be; each leaves its receipt.

What a fault does is elsewhere: those that end the boot in servers.py, the others in disturbances/.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from harness.disturbances import DidNotLand, Disturbance, Replacing
from harness.errors import RunError
from harness.faults import Condition, FaultPlan, clash
from harness.rundir import EventLog
from harness.servers import ServerUnderTest

__all__ = ["ByHand", "Faulting"]

_POLL_S: Final = 0.005
_LOOK_NS: Final = 10_000_000
_CLOSE_S: Final = 2.0


@dataclass(eq=False, slots=True)
class ByHand:
    """A fault that was asked for while the run goes on, and what has become of it."""

    command: str  # id of what asked for it
    before_start: Callable[[], None] | None = None  # called between the end of the boot and the start of the next one
    boot: int | None = None  # the boot that it hit
    landed_ns: int | None = None
    up_ns: int | None = None  # the next boot was ready
    refused: str = ""  # why it did not land


@dataclass(eq=False, slots=True)
class _Waiting:
    """A fault that has not happened yet."""

    number: int  # from 1, in the order of the plan's single faults
    plan: FaultPlan
    nearest: float | None = None  # of the values of its gauge
    nearest_at_s: float = 0.0
    met_ns: int | None = None
    blocked_by: str = ""
    by_hand: ByHand | None = None


@dataclass(eq=False, slots=True)
class _UnderWay:
    """One that has begun and is not over."""

    waiting: _Waiting
    disturbance: Disturbance
    boot: int
    begun_ns: int
    landed_ns: int | None = None
    ending_ns: int | None = None
    receipt: dict[str, Any] = field(default_factory=dict)

    @property
    def plan(self) -> FaultPlan:
        return self.waiting.plan

    @property
    def is_open_ended(self) -> bool:
        """It lasts until the run ends."""
        return self.landed_ns is not None and self.plan.kind.effect == "lasts" and self.plan.length_s is None


class Faulting:
    """The faults of one run. `on_tick` must be called again and again, whatever the session waits for."""

    def __init__(
        self,
        plans: Sequence[FaultPlan],
        server: ServerUnderTest,
        events: EventLog,
        *,
        make: Callable[[int, FaultPlan], Disturbance],
        reading: Callable[[str], float | None],
        tick: Callable[[], None],
        tell: Callable[[str], None],
        enter: Callable[[str], None],
    ) -> None:
        """`make` gives what a fault does that does not end the boot. `enter`: a phase. `tell`: something happened."""
        self._waiting = [_Waiting(number, plan) for number, plan in enumerate(plans, 1)]
        self._number = len(self._waiting)
        self._under_way: list[_UnderWay] = []
        self._is_running = False
        self._server = server
        self._events = events
        self._make = make
        self._reading = reading
        self._tick = tick
        self._tell = tell
        self._enter = enter
        self._load_start_ns = 0
        self._next_look_ns = 0
        self._next_reading_ns = 0

    @property
    def explains_death(self) -> bool:
        """Whether an end of the boot now would be the doing of a fault, and is looked after here."""
        return any(isinstance(each.disturbance, Replacing) and each.boot == self._server.boot for each in self._under_way)

    def run(self, load_start_ns: int, load_end_ns: Callable[[], int], is_over: Callable[[], bool]) -> None:
        """Lets them happen; returns when the load and all of them are over. Raises RunError if the server dies on its own.

        `load_end_ns`: when it is to end, as it is known by now. `is_over`: it has ended by itself.
        """
        self._load_start_ns = load_start_ns
        latest_end_ns = load_end_ns()
        self._is_running = True
        while True:
            self._tick()
            self._restart_if_ended()
            now, end_ns = time.monotonic_ns(), load_end_ns()
            latest_end_ns = max(latest_end_ns, end_ns)
            has_ended = now >= end_ns
            if has_ended:
                self._leave_out(end_ns)
            if (due := self._next_due(now, end_ns)) is not None:
                self._waiting.remove(due)
                self._do(due)
                continue
            if has_ended:
                self._give_up_waiting()
                if end_ns < latest_end_ns:
                    self._cut_short(now)
            if not self._waiting and all(each.is_open_ended for each in self._under_way) and (has_ended or is_over()):
                self._is_running = False
                return
            time.sleep(_POLL_S)

    def now(self, plan: FaultPlan, by_hand: ByHand, load_end_ns: int) -> None:
        """Lets one more happen, at once. Raises DidNotLand if it cannot."""
        # Asked for in the moment before the load begins, it happens with its first request.
        at_s = round(max(self._at_s(), 0.0), 3)
        if not self._is_running:
            raise DidNotLand("faults happen while the load goes on")
        plan = replace(plan, at_s=at_s)
        if plan.until_s is not None and plan.until_s > (load_end_ns - self._load_start_ns) / 1e9:
            raise DidNotLand(f"it would last until {plan.until_s:.1f} s, longer than the load")
        others = [each.plan for each in self._under_way] + [each.plan for each in self._waiting if each.by_hand is not None]
        for other in others:
            if other.kind.effect == "lasts" and (why := clash(other.name, plan.name)):
                raise DidNotLand(f"{other} lasts: {why}")
        self._number += 1
        self._waiting.append(_Waiting(self._number, plan, by_hand=by_hand))

    def lasts(self, name: str) -> bool:
        """Whether a fault of that kind is under way."""
        return any(each.plan.name == name for each in self._under_way)

    def on_tick(self) -> None:
        """Looks after those that are under way: whether they have landed, are to end, have ended."""
        now = time.monotonic_ns()
        if now < self._next_look_ns or not self._under_way:
            return
        self._next_look_ns = now + _LOOK_NS
        self._server.pages.refresh()
        for each in list(self._under_way):
            if each.landed_ns is None:
                self._look_whether_landed(each, now)
            elif each.ending_ns is None:
                self._look_whether_to_end(each, now)
            else:
                self._look_whether_ended(each, now)

    def close(self) -> None:
        """Takes back whatever still lasts and was to be taken back: the run is over, or given up."""
        # A disk that is full to the end is full when the server writes its last rows.
        to_end = [each for each in self._under_way if not each.is_open_ended]
        for each in to_end:
            each.disturbance.end()
        end = time.monotonic() + _CLOSE_S
        for each in to_end:
            while (receipt := each.disturbance.ended()) is None and time.monotonic() < end:
                time.sleep(_POLL_S)
            if each.landed_ns is not None and each.plan.length_s is not None:
                self._over(each, time.monotonic_ns() if receipt is not None else None, receipt or {})
        self._under_way.clear()

    # When.

    def _next_due(self, now: int, load_end_ns: int) -> _Waiting | None:
        for each in self._waiting:
            if each.plan.at_s is not None and now >= self._load_start_ns + int(each.plan.at_s * 1e9) and self._is_free(each):
                return each
        if now < self._next_reading_ns or now >= load_end_ns:
            return None
        self._next_reading_ns = now + _LOOK_NS
        for each in self._waiting:
            condition = each.plan.condition
            if condition is not None and self._at_s(now) >= each.plan.not_before_s and self._is_met(each, condition, now):
                each.met_ns = now
                if self._is_free(each):
                    return each
        return None

    def _is_met(self, each: _Waiting, condition: Condition, now: int) -> bool:
        value = self._reading(condition.gauge)
        if value is None:
            return False
        if condition.is_nearer(value, each.nearest):
            each.nearest, each.nearest_at_s = value, self._at_s(now)
        return condition.holds(value)

    def _is_free(self, each: _Waiting) -> bool:
        for other in self._under_way:
            effects = (other.plan.kind.effect, each.plan.kind.effect)
            # Who is to be replaced is known only when all that were being replaced have been.
            if effects == ("replaces", "replaces") or (effects[0] == "lasts" and clash(other.plan.name, each.plan.name)):
                each.blocked_by = str(other.plan)
                return False
        return True

    def _leave_out(self, load_end_ns: int) -> None:
        """What was planned for later than the load lasted: it was ended by hand. Without a receipt, it never happened.

        Neither does what was asked for by hand, and had to wait until then.
        """
        end_s = (load_end_ns - self._load_start_ns) / 1e9
        for each in list(self._waiting):
            if each.by_hand is not None:
                self._waiting.remove(each)
                self._receipt(
                    each, None, detail=f"it had to wait for {each.blocked_by or 'another fault'} until the load had ended"
                )
            elif each.plan.at_s is not None and each.plan.at_s >= end_s:
                self._waiting.remove(each)
                self._tell(f"{self._at_s():6.1f} s  {each.plan} is left out: the load has ended before")

    def _cut_short(self, now: int) -> None:
        """Takes back what would have lasted longer than the load, which was ended by hand."""
        for each in self._under_way:
            if each.landed_ns is not None and each.ending_ns is None and not each.is_open_ended:
                each.ending_ns = now
                each.disturbance.end()

    def _give_up_waiting(self) -> None:
        """Conditions do not count after the load. A fault at a time that has to wait for another happens all the same, late."""
        for each in [each for each in self._waiting if each.plan.condition is not None]:
            self._waiting.remove(each)
            self._receipt(each, None, detail=self._why_not(each))

    def _why_not(self, each: _Waiting) -> str:
        condition = each.plan.condition
        if each.blocked_by:
            return f"it had to wait for {each.blocked_by} until the load had ended"
        assert condition is not None, "a fault at a time waits for nothing else"
        if each.nearest is None:
            return f"nobody told of {condition.gauge}"
        how = "at most" if condition.operator.startswith(">") else "at least"
        limit = f"{condition.operator} {condition.show(condition.limit)}"
        return f"{condition.gauge} was {how} {condition.show(each.nearest)} (at {each.nearest_at_s:.1f} s) and never {limit}"

    # What.

    def _do(self, each: _Waiting) -> None:
        # Another fault may have ended it a moment ago.
        self._restart_if_ended()
        if not self.explains_death and (death := self._server.note_own_death()):
            self._receipt(each, None, detail="the server had died before")
            raise RunError(death)
        if each.plan.kind.effect == "ends":
            self._end_boot(each)
            return
        disturbance = self._make(each.number, each.plan)
        begun_ns = time.monotonic_ns()
        try:
            words = disturbance.begin()
        except DidNotLand as why:
            self._receipt(each, None, detail=str(why))
            self._tell(f"{self._at_s():6.1f} s  {each.plan} did not land: {why}")
            return
        under_way = _UnderWay(each, disturbance, self._server.boot, begun_ns)
        self._under_way.append(under_way)
        self._tell(f"{self._at_s():6.1f} s  {each.plan.name}: {words}")
        self._look_whether_landed(under_way, begun_ns)

    def _end_boot(self, each: _Waiting) -> None:
        kind, server = each.plan.kind, self._server
        assert kind.signal is not None
        self._tell(f"{self._at_s():6.1f} s  {each.plan.name}: {kind.signal.name} to pid {self._pid()}")
        self._enter("fault")
        boot = server.boot
        landing = server.hit(each.plan)
        self._receipt(each, landing.landed_ns, boot=boot, detail=landing.detail, receipt=landing.receipt)
        self._boot_is_over(boot, f"boot {boot} was ended by {each.plan}")
        if each.by_hand is not None and each.by_hand.before_start is not None:
            each.by_hand.before_start()
        self._start_again()
        if each.by_hand is not None:
            each.by_hand.up_ns = time.monotonic_ns()

    def _restart_if_ended(self) -> None:
        if self._server.child is None or self._server.is_up or not self.explains_death:
            return
        boot = self._server.boot
        causes = [each for each in self._under_way if isinstance(each.disturbance, Replacing) and each.boot == boot]
        cause = max(causes, key=lambda each: each.begun_ns)
        replacing = cause.disturbance
        assert isinstance(replacing, Replacing)
        self._enter("fault")
        status = self._server.note_end_by(replacing.number, replacing.pid, replacing.signalled_ns)
        self._tell(f"{self._at_s():6.1f} s  {cause.plan.name}: boot {boot} ended by it (status {status})")
        replacing.boot_ended()
        if cause.landed_ns is None:
            self._landed(cause, {"at_ns": replacing.signalled_ns, "pid": replacing.pid, "signal": replacing.number.name})
        receipt = {**(replacing.ended() or {}), "exit_status": status, "boot_ended": True}
        self._under_way.remove(cause)
        self._over(cause, time.monotonic_ns(), receipt)
        self._boot_is_over(boot, f"boot {boot} was ended by {cause.plan}")
        self._start_again()

    def _start_again(self) -> None:
        self._server.start()
        self._enter("load")
        self._tell(f"{self._at_s():6.1f} s  up again: boot {self._server.boot} is ready (pid {self._pid()})")

    def _boot_is_over(self, boot: int, why: str) -> None:
        """What was done to a boot is over with it. What was to come of it and had not is told."""
        for each in [each for each in self._under_way if each.disturbance.about_server and each.boot == boot]:
            each.disturbance.boot_ended()
            self._under_way.remove(each)
            if each.landed_ns is None:
                self._receipt(each.waiting, None, boot=boot, detail=why)
            elif isinstance(each.disturbance, Replacing):
                self._over(each, None, {}, detail=why)
            else:
                self._over(each, time.monotonic_ns(), {"ended_with_its_boot": True}, detail=why)

    def _look_whether_landed(self, each: _UnderWay, now: int) -> None:
        why = f"it was not seen to have landed within {each.disturbance.lands_within_s:g} s"
        try:
            if (receipt := each.disturbance.landed()) is not None:
                self._landed(each, receipt)
                return
            if now - each.begun_ns < each.disturbance.lands_within_s * 1e9:
                return
        except DidNotLand as error:
            why = str(error)
        self._under_way.remove(each)
        each.disturbance.end()
        self._receipt(each.waiting, None, boot=each.boot, detail=why)
        self._tell(f"{self._at_s():6.1f} s  {each.plan} did not land: {why}")

    def _landed(self, each: _UnderWay, receipt: dict[str, Any]) -> None:
        each.landed_ns = int(receipt.pop("at_ns", time.monotonic_ns()))
        self._receipt(each.waiting, each.landed_ns, boot=each.boot, receipt=receipt)
        if each.plan.kind.effect != "lasts":
            each.ending_ns = each.landed_ns

    def _look_whether_to_end(self, each: _UnderWay, now: int) -> None:
        length_s = each.plan.length_s
        if length_s is not None and each.landed_ns is not None and now >= each.landed_ns + int(length_s * 1e9):
            each.ending_ns = now
            each.disturbance.end()

    def _look_whether_ended(self, each: _UnderWay, now: int) -> None:
        assert each.ending_ns is not None
        if (receipt := each.disturbance.ended()) is not None:
            self._under_way.remove(each)
            self._over(each, int(receipt.pop("at_ns", now)), receipt)
            self._tell(f"{self._at_s():6.1f} s  {each.plan.name} is over")
        elif now - each.ending_ns > each.disturbance.ends_within_s * 1e9:
            self._under_way.remove(each)
            detail = f"{each.disturbance.why_not_ended()} ({each.disturbance.ends_within_s:g} s later)"
            self._over(each, None, {}, detail=detail)
            self._tell(f"{self._at_s():6.1f} s  {each.plan} did not end: {detail}")

    # Receipts.

    def _receipt(
        self,
        each: _Waiting,
        landed_ns: int | None,
        *,
        boot: int | None = None,
        detail: str = "",
        receipt: dict[str, Any] | None = None,
    ) -> None:
        plan = each.plan
        if landed_ns is not None and each.blocked_by:
            detail = f"it had to wait for {each.blocked_by}"
        asked: dict[str, Any] = {}
        if each.by_hand is not None:
            asked = {"command": each.by_hand.command}
            each.by_hand.boot = boot if boot is not None else self._server.boot
            each.by_hand.landed_ns = landed_ns
            each.by_hand.refused = "" if landed_ns is not None else detail or "it did not land"
        self._events.write(
            "fault",
            number=each.number,
            name=plan.name,
            text=str(plan),
            planned_s=plan.at_s,
            condition=plan.condition.text if plan.condition is not None else None,
            met_ns=each.met_ns,
            length_s=plan.length_s,
            landed_ns=landed_ns,
            boot=boot if boot is not None else self._server.boot,
            detail=detail,
            receipt=receipt or {},
            **asked,
        )

    def _over(self, each: _UnderWay, ended_ns: int | None, receipt: dict[str, Any], detail: str = "") -> None:
        self._events.write("fault_ended", number=each.waiting.number, ended_ns=ended_ns, detail=detail, receipt=receipt)

    def _at_s(self, now: int | None = None) -> float:
        return ((time.monotonic_ns() if now is None else now) - self._load_start_ns) / 1e9

    def _pid(self) -> int:
        return self._server.child.pid if self._server.child is not None else 0
