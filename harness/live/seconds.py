"""What happened in each whole second of a run, by when it happened: once a second is over, its figures do not change. Pure.

What a tile says is decided by these, and so does not depend on when somebody looked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.grouping import NEVER_NS, TaskState, chunks, is_own
from harness.live.figures import oldest_at, works_of
from harness.model import Evidence
from harness.rows import Outcome
from harness.series import bins_of, quantiles_by_bin
from harness.spans import NONE_NS, task_spans
from harness.timeline import backlog_steps

__all__ = ["SECOND_NS", "Seconds", "second_edges", "seconds_of"]

SECOND_NS: Final = 1_000_000_000
SHARE: Final = 0.95

Counts = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of the seconds after load start that are over; all of shape (n_seconds,)."""

    acked: Counts  # by when it was answered
    rejected: Counts
    indeterminate: Counts
    response_ms: Figures  # p95 of what was acknowledged in the second; NaN: nothing was
    waiting_ms: Figures  # at its end: for how long the oldest request that was waited for had been due; NaN: none was
    accepted: Counts
    ended: Counts  # finished or failed
    failed: Counts  # those that raised: without what the app itself cancelled
    done_ms: Figures  # p95 of the tasks that finished in it
    backlog: Counts  # at its end
    oldest_ms: Figures  # at its end: for how long the oldest task that was not done had been due; NaN: all were
    lost: Counts  # tasks whose process died in it with them queued or running, or that were put aside although acknowledged

    def __len__(self) -> int:
        return len(self.acked)


def second_edges(load_start_ns: int, at_ns: int) -> NDArray[np.int64]:
    """The edges of the whole seconds that are over at the instant: at least one edge."""
    n = max((at_ns - load_start_ns) // SECOND_NS, 0)
    return load_start_ns + SECOND_NS * np.arange(n + 1, dtype=np.int64)


def seconds_of(evidence: Evidence, result: Account, at_ns: int) -> Seconds:
    """Of evidence that was cut at the instant, or later."""
    edges = second_edges(evidence.load_start_ns, at_ns)
    n = len(edges) - 1
    due, sent, done, outcome = _requests(evidence)
    spans, tasks, work = task_spans(result.tables), result.tables.tasks, works_of(evidence, result)
    is_acked, finished = outcome == Outcome.ACK, spans.done_ns != NONE_NS

    def counts(instants: NDArray[np.int64]) -> Counts:
        return _counts(instants, edges)

    def p95(at_ns: NDArray[np.int64], values_ns: NDArray[np.int64]) -> Figures:
        return quantiles_by_bin(bins_of(at_ns, edges), values_ns, n, (SHARE,))[0] if n else np.empty(0)

    return Seconds(
        acked=counts(done[is_acked]),
        rejected=counts(done[outcome == Outcome.REJ]),
        indeterminate=counts(done[outcome == Outcome.IND]),
        response_ms=p95(done[is_acked], (done - due)[is_acked]),
        waiting_ms=oldest_at(due, sent, np.where(done == 0, NEVER_NS, done), edges[1:]),
        accepted=counts(tasks.accepted_ns),
        ended=counts(tasks.ended_ns[tasks.ended_ns != 0]),
        failed=counts(tasks.ended_ns[(tasks.state == TaskState.FAILED) & ~tasks.cancelled]),
        done_ms=p95((spans.due_ns + spans.done_ns)[finished], spans.done_ns[finished]),
        backlog=backlog_steps(evidence).at(edges[1:]),
        oldest_ms=oldest_at(work.due_ns, work.accepted_ns, work.left_ns, edges[1:]),
        lost=counts(work.left_ns[work.is_lost]) + counts(work.denied_ns[work.denied_ns != NEVER_NS]),
    )


def _requests(evidence: Evidence) -> tuple[Counts, Counts, Counts, NDArray[np.uint8]]:
    """When each was due, sent and done (0: it is not), and its outcome."""
    parts = []
    for file in evidence.requests:
        for rows in chunks(file):
            own = rows[is_own(rows["op"], evidence.run_tag) & (rows["sent_ns"] != 0)]
            parts.append((*(own[name].astype(np.int64) for name in ("due_ns", "sent_ns", "done_ns")), own["outcome"]))
    empty = (*(np.empty(0, np.int64) for _ in range(3)), np.empty(0, np.uint8))
    due, sent, done, outcome = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    return due, sent, done, outcome


def _counts(at_ns: NDArray[np.int64], edges_ns: NDArray[np.int64]) -> Counts:
    n = len(edges_ns) - 1
    if not n:
        return np.zeros(0, np.int64)
    bins = bins_of(at_ns, edges_ns)
    return np.bincount(bins[bins >= 0], minlength=n)
