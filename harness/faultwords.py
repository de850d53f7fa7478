"""What became of a fault, in words. A pure function."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.schema import FaultSummary
from harness.wording import at_s, counted, duration_s

__all__ = ["fault_words"]

_WAS: Final = {
    "stop": "stopped",
    "squeeze": "squeezed",
    "slow-world": "slow",
    "dead-world": "gone",
    "hog": "busy beside it",
    "full-disk": "full",
}


def fault_words(fault: FaultSummary) -> str:
    """When it was, what proves it, what came after it."""
    if fault.landed_s is None:
        return f"did not land{': ' + fault.detail if fault.detail else ''}"
    return "; ".join(_parts(fault))


def _parts(fault: FaultSummary) -> Iterator[str]:
    yield _when(fault)
    if fault.detail:
        yield fault.detail
    yield from _proof(fault)
    if fault.left_queued or fault.left_running:
        yield f"{fault.left_queued:,} queued + {fault.left_running:,} running tasks were left behind"
    if fault.recovery_s is None:
        yield "no request that was sent after it was acknowledged"
    else:
        yield f"first answer {duration_s(fault.recovery_s)} after it landed"
    if fault.backlog_recovery_s is not None:
        yield f"backlog back to at most {fault.backlog_before:,} after {duration_s(fault.backlog_recovery_s)}"
    elif fault.ended_s is not None:
        yield f"the backlog never came back to the {fault.backlog_before:,} that it had been before"


def _when(fault: FaultSummary) -> str:
    was = _WAS.get(fault.kind)
    if was is None:
        return f"at {at_s(fault.landed_s)}" + (f", over at {at_s(fault.ended_s)}" if _is_replaced(fault) else "")
    return f"{was} from {at_s(fault.landed_s)} " + (f"to {at_s(fault.ended_s)}" if fault.ended_s is not None else "on")


def _is_replaced(fault: FaultSummary) -> bool:
    return fault.ended_s is not None and bool(fault.receipt.get("replaced"))


def _proof(fault: FaultSummary) -> Iterator[str]:
    receipt = fault.receipt
    if replaced := receipt.get("replaced"):
        yield f"{counted(len(replaced), 'process', 'processes')} replaced (pid {', '.join(map(str, replaced))})"
    if outcome := receipt.get("outcome"):
        yield {"went on": "the server went on as if nothing had been", "replaced": "the server replaced its workers"}.get(
            outcome, f"the server {outcome}"
        )
    if cpu_s := receipt.get("cpu_s"):
        yield f"{counted(len(cpu_s), 'process', 'processes')} used {duration_s(sum(cpu_s.values()))} of CPU"
    if "late_answers" in receipt:
        yield f"{receipt['late_answers']:,} answers were {duration_s(receipt['delay_s'])} late"
    if "dropped" in receipt:
        yield f"{receipt['dropped']:,} connections dropped, new ones refused"
    if sizes := receipt.get("pool_size"):
        before = receipt.get("pool_size_before", {})
        yield f"pool of {', '.join(map(str, before.values()))} threads at {', '.join(map(str, sizes.values()))}"
