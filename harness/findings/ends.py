"""Findings about how processes of the server ended: late, not at all, or on their own. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.model import Boot
from harness.rowscan import left_in
from harness.wording import at_s, counted, duration_s

__all__ = ["of_ends"]


def of_ends(facts: Facts) -> Iterator[FoundOut]:
    """Of each boot: who went on after the end, who had to be killed, who ended before it."""
    for boot in sorted(facts.evidence.boots, key=lambda each: each.boot):
        if boot.orphans:
            yield _orphans(facts, boot)
        # A run that was interrupted does not wait as long as a server may take.
        if boot.forced and boot.signal in {"SIGTERM", "SIGINT"} and not facts.evidence.interrupted_by:
            yield _too_slow(facts, boot)
        # What a fault ended is told of with that, also if it had the pid of one that had ended on its own.
        by_faults = {id(file) for fault in facts.evidence.faults for file in facts.evidence.ended_by(fault)}
        files = facts.evidence.tasks.get(boot.boot, ())
        for pid in boot.dead_workers:
            queued, running = left_in(
                file for file in files if file.pid == pid and boot.ended_before(file) and id(file) not in by_faults
            )
            with_it = f", with {queued:,} queued and {running:,} running tasks" if queued + running else ""
            yield FoundOut(
                "worker-died",
                "critical",
                f"Process {pid} of boot {boot.boot} ended on its own while the server went on{with_it}.",
                {"boot": boot.boot, "pid": pid, "queued": queued, "running": running},
                f"The log of the server may say why: server-{boot.boot}.log in the run directory.",
            )


def _orphans(facts: Facts, boot: Boot) -> FoundOut:
    n, at = len(boot.orphans), at_s(facts.at_s(boot.signalled_ns))
    went_on = "went on serving the port" if boot.orphans_served else "went on"
    how = f"{boot.signal} to process {boot.pid} alone at {at}" if boot.signal else f"The end of process {boot.pid}"
    return FoundOut(
        "orphans",
        "critical",
        f"{how} ended it and not its children: {counted(n, 'process', 'processes')} {went_on} until afterload ended"
        f" {'it' if n == 1 else 'them'}.",
        {
            "boot": boot.boot,
            "processes": [{"pid": each.pid, "command": each.command} for each in boot.orphans],
            "served": boot.orphans_served,
        },
        "Whoever restarts this server has to end its whole process group.",
    )


def _too_slow(facts: Facts, boot: Boot) -> FoundOut:
    waited_s = ((boot.reaped_ns or 0) - (boot.signalled_ns or 0)) / 1e9
    at = at_s(facts.at_s(boot.signalled_ns))
    queued, running = left_in(facts.evidence.tasks.get(boot.boot, ()))
    left = f" {queued:,} queued and {running:,} running tasks were lost with it." if queued + running else ""
    if boot.served_to_the_end:
        kind, advice = "signal-ignored", f"Let it end on {boot.signal}: a container that ignores it is killed at each deploy."
        text = (
            f"Boot {boot.boot} ignored {boot.signal} at {at}: it listened until it was killed {duration_s(waited_s)} later.{left}"
        )
    else:
        kind = "stopped-too-slowly"
        text = f"Boot {boot.boot} had not ended {duration_s(waited_s)} after {boot.signal} at {at}, and was killed.{left}"
        advice = "Kubernetes gives a pod 30 s unless told otherwise: keep less work pending, or give it longer (--drain here)."
    numbers = {"boot": boot.boot, "signal": boot.signal, "waited_s": round(waited_s, 3), "queued": queued, "running": running}
    return FoundOut(kind, "critical" if left else "warning", text, numbers, advice)
