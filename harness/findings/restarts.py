"""Findings about what restarts cost: promises broken by a crash, by a deploy's deadline, and how long a drain takes. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.findings.stretch import Stretch
from harness.grouping import TaskState, op_of, positions
from harness.model import Boot
from harness.rowless import has_no_row
from harness.rows import Outcome, RowFile
from harness.rowscan import left_in, left_keys
from harness.wording import at_s, counted, counted_between, duration_s, listed, per_second, roughly_s

__all__ = ["of_restarts"]

GRACE_S: Final = 30.0
"""What Kubernetes gives a pod unless told otherwise (terminationGracePeriodSeconds); Docker 10 s, systemd 90 s."""

_ASKED: Final = frozenset({"SIGTERM", "SIGINT", "SIGHUP"})
_MOST_SHOWN: Final = 3


def of_restarts(facts: Facts) -> Iterator[FoundOut]:
    """What the ends of boots lost, and what an orderly end needs."""
    # A run that was interrupted ends its servers in a hurry: what that loses is nobody's fault but the user's.
    if not facts.account.server_is_witness or facts.evidence.interrupted_by:
        return
    counts = {each.boot: each for each in facts.account.boots}
    crashes: list[_Left] = []
    for boot in sorted(facts.evidence.boots, key=lambda each: each.boot):
        count = counts.get(boot.boot)
        if count is None or boot.reaped_ns is None or not count.queued_at_death + count.running_at_death:
            continue
        crashes += _of_workers(facts, boot)
        # What processes left that had ended before is not that of the boot's own end; of themselves they are told of elsewhere.
        files = facts.evidence.tasks.get(boot.boot, ())
        queued, running = left_in([file for file in files if boot.ended_before(file)])
        left = _Left(
            boot=boot,
            what=boot.signal or "its own death",
            at_s=facts.at_s(boot.signalled_ns or boot.reaped_ns),
            queued=max(count.queued_at_death - queued, 0),
            running=max(count.running_at_death - running, 0),
            files=tuple(file for file in files if not boot.ended_before(file)),
        )
        if not left.queued + left.running:
            continue
        # One that had to be killed after it was asked is told of with its end.
        if boot.signal in _ASKED:
            if not boot.forced:
                yield _given_up(facts, left)
        else:
            crashes.append(left)
    if crashes:
        yield _crashed(facts, sorted(crashes, key=lambda each: each.at_s or 0.0))
    yield from _drain(facts)


@dataclass(frozen=True, slots=True)
class _Left:
    """What the end of a boot, or of some processes of it, left behind."""

    boot: Boot
    what: str
    at_s: float | None
    queued: int
    running: int
    files: tuple[RowFile, ...]  # of the processes that ended


def _of_workers(facts: Facts, boot: Boot) -> list[_Left]:
    """Of processes that were ended on purpose while the boot went on, by fault."""
    found = []
    for fault in facts.evidence.faults:
        files = tuple(facts.evidence.ended_by(fault)) if fault.boot == boot.boot else ()
        queued, running = left_in(files)
        if queued + running:
            found.append(_Left(boot, f"the fault {fault}", facts.at_s(fault.landed_ns), queued, running, files))
    return found


def _lost_by(facts: Facts, crashes: list[_Left]) -> tuple[int, int, int]:
    """Tasks that these cost, and how many of them had been acknowledged: as is known from rows of requests, and at most.

    What an orderly end gave up is told of with that.
    """
    account, evidence = facts.account, facts.evidence
    left = sum(each.queued_at_death + each.running_at_death for each in account.boots)
    if sum(each.queued + each.running for each in crashes) == left:
        aside = account.lost_discarded + account.lost_unknown
        known = account.broken_promises_queued + account.broken_promises_running
        return account.lost - aside, known, account.broken_promises - aside
    tasks, ops = account.tables.tasks, account.tables.ops
    chosen = np.zeros(len(tasks.first), np.bool_)
    for each in crashes:
        # Of a task that a later boot took over, what became of it there is what counts.
        chosen |= np.isin(tasks.task_key, left_keys(each.files, evidence.run_tag)) & (tasks.boot[tasks.last] == each.boot.boot)
    chosen &= account.tables.effects.of(tasks.task_key) == 0
    chosen &= np.isin(tasks.task_state(), (TaskState.NEVER_STARTED, TaskState.INTERRUPTED))
    op = op_of(tasks.task_key[chosen])
    where, was_sent = positions(ops.op, op)
    acked = np.zeros(len(op), np.bool_)
    acked[was_sent] = ops.outcome[where[was_sent]] == Outcome.ACK
    known = int(np.count_nonzero(acked))
    return len(op), known, known + int(np.count_nonzero(~acked & has_no_row(evidence, op)))


def _crashed(facts: Facts, crashes: list[_Left]) -> FoundOut:
    lost, known, broken = _lost_by(facts, crashes)
    queued, running = sum(each.queued for each in crashes), sum(each.running for each in crashes)
    who = [f"{each.what} at {at_s(each.at_s)}" for each in crashes]
    shown = who[:_MOST_SHOWN] + ([f"{len(who) - _MOST_SHOWN} more"] if len(who) > _MOST_SHOWN else [])
    text = (
        f"What a process holds in memory ends with it: {listed(shown)} left {_split(queued, running)} behind;"
        f" {counted_between(known, broken, 'acknowledged task was', 'acknowledged tasks were')} never done."
    )
    main = facts.main
    pending = np.concatenate([np.zeros(0), *(each.pending for each in facts.stretches)])
    if main is not None and main.falls_behind:
        text += f" The later it comes the more it costs: {main.grows_per_s:,.0f} more for each second at this rate."
    elif len(pending):
        low, high = round(float(pending.min())), round(float(pending.max()))
        between = f" ({low:,} to {high:,})" if high > low else ""
        text += f" At any other moment it would have been about {pending.mean():,.0f}{between}: what is pending at this rate."
    return FoundOut(
        "restart-lost",
        "critical" if broken else "warning",
        text,
        {
            "broken_promises": broken,
            "lost": lost,
            "restarts": [
                {"boot": each.boot.boot, "what": each.what, "at_s": each.at_s, "queued": each.queued, "running": each.running}
                for each in crashes
            ],
            "pending_mean": round(float(pending.mean()), 3) if len(pending) else None,
            "pending_max": round(float(pending.max()), 3) if len(pending) else None,
        },
        "Write down what must not be lost before the answer: a queue that outlives the process, or a table in the database. Less"
        " pending loses less, and never nothing.",
    )


def _split(queued: int, running: int) -> str:
    """`12 queued and 1 running task`, `8 running tasks`."""
    parts = [f"{n:,} {word}" for n, word in ((queued, "queued"), (running, "running")) if n]
    return f"{listed(parts)} {'task' if (running or queued) == 1 else 'tasks'}"


def _given_up(facts: Facts, what: _Left) -> FoundOut:
    """It was asked to end, and ended with work left."""
    boot, at, left = what.boot, at_s(what.at_s), what.queued + what.running
    waited_s = ((boot.reaped_ns or 0) - (boot.signalled_ns or 0)) / 1e9
    split = _split(what.queued, what.running)
    stretch = next((each for each in reversed(facts.stretches) if each.boot == boot.boot), None)
    needed_s = (
        _to_work_off_s(stretch, round(float(stretch.pending[-1]))) if stretch is not None and len(stretch.pending) else None
    )
    numbers = {
        "boot": boot.boot,
        "signal": boot.signal,
        "waited_s": round(waited_s, 3),
        "queued": what.queued,
        "running": what.running,
        "needed_s": None if needed_s is None else round(needed_s, 3),
    }
    if boot.said_abandoned_queued is None:
        return FoundOut(
            "stops-without-draining",
            "critical",
            f"{boot.signal} at {at} ended the server after {duration_s(waited_s)}, with {split} left: it did not wait for them."
            " So"
            " each deploy breaks promises.",
            numbers,
            "Is it a time limit (uvicorn: --timeout-graceful-shutdown)? If not, this server does not wait for background tasks:"
            " uvicorn and the bundled server do.",
        )
    text = (
        f"{boot.signal} at {at}: the {duration_s(waited_s)} that the server took to drain were too short, {split} were given up."
    )
    advice = "Give it longer (--drain here, terminationGracePeriodSeconds in Kubernetes), or keep less work pending."
    if needed_s is not None and needed_s > waited_s:
        text += f" All that was pending then would have taken about {roughly_s(needed_s)}."
        advice = (
            f"Give it {math.ceil(needed_s * 1.5)} s (--drain here, terminationGracePeriodSeconds in Kubernetes), or keep less"
            f" work pending: {counted(left, 'task')} fewer would have been in time."
        )
    return FoundOut("grace-too-short", "critical", text, numbers, advice)


def _drain(facts: Facts) -> Iterator[FoundOut]:
    """How long a deploy at the worst moment would have to wait, as measured or else as predicted."""
    measured = [
        ((boot.reaped_ns - boot.signalled_ns) / 1e9, boot)
        for boot in facts.evidence.boots
        if boot.signal in _ASKED and not boot.forced and boot.reaped_ns is not None and boot.signalled_ns is not None
    ]
    longest_s, boot = max(measured, key=lambda each: each[0], default=(0.0, None))
    # What is left at the end of the load is worked off before the server is asked to end: the same work, with the same threads.
    rest_s = facts.timeline.drain_s or 0.0
    if boot is not None and longest_s > max(GRACE_S, rest_s):
        text = f"Draining took {duration_s(longest_s)} after {boot.signal} at {at_s(facts.at_s(boot.signalled_ns))}"
        took_s = longest_s
    elif rest_s > GRACE_S:
        text, took_s = (
            f"After the last request it took {duration_s(rest_s)} until the last task had ended, and so would a deploy then",
            rest_s,
        )
    else:
        peak = max(facts.stretches, key=lambda each: float(each.pending.max(initial=0)), default=None)
        if peak is None:
            return
        n = round(float(peak.pending.max(initial=0)))
        took_s = _to_work_off_s(peak, n) or 0.0
        if took_s <= GRACE_S:
            return
        text = f"A deploy when {n:,} tasks were pending would have had to wait about {roughly_s(took_s)} for them"
    capacity = max((_capacity_per_s(each) for each in facts.stretches), default=0.0)
    most = int(capacity * GRACE_S * 0.8)
    text += f": longer than the {GRACE_S:.0f} s that Kubernetes gives a pod before it kills it (Docker: 10 s)."
    advice = f"terminationGracePeriodSeconds: {math.ceil(took_s * 0.15) * 10}"
    if most:
        advice += f", or never more than about {most:,} tasks pending ({per_second(capacity)} for {GRACE_S * 0.8:.0f} s)"
        advice += ": --queue-limit." if facts.plan.get("engine") == "rust" else "."
    yield FoundOut(
        "drain-too-long",
        "warning",
        text,
        {"drain_s": round(took_s, 3), "grace_s": GRACE_S, "capacity_per_s": round(capacity, 3), "most_pending": most},
        advice,
    )


def _to_work_off_s(stretch: Stretch, n: int) -> float | None:
    """How long so many pending tasks take: by the threads where they are the limit, else at the rate at which it went."""
    capacity = _capacity_per_s(stretch)
    return n / capacity if capacity else None


def _capacity_per_s(stretch: Stretch) -> float:
    """Tasks that can be done per second: by the threads where they are the limit, else what was seen to be done."""
    way = stretch.in_threads
    if way is None or stretch.on_loop is not None or not stretch.threads or not way.run_s > 0:
        return stretch.ended_per_s
    return stretch.threads / way.run_s
