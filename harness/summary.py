"""How a summary is made from the evidence: account, check, measure, judge, and put into the schema. Pure: no clock, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from harness.accounting import Account, account
from harness.findings import Facts, find
from harness.gates import evaluate
from harness.happenings import boot_summary, fault_summary, since, steered_summary
from harness.invariants import Invariant, check
from harness.looplag import has_loop, known_lags
from harness.model import Evidence
from harness.noise import Noise, noise_of
from harness.schema import (
    BLOCKED_MS,
    N_GROUPS,
    SCHEMA_VERSION,
    Durations,
    EffectCount,
    Finding,
    FunctionSummary,
    Generator,
    InvariantSummary,
    Loop,
    Machine,
    OutageSummary,
    PoolUse,
    Requests,
    RouteSummary,
    ScenarioFigure,
    ScenarioSummary,
    SloSummary,
    SloWindowsSummary,
    Summary,
    Tasks,
    TimelineSummary,
)
from harness.slo import SloResult
from harness.spans import TaskSpans, task_spans
from harness.statistics import Quantiles, Statistics, measure, measured_from_ns, quantiles
from harness.steered import profile_in_force, stages_of
from harness.steps import Steps
from harness.tables import FunctionFigures, RouteFigures, functions, routes
from harness.timeline import (
    Pool,
    Timeline,
    backlog_steps,
    busy_steps,
    outages,
    pool_of,
    timeline,
)
from harness.verdict import judge, slowed_by, unexplained, unexplained_counted

__all__ = ["SCHEMA_VERSION", "Judged", "Summary", "build_summary", "judge_evidence"]

N_BINS: Final = 60


@dataclass(frozen=True, slots=True)
class Judged:
    """A run that was judged, with what its report is made from."""

    evidence: Evidence
    account: Account
    spans: TaskSpans
    steps: tuple[Steps, Steps]  # backlog, busy
    statistics: Statistics
    summary: Summary


def build_summary(
    evidence: Evidence, plan: Mapping[str, Any], environment: Mapping[str, Any], *, n_bins: int = N_BINS
) -> Summary:
    """Accounts, measures and judges the evidence. `plan` and `environment` are passed on as they are."""
    return judge_evidence(evidence, plan, environment, n_bins=n_bins).summary


def judge_evidence(
    evidence: Evidence, plan: Mapping[str, Any], environment: Mapping[str, Any], *, n_bins: int = N_BINS
) -> Judged:
    """The same, and what it was worked out from."""
    result = account(evidence)
    spans = task_spans(result.tables)
    invariants = check(evidence, result)
    statistics = measure(evidence, result, spans)
    steps = (backlog_steps(evidence), busy_steps(evidence))
    over_time = timeline(evidence, result, n_bins, spans, steps)
    pool = pool_of(evidence, result)
    noise = noise_of(evidence)
    # Complete but for its verdict, which rests on its figures.
    figures = Summary(
        verdict="INCONCLUSIVE",
        reasons=[],
        findings=[
            Finding(id=each.id, severity=each.severity, text=each.text, evidence=dict(each.evidence), next=each.next)
            for each in find(Facts(evidence, result, statistics, over_time, pool, plan, environment))
        ],
        plan=dict(plan),
        environment=dict(environment),
        interrupted_by=evidence.interrupted_by,
        load_s=_load_s(evidence),
        warm_up_s=evidence.warm_up_s,
        requests=_requests(evidence, result, statistics),
        tasks=_tasks(result, statistics, over_time),
        pool=_pool(pool),
        loop=_loop(evidence),
        generator=_generator(evidence),
        machine=_machine(noise),
        boots=[boot_summary(evidence, boot, result) for boot in sorted(evidence.boots, key=lambda each: each.boot)],
        faults=[
            fault_summary(evidence, fault, after) for fault, after in zip(evidence.faults, over_time.recoveries, strict=True)
        ],
        steered=[steered_summary(evidence, each) for each in evidence.steered],
        steered_stages=_stages(evidence, plan),
        invariants=[_invariant(each) for each in invariants],
        scenario=_scenario(evidence, result),
        routes=[_route(each) for each in routes(evidence, result, spans)[:N_GROUPS]],
        functions=[_function(each) for each in functions(evidence, result, spans)[:N_GROUPS]],
        timeline=_timeline(evidence, over_time),
    )
    objectives, allowed = plan.get("slos", ()), plan.get("allow", ())
    slos = evaluate(objectives, allowed, figures, evidence, result, noise, slowed=slowed_by(evidence))
    verdict = judge(evidence, result, invariants, statistics, slos)
    update: dict[str, Any] = {"verdict": verdict.verdict, "trusted": verdict.trusted, "reasons": list(verdict.reasons)}
    update["slos"] = [_slo(each) for each in slos]
    summary = figures.model_copy(update=update)
    return Judged(evidence=evidence, account=result, spans=spans, steps=steps, statistics=statistics, summary=summary)


def _generator(evidence: Evidence) -> Generator:
    generators = evidence.generators
    ceilings = [each.ceiling_per_s for each in generators if each.ceiling_per_s is not None]
    return Generator(
        processes=max(len(generators), len(evidence.requests)),
        cpu_max=max((each.cpu_share for each in generators), default=None),
        shed=sum(each.shed for each in generators),
        overdue=sum(each.overdue for each in generators),
        late=sum(each.late for each in generators),
        stalled_s=max((each.stalled_s for each in generators), default=None),
        longest_stall_s=max((each.longest_stall_s for each in generators), default=None),
        # Of all or of none: a part of them says nothing about what they can do together.
        ceiling_per_s=sum(ceilings) if ceilings and len(ceilings) == len(generators) else None,
        lag_floor_ms=evidence.lag_floor_ms,
    )


def _requests(evidence: Evidence, result: Account, statistics: Statistics) -> Requests:
    offered_per_s, achieved_per_s = _rates(evidence, result)
    return Requests(
        model="closed" if evidence.is_closed else "open",
        planned=evidence.planned_requests,
        attempted=result.n_attempted,
        acked=result.n_acked,
        rejected=result.n_rejected,
        unconnected=result.n_unconnected,
        own_limit=result.n_own_limit,
        indeterminate=result.n_indeterminate,
        unsent=result.n_unsent,
        counted=result.n_counted,
        unseen=result.n_unseen,
        unanswered_while_up=len(unexplained(evidence, result, closed=False)) + unexplained_counted(evidence, "silent"),
        closed_while_up=len(unexplained(evidence, result, closed=True)) + unexplained_counted(evidence, "closed"),
        offered_per_s=offered_per_s,
        achieved_per_s=achieved_per_s,
        response_ms=_durations(statistics.response),
        service_ms=_durations(statistics.service),
        lag_ms=_durations(statistics.lag),
    )


def _rates(evidence: Evidence, result: Account) -> tuple[float | None, float | None]:
    """Requests due, and acknowledged, per second of the measured load: what is answered after it was not kept up with.

    Whoever answers then what was left of the warm-up has answered more than were due, and kept up with no more than those. Of
    requests that came back as histograms nobody knows when they were acknowledged: all of them count. A load that was cut short
    within its warm-up is told of as it was.
    """
    from_ns, until_ns = measured_from_ns(evidence), evidence.load_end_ns
    is_measured = until_ns > from_ns
    if not is_measured:
        from_ns = evidence.load_start_ns
    if until_ns <= from_ns:
        return None, None
    ops, seconds = result.tables.ops, (until_ns - from_ns) / 1e9
    due = int(np.count_nonzero(ops.due_ns >= from_ns)) + (ops.n_unsent_measured if is_measured else ops.n_unsent_rows)
    acked = int(np.count_nonzero((ops.ack_ns >= from_ns) & (ops.ack_ns < until_ns)))
    for each in evidence.counted:
        due += each.measured + each.measured_shed if is_measured else each.sent + each.shed
        acked += int(each.answered.counts.sum()) if is_measured else each.acked
    return due / seconds, min(acked, due) / seconds


def _tasks(result: Account, statistics: Statistics, over_time: Timeline) -> Tasks:
    return Tasks(
        inline=result.inline,
        server_is_witness=result.server_is_witness,
        world_is_witness=result.world_is_witness,
        accepted=result.accepted,
        finished=result.finished,
        failed=result.failed,
        skipped=result.skipped,
        rejected=result.rejected,
        discarded=result.discarded,
        interrupted=result.interrupted,
        never_started=result.never_started,
        awaiting=result.awaiting,
        cancelled_running=result.cancelled_running,
        cancelled_queued=result.cancelled_queued,
        never_done=result.never_done,
        never_done_low=result.never_done_low,
        lost=result.lost,
        lost_low=result.lost_low,
        lost_queued=result.lost_queued,
        lost_running=result.lost_running,
        lost_discarded=result.lost_discarded,
        broken_promises=result.broken_promises,
        broken_promises_low=result.broken_promises_low,
        broken_promises_queued=result.broken_promises_queued,
        broken_promises_running=result.broken_promises_running,
        duplicated=result.duplicated,
        recovered=result.recovered,
        effects=result.effects,
        effects_finished=result.effects_finished,
        effects_failed=result.effects_failed,
        effects_interrupted=result.effects_interrupted,
        effects_other=result.effects_other,
        foreign=result.n_foreign_tasks,
        wait_ms=_durations(statistics.wait),
        run_ms=_durations(statistics.run),
        done_ms=_durations(statistics.done),
        backlog_max=over_time.backlog_peak,
        drain_s=over_time.drain_s,
    )


def _pool(pool: Pool) -> PoolUse | None:
    if not pool.size:
        return None
    return PoolUse(size=pool.size, busy_max=pool.busy_max, saturated_s=pool.saturated_s, lived_s=pool.lived_s)


def _loop(evidence: Evidence) -> Loop | None:
    if evidence.gauges is None or not len(evidence.gauges.rows):
        return None
    rows = np.asarray(evidence.gauges.rows)
    t_ns, lag_ns = rows["t_ns"].astype(np.int64), rows["loop_lag_ns"].astype(np.int64)
    known, between_ns = known_lags(evidence), np.diff(t_ns, prepend=t_ns[:1])
    lag_ns, between_ns = lag_ns[known], between_ns[known]
    if not len(lag_ns) or not (has_loop(evidence) or lag_ns.any()):
        return None
    late = lag_ns >= BLOCKED_MS * 1e6
    return Loop(lag_ms=_durations(quantiles(lag_ns)), blocked_s=float(between_ns[late].sum()) / 1e9)


def _stages(evidence: Evidence, plan: Mapping[str, Any]) -> str | None:
    profile = profile_in_force(evidence, plan) if evidence.load_changes else None
    return None if profile is None else stages_of(profile)


def _machine(noise: Noise) -> Machine | None:
    if not noise.seen_s:
        return None
    return Machine(
        other_cpu_share=noise.other_share,
        steal_share=noise.steal_share,
        stalled_share=noise.stalled_share,
        noisy_s=noise.noisy_s,
        seen_s=noise.seen_s,
    )


def _slo(each: SloResult) -> SloSummary:
    windows = each.windows
    return SloSummary(
        text=each.text,
        holds=each.holds,
        value=each.value,
        never=each.value is not None and math.isinf(each.value),
        low=each.low,
        high=each.high,
        limit=each.limit,
        unit=each.unit,
        why=each.why,
        windows=None
        if windows is None
        else SloWindowsSummary(
            length_s=windows.length_s,
            n=windows.n,
            broken=windows.n_broken,
            undecided=windows.n_undecided,
            worst_from_s=windows.worst_from_s,
        ),
    )


def _invariant(each: Invariant) -> InvariantSummary:
    return InvariantSummary(id=each.id, title=each.title, holds=each.holds, detail=each.detail)


def _scenario(evidence: Evidence, result: Account) -> ScenarioSummary | None:
    if evidence.check is None:
        return None
    effects = result.tables.effects
    index = (effects.key & np.uint64(0xFFFF)).astype(np.int64)
    arrived = np.bincount(index, weights=effects.n, minlength=len(evidence.effect_names))
    return ScenarioSummary(
        name=evidence.scenario,
        effects=[
            EffectCount(index=number, name=name, arrived=int(arrived[number]))
            for number, name in enumerate(evidence.effect_names)
            if name
        ],
        figures=[
            ScenarioFigure(id=figure.id, value=figure.value, unit=figure.unit, text=figure.text)
            for figure in evidence.check.figures
        ],
        problems=list(evidence.check.problems),
    )


def _route(figures: RouteFigures) -> RouteSummary:
    return RouteSummary(
        name=figures.name,
        attempted=figures.attempted,
        acked=figures.acked,
        rejected=figures.rejected,
        indeterminate=figures.indeterminate,
        response_ms=_durations(figures.response),
    )


def _function(figures: FunctionFigures) -> FunctionSummary:
    return FunctionSummary(
        name=figures.name,
        kind=figures.kind,
        accepted=figures.accepted,
        finished=figures.finished,
        failed=figures.failed,
        lost=figures.lost,
        wait_ms=_durations(figures.wait),
        run_ms=_durations(figures.run),
        done_ms=_durations(figures.done),
    )


def _timeline(evidence: Evidence, over_time: Timeline) -> TimelineSummary:
    starts = (over_time.edges_ns[:-1] - evidence.load_start_ns) / 1e9
    bin_s = float(over_time.edges_ns[-1] - over_time.edges_ns[0]) / 1e9 / len(starts)
    return TimelineSummary(
        bin_s=bin_s,
        t_s=[round(start, 6) for start in starts.tolist()],
        backlog_max=over_time.backlog_max.tolist(),
        busy_max=over_time.busy_max.tolist(),
        response_p95_ms=over_time.response_p95_ms.tolist(),
        done_p95_ms=over_time.done_p95_ms.tolist(),
        arrivals=over_time.arrivals.tolist(),
        completions=over_time.completions.tolist(),
        outages=[
            OutageSummary(boot=each.boot, from_s=since(evidence, each.from_ns), until_s=since(evidence, each.until_ns))
            for each in outages(evidence)
        ],
    )


def _durations(values: Quantiles) -> Durations:
    return Durations(
        n=values.n,
        n_never=values.n_never,
        p50=values.p50_ms,
        p90=values.p90_ms,
        p95=values.p95_ms,
        p99=values.p99_ms,
        p999=values.p999_ms,
        max=values.max_ms,
    )


def _load_s(evidence: Evidence) -> float:
    return (evidence.load_end_ns - evidence.load_start_ns) / 1e9
