"""What is pending in a run, and whether that is bounded: requests that wait for an answer, tasks that wait and that run. Pure.

The three together, because work that is not accepted yet can pile up just as well: where it is done before the answer, or where
the event loop that would accept it is held, a backlog of tasks alone would stay short.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from harness.accounting import Account
from harness.growth import N_BINS, Growth, growth_of
from harness.model import Evidence
from harness.rows import Outcome
from harness.slo import SloResult
from harness.steps import Steps
from harness.timeline import backlog_steps, busy_steps
from harness.wording import per_second

__all__ = ["ALLOWED_RISE", "ALLOWED_SHARE", "UNSEEN", "bounded", "growth_in", "request_steps"]

ALLOWED_SHARE: Final = 0.03
"""Of what comes in: a backlog that grows by less than that cannot be told from one that does not, in a run of usual length."""

UNSEEN: Final = "the server told nothing, or not of all requests: its tasks may pile up unseen"

ALLOWED_RISE: Final = 15.0
"""Tasks, or requests, over the whole load: the same where little comes in."""


def request_steps(account: Account) -> Steps:
    """From due to answered; one that never was waits until it was given up. Refused ones wait for nothing."""
    ops = account.tables.ops
    end = ops.ack_ns.copy()
    end[ops.unanswered] = ops.unanswered_end_ns
    kept = ops.outcome != Outcome.REJ
    return Steps(np.sort(ops.due_ns[kept]), np.sort(end[kept]))


def growth_in(
    evidence: Evidence, account: Account, from_ns: int, until_ns: int, steps: tuple[Steps, Steps] | None = None
) -> Growth | None:
    """How fast what is pending grows between two instants, in requests. `steps` (backlog, busy) are worked out unless given."""
    if until_ns <= from_ns:
        return None
    edges = np.linspace(0, until_ns - from_ns, N_BINS + 1).astype(np.int64) + from_ns
    backlog, busy = steps or (backlog_steps(evidence), busy_steps(evidence))
    # A request that leaves three tasks is pending as one while all of them are.
    each = tasks_per_request(account, backlog)
    pending = request_steps(account).mean_in(edges) + (backlog.mean_in(edges) + busy.mean_in(edges)) / each
    return growth_of(np.asarray(pending), (until_ns - from_ns) / 1e9 / N_BINS, max(1.0, 1 / each))


def tasks_per_request(account: Account, backlog: Steps) -> float:
    """Of all that were acknowledged: those that still wait to be accepted have left none yet. 1 where there are no tasks."""
    acked = int(np.count_nonzero(account.tables.ops.outcome == Outcome.ACK))
    return len(backlog.start_ns) / acked if acked and len(backlog.start_ns) else 1.0


def bounded(text: str, evidence: Evidence, account: Account, *, noise: str = "", allow_few: bool = False) -> SloResult:
    """Whether what is pending stays bounded: `text` is the limit as it was written, `noise` what may have made it grow."""
    from_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
    growth = growth_in(evidence, account, from_ns, evidence.load_end_ns)
    if growth is None:
        return SloResult(text, None, None, None, None, None, "/s", why="there is no load to look at")
    due = int(np.count_nonzero((account.tables.ops.due_ns >= from_ns) & (account.tables.ops.due_ns < evidence.load_end_ns)))
    allowed = max(ALLOWED_SHARE * due, ALLOWED_RISE * growth.unit) / growth.seconds
    holds, why = _judged(growth, allowed, noise, allow_few=allow_few)
    if holds and not (account.server_is_witness or account.inline):
        holds, why = None, UNSEEN
    # A slope of nothing has no sign.
    value, low, high = (round(each, 6) + 0.0 for each in (growth.per_s, growth.low, growth.high))
    return SloResult(text, holds, value, low, high, allowed, "/s", why=why)


def _judged(growth: Growth, allowed: float, noise: str, *, allow_few: bool) -> tuple[bool | None, str]:
    if growth.grows:
        return (None, noise) if noise else (False, "")
    if growth.high <= allowed:
        return True, ""
    if allow_few:
        return growth.per_s <= allowed, ""
    between = f"what is pending may change by {per_second(growth.low)} to {per_second(growth.high)}"
    return (
        None,
        f"{between}, which is more than chance can be told from: load for longer, or take it as it is with --allow few-samples",
    )
