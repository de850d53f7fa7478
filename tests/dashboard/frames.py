"""Frames of a run that never was. Pure: the screens are shown these where the figures must be the same each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.heatmap import HeatMap, heat_map
from harness.live.frame import (
    About,
    Boot,
    Frame,
    LogLine,
    Look,
    Mark,
    MarkKind,
    Newest,
    Now,
    Outage,
    Phase,
    Setting,
    Side,
    SideState,
    TaskLine,
    TaskStatus,
    Totals,
)
from harness.schema import Finding
from harness.series import Gauges, Series, bins_of, quantiles_by_bin
from harness.statistics import rank
from harness.wording import duration_ms, figure
from tests.dashboard.simulation import Instants, Simulation, Story

__all__ = ["frame_of"]

_S = 1_000_000_000


def frame_of(run: Simulation, look: Look, newest_s: float, number: int = 1) -> Frame:
    """The run as it stood at `look.at_s`, or at `newest_s`."""
    story = run.story
    at_s = newest_s if look.at_s is None else look.at_s
    at = round(at_s * _S)
    seen = _as_at(run, at)
    first = int(np.floor(look.from_s / look.bin_s + 1e-6))
    last = max(int(np.ceil(min(look.until_s, at_s) / look.bin_s - 1e-6)), first + 1)
    edges = np.arange(first, last + 1, dtype=np.int64)
    edges = edges * round(look.bin_s * _S)
    killed = round(story.killed_s * _S) if story.killed_s is not None and story.killed_s <= at_s else None
    is_down = killed is not None and at_s < story.up_s
    is_lost = _is_lost(seen, killed)
    queued = seen.is_acked & (seen.started > at) & ~is_lost
    running = seen.is_acked & (seen.started <= at) & (seen.finished > at) & ~is_lost
    shown, oldest_ms = _series(seen, edges, at, killed, story)
    recent = slice(int(np.searchsorted(seen.due, at - 5 * _S)), None)
    n_finished = int(((seen.finished > at - 5 * _S) & (seen.finished <= at)).sum())
    over_s = min(max(at_s, 0.1), 5.0)
    finished_per_s = n_finished / over_s
    backlog = int(queued.sum())
    now = Now(
        over_s=over_s,
        offered_per_s=len(seen.due[recent]) / over_s,
        answered_per_s=int((seen.answered[recent] <= at).sum()) / over_s,
        accepted_per_s=int(seen.is_acked[recent].sum()) / over_s,
        finished_per_s=finished_per_s,
        backlog=backlog,
        busy=int(running.sum()),
        oldest_queued_s=float((at - seen.due[queued].min()) / _S) if backlog else 0.0,
        drain_s=(backlog + int(running.sum())) / finished_per_s if finished_per_s else None,
        pool_size=None if is_down else story.pool,
        pool_busy=None if is_down else int(running.sum()),
        loop_lag_ms=None if is_down else 0.4,
        loop_blocked_by="",
        in_flight=0 if is_down else 1,
        server_cpu_share=None if is_down else 0.31,
        server_rss_bytes=None if is_down else 88_000_000,
        load_cpu_share=0.12,
        late=0,
        shed=0,
    )
    is_done = (seen.finished != NEVER_NS) & ~seen.fails
    totals = _totals(seen, at, killed, queued, running, is_lost, story)
    return Frame(
        number=number,
        at_s=at_s,
        newest_s=newest_s,
        phase=_phase(story, at_s),
        about=About(
            run_id="email-20261121-090000",
            path="runs/email-20261121-090000",
            title="email",
            engine="rust",
            tasks="sync",
            kinds=("sync", "async", "blocking"),
            pool=story.pool,
            workers=1,
            load=f"{story.rate_per_s:g}/s",
            for_s=story.for_s,
            warm_up_s=2.0,
            plan_text='scenario = "email"\n',
            has_server_witness=True,
            can_be_steered=True,
        ),
        boot=Boot(
            number=2 if killed is not None and not is_down else 1,
            pid=None if is_down else 41877 if killed is not None else 40112,
            is_up=not is_down,
            is_ready=not is_down,
            for_s=at_s - (story.killed_s if is_down and story.killed_s else 0),
            in_words="down" if is_down else "up",
        ),
        look=look,
        series=shown,
        oldest_ms=oldest_ms,
        unsettled=_by_due(seen, queued | running, edges),
        lost=_by_due(seen, is_lost, edges),
        response_heat=_heat(seen.due, seen.answered, edges) if look.heat else None,
        done_heat=_heat(seen.due[is_done], seen.finished[is_done], edges) if look.heat else None,
        marks=_marks(story, at_s, totals),
        outages=_outages(story, is_down=is_down) if killed is not None else (),
        now=now,
        totals=totals,
        client=_client(totals, is_down),
        work=_work(totals, now, is_down),
        settings=_settings(story, at_s),
        newest=Newest(_phase(story, newest_s), _settings(story, newest_s)),
        findings=_findings(totals, now, story),
        log=_log(story, at_s),
        tasks=_tasks(seen, at, look, queued, running, is_lost),
        n_tasks={
            TaskStatus.QUEUED: backlog,
            TaskStatus.RUNNING: int(running.sum()),
            TaskStatus.DONE: totals.finished,
            TaskStatus.FAILED: totals.failed,
            TaskStatus.LOST: totals.lost_queued + totals.lost_running,
            TaskStatus.OTHER: 0,
        },
        summary=None,
        problem="",
        cost_ms=3.0,
    )


def _outages(story: Story, *, is_down: bool) -> tuple[Outage, ...]:
    return (Outage(story.killed_s, None if is_down else story.up_s, story.killed_s),) if story.killed_s else ()


def _phase(story: Story, at_s: float) -> Phase:
    return Phase.START if at_s < 0 else Phase.DRAIN if at_s >= story.for_s else Phase.LOAD


def _settings(story: Story, at_s: float) -> tuple[Setting, ...]:
    rate = story.rate_per_s if at_s < story.changed_s else story.later_per_s
    return Setting("rate", rate), Setting("pool", story.pool), Setting("tasks", "sync")


def with_newest(frame: Frame, *, phase: Phase | None = None, settings: tuple[Setting, ...] | None = None) -> Frame:
    """The frame of a run that is there by now, which is what it shows."""
    newest = Newest(phase or frame.newest.phase, frame.newest.settings if settings is None else settings)
    return replace(frame, phase=newest.phase, settings=newest.settings, newest=newest)


def _as_at(run: Simulation, at: int) -> Simulation:
    n = int(np.searchsorted(run.due, at, side="right"))

    def until(instants: Instants) -> Instants:
        return np.where(instants[:n] <= at, instants[:n], NEVER_NS)

    answered = until(run.answered)
    return Simulation(
        story=run.story,
        due=run.due[:n],
        answered=answered,
        is_acked=run.is_acked[:n] & (answered != NEVER_NS),
        is_refused=run.is_refused[:n] & (answered != NEVER_NS),
        started=until(run.started),
        finished=until(run.finished),
        boot=run.boot[:n],
        fails=run.fails[:n],
    )


def _is_lost(seen: Simulation, killed: int | None) -> NDArray[np.bool_]:
    if killed is None:
        return np.zeros(len(seen.due), np.bool_)
    return seen.is_acked & (seen.boot == 1) & (seen.finished > killed)


def _series(seen: Simulation, edges: Instants, at: int, killed: int | None, story: Story) -> tuple[Series, NDArray[np.float64]]:
    n_bins, is_done = len(edges) - 1, (seen.finished != NEVER_NS) & ~seen.fails
    due_in = bins_of(seen.due, edges)

    def counts(instants: Instants, which: NDArray[np.bool_]) -> Instants:
        bins = bins_of(instants[which], edges)
        return np.bincount(bins[bins >= 0], minlength=n_bins)

    def quantiles(which: NDArray[np.bool_], values: Instants) -> NDArray[np.float64]:
        bins = due_in[which]
        return quantiles_by_bin(bins[bins >= 0], values[which][bins >= 0], n_bins, (0.5, 0.95, 0.99))

    ends = np.where(_is_lost(seen, killed), killed or 0, np.minimum(seen.finished, at + 1))
    leaves_queue = np.where(seen.started != NEVER_NS, seen.started, ends)
    rights = edges[1:]

    def covering(begins: Instants, finishes: Instants, moments: Instants) -> Instants:
        acked = seen.is_acked
        begun = np.searchsorted(np.sort(begins[acked]), moments, side="right")
        return begun - np.searchsorted(np.sort(finishes[acked]), moments, side="right")

    backlog = covering(seen.accepted, leaves_queue, rights)
    busy = covering(leaves_queue, ends, rights)
    later = edges[:-1] > at
    backlog[later], busy[later] = 0, 0
    oldest = np.full(n_bins, np.nan)
    for index, moment in enumerate(np.minimum(rights, at)):
        if edges[index] > at:
            break
        open_ = seen.is_acked & (seen.accepted <= moment) & (ends > moment)
        if open_.any():
            oldest[index] = (moment - seen.due[open_].min()) / 1e6
    is_up = np.ones(n_bins, np.bool_)
    if killed is not None:
        is_up = ~((edges[:-1] >= killed) & (edges[1:] <= story.up_s * _S))
    no = np.full(n_bins, np.nan)
    answered = ~seen.is_refused
    return (
        Series(
            edges_ns=edges,
            due=counts(seen.due, np.ones(len(seen.due), np.bool_)),
            acked=counts(seen.due, seen.is_acked),
            rejected=counts(seen.due, seen.is_refused),
            indeterminate=counts(seen.due, ~seen.is_acked & ~seen.is_refused & (seen.answered != NEVER_NS)),
            response_ms=quantiles(
                answered & (seen.answered != NEVER_NS), np.where(seen.is_acked, seen.answered - seen.due, NEVER_NS)
            ),
            accepted=counts(seen.accepted, seen.is_acked),
            started=counts(seen.started, seen.started != NEVER_NS),
            finished=counts(seen.finished, is_done),
            failed=counts(seen.finished, seen.fails & (seen.finished != NEVER_NS)),
            undone=counts(seen.due, _is_lost(seen, killed)),
            of_done=counts(seen.due, is_done),
            done_ms=quantiles(is_done, seen.finished - seen.due),
            backlog_max=backlog,
            backlog_end=backlog,
            busy_max=busy,
            busy_mean=busy.astype(np.float64),
            sampled=Gauges(
                pool_size=np.where(is_up & ~later, float(story.pool), np.nan),
                pool_busy_max=np.where(is_up & ~later, busy, np.nan),
                in_flight_max=no,
                loop_lag_max_ms=np.where(is_up & ~later, 0.4, np.nan),
                server_cpu_share=np.where(is_up & ~later, 0.31, np.nan),
                server_rss_bytes=np.where(is_up & ~later, 8.8e7, np.nan),
                load_cpu_share=np.where(later, np.nan, 0.12),
            ),
        ),
        oldest,
    )


def _by_due(seen: Simulation, which: NDArray[np.bool_], edges: Instants) -> Instants:
    bins = bins_of(seen.due[which], edges)
    return np.bincount(bins[bins >= 0], minlength=len(edges) - 1)


def _heat(due: Instants, ended: Instants, edges: Instants) -> HeatMap:
    return heat_map(due, np.where(ended == NEVER_NS, NEVER_NS, ended - due), edges)


def _totals(seen, at, killed, queued, running, is_lost, story) -> Totals:
    is_done = (seen.finished != NEVER_NS) & ~seen.fails
    warm = seen.due >= 2 * _S
    responses = (seen.answered - seen.due)[seen.is_acked & warm] / 1e6
    dones = (seen.finished - seen.due)[is_done & warm] / 1e6

    def quantile(values: NDArray[np.float64], share: float) -> float | None:
        return float(np.sort(values)[rank(share, len(values)) - 1]) if len(values) else None

    was_running = is_lost & (seen.started != NEVER_NS)
    edges = np.arange(0, max(at // _S, 1) + 1, dtype=np.int64) * _S
    return Totals(
        attempted=len(seen.due),
        acked=int(seen.is_acked.sum()),
        rejected=int(seen.is_refused.sum()),
        indeterminate=int((~seen.is_acked & ~seen.is_refused & (seen.answered != NEVER_NS)).sum()),
        accepted=int(seen.is_acked.sum()),
        finished=int(is_done.sum()),
        cancelled=0,
        failed=int((seen.fails & (seen.finished != NEVER_NS)).sum()),
        queued=int(queued.sum()),
        running=int(running.sum()),
        lost_queued=int((is_lost & ~was_running).sum()),
        lost_running=int(was_running.sum()),
        lost_discarded=0,
        skipped=0,
        restarts=int(killed is not None),
        response_p50_ms=quantile(responses, 0.5),
        response_p95_ms=quantile(responses, 0.95),
        response_p99_ms=quantile(responses, 0.99),
        done_p50_ms=quantile(dones, 0.5),
        done_p95_ms=quantile(dones, 0.95),
        done_p99_ms=quantile(dones, 0.99),
        backlog_max=int(_series(seen, edges, at, killed, story)[0].backlog_max.max()) if len(edges) > 1 else 0,
        saturated_s=float(max(0, (at / _S) - 20)) if running.sum() >= story.pool else 0.0,
        run_mean_ms=float(np.mean((seen.finished - seen.started)[is_done]) / 1e6) if is_done.any() else None,
    )


def _client(totals: Totals, is_down: bool) -> Side:
    if is_down:
        return Side(SideState.DOWN, "DOWN", ("refused", ""), "The server is not there.")
    if totals.response_p95_ms is None:
        return Side(SideState.WAITING, "WAITING", ("no answer yet",), "Nothing was answered yet.")
    errors = totals.indeterminate + totals.rejected
    return Side(
        SideState.OK,
        "OK",
        (f"p95 {duration_ms(totals.response_p95_ms)}  err {errors / max(totals.attempted, 1):.1%}",),
        "Responses are as fast as they were at first.",
    )


def _work(totals: Totals, now: Now, is_down: bool) -> Side:
    if is_down:
        return Side(SideState.DOWN, "DOWN", (f"{totals.lost_queued + totals.lost_running:,} lost",), "The server is not there.")
    p95 = figure(totals.done_p95_ms, "ms", none="-", never="never")
    if (now.backlog or 0) > 50:
        return Side(SideState.BEHIND, "BEHIND", (f"p95 {p95}", f"queue {now.backlog:,} rising"), "More comes than is finished.")
    return Side(SideState.OK, "OK", (f"p95 {p95}  queue {now.backlog}",), "The work keeps up.")


def _marks(story: Story, at_s: float, totals: Totals) -> tuple[Mark, ...]:
    marks = [Mark(0.0, MarkKind.PHASE, "load", "load begins"), Mark(2.0, MarkKind.PHASE, "warm", "warm-up ends")]
    if story.killed_s is not None:
        n = totals.lost_queued + totals.lost_running
        text = f"SIGKILL pid 40112: {totals.lost_queued:,} queued and {totals.lost_running:,} running tasks lost"
        marks.append(Mark(story.killed_s, MarkKind.FAULT, f"KILL -{n:,}", text))
        marks.append(Mark(story.up_s, MarkKind.UP, "up", "pid 41877 ready after 9.0 s"))
    if story.later_per_s != story.rate_per_s:
        text = f"rate {story.rate_per_s:g} -> {story.later_per_s:g}/s"
        marks.append(Mark(story.changed_s, MarkKind.LOAD, f"-> {story.later_per_s:g}/s", text))
    if at_s >= story.for_s:
        marks.append(Mark(story.for_s, MarkKind.PHASE, "load ends", "load ends"))
    return tuple(replace(mark, event=place) for place, mark in enumerate(marks) if mark.at_s <= at_s)


def _findings(totals: Totals, now: Now, story: Story) -> tuple[Finding, ...]:
    found = []
    n_lost = totals.lost_queued + totals.lost_running
    if n_lost:
        found.append(
            Finding(
                id="restart-lost",
                severity="critical",
                text=f"SIGKILL at {story.killed_s:.1f} s lost {n_lost:,} acknowledged tasks ({totals.lost_queued:,} queued, "
                f"{totals.lost_running:,} running).",
                evidence={"lost": n_lost},
                next="Keep what must not be lost outside of the process before answering.",
            )
        )
    if (now.backlog or 0) > 100:
        found.append(
            Finding(
                id="hidden-backlog",
                severity="warning",
                text=f"Responses stay fast while the backlog grows: {now.backlog:,} tasks wait.",
                evidence={"backlog": now.backlog},
                next="A larger pool, or less work per request.",
            )
        )
    return tuple(found)


def _log(story: Story, at_s: float) -> tuple[LogLine, ...]:
    lines = [LogLine("server-1", "INFO  listening on 127.0.0.1:8000")]
    if story.killed_s is not None and at_s >= story.up_s:
        lines.append(LogLine("server-2", "INFO  listening on 127.0.0.1:8000"))
        lines.append(LogLine("server-2", "ERROR task [send_welcome] failed: TimeoutError('smtp')"))
    return tuple(lines)


def _end_s(ended_s: float | None, is_lost: bool, story: Story, at: int) -> float:
    if ended_s is not None:
        return ended_s
    return story.killed_s if is_lost and story.killed_s is not None else at / _S


def _tasks(seen, at, look, queued, running, is_lost) -> tuple[TaskLine, ...]:
    chosen = {
        None: np.zeros(len(seen.due), np.bool_),
        TaskStatus.QUEUED: queued,
        TaskStatus.RUNNING: running,
        TaskStatus.DONE: (seen.finished != NEVER_NS) & ~seen.fails,
        TaskStatus.FAILED: seen.fails & (seen.finished != NEVER_NS),
        TaskStatus.LOST: is_lost,
        TaskStatus.OTHER: np.zeros(len(seen.due), np.bool_),
    }[look.tasks]

    def s(value: int) -> float | None:
        return None if value == NEVER_NS else float(value / _S)

    lines = []
    for index in np.flatnonzero(chosen)[: look.n_tasks]:
        ended = s(seen.finished[index])
        effects = (ended - 0.01,) if ended is not None and not seen.fails[index] else ()
        lines.append(
            TaskLine(
                op=0x1000 + int(index),
                index=0,
                function="send_welcome",
                boot=int(seen.boot[index]),
                status=look.tasks or TaskStatus.OTHER,
                detail=("running at the kill" if seen.started[index] != NEVER_NS else "queued at the kill")
                if is_lost[index]
                else "TimeoutError"
                if look.tasks is TaskStatus.FAILED
                else "",
                due_s=float(seen.due[index] / _S),
                sent_s=float(seen.due[index] / _S) + 0.0001,
                answered_s=s(seen.answered[index]),
                accepted_s=float(seen.accepted[index] / _S),
                started_s=s(seen.started[index]),
                ended_s=ended,
                effects_s=effects,
                age_s=_end_s(ended, bool(is_lost[index]), seen.story, at) - float(seen.due[index] / _S),
            )
        )
    return tuple(lines)
