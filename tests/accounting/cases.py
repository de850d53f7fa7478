"""Runs whose summary is worth looking at: the goldens of the text."""

from __future__ import annotations

import dataclasses

from harness.model import Evidence, Expectation, Fault

from .world import Plan, simulate

__all__ = ["CASES"]


def _killed() -> Evidence:
    """One kill, frozen first, of a server that is a little too slow."""
    plan = Plan(n_requests=1200, gap_ms=10, pool=8, run_ms=100, kills=(("SIGSTOP", 6000),), restart_ms=1100, seed=3)
    return simulate(plan).evidence


def _calm() -> Evidence:
    """Nothing happens to a server that is fast enough."""
    return simulate(Plan(n_requests=600, gap_ms=10, pool=8, run_ms=20, seed=5, warm_up_ms=1000)).evidence


def _falls_behind() -> Evidence:
    """Half of the threads that would be needed, and the drain deadline of a deploy is too short. The world is no witness."""
    plan = Plan(
        n_requests=900,
        gap_ms=10,
        pool=4,
        run_ms=80,
        kills=(("SIGTERM", 5000),),
        drain_ms=1500,
        restart_ms=400,
        n_effects=0,
        seed=6,
    )
    return simulate(plan).evidence


def _inconclusive() -> Evidence:
    """A fault that did not land, a truncated file, tasks that fail."""
    run = simulate(Plan(n_requests=300, gap_ms=10, n_tasks=3, n_effects=3, pool=6, run_ms=15, fail=0.05, seed=7)).evidence
    return dataclasses.replace(
        run,
        tasks={1: [dataclasses.replace(run.tasks[1][0], missing=12)]},
        faults=[Fault("kill", 2.0, None, None, "the server had no process group any more")],
    )


def _inline() -> Evidence:
    """The work is done before answering; two kills."""
    plan = Plan(n_requests=800, gap_ms=10, n_tasks=0, kills=(("SIGKILL", 2000), ("SIGTERM", 5000)), restart_ms=600, seed=8)
    return simulate(plan).evidence


def _unknown() -> Evidence:
    """Somebody's own server: the client is the only witness."""
    run = simulate(Plan(n_requests=200, gap_ms=10, kills=(("SIGKILL", 1000),), restart_ms=300, seed=9)).evidence
    return dataclasses.replace(run, expectation=Expectation(0, 0), tasks={}, effects=[])


CASES = {
    "killed": _killed,
    "calm": _calm,
    "falls-behind": _falls_behind,
    "inconclusive": _inconclusive,
    "inline": _inline,
    "unknown": _unknown,
}
