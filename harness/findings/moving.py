"""When it is time for a queue with workers of its own, and what that would cost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.wording import counted_between, duration_ms, listed

__all__ = ["of_moving"]

_PATIENCE_MS: Final = 10_000.0
"""Who waits longer than that for a mail or a report looks whether something is wrong."""


def of_moving(facts: Facts, found: Sequence[FoundOut]) -> Iterator[FoundOut]:
    """Only what the run has shown is a reason: the other findings are given."""
    by_id = {each.id: each for each in found}
    reasons: list[str] = []
    account = facts.account
    known = account.broken_promises_queued + account.broken_promises_running
    broken = account.broken_promises - account.lost_discarded - account.lost_unknown
    if not account.server_is_witness or account.inline:
        return
    if broken and by_id.keys() & {"restart-lost", "grace-too-short", "stops-without-draining", "stopped-too-slowly"}:
        reasons.append(f"{counted_between(known, broken, 'promise was', 'promises were')} broken by a restart")
    limit = by_id["pool-saturated"].evidence["limit"] if "pool-saturated" in by_id else None
    if "backlog-grows" in by_id and limit in {"gil", "cores"}:
        reasons.append("the work needs more than this process can compute")
    wait = facts.statistics.wait.p95_ms
    if wait >= _PATIENCE_MS and wait != float("inf"):
        reasons.append(f"p95 of the tasks waits {duration_ms(wait)} before it starts")
    if not reasons:
        return
    yield FoundOut(
        "move-to-queue",
        "info",
        f"If this work has to be done, it is time for a queue with workers: {listed(reasons)}.",
        {"reasons": reasons, "broken_promises": broken, "limit": limit},
        "Gained: accepted work outlives the process, and workers scale and restart on their own. The price: a broker, worker"
        " processes, a round trip in each request, and effects that bear repetition, for a queue that loses nothing delivers"
        " twice"
        " now and then. The smallest one is a jobs table in the database that is there anyway.",
    )
