"""Every kind of finding: its id, which stays, when it appears, and what to do. Sorted by use: what explains most comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.findings.finding import Severity

__all__ = ["CATALOGUE", "Entry", "rank_of"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of finding."""

    id: str
    severities: tuple[Severity, ...]
    when: str  # it appears
    do: str


CATALOGUE: Final = (
    Entry(
        "server-unseen",
        ("warning",),
        "No process of the server told of anything, so the figures are the client's alone.",
        "Run the app in CPython 3.10 or newer, on Starlette or FastAPI, and not with `python -I`, `-E` or `-S`.",
    ),
    Entry(
        "server-partly-unseen",
        ("warning",),
        "Fewer requests were seen inside the server than were acknowledged: a process without the probe answers too.",
        "Start every process of the server by the command that afterload is given.",
    ),
    Entry(
        "no-tasks",
        ("warning",),
        "Requests were acknowledged, and none had a background task.",
        "Check that it is the right endpoint; queues and threads of an app's own are not seen.",
    ),
    Entry(
        "cpu-throttled",
        ("warning",),
        "The run's control group has a quota, and had used it up in at least a twentieth of its periods while load was sent"
        " (`nr_throttled` of cpu.stat): server, load and world stood still for the rest of each.",
        "A larger quota, or less load; or take it as what that quota gives.",
    ),
    Entry(
        "restart-lost",
        ("critical", "warning"),
        "A boot died without being asked (SIGKILL, a crash) and left queued or running tasks behind. Critical if acknowledged"
        " ones were among them. It says what any other moment would have cost: the mean of what was pending (Little's law), or,"
        " where the work falls behind, how much more each second.",
        "Keep what must not be lost outside of the process before answering.",
    ),
    Entry(
        "grace-too-short",
        ("critical",),
        "A server that drains when asked to end reached its deadline with work left. `needed_s` is what was pending times the"
        " mean"
        " run time, divided by the threads.",
        "A longer deadline (`--drain`, terminationGracePeriodSeconds), or less pending.",
    ),
    Entry(
        "stops-without-draining",
        ("critical",),
        "Asked to end, the server ended with work left, and said nothing of a deadline.",
        "Look for a time limit for shutdown; choose a server that waits for background tasks.",
    ),
    Entry(
        "signal-ignored",
        ("critical", "warning"),
        "Asked to end, the server went on listening on its port until it was killed. Critical if work was lost with it.",
        "Hand the signal on: a shell or supervisor as the first process often does not.",
    ),
    Entry(
        "stopped-too-slowly",
        ("critical", "warning"),
        "Asked to end, the server closed its port and had not ended by the deadline. Critical if work was lost with it.",
        "Less pending, or a longer deadline.",
    ),
    Entry(
        "orphans",
        ("critical",),
        "Processes went on after the one that was signalled had ended; afterload ended them.",
        "End the whole process group.",
    ),
    Entry(
        "worker-died",
        ("critical",),
        "A process of the server ended on its own while the others went on.",
        "Read the log of the server.",
    ),
    Entry(
        "backlog-grows",
        ("critical",),
        "More and more work is pending while load is sent: a Theil-Sen slope of at least 3 % of what comes in, in both halves"
        " of the"
        " time, that Mann and Kendall's test (with Hamed and Rao's correction for autocorrelation) calls no accident at 1 %."
        " Not where a server that began with nothing only fills up with long tasks, by the rule of `backlog bounded`.",
        "A rate below what gets done, more threads if they are the limit, a queue limit.",
    ),
    Entry(
        "falls-behind-from",
        ("warning",),
        "On a ramp of the load (`--stages`) the work could follow up to a rate, and no more from then on.",
        "A run at that rate, to see whether it holds.",
    ),
    Entry(
        "endpoints-starved",
        ("critical",),
        "Tasks and `def` endpoints share threads, and answers took three times as long while all were taken.",
        "`async def` endpoints, or a pool of the tasks' own.",
    ),
    Entry(
        "pool-saturated",
        ("warning",),
        "The threads were in use for 90 % (rate times mean run time, divided by threads) or all busy for a fifth of the time, and"
        " tasks waited at least half as long as they run. `limit` says whether more threads can help: `threads`, `gil` (the"
        " process used about one core for each Python), `cores` (the machine is full), `world` (tasks take longer the more of"
        " them"
        " run).",
        "`threads_needed` is the rate times the mean run time, divided by 75 %; or what `limit` names.",
    ),
    Entry(
        "pool-nearly-full",
        ("warning",),
        "The threads were in use for 85 % or more, and nothing had to wait for long yet.",
        "As `pool-saturated`.",
    ),
    Entry(
        "loop-blocked",
        ("critical", "warning"),
        "A function held an event loop. The probe names it; in the bundled server, the tasks that ran while the loop's beat did"
        " not"
        " come are named. Critical from 250 ms.",
        "A `def` function, an async client, or a thread.",
    ),
    Entry(
        "tasks-skipped",
        ("critical",),
        "Later tasks never started because an earlier one of their request raised, or was cancelled.",
        "Catch errors inside the task, or add the tasks one per request.",
    ),
    Entry(
        "effects-duplicated",
        ("critical",),
        "Effects arrived in the world beyond the first of their task.",
        "A key for each effect, and a receiver that drops what it has had.",
    ),
    Entry(
        "tasks-failed",
        ("warning",),
        "Tasks raised; which functions, and what the server's log says most often.",
        "Read the tracebacks in the log; retry inside the task; write failures where somebody looks.",
    ),
    Entry(
        "tasks-cancelled",
        ("warning", "info"),
        "The app itself cancelled tasks, while nobody stopped the server: they are counted as failed (or, before their start, as"
        " skipped), and not as lost. A warning if any of them was a background task of a request.",
        "Nothing if that is meant; else look for `cancel()`, a time-out, or a middleware that gives up a request.",
    ),
    Entry(
        "tasks-discarded",
        ("critical", "warning"),
        "Tasks of endpoints that raised after adding them, or that answered with a response of another background. Critical if"
        " requests of theirs were acknowledged.",
        "What must happen in any case is no background task of the request.",
    ),
    Entry(
        "few-slow-tasks",
        ("warning",),
        "At most a tenth of the tasks take at least half of the threads' time, all threads were busy at times, and others"
        " waited.",
        "Time-outs inside tasks; a pool or queue of its own for slow work.",
    ),
    Entry(
        "world-slowed-down",
        ("warning",),
        "For a second or more nearly all tasks took at least three times as long as usual, without computing more.",
        "Look at what the tasks talk to; time-outs, a circuit breaker.",
    ),
    Entry(
        "drain-too-long",
        ("warning",),
        "Working off what was pending took, or would have taken, longer than the 30 s that Kubernetes gives a pod.",
        "A longer grace period, or fewer pending tasks (the number is said).",
    ),
    Entry(
        "memory-grows",
        ("warning",),
        "The server's memory follows the number of pending tasks (a straight line explains 80 % or more), by 20 MB or more.",
        "Ids instead of objects as arguments; a queue limit.",
    ),
    Entry(
        "memory-leaks",
        ("warning",),
        "The server's memory grows in a straight line, by 20 MB or more and 4 kB or more for each task, not with what is"
        " pending.",
        "Look for what tasks append to; tracemalloc.",
    ),
    Entry(
        "responses-slow-down",
        ("warning",),
        "p95 of the response rises from third to third of the time, to three times the first or more, though the work keeps up.",
        "A longer run, and one at half the rate.",
    ),
    Entry(
        "refusals",
        ("warning",),
        "Answers that are no success: which status, to which request, how often.",
        "What the status says; the log of the server.",
    ),
    Entry(
        "connections-timed-out",
        ("critical", "warning"),
        "Requests waited for a connection until their time (`--request-timeout`) was up, while the server was up: its listen"
        " queue was full. They were never sent, and are in every percentile as never answered. Critical from 1 % of the"
        " requests on.",
        "More workers, less work on the event loop; or a limit with a 503, which tells at once.",
    ),
    Entry(
        "connections-closed",
        ("warning",),
        "The server closed connections instead of answering the requests on them.",
        "Tasks that catch their own errors; the log of the server.",
    ),
    Entry(
        "work-unconfirmed",
        ("warning",),
        "Requests got no answer, and their work was done all the same: a client that tries again has it done twice.",
        "An Idempotency-Key.",
    ),
    Entry(
        "workers-uneven",
        ("critical", "warning"),
        "Of several processes the busiest had at least twice as many tasks as the idlest. Critical if the work fell behind.",
        "More connections, or a proxy that spreads requests.",
    ),
    Entry(
        "unhooked",
        ("warning",),
        "The probe could not hook something; the rest goes on.",
        "docs/probe.md says what then is not seen.",
    ),
    Entry(
        "user-raised",
        ("warning",),
        "A user of the locustfile raised: what it did not send is missing from the load.",
        "Mend the locustfile.",
    ),
    Entry(
        "one-function-dominates",
        ("info",),
        "One of several functions has 80 % or more of the time of a pool that was full at times.",
        "Make that one faster, or move it.",
    ),
    Entry(
        "move-to-queue",
        ("info",),
        "Promises were broken by a restart, or the work needs more than the process can compute, or p95 of the wait is over 10"
        " s.",
        "A queue with workers; the text says what it gains and costs.",
    ),
    Entry(
        "noisy-machine",
        ("warning",),
        "For a tenth of the measured time or more, other programs or the hypervisor took so much of the processors that"
        " somebody had to wait ([verdict.md](verdict.md)).",
        "A machine with nothing else to do.",
    ),
    Entry(
        "closed-model",
        ("info",),
        "The load were users who wait for answers: they sent less while the server stalled.",
        "`--rate` for an open model.",
    ),
    Entry(
        "traffic-note",
        ("info",),
        "Something that a load process had to say about its traffic.",
        "Nothing, unless it surprises.",
    ),
)

_RANKS: Final = {entry.id: rank for rank, entry in enumerate(CATALOGUE)}


def rank_of(finding_id: str) -> int:
    """Where it stands. Raises KeyError for a finding that is in no catalogue: nobody could look it up."""
    return _RANKS[finding_id]
