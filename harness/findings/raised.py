"""Findings about tasks that did not get done though no process ended: raised, skipped, cancelled, discarded. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.grouping import TaskState, chunks, denied, is_cancelled, is_own, op_of
from harness.model import Evidence
from harness.rowless import has_no_row
from harness.rows import DropReason, RowFile, Rows, TaskKind
from harness.wording import counted, listed

__all__ = ["of_raised"]

_MOST_SHOWN: Final = 3


def of_raised(facts: Facts) -> Iterator[FoundOut]:
    """Tasks that raised or were cancelled, those that never started because of it, and those whose endpoint raised."""
    account, evidence = facts.account, facts.evidence
    skipped = account.skipped - account.cancelled_queued
    if skipped:
        raised = _functions(evidence, _has_raised)
        happened = ["raised"] * bool(account.raised) + ["was cancelled"] * bool(account.cancelled)
        shown = f" ({account.raised:,} raised{_named(raised)}){_why(evidence)}" if account.raised else ""
        yield FoundOut(
            "tasks-skipped",
            "critical",
            f"{counted(skipped, 'later task')} never started because an earlier one of the same request"
            f" {' or '.join(happened) or 'raised'}{shown}.",
            {"skipped": skipped, "failed": account.raised, "functions": dict(raised), "errors": dict(evidence.errors)},
            "Let tasks catch their own errors, or add them one per request.",
        )
    elif account.raised:
        raised = _functions(evidence, _has_raised)
        started = dict(_functions(evidence, lambda rows: rows["started_ns"] != 0))
        by_function = [(f"{name} ({n:,} of {started[name]:,})", n) for name, n in raised if name]
        yield FoundOut(
            "tasks-failed",
            "warning",
            f"{counted(account.raised, 'task')} raised{_named(by_function)}{_why(evidence)}. No client was told, for each had its"
            " answer before.",
            {"failed": account.raised, "functions": dict(raised), "errors": dict(evidence.errors)},
            "The log of the server, in the run directory, has the tracebacks. What may fail for a moment wants a retry inside"
            " the task; what must be noticed wants a record that somebody looks at.",
        )
    if account.cancelled:
        who = _functions(evidence, is_cancelled)
        # What the app has started with asyncio it may well mean to cancel; what was promised with an answer rarely.
        promised = sum(n for _, n in _functions(evidence, lambda rows: is_cancelled(rows) & (rows["kind"] != TaskKind.SPAWNED)))
        yield FoundOut(
            "tasks-cancelled",
            "warning" if promised else "info",
            f"{counted(account.cancelled, 'task was', 'tasks were')} cancelled by the app itself{_named(who)}"
            f" ({account.cancelled_running:,} while they ran, {account.cancelled_queued:,} before they started). No"
            " restart took them: they are counted as failed or skipped, and not as lost.",
            {
                "cancelled": account.cancelled,
                "running": account.cancelled_running,
                "queued": account.cancelled_queued,
                "of_requests": promised,
                "functions": dict(who),
            },
            "All is well if that is meant, as where a newer request takes the place of an older one. If it is not, look for what"
            " cancels: `cancel()`, a time-out round a task or its request, a middleware that gives up what no client waits for.",
        )
    # A task that the server refused is none of them, unless its request was acknowledged all the same.
    if n_discarded := account.discarded + (0 if account.inline else _refused_and_acknowledged(account, evidence)):
        who = _functions(evidence, lambda rows: (rows["dropped_ns"] != 0) & (rows["reason"] == DropReason.DISCARDED))
        promised = account.lost_discarded
        least = "at least " if account.lost_unknown else ""
        told = (
            f" The requests of {least}{promised:,} of them were acknowledged all the same: broken promises." if promised else ""
        )
        yield FoundOut(
            "tasks-discarded",
            "critical" if promised else "warning",
            f"{counted(n_discarded, 'task was', 'tasks were')} discarded{_named(who)}. The endpoint raised after it had"
            " added them, or answered with a response that has a background of its own, for which FastAPI drops the others."
            f"{told}",
            {"discarded": n_discarded, "broken_promises": promised, "functions": dict(who)},
            "What must happen in any case cannot be a background task of the request.",
        )


def _refused_and_acknowledged(account: Account, evidence: Evidence) -> int:
    """Tasks that the server refused although their request was acknowledged; where requests have no rows, at least."""
    tables, state = account.tables, account.tables.tasks.task_state()
    is_denied = denied(tables)
    n_refused = int(np.count_nonzero(is_denied & (state == TaskState.REJECTED)))
    if without_row := account.denied - int(np.count_nonzero(is_denied)):
        of_discarded = has_no_row(evidence, op_of(tables.tasks.task_key[state == TaskState.DISCARDED]))
        n_refused += max(without_row - int(np.count_nonzero(of_discarded)), 0)
    return n_refused


def _has_raised(rows: Rows) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = (rows["failed_ns"] != 0) & ~is_cancelled(rows)
    return chosen


def _why(evidence: Evidence) -> str:
    """What the log of the server says most often."""
    if not evidence.errors:
        return ""
    shown = [f"{text} ({n:,} times)" if n > 1 else text for text, n in evidence.errors[:2]]
    return f"; its log says {listed(shown)}"


def _functions(evidence: Evidence, chosen: Any) -> list[tuple[str, int]]:
    """The functions of chosen task rows of this run, and how many rows each has; the most frequent first."""
    counts: Counter[str] = Counter()
    for files in evidence.tasks.values():
        for file in files:
            for number, n in _per_function(file, evidence.run_tag, chosen):
                counts[file.names[number] if number < len(file.names) else ""] += n
    return counts.most_common()


def _per_function(file: RowFile, run_tag: int, chosen: Any) -> Iterator[tuple[int, int]]:
    total = np.zeros(0, np.int64)
    for rows in chunks(file):
        own: Rows = rows["func"][is_own(rows["op"], run_tag) & chosen(rows)]
        counted_ = np.bincount(own, minlength=len(total))
        counted_[: len(total)] += total
        total = counted_
    for number in np.flatnonzero(total):
        yield int(number), int(total[number])


def _named(functions: list[tuple[str, int]]) -> str:
    names = [name for name, _ in functions if name]
    if not names:
        return ""
    shown = names[:_MOST_SHOWN] + ([f"{len(names) - _MOST_SHOWN} more"] if len(names) > _MOST_SHOWN else [])
    return f": {listed(shown)}"
