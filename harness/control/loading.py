"""Changes of the load: all load processes change at the same instant, or none of them does.

First each is told what is to change and from when on, and answers with the schedule that it would then have. Until it is told
whether that holds it sends nothing of what is due after that instant. So no request is lost, none is sent twice, and none is sent
by a schedule that the others do not have; a process that hears too late only makes the change later.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from harness.control.action import Action, Landed, Refused
from harness.loads import Loads
from harness.rundir import EventLog

__all__ = ["LoadChange", "Wanted"]

_LEAD_NS: Final = 100_000_000
"""Between the question and the change. A load process that has nothing to do answers within a millisecond."""

_LONGEST_LEAD_NS: Final = 3_200_000_000
_PATIENCE_NS: Final = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the load is to be. Instants in monotonic ns."""

    rate_per_s: float | None = None  # open model
    users: int | None = None  # closed model; None: as many as there are
    from_ns: int | None = None  # None: as soon as possible
    until_ns: int | None = None  # the load ends then; None: as it would have
    ends_now: bool = False  # ... or as soon as possible


class LoadChange(Action):
    """One of them."""

    def __init__(self, loads: Loads, events: EventLog, number: str, wanted: Wanted, what: str) -> None:
        """`what` it does, in words."""
        self._loads = loads
        self._events = events
        self._number = number
        self._wanted = wanted
        self._what = what
        self._lead_ns = _LEAD_NS
        self._n_tries = 0
        self._asked_ns = 0
        self._from_ns = 0
        self._until_ns = 0
        self._is_settled = False
        self._planned: dict[str, Any] = {}

    def begin(self) -> None:
        """Asks all load processes."""
        loads, wanted, now_ns = self._loads, self._wanted, time.monotonic_ns()
        require_load(loads, now_ns)
        self._n_tries += 1
        self._asked_ns = now_ns
        earliest_ns = max(now_ns, loads.start_ns) + self._lead_ns
        self._from_ns = earliest_ns if wanted.from_ns is None else wanted.from_ns
        if self._from_ns < earliest_ns and wanted.until_ns is not None:
            raise Refused(f"that is over by now: the load is {(now_ns - loads.start_ns) / 1e9:.1f} s old")
        self._until_ns = self._from_ns if wanted.ends_now else wanted.until_ns or loads.end_ns
        if earliest_ns >= loads.end_ns:
            raise Refused(f"the load ends in {max(0.0, (loads.end_ns - now_ns) / 1e9):.1f} s")
        change = {"from_ns": self._from_ns - loads.start_ns, "until_ns": self._until_ns - loads.start_ns}
        proposal = {"id": self._id, **change, "rate_per_s": wanted.rate_per_s, "users": wanted.users}
        loads.say_to_all({"propose": proposal})

    def landed(self) -> Landed | None:
        """Whether all have said that it is so."""
        if not self._is_settled:
            self._look_at_answers()
            return None
        return self._confirmed()

    @property
    def _id(self) -> str:
        return f"{self._number}.{self._n_tries}"

    def _look_at_answers(self) -> None:
        answers, now_ns = self._loads.answers("proposed", self._id), time.monotonic_ns()
        refused = [each for each in answers if "why" in each]
        if refused:
            self._settle(go=False)
            if not all(each["is_late"] for each in refused) or self._lead_ns >= _LONGEST_LEAD_NS:
                raise Refused(next((each["why"] for each in refused if not each["is_late"]), refused[0]["why"]))
            self._lead_ns *= 2
            self.begin()
            return
        if len(answers) < self._loads.n_processes:
            if self._loads.is_partly_over or now_ns - self._asked_ns > _PATIENCE_NS:
                self._settle(go=False)
                n = self._loads.n_processes
                why = "the load has ended" if self._loads.is_partly_over else f"{len(answers)} of {n} load processes answered"
                raise Refused(why)
            return
        if len({each["schedule"] for each in answers}) > 1:
            self._settle(go=False)
            raise Refused("the load processes made different schedules of it")
        self._planned = {"planned": sum(each["planned"] for each in answers), "schedule": answers[0]["schedule"]}
        self._loads.end_ns = self._until_ns
        self._settle(go=True)
        wanted = self._wanted
        self._events.write(
            "load_changed",
            id=self._number,
            at_ns=self._from_ns,
            # Where the load ends there is no rate any more.
            rate_per_s=wanted.rate_per_s if self._from_ns < self._until_ns else None,
            users=wanted.users,
            load_end_ns=self._until_ns,
            **self._planned,
        )

    def _confirmed(self) -> Landed | None:
        answers = self._loads.answers("settled", self._id)
        is_told = len(answers) == self._loads.n_processes or self._loads.is_partly_over
        now_ns = time.monotonic_ns()
        if self._wanted.from_ns is not None:
            # Another end is so from now on, long before it comes.
            return Landed(now_ns, self._what) if is_told else None
        if not is_told or now_ns < self._from_ns:
            return None
        late_ns = max((each["at_ns"] for each in answers), default=self._from_ns) - self._from_ns
        late = f"; the last load process heard it {late_ns / 1e6:,.0f} ms after that" if late_ns > _LEAD_NS else ""
        return Landed(self._from_ns, self._what + late)

    def _settle(self, *, go: bool) -> None:
        self._is_settled = go
        self._loads.say_to_all({"settle": {"id": self._id, "go": go}})


def require_load(loads: Loads, now_ns: int) -> None:
    """Raises Refused unless load is being sent that can be changed."""
    if not loads.start_ns:
        raise Refused("the load has not begun")
    if loads.is_partly_over or now_ns >= loads.end_ns:
        raise Refused("the load has ended")
    if not loads.are_all_here:
        raise Refused("load machines take part, and the load is changed only where all of it is sent from here")
