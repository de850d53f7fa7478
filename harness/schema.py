"""The schema of summary.json: pydantic models, nothing else. harness/summary.py fills them in.

Durations are in ms where the name says `_ms` and in s where it says `_s`; instants are in s since load start. A value that
there is none of is null: a percentile of requests that were never answered, a recovery that never came.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from harness.records import Number, Record
from harness.verdict import VerdictName

__all__ = [
    "BLOCKED_MS",
    "N_GROUPS",
    "SCHEMA_VERSION",
    "BootSummary",
    "Durations",
    "EffectCount",
    "FaultSummary",
    "Finding",
    "FunctionSummary",
    "Generator",
    "InvariantSummary",
    "Loop",
    "Machine",
    "OutageSummary",
    "PoolUse",
    "Requests",
    "RouteSummary",
    "ScenarioFigure",
    "ScenarioSummary",
    "SloSummary",
    "SloWindowsSummary",
    "SteeredSummary",
    "Summary",
    "Tasks",
    "TimelineSummary",
]

SCHEMA_VERSION: Final = 1
N_GROUPS: Final = 50
"""So many routes and functions are in a summary; the busiest ones."""
BLOCKED_MS: Final = 100.0
"""An event loop that is this late is called blocked."""


class Durations(Record):
    """Nearest-rank quantiles of durations in ms. Null: there was none, or that share of them never ended (see `n_never`)."""

    n: int
    n_never: int
    p50: Number
    p90: Number
    p95: Number
    p99: Number
    p999: Number
    max: Number


class Requests(Record):
    """What the clients saw. Counts are of the whole run; rates and durations are as said, durations without the warm-up."""

    model: Literal["open", "closed"] = Field(
        description="open: sent when due, whatever became of the ones before; closed: users waited for answers, due is sent"
    )
    planned: int
    attempted: int
    acked: int
    rejected: int
    unconnected: int = Field(
        default=0, description="of the rejected: the server took no connection in time; in every percentile as never answered"
    )
    own_limit: int = Field(
        default=0, description="of the rejected: the load generator had no descriptor, local port or memory for a connection"
    )
    indeterminate: int
    unsent: int
    counted: int = Field(
        default=0, description="of attempted: of load machines, known by histograms alone; what became of each one's work is not"
    )
    unseen: int = Field(description="acknowledged or indeterminate, and no process of the server told of them")
    unanswered_while_up: int = Field(description="indeterminate, and no outage or boot's end explains it")
    closed_while_up: int = Field(description="of the indeterminate: the server closed their connection instead of answering")
    offered_per_s: Number = Field(description="requests due, per second of load after the warm-up")
    achieved_per_s: Number = Field(
        description="requests acknowledged until the load ended, per second of load after the warm-up; not those that came later"
    )
    response_ms: Durations = Field(
        description="done - due; refused ones left out, without an answer or a connection: never ended"
    )
    service_ms: Durations = Field(description="done - sent")
    lag_ms: Durations = Field(description="sent - due: how late the generator was")


class Tasks(Record):
    """What became of the tasks. `accepted` is the sum of the states up to `awaiting`."""

    inline: bool = Field(description="the work is done before answering: `lost` counts operations, shown by the world alone")
    server_is_witness: bool = Field(description="it wrote task rows, and saw every request that was acknowledged")
    world_is_witness: bool = Field(description="it shows for each task whether its effect arrived")
    accepted: int
    finished: int
    failed: int
    skipped: int
    rejected: int
    discarded: int
    interrupted: int
    never_started: int
    awaiting: int
    cancelled_running: int = Field(default=0, description="of failed: the app itself cancelled them, they did not raise")
    cancelled_queued: int = Field(default=0, description="of skipped: the app itself cancelled them before they started")
    never_done: int = Field(
        description="at most: failed, skipped, interrupted, never started, or put aside though acknowledged; inline: lost"
    )
    never_done_low: int = Field(
        # A summary of an earlier version tells of one number.
        default_factory=lambda known: int(known.get("never_done", 0)),
        description="at least; other than `never_done` where it is not known whether what was put aside was acknowledged",
    )
    lost: int = Field(description="at most; of an unseen request, whatever it left behind counts as one")
    lost_low: int = Field(description="at least; other than `lost` where a witness was missing")
    lost_queued: int
    lost_running: int
    lost_discarded: int = Field(default=0, description="put aside by the server although their request was acknowledged")
    broken_promises: int = Field(description="lost and acknowledged, at most")
    broken_promises_low: int = Field(description="at least")
    broken_promises_queued: int
    broken_promises_running: int
    duplicated: int
    recovered: int
    effects: int
    effects_finished: int = Field(description="finished tasks with an effect")
    effects_failed: int
    effects_interrupted: int
    effects_other: int
    foreign: int = Field(description="task rows of no operation of this run")
    wait_ms: Durations = Field(description="started - accepted, of tasks that started")
    run_ms: Durations = Field(description="finished or failed - started")
    done_ms: Durations = Field(description="finished - due of the request, of tasks that finished")
    backlog_max: int
    drain_s: Number = Field(
        description="from the last due request to the end of the last task, finished or failed; null: not all have ended"
    )


class PoolUse(Record):
    """The thread pool for `def` tasks; where endpoints take threads of it too, these count as well."""

    size: int = Field(description="of all processes together, for most of the time; as it was changed to by hand")
    busy_max: int = Field(description="more than `size` where there were more threads for a while")
    saturated_s: Number = Field(description="every thread was busy that there was then")
    lived_s: Number = Field(description="how long a server with this pool was there, between load start and the last event")


class Loop(Record):
    """The event loop of the server, from samples of its heart beat while it was ready and was not stopped."""

    lag_ms: Durations
    blocked_s: Number = Field(description=f"the time between samples in which it was late by {BLOCKED_MS:g} ms or more")


class Generator(Record):
    """The load processes."""

    processes: int
    cpu_max: Number = Field(description="share of one core, of the busiest")
    shed: int = Field(description="due and never sent: too many were in flight, or it was overdue")
    overdue: int = Field(
        default=0, description="of those shed: they could not be sent within `send_within_s` after they were due"
    )
    late: int = Field(default=0, description="of those sent: more than 20 ms after they were due")
    stalled_s: Number = Field(
        default=None, description="how long load processes stood still, for more than 20 ms at a time; of the worst one"
    )
    longest_stall_s: Number = Field(default=None, description="at a stretch")
    ceiling_per_s: Number = Field(
        default=None, description="requests/s that the load processes can send at most on this machine; null: not calibrated"
    )
    lag_floor_ms: Number = Field(
        default=None, description="lag p99 on this machine when little is asked of it; null: not calibrated"
    )


class Machine(Record):
    """What else the machine did while the run was measured: the processors that the run may use, all of them together being 1."""

    other_cpu_share: Number = Field(description="of the processors' time, used by programs that are not of this run")
    steal_share: Number = Field(description="of the processors' time, taken by the hypervisor")
    stalled_share: Number = Field(
        description="of the time, in which somebody waited for a processor; null: the kernel does not tell"
    )
    noisy_s: Number = Field(description="how long others left so little that the run had to wait (docs/verdict.md)")
    seen_s: Number = Field(description="how long it was looked at, from the end of the warm-up on")


class BootSummary(Record):
    """One incarnation of the server."""

    boot: int
    pid: int
    ready_s: Number
    signal: str | None
    fault: bool
    frozen: bool
    signalled_s: Number
    died_s: Number
    exit_status: int | None
    accepted: int
    finished: int
    queued_at_death: int
    running_at_death: int
    queued_by_workers: int = Field(default=0, description="of queued_at_death: left by processes that had ended before")
    running_by_workers: int = Field(default=0, description="of running_at_death, likewise")
    predicted_lost: int | None = Field(description="queued + running, read while it was frozen and before it was killed")
    recovery_s: Number = Field(description="from the signal to the first acknowledgement by the next boot")
    port_free: bool | None
    survivors: list[str]
    orphans: list[str] = Field(description="went on after the process that was signalled had ended, and were ended by afterload")
    dead_workers: list[int] = Field(description="pids of processes that ended on their own while the boot went on")


class FaultSummary(Record):
    """One fault, planned or by hand, in the order in which they landed. Times after it are counted from when it landed."""

    fault: str = Field(description="as planned, e.g., stop@6s+2s; by hand: with the time at which it was asked for")
    kind: str
    condition: str | None = Field(description="null: it had a time")
    planned_s: Number = Field(description="null: it had a condition")
    landed_s: Number = Field(description="null: it did not land")
    ended_s: Number = Field(description="when it was taken back, or the processes were replaced; null: neither")
    boot: int | None = Field(description="the boot that it hit")
    ends_boot: bool = Field(description="the boot ended by it")
    detail: str = Field(description="why it did not land, did not end, or was late")
    receipt: dict[str, Any] = Field(description="what proves it")
    recovery_s: Number = Field(description="until the first acknowledgement of a request that was sent after it; null: none came")
    backlog_before: int = Field(description="the highest within one second before it")
    backlog_recovery_s: Number = Field(description="until, after its end, the backlog was no higher than that; null: never")
    left_queued: int = Field(description="tasks that the processes which it ended had not started")
    left_running: int = Field(description="tasks that those processes were running")


class SteeredSummary(Record):
    """Something that was asked of the run while it went on, in the order in which it was asked."""

    at_s: Number = Field(description="when it was asked")
    text: str = Field(description="e.g., rate=200, pool=8, fault=kill, stop")
    landed_s: Number = Field(description="when it took effect; null: it was not done")
    refused: str = Field(description="why it was not done; empty: it was")
    detail: str = Field(description="what it did")
    who: str = Field(description="asked for it")


class InvariantSummary(Record):
    """One invariant of the accounting."""

    id: str
    title: str
    holds: bool
    detail: str


class OutageSummary(Record):
    """From the signal of a fault until the next boot was ready. `until_s` null: none became ready."""

    boot: int
    from_s: Number
    until_s: Number


class SloWindowsSummary(Record):
    """What became of an objective that has to hold in every window."""

    length_s: Number
    n: int
    broken: int
    undecided: int
    worst_from_s: Number = Field(description="since load start: where the window begins whose value is shown")


class SloSummary(Record):
    """One objective, and whether it holds. `value`, `low`, `high` and `limit` are in `unit`."""

    text: str
    holds: bool | None = Field(description="null: it cannot be told, and `why` says what stands in the way")
    value: Number = Field(
        description="as measured; windowed: of the worst window. Null: none, or at least that share never ended"
    )
    never: bool = Field(description="at least that share never ended")
    low: Number = Field(description="at least; other than `value` where it is not known exactly")
    high: Number = Field(description="at most; null: there is no bound")
    limit: Number
    unit: Literal["ms", "s", "/s", "%", "bytes", ""] = Field(description="empty: a count")
    why: str = Field(description="why it cannot be told; empty where it can")
    windows: SloWindowsSummary | None = Field(description="null: it is about the whole run")


class TimelineSummary(Record):
    """The run in equal bins; `t_s` is where each begins."""

    bin_s: Number
    t_s: list[float]
    backlog_max: list[int]
    busy_max: list[int]
    response_p95_ms: list[Number] = Field(description="of requests due in the bin; null: none, or unanswered")
    done_p95_ms: list[Number] = Field(
        description="of tasks that finished or were lost, by when their request was due; null: none, or more than 5 % were lost"
    )
    arrivals: list[int]
    completions: list[int]
    outages: list[OutageSummary]


class RouteSummary(Record):
    """The requests of one route. Counts are of the whole run, durations without the warm-up."""

    name: str
    attempted: int
    acked: int
    rejected: int
    indeterminate: int
    response_ms: Durations = Field(
        description="done - due; refused ones left out, without an answer or a connection: never ended"
    )


class FunctionSummary(Record):
    """The tasks of one function. Counts are of the whole run, durations without the warm-up."""

    name: str = Field(description="empty: its server did not say it")
    kind: Literal["def", "async", "spawned", "unknown"]
    accepted: int
    finished: int
    failed: int
    lost: int = Field(description="interrupted or never started, and without an effect: at most")
    wait_ms: Durations = Field(description="started - accepted, of tasks that started")
    run_ms: Durations = Field(description="finished or failed - started")
    done_ms: Durations = Field(description="finished - due of the request, of tasks that finished")


class ScenarioFigure(Record):
    """Something that a scenario found in its world, e.g., half-written files."""

    id: str
    value: Number = Field(description="null: there is none")
    unit: str
    text: str = Field(description="the figure in words, with its number; empty: not worth a line")


class EffectCount(Record):
    """Effects of one of the tasks that each request has."""

    index: int
    name: str = Field(description="what they are called, in the plural")
    arrived: int


class ScenarioSummary(Record):
    """What the scenario itself says, independent of the server."""

    name: str
    effects: list[EffectCount]
    figures: list[ScenarioFigure]
    problems: list[str] = Field(description="witnesses that disagree; each makes the run inconclusive")


class Finding(Record):
    """What the figures mean, in words. The id names the kind of finding and stays the same from run to run."""

    id: str
    severity: Literal["info", "warning", "critical"]
    text: str
    evidence: dict[str, Any] = Field(description="the figures that the text is about")
    next: str = Field(default="", description="what to try next; empty: nothing")


class Summary(Record):
    """The whole of summary.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    verdict: VerdictName
    trusted: bool = Field(default=True, description="false: INCONCLUSIVE for reasons that make every figure doubtful")
    reasons: list[str] = Field(description="why it is not PASS, in sentences")
    slos: list[SloSummary] = Field(default=[], description="the objectives of the plan, in its order")
    findings: list[Finding]
    plan: dict[str, Any]
    environment: dict[str, Any]
    interrupted_by: str | None
    load_s: Number = Field(description="length of the load")
    warm_up_s: Number
    requests: Requests
    tasks: Tasks
    pool: PoolUse | None = Field(description="null: no server said that it has one")
    loop: Loop | None = Field(description="null: nobody looked at it")
    generator: Generator
    machine: Machine | None = Field(default=None, description="null: nobody looked at it")
    boots: list[BootSummary]
    faults: list[FaultSummary] = Field(default=[], description="everything that was done to the server or its world on purpose")
    steered: list[SteeredSummary] = Field(default=[], description="what was asked of it while it went on (docs/steering.md)")
    steered_stages: str | None = Field(
        default=None,
        description="the rates that there were in the end, as --stages has them; null: nobody changed them, or there are none",
    )
    invariants: list[InvariantSummary]
    scenario: ScenarioSummary | None = Field(default=None, description="null: it was not asked")
    routes: list[RouteSummary] = Field(default=[], description=f"the busiest first, at most {N_GROUPS}")
    functions: list[FunctionSummary] = Field(default=[], description=f"of tasks; the busiest first, at most {N_GROUPS}")
    timeline: TimelineSummary
