"""What each route and each task function did. Pure functions on arrays: no clock, no files, no processes.

Counts are of the whole run and add up to those of the account; durations leave the warm-up out, as all figures do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.grouping import TaskState, denied
from harness.model import Evidence
from harness.rows import Outcome, TaskKind
from harness.spans import NONE_NS, TaskSpans, task_spans
from harness.statistics import Quantiles, measured_from_ns, quantiles

__all__ = ["FunctionFigures", "FunctionKind", "RouteFigures", "functions", "routes"]

FunctionKind = Literal["def", "async", "spawned", "unknown"]
_KINDS: dict[int, FunctionKind] = {TaskKind.DEF: "def", TaskKind.ASYNC: "async", TaskKind.SPAWNED: "spawned"}


@dataclass(frozen=True, slots=True)
class RouteFigures:
    """The operations of one route."""

    name: str
    attempted: int
    acked: int
    rejected: int
    indeterminate: int
    response: Quantiles  # refused ones left out


@dataclass(frozen=True, slots=True)
class FunctionFigures:
    """The tasks of one function."""

    name: str
    kind: FunctionKind
    accepted: int
    finished: int
    failed: int
    lost: int  # at most, as in the account: interrupted, never started or put aside though acknowledged, and without an effect
    wait: Quantiles
    run: Quantiles
    done: Quantiles


def routes(evidence: Evidence, account: Account, spans: TaskSpans | None = None) -> tuple[RouteFigures, ...]:
    """The figures of each route that was asked, the busiest first."""
    ops = account.tables.ops
    spans = spans or task_spans(account.tables)
    n = len(ops.route_names)
    by_outcome = {outcome: np.bincount(ops.route[ops.outcome == outcome], minlength=n) for outcome in Outcome}
    counted = (ops.due_ns >= measured_from_ns(evidence)) & ~ops.refused
    response = _by_group(spans.response_ns[counted], ops.route[counted], n)
    found = [
        RouteFigures(
            name=name,
            attempted=sum(int(counts[number]) for counts in by_outcome.values()),
            acked=int(by_outcome[Outcome.ACK][number]),
            rejected=int(by_outcome[Outcome.REJ][number]),
            indeterminate=int(by_outcome[Outcome.IND][number]),
            response=quantiles(response[number]),
        )
        for number, name in enumerate(ops.route_names)
    ]
    return tuple(sorted((each for each in found if each.attempted), key=lambda each: (-each.attempted, each.name)))


def functions(evidence: Evidence, account: Account, spans: TaskSpans | None = None) -> tuple[FunctionFigures, ...]:
    """The figures of each task function that was given to the server in this run, the busiest first."""
    tables = account.tables
    tasks, n = tables.tasks, len(tables.tasks.function_names)
    if not n:
        return ()
    spans = spans or task_spans(tables)
    state, ends = tasks.task_state(), np.append(tasks.first[1:], np.uint32(len(tasks.key))) - np.uint32(1)
    function = tasks.function[ends] if len(tasks.first) else tasks.function[:0]
    undone = (state == TaskState.INTERRUPTED) | (state == TaskState.NEVER_STARTED)
    undone |= denied(tables)
    undone[undone] = tables.effects.of(tasks.task_key[undone]) == 0
    per_state = [
        np.bincount(function[chosen], minlength=n) for chosen in (state == TaskState.FINISHED, state == TaskState.FAILED)
    ]
    accepted, lost = np.bincount(function, minlength=n), np.bincount(function[undone], minlength=n)
    measured = spans.due_ns >= measured_from_ns(evidence)

    def durations(values_ns: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        chosen = measured & (values_ns != NONE_NS)
        return _by_group(values_ns[chosen], spans.function[chosen], n)

    waits, runs, dones = durations(spans.wait_ns), durations(spans.run_ns), durations(spans.done_ns)
    found = [
        FunctionFigures(
            name=name,
            kind=_KINDS.get(kind, "unknown"),
            accepted=int(accepted[number]),
            finished=int(per_state[0][number]),
            failed=int(per_state[1][number]),
            lost=int(lost[number]),
            wait=quantiles(waits[number]),
            run=quantiles(runs[number]),
            done=quantiles(dones[number]),
        )
        for number, (name, kind) in enumerate(tasks.function_names)
    ]
    return tuple(sorted((each for each in found if each.accepted), key=lambda each: (-each.accepted, each.name)))


def _by_group(values: NDArray[np.int64], group: NDArray[np.uint16], n_groups: int) -> list[NDArray[np.int64]]:
    """The values of each group."""
    ordered = values[np.argsort(group, kind="stable")]
    return np.split(ordered, np.cumsum(np.bincount(group, minlength=n_groups))[:-1])
