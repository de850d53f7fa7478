"""The records that the stages of a run hand to each other. Values only: no clock, no file, no process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.rows import RowFile

__all__ = [
    "Boot",
    "Counted",
    "CountedLoad",
    "Evidence",
    "Expectation",
    "Fault",
    "Figure",
    "GeneratorReport",
    "LoadChanged",
    "Note",
    "ScenarioCheck",
    "Steered",
    "SurvivingProcess",
    "UsersReport",
]


@dataclass(frozen=True, slots=True)
class SurvivingProcess:
    """A process of the server that was still alive after its group had been killed and reaped."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Boot:
    """One incarnation of the server process. Its death is known from waitpid, not from a timeout."""

    boot: int  # from 1
    pid: int
    spawned_ns: int
    ready_ns: int | None = None  # None: it never answered
    signal: str | None = None  # sent by afterload to end it: "SIGKILL", "SIGTERM", "SIGINT"
    fault: bool = False  # ended by a planned fault (not by the orderly stop at the end of the run)
    frozen_ns: int | None = None  # all its processes were stopped (SIGSTOP) before the kill
    signalled_ns: int | None = None
    reaped_ns: int | None = None  # None: still running when the evidence was taken
    exit_status: int | None = None  # as in subprocess: negative is the signal that ended it
    forced: bool = False  # it did not end when asked, or at its deadline, and was killed by afterload
    predicted_queued: int | None = None  # read from its rows while it was frozen, before the kill
    predicted_running: int | None = None
    port_free: bool | None = None  # nothing listened on its port after it was reaped; None: not looked at
    survivors: tuple[SurvivingProcess, ...] = ()
    said_abandoned_queued: int | None = None  # what the server itself said at its drain deadline
    said_abandoned_running: int | None = None
    orphans: tuple[SurvivingProcess, ...] = ()  # went on when the first process had ended; ended by afterload
    orphans_served: bool = False  # ... and something still listened on the port
    served_to_the_end: bool = False  # it was killed because it had not ended when asked, and listened on its port until then
    dead_workers: tuple[int, ...] = ()  # pids of processes that ended on their own while the boot went on
    worker_deaths: tuple[tuple[int, int], ...] = ()  # pid and time of each process that ended while the boot went on
    signalled_pid: int | None = None  # who was sent the signal, if not the first process or all of them

    def worker_death_ns(self, pid: int, created_ns: int) -> int | None:
        """When the process that began a file then had ended while the boot went on; None: it had not. A pid may come again."""
        return min((dead_ns for dead, dead_ns in self.worker_deaths if dead == pid and dead_ns >= created_ns), default=None)

    def ended_before(self, file: RowFile) -> bool:
        """Whether the process that wrote it had ended while its boot went on."""
        return self.worker_death_ns(file.pid, file.created_ns) is not None


@dataclass(frozen=True, slots=True)
class Fault:
    """The receipt of one fault, planned or by hand."""

    name: str  # "kill", "stop", ...
    planned_s: float | None  # after load start; None: on a condition
    landed_ns: int | None  # None: it did not land
    boot: int | None  # the boot that it hit
    detail: str = ""  # why it did not land, did not end, or was late
    text: str = ""  # as planned, e.g., "stop@6s+2s"
    condition: str | None = None  # e.g., "backlog>500"
    met_ns: int | None = None  # when the condition was first seen to be true
    effect: str = "ends"  # what faults of its kind do: "ends" the boot, "lasts", "replaces" processes, "asks" the server
    length_s: float | None = None  # of one that lasts; None: until the end of the run
    ended_ns: int | None = None  # None: it did not end, or does not last
    receipt: Mapping[str, Any] = field(default_factory=dict)  # what proves it: pids, signals, states, sizes
    by_hand: bool = False  # asked for while the run went on

    def __str__(self) -> str:
        return self.text or (f"{self.name} at {self.planned_s:g} s" if self.planned_s is not None else self.name)


@dataclass(frozen=True, slots=True)
class Steered:
    """Something that was asked of the run while it went on."""

    do: str  # "rate", "users", "pool", "tasks", "for", "fault", "mark", "stop", or what no session knew
    text: str  # e.g., "rate=200"
    value: float | str | None
    who: str  # asked for it
    asked_ns: int
    landed_ns: int | None = None  # None: it was not done
    refused: str = ""  # why not
    detail: str = ""  # what it did


@dataclass(frozen=True, slots=True)
class LoadChanged:
    """A change of the load that was made."""

    at_ns: int
    rate_per_s: float | None  # from then on; None: of users, or the load ends then
    users: int | None  # from then on; None: as many as before
    load_end_ns: int  # as it was planned from then on
    planned: int  # requests in all, as they were planned from then on


@dataclass(frozen=True, slots=True)
class Throttling:
    """That the control group of the run had used its quota while load was sent, and was stopped for the rest of a period."""

    times: int
    period_ns: int
    over_ns: int  # from the first request to the last answer

    @property
    def share(self) -> float:
        """Of the periods, those in which it was stopped."""
        return min(self.times * self.period_ns / self.over_ns, 1.0) if self.over_ns > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the scenario promises for each acknowledged request."""

    tasks_per_request: int  # 0: the work is done before answering, or the witness of the server has no tasks
    effects_per_request: int  # 0: the world is no witness here
    most_effects_per_start: int = 1  # more where a task does again what may have arrived
    idle: frozenset[str] = frozenset()  # names of requests that have neither tasks nor effects
    answers_are_known: bool = False  # of bundled scenarios: 2xx to all whose tasks were taken on, and to none that was refused


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that a scenario found in its world."""

    id: str
    value: float | None  # None: there is none
    unit: str
    text: str  # in words, with the number


@dataclass(frozen=True, slots=True)
class ScenarioCheck:
    """What a scenario said at the end, from what was left in its world."""

    figures: tuple[Figure, ...]
    problems: tuple[str, ...]  # witnesses that disagree; each makes the run inconclusive


@dataclass(frozen=True, slots=True)
class GeneratorReport:
    """What one load process says of itself at its end."""

    process: int
    planned: int  # arrivals in its part of the schedule
    sent: int
    shed: int
    cpu_share: float  # of one core, over the time of the load
    exit_status: int
    ceiling_per_s: float | None = None  # requests/s that it can send at most on this machine, as calibrated; None: not known
    late: int = 0  # of those sent: more than 20 ms after they were due
    overdue: int = 0  # of those shed: they could not be sent in time; of the others, too many were in flight
    stalled_s: float = 0.0  # in all, for which its loop stood still for more than 20 ms: no processor, or too much to do
    longest_stall_s: float = 0.0
    stalls: Sequence[tuple[float, float]] = ()  # each: from when on, after load start, and how long; in s, until the last answer
    machine: str | None = None  # the load machine where it ran; None: the one that measures
    clock_uncertainty_ms: float | None = None  # of what compares its clock with ours; None: it is ours


@dataclass(frozen=True, slots=True)
class Counted:
    """Durations of which only how many there are of each is known, to 0.1 %: highest values of buckets, in order."""

    values_ns: NDArray[np.int64]
    counts: NDArray[np.int64]
    n_never: int  # beside them: without an end


@dataclass(frozen=True, slots=True)
class Silence:
    """Requests of one interval that have no answer, of which only histograms were kept."""

    kind: str  # "silent", "closed": the server closed their connection, "unconnected": it took none in time
    n: int
    from_ns: int  # after load start: when the first of them was sent
    until_ns: int | None  # when the last of them was given up; None: not known


@dataclass(frozen=True, slots=True)
class CountedLoad:
    """The requests of one load process, without rows: nothing can be said of a single one."""

    process: int
    sent: int
    acked: int
    rejected: int
    indeterminate: int
    shed: int
    measured: int  # sent after the warm-up
    measured_rejected: int  # of them, refused
    response: Counted  # this and the following: of those that were due after the warm-up
    answered: Counted
    service: Counted
    lag: Counted
    unconnected: int = 0  # of the rejected: the server took no connection in time
    own_limit: int = 0  # of the rejected: the generator itself could make no connection
    measured_shed: int = 0  # of the shed: due after the warm-up
    silences: Sequence[Silence] = ()  # of all; a file of before they were noted has none


@dataclass(frozen=True, slots=True)
class UsersReport:
    """What one load process says of its users, in the closed model."""

    process: int
    users: int
    left: int = 0  # before the end, by themselves
    user_errors: Sequence[tuple[str, int]] = ()  # raised by a locustfile: where and what, how often
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """What the probe in one process of the server had to say."""

    boot: int
    pid: int
    kind: str  # "hooked", "unhooked", "blocked", "note"
    text: str
    t_ns: int = 0  # when it was said, or what it is about began
    blocked_ms: float = 0.0  # for how long a call held the event loop
    function: str = ""
    file: str = ""
    line: int = 0
    inside: str = ""  # the innermost call at that time, where it is another: "post (client.py:20)"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a verdict rests on: what the witnesses wrote and what the session saw."""

    run_tag: int  # upper 31 bits of every op of this run: op >> 32
    load_start_ns: int
    load_end_ns: int  # the last request was due, or would have been: where the load was cut short, when that was
    planned_requests: int
    expectation: Expectation
    requests: Sequence[RowFile]
    tasks: Mapping[int, Sequence[RowFile]]  # by boot; one file per process of it that served
    effects: Sequence[RowFile]
    boots: Sequence[Boot]
    faults: Sequence[Fault] = ()
    generators: Sequence[GeneratorReport] = ()
    n_load_processes: int = 0  # of all machines; 0: the load never began
    counted: Sequence[CountedLoad] = ()  # load processes whose requests came back as histograms
    lost_rows_of: frozenset[int] = frozenset()  # load processes whose requests are known to have no rows here
    is_closed: bool = False  # users waited for answers before they sent more: nobody was due at a time of their own
    users: Sequence[UsersReport] = ()
    lag_floor_ms: float | None = None  # p99 of the generator's lag on this machine when nothing is asked of it; None: not known
    steered: Sequence[Steered] = ()  # what was asked of it while it went on
    load_changes: Sequence[LoadChanged] = ()
    planned_end_ns: int | None = None  # of the load; None: as it ended
    planned_faults: Sequence[str] = ()  # as in the plan, e.g., "kill@6s"
    warm_up_s: float = 0.0  # left out of the figures, not of the accounting
    interrupted_by: str | None = None  # "SIGINT", "SIGTERM": the run was cut short
    gauges: RowFile | None = None
    machine: RowFile | None = None  # None: nobody looked at what else it did
    throttling: Throttling | None = None  # None: no quota, or nobody looked
    scenario: str = ""  # its name
    effect_names: Sequence[str] = ()  # what the effect of each task is called, in the plural, by the task's index
    check: ScenarioCheck | None = None  # None: it was not asked
    notes: Sequence[Note] = ()
    errors: Sequence[tuple[str, int]] = ()  # what the tracebacks in the server's logs end with, and how often
    problems: Sequence[str] = field(default=())  # what went wrong while running, in words; each makes the run inconclusive

    @property
    def ended_by_hand(self) -> bool:
        """Whether somebody ended the load before its time."""
        was_stopped = any(each.do == "stop" and each.landed_ns is not None for each in self.steered)
        return was_stopped or (self.planned_end_ns is not None and self.meant_end_ns < self.planned_end_ns)

    @property
    def meant_end_ns(self) -> int:
        """When the load was to end, as it was last changed, whatever cut it short."""
        if self.load_changes:
            return self.load_changes[-1].load_end_ns
        return self.load_end_ns if self.planned_end_ns is None else self.planned_end_ns

    def files_at(self, fault: Fault, pids: Collection[int | None]) -> list[RowFile]:
        """Task files of the processes that had these pids when the fault landed, and of none that had them before or after."""
        boot = next((each for each in self.boots if each.boot == fault.boot), None)
        if boot is None or fault.landed_ns is None:
            return []
        return [
            file
            for file in self.tasks.get(boot.boot, ())
            if file.pid in pids
            and file.created_ns <= fault.landed_ns <= (boot.worker_death_ns(file.pid, file.created_ns) or fault.landed_ns)
        ]

    def ended_by(self, fault: Fault) -> list[RowFile]:
        """Task files of the processes that a fault ended while their boot went on.

        What one left that was signalled and lived on until its boot ended was left by that end; and of several faults that had
        to do with one the last has ended it.
        """
        later = [each for each in self.faults if (each.landed_ns or 0) > (fault.landed_ns or 0)]
        taken = {id(file) for each in later for file in self._waited_for(each)}
        return [file for file in self._waited_for(fault) if id(file) not in taken]

    def _waited_for(self, fault: Fault) -> list[RowFile]:
        """Task files of the processes of which a fault says that they had to do with it, and that ended after it."""
        boot = next((each for each in self.boots if each.boot == fault.boot), None)
        if boot is None or fault.effect not in {"replaces", "asks"}:
            return []
        pids = {*fault.receipt.get("replaced", ()), *([fault.receipt.get("pid")] if fault.effect == "replaces" else ())}
        return [file for file in self.files_at(fault, pids) if boot.ended_before(file)]

    def death_ns(self, boot: int, pid: int, created_ns: int) -> int | None:
        """When the process of a boot that began a file then was dead: its own death if that is known, else its boot's.

        None: it lives, or is unknown.
        """
        found = next((each for each in self.boots if each.boot == boot), None)
        if found is None:
            return None
        own_ns = found.worker_death_ns(pid, created_ns)
        return found.reaped_ns if own_ns is None else own_ns
