"""What is pending in a run, and whether that is bounded: requests that wait for an answer, tasks that wait and that run. Pure.

The three together, because work that is not accepted yet can pile up just as well: where it is done before the answer, or where
the event loop that would accept it is held, a backlog of tasks alone would stay short.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.grouping import NEVER_NS, OpTable, chunks, key_of, op_of
from harness.growth import Growth
from harness.model import Boot, Evidence
from harness.rows import Outcome
from harness.settling import Load, Seen, Work, growth_seen
from harness.slo import SloResult
from harness.statistics import measured_from_ns
from harness.steps import Instants, Steps
from harness.timeline import backlog_steps, busy_steps
from harness.wording import counted, duration_s, per_second, share

__all__ = ["ALLOWED_RISE", "ALLOWED_SHARE", "UNSEEN", "bounded", "growth_in", "request_steps", "tasks_per_request", "unsettled"]

ALLOWED_SHARE: Final = 0.03
"""Of what comes in: a backlog that grows by less than that cannot be told from one that does not, in a run of usual length."""

UNSEEN: Final = "the server told nothing, or not of all requests: its tasks may pile up unseen"

_PATIENT: Final = 0.1
"""Of the requests: where more than that are never answered, no more is pending because clients give up."""

ALLOWED_RISE: Final = 15.0
"""Tasks, or requests, over the whole load: the same where little comes in."""


def request_steps(account: Account) -> Steps:
    """From due to answered; one that never was, or had no connection, waits until it was given up. Refused ones do not wait."""
    ops = account.tables.ops
    kept = ~ops.refused
    return Steps(np.sort(ops.due_ns[kept]), np.sort(_waited_until_ns(ops)[kept]))


def _waited_until_ns(ops: OpTable) -> Instants:
    """NEVER_NS: for one that is open still."""
    end = ops.ack_ns.copy()
    end[ops.unanswered] = ops.unanswered_end_ns
    end[ops.unconnected] = ops.unconnected_end_ns
    return end


def growth_in(
    evidence: Evidence,
    account: Account,
    from_ns: int,
    until_ns: int,
    steps: tuple[Steps, Steps] | None = None,
    began_ns: int | None = None,
) -> Seen:
    """How fast what is pending grows between two instants, in requests: of all of it, or of the answers that are waited for.

    `steps` (backlog, busy) are worked out unless given. `began_ns`: when what was pending began to fill up; None: with the load.
    """
    load = Load(evidence.load_start_ns if began_ns is None else began_ns, from_ns, until_ns)
    return _worse(*_growths_in(evidence, account, load, steps))


def _growths_in(evidence: Evidence, account: Account, load: Load, steps: tuple[Steps, Steps] | None = None) -> list[Seen]:
    """Of all that is pending; and of the requests that wait for an answer alone, where not each of them leaves a task.

    A task then stands for many requests, and so does chance. Of requests that wait, each is one.
    """
    if load.until_ns <= load.from_ns:
        return [Seen(None, 0.0)]
    requests, (backlog, busy) = request_steps(account), steps or (backlog_steps(evidence), busy_steps(evidence))
    # A request that leaves three tasks is pending as one while all of them are.
    each = tasks_per_request(account, backlog)

    def waiting(edges: Instants) -> NDArray[np.float64]:
        return backlog.mean_in(edges) / each

    def pending(edges: Instants) -> NDArray[np.float64]:
        return requests.mean_in(edges) + (backlog.mean_in(edges) + busy.mean_in(edges)) / each

    def nothing(edges: Instants) -> NDArray[np.float64]:
        return np.zeros(len(edges) - 1)

    answered, run = _answered(account), _run(evidence, account, each)
    seen = [growth_seen(pending, waiting, (answered, run), load, max(1.0, 1 / each))]
    if each < 1:
        seen.append(growth_seen(requests.mean_in, nothing, (answered,), load))
    return seen


def _worse(whole: Seen, *others: Seen) -> Seen:
    """Of all that is pending, if that surely grows; else of the requests that wait, if they go up by more than a handful."""
    for other in others:
        of_all, growth = whole.growth, other.growth
        if growth is None or growth.is_little or (of_all is not None and of_all.grows):
            continue
        if growth.grows:
            return other
        if of_all is not None:
            # It is not known better than all of it is.
            high = max(growth.high, of_all.high)
            return dataclasses.replace(whole, growth=dataclasses.replace(growth, low=2 * growth.per_s - high, high=high))
    return whole


def _answered(account: Account) -> Work:
    """Requests, from due until answered, or given up: what is never answered fills up for as long as clients wait for it."""
    ops = account.tables.ops
    end = _waited_until_ns(ops)
    kept = ~ops.refused & (end != NEVER_NS)
    return Work(ops.due_ns[kept], end[kept])


def _run(evidence: Evidence, account: Account, per_request: float) -> Work:
    """Tasks, from their start on; one that did not end, until its process did."""
    tasks = account.tables.tasks
    begun, ended, boot = tasks.started_ns[tasks.started], tasks.ended_ns[tasks.started], tasks.boot[tasks.started]
    last_ns = max(int(ended.max(initial=0)), evidence.load_end_ns)
    dead_ns = np.full(len(begun), last_ns)
    for each in evidence.boots:
        dead_ns[boot == each.boot] = each.reaped_ns or last_ns
        for own_ns, keys in _cut_off(evidence, each):
            of_it = (boot == each.boot) & np.isin(tasks.key[tasks.started], keys)
            dead_ns[of_it] = np.minimum(dead_ns[of_it], own_ns)
    ended_ns = np.where(ended != 0, ended, np.maximum(dead_ns, begun))
    return Work(begun, ended_ns, ended == 0, tasks.function[tasks.started], per_request)


def _cut_off(evidence: Evidence, boot: Boot) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """When each process that died before its boot did so, and the keys of the tasks that ran in it then."""
    for file in evidence.tasks.get(boot.boot, ()) if boot.worker_deaths else ():
        if (own_ns := boot.worker_death_ns(file.pid, file.created_ns)) is None:
            continue
        for rows in chunks(file):
            ran = rows[(rows["started_ns"] != 0) & (rows["finished_ns"] == 0) & (rows["failed_ns"] == 0)]
            yield own_ns, key_of(ran["op"], ran["index"])


def tasks_per_request(account: Account, backlog: Steps) -> float:
    """Of all that were acknowledged, or left one without an answer: the others have left none yet. 1 where there are no tasks."""
    ops, tasks = account.tables.ops, account.tables.tasks
    n = len(np.union1d(ops.op[ops.outcome == Outcome.ACK], op_of(tasks.task_key)))
    return len(backlog.start_ns) / n if n and len(backlog.start_ns) else 1.0


def bounded(text: str, evidence: Evidence, account: Account, *, noise: str = "", allow_few: bool = False) -> SloResult:
    """Whether what is pending stays bounded: `text` is the limit as it was written, `noise` what may have made it grow."""
    load = Load(evidence.load_start_ns, measured_from_ns(evidence), evidence.load_end_ns)
    found = [_bounded(text, seen, evidence, account, noise, allow_few=allow_few) for seen in _growths_in(evidence, account, load)]
    # The first of them is that of all that is pending.
    return next((each for holds in (False, None) for each in found if each.holds is holds), found[0])


def _bounded(text: str, seen: Seen, evidence: Evidence, account: Account, noise: str, *, allow_few: bool) -> SloResult:
    growth = seen.growth
    if growth is None:
        why = unsettled(seen.settling_s, may_hang=seen.may_hang) if seen.settling_s else "there is no load to look at"
        return SloResult(text, None, None, None, None, None, "/s", why=why)
    looked_from_ns, due_ns = evidence.load_end_ns - round(growth.seconds * 1e9), account.tables.ops.due_ns
    due = int(np.count_nonzero((due_ns >= looked_from_ns) & (due_ns < evidence.load_end_ns)))
    allowed = max(ALLOWED_SHARE * due, ALLOWED_RISE * growth.unit) / growth.seconds
    holds, why = _judged(growth, allowed, noise, allow_few=allow_few)
    if holds is False and seen.n_hanging:
        # Who knows that they only take long can tell by this why they are not taken for filling.
        tasks = counted(seen.n_hanging, "task")
        why = f"{tasks} begun in the first half of the load never ended, while others of their function ended far sooner"
    if holds and not (account.server_is_witness or account.inline):
        holds, why = None, UNSEEN
    given_up = account.tables.ops.outcome == Outcome.IND
    n_given_up = int(np.count_nonzero(given_up & (due_ns >= looked_from_ns) & (due_ns < evidence.load_end_ns)))
    if holds and n_given_up > _PATIENT * due:
        holds, why = (
            None,
            f"{share(n_given_up / due)} of the requests were never answered: clients bound what is pending, not the server",
        )
    # A slope of nothing has no sign.
    value, low, high = (round(each, 6) + 0.0 for each in (growth.per_s, growth.low, growth.high))
    return SloResult(text, holds, value, low, high, allowed, "/s", why=why)


def unsettled(settling_s: float, *, may_hang: bool) -> str:
    """Why it cannot be told whether what is pending grows."""
    if may_hang:
        return (
            "tasks that came in first have never ended, and whether they take long or hang is not known, so what is pending"
            " may fill up or grow: load for longer than they take"
        )
    return (
        "what comes in takes so long that what is pending still fills up, which is no growth:"
        f" load for longer, or warm up for {duration_s(settling_s)} more"
    )


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
