"""What gives way first, from the measured gauges of a stage that did not hold. Pure."""

from __future__ import annotations

from typing import Final

from harness.capacity.schema import Cause, Measured
from harness.capacity.standing import grown
from harness.findings.limits import ONE_CORE, Limit, limit_of
from harness.findings.stretch import Stretch
from harness.schema import Summary
from harness.wording import counted, duration_ms, per_second, share

__all__ = ["cause_of"]

_FULL: Final = 0.9
_BUSY_LOOP: Final = 0.8
_LATE_LOOP_MS: Final = 100.0
_OTHERS: Final = 0.2


def cause_of(result: Measured, stretch: Stretch | None, cores: int, summary: Summary) -> Cause:
    """Of a stage in which something gave way."""
    if result.died:
        return Cause(kind="server", text=f"the server died at {per_second(result.rate)}: {result.died}")
    if result.generator:
        return Cause(
            kind="generator",
            text=f"the load generator could not send {per_second(result.rate)} evenly ({result.generator}); of the"
            " server that says nothing",
            evidence={"ceiling_per_s": summary.generator.ceiling_per_s, "cpu_max": summary.generator.cpu_max},
        )
    limit = limit_of(stretch, cores) if stretch is not None else None
    if limit is not None and limit.kind in {"gil", "cores"}:
        return _computing(result, limit, cores)
    if limit is None and (result.cpu_share or 0.0) >= ONE_CORE:
        return _computing(result, Limit("gil", evidence={"cpu_share": result.cpu_share}), cores)
    if _pool_is_full(result):
        if limit is not None and limit.kind == "world":
            return Cause(kind="world", text=_of_the_world(limit), evidence=dict(limit.evidence))
        mean, busy = result.run_mean_ms or 0.0, result.busy_mean or 0.0
        return Cause(
            kind="pool",
            text=f"the pool is full: {counted(result.pool_size, 'thread')}, {duration_ms(mean)} each task: at"
            f" {per_second(result.rate)}, {per_second(result.ended_per_s or 0.0, 'tasks')} got done",
            evidence={"threads": result.pool_size, "busy_mean": busy, "run_mean_ms": mean},
        )
    if _loop_is_late(result):
        return Cause(
            kind="loop",
            text=f"the event loop is held: it was late by {duration_ms(result.loop_lag_p99_ms)} (p99)",
            evidence={"loop_lag_p99_ms": result.loop_lag_p99_ms, "cpu_share": result.cpu_share},
        )
    broken = [each for each in result.limits if each.holds is False]
    if broken and not (result.growth is not None and grown(result.growth).grows):
        first = broken[-1]
        # Where nobody could tell, because it still filled up, nothing is said of it.
        bounded = " while the backlog stays bounded" if result.growth is not None else ""
        if first.text.startswith("failing"):
            share_of = f"{first.value or 0.0:.0f} % of the requests (5xx, 429, or no answer)"
            return Cause(
                kind="responses", text=f"the server fails {share_of}{bounded}", evidence={"failing_percent": first.value}
            )
        return Cause(kind="responses", text=f"{first.text} is broken{bounded}", evidence={"value": first.value})
    return _unknown(result, cores, summary)


def _unknown(result: Measured, cores: int, summary: Summary) -> Cause:
    """What the gauges show is said all the same: most often, something else had the machine."""
    used = [f"{result.busy_mean or 0.0:.1f} of {counted(result.pool_size, 'thread')} busy"] if result.pool_size else []
    if result.cpu_share is not None:
        load = result.load_cpu_share or 0.0
        used.append(f"the server computed on {result.cpu_share:.1f} of {counted(cores, 'core')}, the load on {load:.1f}")
    machine = summary.machine
    others = (machine.other_cpu_share or 0.0) if machine is not None else 0.0
    if others >= _OTHERS:
        used.append(f"and other programs had {share(others)} of the machine: run it where nothing else does")
    return Cause(
        kind="unknown",
        text=f"no gauge was at its end ({'; '.join(used) or 'there is none'})",
        evidence={"cpu_share": result.cpu_share, "busy_mean": result.busy_mean, "other_cpu_share": others},
    )


def _computing(result: Measured, limit: Limit, cores: int) -> Cause:
    cpu, load = result.cpu_share or 0.0, result.load_cpu_share or 0.0
    if limit.kind == "cores":
        text = f"the {cores} cores are full: the server had {cpu:.1f} of them, the load {load:.1f}"
        return Cause(kind="cpu", text=text, evidence=dict(limit.evidence))
    if not result.pool_size and _loop_is_late(result, _LATE_LOOP_MS / 4):
        text = f"the event loop is full: it computes for {share(min(cpu, 1))} of the time, on one core"
        return Cause(kind="loop", text=text, evidence=dict(limit.evidence))
    text = f"the interpreter's lock: the server computes on {cpu:.1f} cores, and one process of Python gets one"
    return Cause(kind="gil", text=text, evidence=dict(limit.evidence))


def _of_the_world(limit: Limit) -> str:
    few, many = limit.evidence["few_run_ms"], limit.evidence["many_run_ms"]
    return f"what the tasks wait for: a task takes {duration_ms(few)} with few of them running and {duration_ms(many)} with many"


def _pool_is_full(result: Measured) -> bool:
    return bool(result.pool_size and (result.busy_mean or 0.0) >= _FULL * result.pool_size)


def _loop_is_late(result: Measured, least_ms: float = _LATE_LOOP_MS) -> bool:
    return (result.loop_lag_p99_ms or 0.0) >= least_ms
