"""What one stage came to, from its judged run: growth, limits, what gave way. Pure: arrays and summaries, no clock, no files."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from harness.capacity.causes import cause_of
from harness.capacity.schema import GrowthSeen, LimitSeen, Measured
from harness.capacity.search import Asked
from harness.findings.stretch import Stretch, stretches_of
from harness.growth import Growth
from harness.model import Evidence
from harness.pending import UNSEEN, growth_in
from harness.rows import Outcome, RequestError
from harness.schema import SloSummary, Summary
from harness.settling import Seen
from harness.slo import Operator, parse_slo
from harness.stalls import stall_reasons
from harness.summary import Judged
from harness.usage import usage_of
from harness.verdict import lag_reasons, sending_reasons

__all__ = ["measured", "sure_of"]

_NEAR: Final = 0.1
"""A figure that is so near to its limit may be on the other side of it the next time."""

_LEAST_SHARE: Final = 0.05

MOST_FAILING: Final = 0.01
"""Of the requests: a server that answers more of them with 5xx or 429, or not at all, does not hold the rate."""

_COMPARES: Final[dict[Operator, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}

_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429


def measured(judged: Judged, asked: Asked, number: int, *, until_ns: int | None, died: str = "") -> Measured:
    """`until_ns`: when the load was ended early; None: it was not. `died`: how the server ended on its own."""
    evidence = judged.evidence
    landed = [fault.landed_ns for fault in evidence.faults if fault.landed_ns is not None]
    end_ns = min([evidence.load_end_ns, *landed, *([until_ns] if until_ns else [])])
    cut = dataclasses.replace(evidence, load_end_ns=end_ns)
    from_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
    seen = sure_of(growth_in(evidence, judged.account, from_ns, end_ns, judged.steps))
    growth = seen.growth
    stretch = max(stretches_of(cut, judged.account, usage_of(cut)), key=lambda each: each.seconds, default=None)
    limits = tuple(_limit(each) for each in judged.summary.slos if not each.text.endswith("bounded"))
    if (failing := _failing(evidence, from_ns, end_ns, was_cut=until_ns is not None)) is not None:
        limits += (failing,)
    generator = "" if died else _generator(judged, growth, was_cut=until_ns is not None)
    result = Measured(
        number=number,
        purpose=asked.purpose,
        rate=asked.rate,
        seconds=(end_ns - from_ns) / 1e9,
        ended_early=until_ns is not None,
        growth=None if growth is None else GrowthSeen(**dataclasses.asdict(growth)),
        settling_s=seen.settling_s,
        may_hang=seen.may_hang,
        limits=limits,
        generator=generator,
        unseen=_unseen(judged, was_cut=until_ns is not None),
        answers_only=_answers_only(judged),
        died=died,
        lost=judged.summary.tasks.lost if asked.purpose == "fault" else None,
        **_figures(judged, stretch, from_ns, end_ns),
    )
    is_bad = bool(died) or (growth is not None and growth.grows) or any(each.holds is False for each in limits)
    could = _could(result, growth)
    # To as many places as all figures have: a copy is not validated, and what is read back has to be what was written.
    update: dict[str, Any] = {"could_per_s": None if could is None else round(could, 6)}
    if is_bad or generator:
        cores = int(judged.summary.environment.get("cpus") or 0)
        update["cause"] = cause_of(result, stretch, cores, judged.summary)
    return result.model_copy(update=update)


def sure_of(seen: Seen) -> Seen:
    """What a stage says of the growth: nothing where tasks never ended that are the reason for it, or where there is none.

    A stage is short, and what takes far longer than most looks in it like what hangs: a longer one, of more than the time for
    which they were watched, tells. And at no rate at which a share of the tasks never ends is what is pending bounded, however
    little there is of it yet.
    """
    is_other = seen.growth is not None and seen.growth.grows and not seen.n_hanging
    return seen if not seen.may_hang or is_other else Seen(None, seen.watched_s, may_hang=True)


def _failing(evidence: Evidence, from_ns: int, until_ns: int, *, was_cut: bool) -> LimitSeen | None:
    """Requests that the server failed to serve, if they are too many: who refuses what is too much holds every other limit.

    What a client did wrong (4xx) is the same at every rate, and none of it.
    """
    n, failed = 0, 0
    for file in evidence.requests:
        rows = file.rows[(file.rows["due_ns"] >= from_ns) & (file.rows["due_ns"] < until_ns)]
        status, outcome = rows["status"], rows["outcome"]
        bad = (
            (status >= _SERVER_ERROR)
            | (status == _TOO_MANY)
            | ((outcome == Outcome.REJ) & (status == 0) & (rows["error"] != RequestError.OWN_LIMIT))
        )
        # Of a stage that was ended early, what had no answer yet was not given up by the server.
        bad |= (outcome == Outcome.IND) & ~np.bool_(was_cut)
        n, failed = n + len(rows), failed + int(np.count_nonzero(bad))
    if failed <= MOST_FAILING * n:
        return None
    # Beyond what chance makes of as many as are allowed.
    is_sure = failed > MOST_FAILING * n + 2 * math.sqrt(MOST_FAILING * n)
    return LimitSeen(
        text=f"failing<={MOST_FAILING:.0%}", holds=False, sure=is_sure, value=100 * failed / n, limit=100 * MOST_FAILING, unit="%"
    )


def _limit(slo: SloSummary) -> LimitSeen:
    holds, limit = slo.holds, slo.limit
    value = math.inf if slo.never else slo.value
    if holds is None and value is not None and limit is not None:
        # Too few values, or noise: what was measured says at least which way it leans.
        holds = _COMPARES[parse_slo(slo.text).operator](value, limit)
    is_near = value is not None and limit is not None and abs(value - limit) <= _NEAR * abs(limit) and limit != 0
    return LimitSeen(
        text=slo.text,
        holds=holds,
        sure=slo.holds is not None and not is_near,
        value=value,
        limit=limit,
        unit=slo.unit,
        why=slo.why,
    )


def _generator(judged: Judged, growth: Growth | None, *, was_cut: bool) -> str:
    """Why nothing can be said of the server, as the verdict of a run says it; empty: it can."""
    evidence, generator = judged.evidence, judged.summary.generator
    if generator.overdue:
        return f"{generator.overdue:,} requests could not be sent in time"
    # Of a load that was ended early nobody expects the whole of it.
    reasons = [] if was_cut else list(sending_reasons(evidence, judged.account))
    # Where so many were in flight that no more fit, that is the server's doing.
    if not (generator.shed and (growth is None or growth.grows)):
        reasons += [*lag_reasons(evidence, judged.statistics), *stall_reasons(evidence)]
    # Without the advice that follows.
    return reasons[0].partition(". ")[0].removesuffix(".") if reasons else ""


def _unseen(judged: Judged, *, was_cut: bool) -> str:
    """Why more may be pending than was seen; empty: it was seen."""
    if not (judged.account.server_is_witness or judged.account.inline or _answers_only(judged)):
        return UNSEEN
    broken = [] if was_cut else [each for each in judged.summary.invariants if not each.holds]
    return "; ".join(f"invariant {each.id} is broken ({each.title}): {each.detail}" for each in broken)


def _answers_only(judged: Judged) -> bool:
    """Whether the server is none that tells of tasks, at any rate: then there is a capacity all the same, of what clients see."""
    return not judged.evidence.tasks and not judged.account.inline


def _figures(judged: Judged, stretch: Stretch | None, from_ns: int, end_ns: int) -> dict[str, Any]:
    summary = judged.summary
    seconds = (end_ns - from_ns) / 1e9
    backlog, busy = judged.steps
    edges = np.array([from_ns, end_ns])
    ops = judged.account.tables.ops
    answered = float(np.count_nonzero((ops.ack_ns >= from_ns) & (ops.ack_ns < end_ns))) / seconds
    due = float(np.count_nonzero((ops.due_ns >= from_ns) & (ops.due_ns < end_ns))) / seconds
    figures: dict[str, Any] = {
        "answered_per_s": answered,
        "accepted_per_s": due,
        "ended_per_s": answered,
        "response_p50_ms": summary.requests.response_ms.p50,
        "response_p99_ms": summary.requests.response_ms.p99,
        "done_p50_ms": summary.tasks.done_ms.p50,
        "done_p95_ms": summary.tasks.done_ms.p95,
        "loop_lag_p99_ms": summary.loop.lag_ms.p99 if summary.loop else None,
        "noisy_share": _noisy_share(summary),
        "pending_mean": float(backlog.mean_in(edges)[0] + busy.mean_in(edges)[0]),
        "pending_end": int(backlog.at(edges[1:])[0] + busy.at(edges[1:])[0]),
    }
    if stretch is None or not stretch.ways:
        # No tasks: the work is done before the answer.
        return {**figures, **_cpu_shares(judged.evidence, from_ns, end_ns)}
    way = stretch.in_threads
    return {
        **figures,
        "accepted_per_s": stretch.accepted_per_s,
        "ended_per_s": stretch.ended_per_s,
        "tasks_per_request": stretch.accepted_per_s / due if due else None,
        "run_mean_ms": None if way is None else way.run_s * 1e3,
        "pool_size": stretch.threads if way is not None else 0,
        "processes": max(stretch.processes, 1),
        "busy_mean": None if way is None else float(way.busy.mean()),
        "cpu_share": stretch.cpu_share,
        "load_cpu_share": stretch.load_cpu_share,
    }


def _noisy_share(summary: Summary) -> float | None:
    machine = summary.machine
    return (machine.noisy_s or 0.0) / machine.seen_s if machine is not None and machine.seen_s else None


def _cpu_shares(evidence: Evidence, from_ns: int, until_ns: int) -> dict[str, float]:
    """CPU time of the server's processes and of the load's, each as a share of one core; nothing if nobody looked."""
    if evidence.gauges is None:
        return {}
    rows = np.asarray(evidence.gauges.rows)
    inside = rows[(rows["t_ns"] >= from_ns) & (rows["t_ns"] <= until_ns)]
    if len(inside) < 2 or not inside["server_cpu_ns"][-1]:
        return {}
    lasted = float(inside["t_ns"][-1]) - float(inside["t_ns"][0])
    names = {"cpu_share": "server_cpu_ns", "load_cpu_share": "load_cpu_ns"}
    return {name: max(float(inside[row][-1]) - float(inside[row][0]), 0.0) / lasted for name, row in names.items()}


def _could(result: Measured, growth: Growth | None) -> float | None:
    """Requests per second that can be expected: what got done while work waited, else by the law of utilisation."""
    if growth is not None and growth.grows:
        # Answers can be what piles up as well as tasks.
        return min(result.answered_per_s or 0.0, (result.ended_per_s or 0.0) / (result.tasks_per_request or 1.0)) or None
    found = []
    if result.pool_size and result.busy_mean and result.busy_mean > _LEAST_SHARE * result.pool_size:
        found.append(result.rate * result.pool_size / result.busy_mean)
    if result.cpu_share and result.cpu_share > _LEAST_SHARE:
        found.append(result.rate * result.processes / result.cpu_share)
    return min(found, default=None)
