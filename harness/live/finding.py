"""What can already be said of a run that goes on: the findings of its report, from the rows as they stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.accounting import account
from harness.findings import Facts, find
from harness.model import Evidence
from harness.schema import Finding
from harness.spans import task_spans
from harness.statistics import measure
from harness.timeline import backlog_steps, busy_steps, pool_of, timeline

__all__ = ["MANY_ROWS", "findings_at", "found_at_ns"]

MANY_ROWS: Final = 100_000
"""From so many requests and tasks on they are looked for in a process of its own (harness/live/finder.py)."""

_EVERY_NS: Final = 2_000_000_000
_ROWS: Final = 20_000
_AFTER_NS: Final = 1_000_000_000


def found_at_ns(events: Sequence[Mapping[str, Any]], n_rows: int, at_ns: int, start_ns: int) -> int | None:
    """The instant of which findings are told at another one, so that they need not be looked for all the time; None: of none.

    Every two seconds; the more rows there are to be looked at, the more seldom. And one second after a server that was ended is
    back, for it is then that somebody wants to know.
    """
    every_ns = _EVERY_NS << max(n_rows // _ROWS, 0).bit_length()
    step_ns = start_ns + (at_ns - start_ns) // every_ns * every_ns
    back = [event["t_ns"] + _AFTER_NS for event in events if event["event"] == "boot_ready" and event["boot"] > 1]
    latest_ns = max([step_ns, *(instant for instant in back if instant <= at_ns)])
    return latest_ns if latest_ns > start_ns else None


def findings_at(evidence: Evidence, plan: Mapping[str, Any], environment: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Of evidence that was cut at an instant after load start."""
    result = account(evidence)
    spans = task_spans(result.tables)
    steps = (backlog_steps(evidence), busy_steps(evidence))
    over_time = timeline(evidence, result, spans=spans, steps=steps)
    statistics, pool = measure(evidence, result, spans), pool_of(evidence, result)
    facts = Facts(evidence, result, statistics, over_time, pool, plan, environment)
    return tuple(
        Finding(id=each.id, severity=each.severity, text=each.text, evidence=dict(each.evidence), next=each.next)
        for each in find(facts)
    )
