"""Boots, faults and commands of a run, as the summary tells them. Pure: no clock, no files, no processes."""

from __future__ import annotations

from harness.accounting import Account
from harness.grouping import NEVER_NS
from harness.model import Boot, Evidence, Fault, Steered
from harness.recovery import Recovery
from harness.rowscan import left_in
from harness.schema import BootSummary, FaultSummary, SteeredSummary
from harness.timeline import recovery_s

__all__ = ["boot_summary", "fault_summary", "since", "steered_summary"]


def boot_summary(evidence: Evidence, boot: Boot, result: Account) -> BootSummary:
    """One incarnation of the server."""
    counts = next(each for each in result.boots if each.boot == boot.boot)
    predicted = (
        None
        if boot.predicted_queued is None or boot.predicted_running is None
        else boot.predicted_queued + boot.predicted_running
    )
    files = evidence.tasks.get(boot.boot, ())
    before = left_in([file for file in files if boot.ended_before(file)])
    return BootSummary(
        boot=boot.boot,
        pid=boot.pid,
        ready_s=since(evidence, boot.ready_ns),
        signal=boot.signal,
        fault=boot.fault,
        frozen=boot.frozen_ns is not None,
        signalled_s=since(evidence, boot.signalled_ns),
        died_s=since(evidence, boot.reaped_ns),
        exit_status=boot.exit_status,
        accepted=counts.accepted,
        finished=counts.finished,
        queued_at_death=counts.queued_at_death,
        running_at_death=counts.running_at_death,
        queued_by_workers=before[0],
        running_by_workers=before[1],
        predicted_lost=predicted,
        recovery_s=recovery_s(boot, result),
        port_free=boot.port_free,
        survivors=[f"{process.pid} {process.command}" for process in boot.survivors],
        orphans=[f"{process.pid} {process.command}" for process in boot.orphans],
        dead_workers=list(boot.dead_workers),
    )


def fault_summary(evidence: Evidence, fault: Fault, after: Recovery) -> FaultSummary:
    """One fault, and what came after it."""
    return FaultSummary(
        fault=str(fault),
        kind=fault.name,
        condition=fault.condition,
        planned_s=fault.planned_s,
        landed_s=since(evidence, fault.landed_ns),
        ended_s=since(evidence, fault.ended_ns),
        boot=fault.boot,
        ends_boot=fault.landed_ns is not None and (fault.effect == "ends" or bool(fault.receipt.get("boot_ended"))),
        detail=fault.detail,
        receipt=dict(fault.receipt),
        recovery_s=after.answered_s,
        backlog_before=after.backlog_before,
        backlog_recovery_s=after.backlog_s,
        left_queued=after.left_queued,
        left_running=after.left_running,
    )


def steered_summary(evidence: Evidence, each: Steered) -> SteeredSummary:
    """One thing that was asked of the run while it went on."""
    return SteeredSummary(
        at_s=since(evidence, each.asked_ns),
        text=each.text,
        landed_s=since(evidence, each.landed_ns),
        refused=each.refused,
        detail=each.detail,
        who=each.who,
    )


def since(evidence: Evidence, instant_ns: int | None) -> float | None:
    """Seconds after load start; None: it has not happened."""
    return None if instant_ns is None or instant_ns == NEVER_NS else (instant_ns - evidence.load_start_ns) / 1e9
