"""What a screen shows of a run at one instant: plain values, made by the follower, never changed. No clock, no files.

A frame is made from the rows as they stood at an instant, so that a run which is followed and one which is played back
have the same frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the first picture need not wait for them
    import numpy as np
    from numpy.typing import NDArray

    from harness.heatmap import HeatMap
    from harness.schema import Finding, Summary
    from harness.series import Series

__all__ = [
    "MOST_LISTED",
    "NOT_KNOWN",
    "About",
    "Boot",
    "Frame",
    "LogLine",
    "Look",
    "Mark",
    "MarkKind",
    "Newest",
    "Now",
    "Outage",
    "Phase",
    "Setting",
    "Side",
    "SideState",
    "TaskLine",
    "TaskStatus",
    "Totals",
]


class Phase(StrEnum):
    """Where a run is."""

    START = "start"
    LOAD = "load"  # with warm-up and faults
    DRAIN = "drain"
    STOP = "stop"
    JUDGE = "judge"  # nothing moves any more; the summary is being made
    ENDED = "ended"  # the summary is there
    CRASHED = "crashed"  # nobody holds the run directory any more, and there is no summary


class SideState(StrEnum):
    """How things look from one side: to the client, to the work."""

    WAITING = "waiting"  # nothing to say yet
    OK = "ok"
    SLOW = "slow"  # client: p95 above ten times what it was at first, or answers late; work: to-done well above response
    BEHIND = "behind"  # work: the backlog grows
    FAILING = "failing"  # client: errors; work: tasks fail or are lost
    DOWN = "down"  # the server is not there


class MarkKind(StrEnum):
    """What happened."""

    FAULT = "fault"  # landed
    FAULT_ENDED = "fault_ended"
    DOWN = "down"  # the server's process is dead
    UP = "up"  # a boot is ready
    LOAD = "load"  # the rate or the number of users was changed
    SETTING = "setting"  # pool size, task kind
    PHASE = "phase"  # load begins, ends; warm-up ends
    NOTE = "note"  # what somebody marked by hand
    PROBLEM = "problem"


MOST_LISTED: Final = 256
"""Tasks in one list. Of those that were done or failed no more are kept once others have been let go."""

NOT_KNOWN: Final = "not known"
"""Of the server of a run that has crashed: its session, which would have seen it end, is dead."""


@dataclass(frozen=True, slots=True)
class Look:
    """Which part of a run to show, and how finely. Times in s since load start."""

    from_s: float
    until_s: float
    bin_s: float  # a nice one (harness.series.nice_bin_s)
    at_s: float | None = None  # the instant shown; None: the newest
    heat: bool = True  # whether heat maps are wanted
    tasks: TaskStatus | None = None  # of which status a list is wanted
    n_tasks: int = 50  # at most; more than `MOST_LISTED` are not told


class TaskStatus(StrEnum):
    """Where a task is at the instant that is shown."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    OTHER = "other"  # skipped, refused, discarded


@dataclass(frozen=True, slots=True)
class About:
    """What is run, as far as it does not change (or: as it was when it began)."""

    run_id: str  # name of the run directory
    path: str  # of the run directory, as it is shortest
    title: str  # scenario, or the command's name
    engine: str
    tasks: str | None  # kind; None: somebody's own app
    kinds: tuple[str, ...]  # that its tasks can be changed to while it runs; empty: they can't be
    pool: int | None
    workers: int
    load: str  # in words: "50/s", "120 users", "stages"
    for_s: float  # of the load, as it was changed last
    warm_up_s: float
    plan_text: str  # plan.toml
    has_server_witness: bool
    can_be_steered: bool  # a session is there that takes commands


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that can be changed while it runs: what it is, and what it will be once a pending change has landed."""

    name: str  # rate, users, pool, tasks
    value: float | str | None
    pending: float | str | None = None


@dataclass(frozen=True, slots=True)
class Boot:
    """The server as it is."""

    number: int  # 0: none yet
    pid: int | None
    is_up: bool
    is_ready: bool
    for_s: float  # how long it has been so
    in_words: str  # "up", "starting", "draining", "stopped (SIGSTOP)", "down", "not started", `NOT_KNOWN`


@dataclass(frozen=True, slots=True)
class Mark:
    """An event on the time axis."""

    at_s: float
    kind: MarkKind
    label: str  # at most about 12 characters: "KILL -212", "up", "-> 120/s"
    text: str  # a sentence for the log
    until_s: float | None = None  # of what lasts
    known_s: float | None = None  # from when on frames have it, if that is later: a fault is told once its server is dead
    event: int = 0  # place in the log of the event that tells of it: the same in every frame, while instants and texts may change

    @property
    def from_s(self) -> float:
        """The first instant whose frame has it."""
        return self.at_s if self.known_s is None else max(self.at_s, self.known_s)


@dataclass(frozen=True, slots=True)
class Outage:
    """The server was not there (or was stopped)."""

    from_s: float
    until_s: float | None  # None: still
    gone_s: float | None = None  # since when its process was dead, and what it held gone; None: it lived on, or lives still


@dataclass(frozen=True, slots=True)
class Now:
    """Rates over the last seconds, and gauges. None: nobody could see it."""

    over_s: float  # how long "the last seconds" are
    offered_per_s: float | None
    answered_per_s: float | None
    accepted_per_s: float | None
    finished_per_s: float | None
    backlog: int | None
    busy: int | None
    oldest_queued_s: float | None
    drain_s: float | None  # if nothing more came, at the present rate of finishing
    pool_size: int | None
    pool_busy: int | None
    loop_lag_ms: float | None
    loop_blocked_by: str  # function, "" if nobody
    in_flight: int | None
    server_cpu_share: float | None  # of one core
    server_rss_bytes: int | None
    load_cpu_share: float | None
    late: int  # requests sent too late, so far
    shed: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the load began, and durations with the warm-up left out, just as the summary has them."""

    attempted: int
    acked: int
    rejected: int
    indeterminate: int
    accepted: int
    finished: int
    failed: int
    cancelled: int  # of them: by the app itself
    queued: int
    running: int
    lost_queued: int  # queued when their server died
    lost_running: int
    lost_discarded: int  # put aside although their request was acknowledged
    skipped: int
    restarts: int
    response_p50_ms: float | None
    response_p95_ms: float | None
    response_p99_ms: float | None
    done_p50_ms: float | None
    done_p95_ms: float | None
    done_p99_ms: float | None  # of tasks that finished
    backlog_max: int
    saturated_s: float  # how long the pool was full
    run_mean_ms: float | None  # of finished tasks


@dataclass(frozen=True, slots=True)
class Side:
    """One verdict tile."""

    state: SideState
    headline: str  # two words at most: "OK", "BEHIND"
    lines: tuple[str, ...]  # at most two, 26 characters each; more detail afterwards
    why: str  # a sentence


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task."""

    op: int
    index: int
    function: str
    boot: int
    status: TaskStatus
    detail: str  # "refused", "queued at the kill", exception name ...
    due_s: float  # of its request; if nothing is known of that one, when the task was accepted
    sent_s: float | None  # None: nothing is known of its request
    answered_s: float | None
    accepted_s: float
    started_s: float | None
    ended_s: float | None
    effects_s: tuple[float, ...]
    age_s: float  # until it ended, died, or the instant shown


@dataclass(frozen=True, slots=True)
class Newest:
    """How the run is by now, also while an earlier instant is shown: what can be asked of it depends on that."""

    phase: Phase
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a child wrote."""

    source: str  # "server-1"
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A run at an instant."""

    number: int
    at_s: float  # since load start; negative: before
    newest_s: float  # the newest instant that there is: more than `at_s` if an earlier one is shown
    phase: Phase
    about: About
    boot: Boot
    look: Look
    series: Series  # of `look`, as far as `at_s`: later bins are not there. Its `edges_ns` count from load start
    oldest_ms: NDArray[np.float64]
    """Per bin: at its end, or at `at_s`, for how long the oldest unfinished task has been due. A lower bound of to-done."""
    unsettled: NDArray[np.int64]
    """Per bin: tasks whose operation was due in it and that, at `at_s`, are queued or running."""
    lost: NDArray[np.int64]
    """Per bin: tasks whose operation was due in it and whose process died, or gave them up, before they had ended."""
    response_heat: HeatMap | None  # of the same bins, from load start as well
    done_heat: HeatMap | None
    marks: tuple[Mark, ...]  # all of the run up to `at_s`, in order
    outages: tuple[Outage, ...]
    now: Now
    totals: Totals
    client: Side
    work: Side
    settings: tuple[Setting, ...]
    newest: Newest
    findings: tuple[Finding, ...]  # the worst first
    log: tuple[LogLine, ...]  # the last lines, at most 200
    tasks: tuple[TaskLine, ...]  # of `look.tasks`, oldest first
    n_tasks: dict[TaskStatus, int]
    summary: Summary | None  # once it is there
    problem: str  # why the run cannot be followed further; "" if it can
    cost_ms: float  # what making this frame took: processor time of the follower
