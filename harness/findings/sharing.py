"""Findings about threads that tasks and endpoints share. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.findings.stretch import lasting_of
from harness.model import Evidence
from harness.rows import Gauge, Outcome
from harness.statistics import quantiles_ms
from harness.wording import duration_ms, duration_s

__all__ = ["of_sharing"]

_SLOWER: Final = 3.0
_LEAST_MS: Final = 20.0
_LEAST_S: Final = 1.0
_FEWEST: Final = 20
_MOST_ANSWERS: Final = 200_000


def of_sharing(facts: Facts) -> Iterator[FoundOut]:
    """Endpoints that wait for threads which tasks hold."""
    evidence = facts.evidence
    shared = {boot for boot, files in evidence.tasks.items() if any(file.gauges[Gauge.SHARED_POOL] for file in files)}
    if evidence.gauges is None or not shared:
        return
    every_row = evidence.gauges.rows
    t_ns = every_row["t_ns"].astype(np.int64)
    is_of_it = np.isin(every_row["boot"], list(shared)) & ~_in_a_fault(evidence, t_ns)
    # From each sample to the next one of the same boot, and never over what was left out in between.
    lasted_ns = np.diff(t_ns, append=t_ns[-1:])
    lasted_ns[:-1][(every_row["boot"][1:] != every_row["boot"][:-1]) | ~is_of_it[1:]] = 0
    rows, t_ns, lasted_ns = every_row[is_of_it], t_ns[is_of_it], lasted_ns[is_of_it]
    if len(rows) < 2:
        return
    full = (rows["pool_size"] > 0) & (rows["pool_busy"] >= rows["pool_size"]) & (rows["pool_waiting"] > 0)
    full_s = float(lasted_ns[full].sum()) / 1e9
    if full_s < _LEAST_S:
        return
    ops = facts.account.tables.ops
    every = max(1, len(ops.op) // _MOST_ANSWERS)
    due, outcome, answered = ops.due_ns[::every], ops.outcome[::every], ops.ack_ns[::every]
    acked = (outcome == Outcome.ACK) & (due >= t_ns[0]) & (due <= t_ns[-1]) & ~_in_a_fault(evidence, due)
    due, response = due[acked], answered[acked] - due[acked]
    in_full = full[np.searchsorted(t_ns, due, side="right") - 1]
    waiting, free = response[in_full], response[~in_full]
    if min(len(waiting), len(free)) < _FEWEST:
        return
    (slow_ms,), (usual_ms,) = quantiles_ms(waiting, (0.95,)), quantiles_ms(free, (0.95,))
    if slow_ms < max(_LEAST_MS, _SLOWER * usual_ms):
        return
    size, most = int(rows["pool_size"].max()), int(rows["pool_waiting"].max())
    yield FoundOut(
        "endpoints-starved",
        "critical",
        f"Tasks and def endpoints take their threads from the same {size:,}: for {duration_s(full_s)} all were taken (up to"
        f" {most:,}"
        f" waited), and p95 of the answers was {duration_ms(slow_ms)} then, {duration_ms(usual_ms)} otherwise.",
        {
            "threads": size,
            "full_s": round(full_s, 3),
            "waiting_max": most,
            "response_p95_full_ms": slow_ms,
            "response_p95_free_ms": usual_ms,
        },
        "Make the endpoints async def, give the tasks a pool of their own (the bundled server has one), or raise the limit"
        " (anyio.to_thread.current_default_thread_limiter().total_tokens).",
    )


def _in_a_fault(evidence: Evidence, at_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which instants are within a fault that lasted."""
    found = np.zeros(len(at_ns), np.bool_)
    for from_ns, until_ns in lasting_of(evidence):
        found |= (at_ns >= from_ns) & (at_ns <= until_ns)
    return found
