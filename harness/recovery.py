"""How long it took after each fault until the server answered again, and until its backlog was what it had been. Pure.

Described in docs/faults.md. Everything is counted from the moment at which the fault landed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.grouping import NEVER_NS, OpTable
from harness.model import Boot, Evidence, Fault
from harness.rowscan import left_in
from harness.steps import Steps

__all__ = ["Recovery", "first_answer_ns", "recoveries"]

BEFORE_NS: Final = 1_000_000_000
"""The backlog is back when it is at most what it was at its highest within this time before the fault."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came after one fault."""

    answered_s: float | None  # until the first acknowledgement of a request that was sent after it landed; None: none came
    backlog_before: int  # at its highest within one second before
    backlog_s: float | None  # until the backlog was no higher, after its end; None: never while that server lived
    left_queued: int  # by the processes that it ended: accepted and not started
    left_running: int  # started and not ended


def recoveries(evidence: Evidence, ops: OpTable, backlog: Steps) -> tuple[Recovery, ...]:
    """One for each fault of the evidence, in its order."""
    return tuple(_recovery(evidence, fault, ops, backlog) for fault in evidence.faults)


def first_answer_ns(ops: OpTable, sent_after_ns: int, answered_after_ns: int) -> int | None:
    """When the first request that was sent after one moment was acknowledged after another; None: none was."""
    back = ops.ack_ns[(ops.ack_ns != NEVER_NS) & (ops.sent_ns > sent_after_ns) & (ops.ack_ns > answered_after_ns)]
    return int(back.min()) if len(back) else None


def _recovery(evidence: Evidence, fault: Fault, ops: OpTable, backlog: Steps) -> Recovery:
    if fault.landed_ns is None:
        return Recovery(None, 0, None, 0, 0)
    boot = next((each for each in evidence.boots if each.boot == fault.boot), None)
    ended = boot if boot is not None and _ended_by(boot, fault) else None
    began_ns = (ended.frozen_ns if ended is not None else None) or fault.landed_ns
    dead_ns = ended.reaped_ns if ended is not None else None
    answered_ns = first_answer_ns(ops, began_ns, dead_ns or began_ns)
    before_ns = max(began_ns - BEFORE_NS, min(evidence.load_start_ns, began_ns - 1))
    before = int(backlog.highest_in(np.array([before_ns, began_ns]))[0])
    over_ns = _over_ns(evidence, fault, ended)
    back_ns = None if over_ns is None else backlog.first_at_most(before, over_ns, _until_ns(evidence, over_ns))
    queued, running = _left(evidence, fault, ended)
    return Recovery(
        answered_s=None if answered_ns is None else (answered_ns - began_ns) / 1e9,
        backlog_before=before,
        backlog_s=None if back_ns is None else (back_ns - began_ns) / 1e9,
        left_queued=queued,
        left_running=running,
    )


def _ended_by(boot: Boot, fault: Fault) -> bool:
    if not boot.fault:
        return False
    return fault.effect == "ends" or bool(fault.receipt.get("boot_ended"))


def _over_ns(evidence: Evidence, fault: Fault, ended: Boot | None) -> int | None:
    """When the fault was over: it was taken back, or the next boot was ready. None: never."""
    if ended is not None:
        later = sorted((each for each in evidence.boots if each.boot > ended.boot), key=lambda each: each.boot)
        return next((each.ready_ns for each in later if each.ready_ns is not None), None)
    if fault.effect == "asks" and fault.receipt.get("outcome") != "replaced":
        return fault.landed_ns
    return fault.ended_ns


def _until_ns(evidence: Evidence, over_ns: int) -> int:
    """Until when the server that was there at that moment lived: what a later restart has thrown away is no recovery."""
    serving = [each for each in evidence.boots if each.ready_ns is not None and each.ready_ns <= over_ns]
    if not serving:
        return NEVER_NS
    last = max(serving, key=lambda each: each.boot)
    return last.frozen_ns or last.signalled_ns or last.reaped_ns or NEVER_NS


def _left(evidence: Evidence, fault: Fault, ended: Boot | None) -> tuple[int, int]:
    if ended is not None:
        # Not what workers had left that had ended before.
        return left_in([file for file in evidence.tasks.get(ended.boot, ()) if not ended.ended_before(file)])
    return left_in(evidence.ended_by(fault))
