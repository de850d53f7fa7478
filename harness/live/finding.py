"""What can already be said of a run that goes on: the findings of its report, from the rows as they stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.accounting import account
from harness.findings import Facts, find
from harness.model import Evidence
from harness.schema import Finding
from harness.spans import task_spans
from harness.statistics import measure
from harness.timeline import backlog_steps, busy_steps, pool_of, timeline

__all__ = ["findings_at"]


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
