"""Puts what is known of a run at an instant into a frame. Pure: no clock, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.heatmap import HeatMap
from harness.live.figures import Figures
from harness.live.frame import (
    NOT_KNOWN,
    About,
    Boot,
    Frame,
    LogLine,
    Look,
    Newest,
    Now,
    Phase,
    Side,
    SideState,
    TaskLine,
    TaskStatus,
    Totals,
)
from harness.live.sides import Glance, client_side, client_state_over_all, work_side, work_state_over_all
from harness.live.telling import Told
from harness.looplag import known_lags
from harness.model import Evidence
from harness.rows import Rows
from harness.schema import Finding, Summary
from harness.series import Series
from harness.wording import counted

__all__ = ["NEWEST_SAMPLES", "Known", "about_of", "frame_of"]

NEWEST_SAMPLES = 40
"""Of which what is said of now is made: more than there are in a second."""

_INLINE = "inline"
"""There are no tasks then, and one run is not counted in two ways."""

_FRESH_NS = 1_000_000_000
"""A sample that is older says nothing of now."""


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that a frame is made from."""

    about: About
    told: Told
    phase: Phase
    newest: Newest
    evidence: Evidence  # cut at the instant
    figures: Figures
    client: SideState
    work: SideState
    tasks: tuple[TaskLine, ...]
    findings: tuple[Finding, ...]
    log: tuple[LogLine, ...]
    summary: Summary | None
    problem: str
    at_ns: int
    start_ns: int
    newest_ns: int


def frame_of(known: Known, look: Look, number: int, cost_ms: float) -> Frame:
    """The frame."""
    figures, evidence, told = known.figures, known.evidence, known.told
    totals = _totals(figures, told)
    n_lost = figures.lost_queued + figures.lost_running
    n_shown = figures.queued + figures.running + figures.finished + figures.failed + n_lost
    now = _now(known)
    client, work = _sides(known, now)
    is_lost_sight_of = known.phase is Phase.CRASHED and told.boot.is_up
    if is_lost_sight_of:
        now, work = _unseen(now), _not_judged(work, figures)
    return Frame(
        number=number,
        at_s=(known.at_ns - known.start_ns) / 1e9,
        newest_s=(known.newest_ns - known.start_ns) / 1e9,
        phase=known.phase,
        about=known.about,
        boot=replace(told.boot, pid=None, is_up=False, is_ready=False, in_words=NOT_KNOWN) if is_lost_sight_of else told.boot,
        look=look,
        series=_series_since(figures.series, known.start_ns),
        oldest_ms=figures.oldest_ms,
        unsettled=figures.unsettled,
        lost=figures.lost,
        response_heat=_heat_since(figures.response_heat, known.start_ns),
        done_heat=_heat_since(figures.done_heat, known.start_ns),
        marks=told.marks,
        outages=told.outages,
        now=now,
        totals=totals,
        client=client,
        work=work,
        settings=told.settings,
        newest=known.newest,
        findings=known.findings,
        log=known.log,
        tasks=known.tasks,
        n_tasks={
            TaskStatus.QUEUED: figures.queued,
            TaskStatus.RUNNING: figures.running,
            TaskStatus.DONE: figures.finished,
            TaskStatus.FAILED: figures.failed,
            TaskStatus.LOST: n_lost,
            TaskStatus.OTHER: max(figures.accepted - n_shown, 0) if not evidence_is_inline(evidence) else 0,
        },
        summary=known.summary,
        problem=known.problem,
        cost_ms=cost_ms,
    )


def evidence_is_inline(evidence: Evidence) -> bool:
    """Whether the work is done before answering."""
    return evidence.expectation.tasks_per_request == 0 and evidence.expectation.effects_per_request > 0


def about_of(
    path: Path,
    shown: str,
    plan: Mapping[str, Any],
    plan_text: str,
    kinds: Sequence[str],
    *,
    load_s: float | None,
    is_seen: bool,
    can_be_steered: bool,
) -> About:
    """What is run. `kinds`: of task, that the scenario has. `load_s`: how long its load lasts, if that is known.

    A plan of another version may lack anything.
    """
    scenario = plan.get("scenario")
    command = " ".join(map(str, plan.get("command") or ()))
    return About(
        run_id=path.name,
        path=shown,
        title=(Path(str(scenario)).stem if str(scenario).endswith(".py") else str(scenario)) if scenario else command,
        engine=str(plan.get("engine") or ""),
        tasks=plan.get("tasks"),
        kinds=() if plan.get("tasks") == _INLINE else tuple(kind for kind in kinds if kind != _INLINE),
        pool=plan.get("pool"),
        workers=int(plan.get("workers") or 1),
        load=_load_in_words(plan),
        for_s=float(plan.get("for_s") or 0.0) if load_s is None else load_s,
        warm_up_s=float(plan.get("warm_up_s") or 0.0),
        plan_text=plan_text,
        has_server_witness=is_seen,
        can_be_steered=can_be_steered,
    )


def _load_in_words(plan: Mapping[str, Any]) -> str:
    if plan.get("locustfile"):
        return f"{plan['users']} users of a locustfile" if plan.get("users") else "a locustfile"
    if plan.get("users") is not None:
        return f"{plan['users']} users"
    if plan.get("stages") is not None:
        return "stages"
    if plan.get("replay") is not None:
        return "a replay"
    return f"{plan['rate']:g}/s" if plan.get("rate") is not None else ""


def _totals(figures: Figures, told: Told) -> Totals:
    return Totals(
        attempted=figures.attempted,
        acked=figures.acked,
        rejected=figures.rejected,
        indeterminate=figures.indeterminate,
        accepted=figures.accepted,
        finished=figures.finished,
        failed=figures.failed,
        cancelled=figures.cancelled,
        queued=figures.queued,
        running=figures.running,
        lost_queued=figures.lost_queued,
        lost_running=figures.lost_running,
        lost_discarded=figures.lost_discarded,
        skipped=figures.skipped,
        restarts=told.restarts,
        response_p50_ms=_or_none(figures.response.p50_ms),
        response_p95_ms=_or_none(figures.response.p95_ms),
        response_p99_ms=_or_none(figures.response.p99_ms),
        done_p50_ms=_or_none(figures.done.p50_ms),
        done_p95_ms=_or_none(figures.done.p95_ms),
        done_p99_ms=_or_none(figures.done.p99_ms),
        backlog_max=figures.backlog_max,
        saturated_s=figures.saturated_s,
        run_mean_ms=_or_none(figures.run_mean_ms),
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _now(known: Known) -> Now:
    figures, evidence, recent = known.figures, known.evidence, known.figures.recent
    is_seen, over_s = known.about.has_server_witness, recent.over_s
    has_requests = bool(evidence.requests)
    sample, before = _samples(evidence, known.at_ns, known.told.boot)
    has_rates = over_s > 0 and is_seen
    ended_per_s = (recent.finished + recent.failed) / over_s if over_s > 0 else 0.0
    return Now(
        over_s=over_s,
        offered_per_s=recent.due / over_s if has_requests and over_s > 0 else None,
        answered_per_s=recent.answered / over_s if has_requests and over_s > 0 else None,
        accepted_per_s=recent.accepted / over_s if has_rates else None,
        finished_per_s=recent.finished / over_s if has_rates else None,
        backlog=figures.queued if is_seen else None,
        busy=figures.running if is_seen else None,
        oldest_queued_s=None if figures.oldest_queued_ns is None else (known.at_ns - figures.oldest_queued_ns) / 1e9,
        drain_s=_drain_s(figures.queued + figures.running, ended_per_s) if is_seen else None,
        pool_size=_gauge(sample, "pool_size"),
        pool_busy=None if _gauge(sample, "pool_size") is None else int(sample["pool_busy"]) if sample is not None else None,
        loop_lag_ms=float(sample["loop_lag_ns"]) / 1e6
        if sample is not None and is_seen and known_lags(evidence, 1)[-1]
        else None,
        loop_blocked_by=_blocked_by(evidence, known.at_ns),
        in_flight=figures.waiting if has_requests else None,
        server_cpu_share=_share(sample, before, "server_cpu_ns"),
        server_rss_bytes=_gauge(sample, "server_rss_bytes"),
        load_cpu_share=_share(sample, before, "load_cpu_ns"),
        late=figures.late,
        shed=figures.unsent,
    )


def _drain_s(n_pending: int, ended_per_s: float) -> float | None:
    """None: nothing ends, so nobody knows."""
    if not n_pending:
        return 0.0
    return n_pending / ended_per_s if ended_per_s else None


def _samples(evidence: Evidence, at_ns: int, boot: Boot) -> tuple[np.void | None, Rows | None]:
    """The newest sample of the server that is there, and those of the same server from about a second before it."""
    if evidence.gauges is None or not len(evidence.gauges.rows) or not boot.is_up:
        return None, None
    rows: Rows = np.asarray(evidence.gauges.rows[-NEWEST_SAMPLES:])
    last = rows[-1]
    # A server that has just been started has no sample yet, and those of the one before it are not its own.
    if int(last["boot"]) != boot.number or int(last["t_ns"]) < at_ns - _FRESH_NS:
        return None, None
    before = rows[(rows["boot"] == last["boot"]) & (rows["t_ns"] >= last["t_ns"] - np.uint64(_FRESH_NS))]
    return last, before if len(before) > 1 else None


def _gauge(sample: np.void | None, name: str) -> int | None:
    """None where it is zero: nobody says it."""
    return int(sample[name]) or None if sample is not None else None


def _share(sample: np.void | None, before: Rows | None, name: str) -> float | None:
    """Of one core, over the last second; not before the first sample that has it, which holds all that the start took."""
    if sample is None or before is None or not sample[name]:
        return None
    first = before[np.argmax(before[name] != 0)]
    passed_ns = int(sample["t_ns"]) - int(first["t_ns"])
    return max(int(sample[name]) - int(first[name]), 0) / passed_ns if passed_ns else None


def _blocked_by(evidence: Evidence, at_ns: int) -> str:
    """Which function a probe found to be holding the event loop within the last second."""
    for note in reversed(evidence.notes):
        if note.kind == "blocked" and note.t_ns + note.blocked_ms * 1e6 >= at_ns - _FRESH_NS:
            return note.function
    return ""


def _sides(known: Known, now: Now) -> tuple[Side, Side]:
    figures, recent = known.figures, known.figures.recent
    glance = Glance(
        is_up=known.told.is_there,
        has_begun=figures.attempted + figures.unsent > 0,
        attempted=figures.attempted,
        response_ms=recent.response_p95_ms,
        bad=recent.rejected + recent.indeterminate,
        answers=recent.answered + recent.rejected + recent.indeterminate,
        waited_ms=None if figures.oldest_waiting_ns is None else (known.at_ns - figures.oldest_waiting_ns) / 1e6,
        has_tasks=figures.accepted > 0,
        is_seen=known.about.has_server_witness,
        is_inline=evidence_is_inline(known.evidence),
        done_ms=recent.done_p95_ms,
        oldest_s=None if figures.oldest_ns is None else (known.at_ns - figures.oldest_ns) / 1e9,
        backlog=figures.queued,
        accepted_per_s=now.accepted_per_s or 0.0,
        finished_per_s=now.finished_per_s or 0.0,
        failed=recent.failed - recent.cancelled,
        lost=figures.lost_queued + figures.lost_running,
        gone=_gone(known),
        is_draining=known.told.is_draining,
        discarded=figures.lost_discarded,
    )
    if known.phase in {Phase.JUDGE, Phase.ENDED, Phase.CRASHED}:
        return over_all(glance, figures)
    return client_side(known.client, glance), work_side(known.work, glance)


def _gone(known: Known) -> int:
    """What was lost with the server that is not there: the newest, or the one before it while the newest starts."""
    boot, left = known.told.boot, known.figures.left
    dead = max((number for number in left if number <= boot.number), default=None)
    return 0 if dead is None or boot.is_ready else left[dead].lost


def over_all(glance: Glance, figures: Figures) -> tuple[Side, Side]:
    """The tiles of a run that is over: of all of it, not of its last seconds."""
    bad, n_lost = figures.rejected + figures.indeterminate, figures.lost_queued + figures.lost_running
    whole = replace(
        glance,
        response_ms=_or_none(figures.response.p95_ms),
        bad=bad,
        answers=figures.acked + bad,
        done_ms=_or_none(figures.done.p95_ms),
        failed=figures.failed - figures.cancelled,
        lost=n_lost,
        is_over=True,
    )
    return client_side(client_state_over_all(whole), whole), work_side(work_state_over_all(whole, figures.finished), whole)


def _unseen(now: Now) -> Now:
    """Of a server that nobody has looked after since the session died: what it does now is not known. Counts remain."""
    kept = {"over_s", "loop_blocked_by", "late", "shed"}
    unknown: dict[str, Any] = {each.name: None for each in fields(Now) if each.name not in kept}
    return replace(now, loop_blocked_by="", **unknown)


def _not_judged(work: Side, figures: Figures) -> Side:
    """What had not ended when the session died may have ended since, or be lost. What was lost before stays what is told."""
    n_unfinished = figures.queued + figures.running
    if not n_unfinished or work.state is SideState.FAILING:
        return work
    words = f"{n_unfinished:,} unfinished"
    why = f"{counted(n_unfinished, 'task')} had not ended when the run crashed: nobody knows what became of them."
    return Side(SideState.WAITING, "NOT JUDGED", (words, "when the run crashed"), why)


def _series_since(found: Series, start_ns: int) -> Series:
    return replace(found, edges_ns=found.edges_ns - start_ns)


def _heat_since(found: HeatMap | None, start_ns: int) -> HeatMap | None:
    return None if found is None else replace(found, edges_ns=found.edges_ns - start_ns)
