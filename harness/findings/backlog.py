"""Findings about work that comes in faster than it gets done, and about what keeps it from being done faster. Pure.

The arithmetic is queueing theory's: so many threads as the rate times the mean run time are busy on average (utilisation law), so
the threads divided by the run time are the most that they do per second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.findings.facts import Facts
from harness.findings.finding import FoundOut
from harness.findings.limits import Limit, limit_of
from harness.findings.stretch import LEAST_RISE, Stretch, Way
from harness.findings.trend import trend_of
from harness.wording import about, at_s, duration_ms, duration_s, per_second, roughly_s, share

__all__ = ["COMFORTABLE", "of_backlog", "threads_needed"]

COMFORTABLE: Final = 0.75
"""Use of the threads at which what waits stays short: at twice that distance from full, a queue is several times longer."""

_FLAT: Final = 2.0
_FLAT_MS: Final = 10.0
_FAST: Final = 0.25
_LATER_S: Final = 600.0
_FULL: Final = 0.9
_OFTEN_FULL: Final = 0.2
_WAIT_MS: Final = 50.0


def of_backlog(facts: Facts) -> Iterator[FoundOut]:
    """Whether the work is kept up with, and what would help."""
    main = facts.main
    if main is None:
        return
    if main.falls_behind:
        yield _grows(facts, main)
    else:
        yield from _from_here_on(facts)
    if main.in_threads is not None and main.threads:
        slow = list(_few_are_slow(facts, main))
        # More threads would hang as well: the few are the cause, and the pool only shows it.
        yield from slow or _full(facts, main, main.in_threads)
        yield from _dominated(facts, main)


def _grows(facts: Facts, main: Stretch) -> FoundOut:
    first, _, last = main.answers_ms
    rates = f"{per_second(main.accepted_per_s)} come in, {per_second(main.ended_per_s)} get done"
    is_flat = not last > max(_FLAT * first, first + _FLAT_MS)
    # Whoever waits for an answer nearly as long as for the work is told something by it.
    # (How long work takes on average is what is pending divided by what comes in: Little's law.)
    is_fast = last / 1e3 <= _FAST * float(main.pending.mean()) / main.accepted_per_s
    more = f"{rates}, so {about(main.grows_per_s)} more are pending every second"
    if math.isnan(first) or math.isnan(last):
        text = f"The work falls behind: {more}."
    elif is_flat and is_fast:
        text = f"The work falls behind, and no answer shows it: {more}, while p95 of the answers stays at {duration_ms(last)}."
    elif is_flat:
        text = f"The work falls behind: {more}; p95 of the answers is {duration_ms(last)}."
    else:
        text = (
            f"The work falls behind, and the answers get slower with it: {more}, and p95 of the answers went from"
            f" {duration_ms(first)} to {duration_ms(last)}."
        )
    pending = main.grows_per_s * _LATER_S
    wait_s = pending / main.ended_per_s if main.ended_per_s else math.inf
    later = "would never get done" if math.isinf(wait_s) else f"take {roughly_s(wait_s)} to work off"
    text += f" After ten minutes of this {about(pending)} would be pending, which {later}."
    advice = f"It keeps up with less than {per_second(main.ended_per_s)}."
    if facts.plan.get("engine") == "rust":
        advice += " To refuse (503) what is too much rather than promise it: --queue-limit."
    return FoundOut(
        "backlog-grows",
        "critical",
        text,
        {
            "boot": main.boot,
            "from_s": main.from_s,
            "until_s": main.until_s,
            "accepted_per_s": round(main.accepted_per_s, 3),
            "ended_per_s": round(main.ended_per_s, 3),
            "grows_per_s": round(main.grows_per_s, 3),
            "p_value": main.growth.p_value,
            "response_p95_first_ms": first,
            "response_p95_last_ms": last,
            "responses_flat": is_flat and is_fast,
        },
        advice,
    )


_LEFT_OVER: Final = 0.03
_TAIL_BINS: Final = 10


def _from_here_on(facts: Facts) -> Iterator[FoundOut]:
    """The rate up to which the work could follow, on the first way up on which it could no more."""
    for stretch in facts.stretches:
        if stretch.ramp is None or stretch.ramp[1] <= stretch.ramp[0] or not stretch.ways:
            continue
        pending = stretch.pending
        busy = min(float(np.max(np.sum([way.busy for way in stretch.ways], axis=0))), stretch.threads or math.inf)
        # From the last time on at which no more was pending than can be worked on at once.
        low = np.flatnonzero(pending <= busy + _LEFT_OVER * pending[-1])
        knee = int(low[-1]) if len(low) else 0
        tail = pending[knee:]
        if len(tail) < _TAIL_BINS or tail[-1] - tail[0] < LEAST_RISE or not trend_of(tail).rises:
            continue
        first, last = stretch.ramp
        rate = first + (last - first) * (knee + 0.5) / len(pending)
        ended = sum(int(way.ended_by_bin[knee:].sum()) for way in stretch.ways) / (len(tail) * stretch.bin_s)
        at = stretch.from_s + knee * stretch.bin_s
        yield FoundOut(
            "falls-behind-from",
            "warning",
            f"On the way up from {per_second(first)} to {per_second(last)} the work could follow until about {per_second(rate)}"
            f" ({at_s(at)} after load start): from then on more came in than got done, {per_second(ended)}.",
            {"boot": stretch.boot, "at_s": round(at, 3), "rate_per_s": round(rate, 3), "ended_per_s": round(ended, 3)},
            f"Run it at --rate {rate:.0f} for a while to see whether it holds there.",
        )
        return


def threads_needed(way: Way, seconds: float) -> int:
    """Threads that would be in use for three quarters at the rate that came in."""
    return max(1, math.ceil(way.accepted / seconds * way.run_s / COMFORTABLE))


def _full(facts: Facts, main: Stretch, way: Way) -> Iterator[FoundOut]:
    pool, offered = facts.pool, way.accepted / main.seconds
    if not way.accepted or math.isnan(way.run_s) or not pool.lived_s:
        return
    use = offered * way.run_s / main.threads
    # Tasks that wait a fraction of the time that they run are well served, however full the threads are.
    waits = way.wait_s * 1e3 >= max(_WAIT_MS, way.run_s * 1e3 / 2)
    if waits and (use >= _FULL or pool.saturated_s >= _OFTEN_FULL * pool.lived_s):
        yield _saturated(facts, main, way, use)
    elif _NEARLY_FULL <= use <= _BEYOND and way.accepted >= _FEWEST_ACCEPTED:
        limit = limit_of(main, facts.cores)
        needed = threads_needed(way, main.seconds)
        yield FoundOut(
            "pool-nearly-full",
            "warning",
            f"It just keeps up: the {main.threads:,} threads are in use for {share(min(use, 1))}. A task holds one for"
            f" {duration_s(way.run_s)} on average, so they do at most {per_second(main.threads / way.run_s)};"
            f" {per_second(offered)}"
            " came in. A little more, or a slower moment, and work begins to wait.",
            {
                "threads": main.threads,
                "mean_run_ms": round(way.run_s * 1e3, 3),
                "capacity_per_s": round(main.threads / way.run_s, 3),
                "offered_per_s": round(offered, 3),
                "utilisation": round(use, 4),
                "threads_needed": needed,
                "limit": limit.kind,
                **limit.evidence,
            },
            _more_threads(facts, main, limit, needed, offered, way),
        )


_NEARLY_FULL: Final = 0.85
_BEYOND: Final = 1.05
"""More cannot be: then the threads that were there, or what was pending before, are not as they seem."""

_FEWEST_ACCEPTED: Final = 50


def _saturated(facts: Facts, main: Stretch, way: Way, use: float) -> FoundOut:
    pool, offered = facts.pool, way.accepted / main.seconds
    capacity, needed, limit = main.threads / way.run_s, threads_needed(way, main.seconds), limit_of(main, facts.cores)
    times = f"all {main.threads:,} threads were busy" if main.threads > 1 else "its one thread was busy"
    text = (
        f"The pool is the bottleneck: {times} for {duration_s(pool.saturated_s)} of {duration_s(pool.lived_s)}. A task holds a"
        " thread"
        f" for {duration_s(way.run_s)} on average, so {main.threads:,} do at most {per_second(capacity)};"
        f" {per_second(offered)} came in, and each waited {duration_s(way.wait_s)} on average."
    )
    return FoundOut(
        "pool-saturated",
        "warning",
        text,
        {
            "threads": main.threads,
            "saturated_s": round(pool.saturated_s, 3),
            "mean_run_ms": round(way.run_s * 1e3, 3),
            "mean_wait_ms": round(way.wait_s * 1e3, 3),
            "capacity_per_s": round(capacity, 3),
            "offered_per_s": round(offered, 3),
            "utilisation": round(use, 4),
            "threads_needed": needed,
            "limit": limit.kind,
            **limit.evidence,
        },
        _more_threads(facts, main, limit, needed, offered, way),
    )


def _more_threads(facts: Facts, main: Stretch, limit: Limit, needed: int, offered: float, way: Way) -> str:
    if limit.kind != "threads":
        return limit.advice
    if needed <= main.threads:
        return "On average there are threads enough: what came in bursts, or was held up for a while, had to wait."
    each = f" in each of the {main.processes} processes" if main.processes > 1 else ""
    n = math.ceil(needed / max(main.processes, 1))
    advice = (
        f"Try --pool {n:,}{each}: at {per_second(offered)} and {duration_s(way.run_s)} each, they would be in use for"
        f" {share(COMFORTABLE)}, if what the tasks wait for lets as many in at once."
    )
    if facts.plan.get("engine") == "command":
        advice += " In the app: anyio.to_thread.current_default_thread_limiter().total_tokens, set at start."
    return advice


_DOMINATES: Final = 0.8
_FEWEST: Final = 20


def _dominated(facts: Facts, main: Stretch) -> Iterator[FoundOut]:
    """One function of several that has nearly all the time of the threads: where making something faster pays."""
    functions = [each for each in facts.usage.functions if not each.on_loop and each.ended >= _FEWEST]
    total = sum(each.run_s for each in functions)
    if len(functions) < 2 or not total or not main.in_threads or not facts.pool.saturated_s:
        return
    top, of_all = functions[0], functions[0].run_s / total
    if of_all < _DOMINATES or not top.name or facts.pool.saturated_s < _OFTEN_FULL * facts.pool.lived_s:
        return
    others = len(functions) - 1
    yield FoundOut(
        "one-function-dominates",
        "info",
        f"{top.name} has {share(of_all)} of the threads' time: {duration_s(top.run_s / top.ended)} each, {top.ended:,} times. The"
        f" {'other function' if others == 1 else f'other {others} functions'} behind it in the queue need the rest.",
        {
            "function": top.name,
            "share": round(of_all, 4),
            "functions": [{"function": each.name, "ended": each.ended, "run_s": round(each.run_s, 3)} for each in functions[:10]],
        },
        f"Making {top.name} faster, or moving it out of this pool, helps all of them.",
    )


_SLOW_SHARE: Final = 0.5
_MOST_SLOW: Final = 0.1


def _few_are_slow(facts: Facts, main: Stretch) -> Iterator[FoundOut]:
    """A few tasks that hold threads for so long that the others wait."""
    tail = facts.usage.tail
    if tail is None or not main.threads or tail.share_of_tasks > _MOST_SLOW or tail.share_of_time < _SLOW_SHARE:
        return
    if facts.pool.busy_max < facts.pool.size or facts.statistics.wait.p95_ms < _WAIT_MS:
        return
    rust = facts.plan.get("engine") == "rust"
    limit = " (task_timeout_s makes a thread that hangs be counted, and an async task be cancelled)" if rust else ""
    yield FoundOut(
        "few-slow-tasks",
        "warning",
        f"A few tasks hold the threads: {share(tail.share_of_tasks, 1)} of them, those of {duration_s(tail.from_s)} and more,"
        f" take {share(tail.share_of_time)} of the threads' time (p50 {duration_ms(facts.statistics.run.p50_ms)}, the longest"
        f" {duration_s(tail.longest_s)}). Short ones wait behind them: p95 of the wait is"
        f" {duration_ms(facts.statistics.wait.p95_ms)}.",
        {
            "tasks": tail.tasks,
            "share_of_tasks": round(tail.share_of_tasks, 5),
            "share_of_time": round(tail.share_of_time, 5),
            "from_s": tail.from_s,
            "longest_s": tail.longest_s,
        },
        f"Give whatever they wait for a time-out inside the task{limit}, and slow kinds of work a pool or a queue of their own.",
    )
