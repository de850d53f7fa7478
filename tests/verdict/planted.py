"""One thing wrong with each simulated run, and what the judge has to find in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.model import Fault
from harness.rows import DropReason, Outcome, RequestError
from harness.rows.layout import EFFECT

from .simulated import MS, START_NS, TAG, S, Setup, Simulated


@dataclass(frozen=True)
class Case:
    """What is planted, and what the judge has to find."""

    name: str
    plant: Callable[[np.random.Generator], Simulated]
    verdict: str
    reasons: Sequence[str]  # each in one of the reasons; none: there is none
    slos: Sequence[str] = ("p99<50ms", "lost==0")
    allow: Sequence[str] = ()


def _setup(random: np.random.Generator, **changes: Any) -> Simulated:
    """A server that is up to what is asked of it, of some size."""
    values = {"seed": int(random.integers(1 << 31)), "rate": float(random.uniform(150, 300)), "pool": int(random.integers(3, 9))}
    values["run_ms"] = float(random.uniform(0.2, 0.7) * values["pool"] / values["rate"] * 1e3)
    return Simulated(Setup(**{**values, **changes}))


def healthy(random: np.random.Generator) -> Simulated:
    run = _setup(random)
    run.machine(other=float(random.uniform(0.0, 0.08)))
    return run


def healthy_through_a_restart(random: np.random.Generator) -> Simulated:
    return _setup(random, kill_at_s=6.0, run_ms=0.5)


def late(random: np.random.Generator) -> Simulated:
    """The generator sends later than the plan says; the server never waits."""
    run = healthy(random)
    delay = (random.uniform(30, 300) * MS) * np.abs(random.standard_normal(len(run.requests)))
    run.requests["due_ns"] -= delay.astype(np.uint64)
    return run


def saturated(random: np.random.Generator) -> Simulated:
    """It has no time left; the answers are so slow that its lag alone would pass."""
    run = _setup(random, answer_ms=400.0)
    run.requests["due_ns"] -= np.uint64(30 * MS)
    run.report(cpu_share=float(random.uniform(0.92, 1.0)))
    return run


def above_the_ceiling(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    run.requests["due_ns"] -= np.uint64(8 * MS)
    run.report(ceiling_per_s=run.setup.rate * float(random.uniform(0.4, 0.9)))
    return run


def on_time_above_the_ceiling(random: np.random.Generator) -> Simulated:
    """What was measured before was too low: it is on time."""
    run = healthy(random)
    run.report(ceiling_per_s=run.setup.rate * 0.8)
    return run


def held_for_a_moment(random: np.random.Generator) -> Simulated:
    """What was due in a tenth of a second left after it: too few to be seen in the lag of the whole run."""
    run = _setup(random, rate=250.0)
    at = START_NS + round(float(random.uniform(4.1, 9.0)) * S)
    hit = (run.requests["due_ns"] >= at) & (run.requests["due_ns"] < at + S // 12)
    run.requests["due_ns"][hit] -= np.uint64(S // 10)
    return run


def read_late_for_a_moment(random: np.random.Generator) -> Simulated:
    """All were sent in time, and what was answered meanwhile was read after it: only the load process itself can say so."""
    run = _setup(random, rate=250.0)
    at_s = float(random.uniform(4.1, 9.0))
    at = START_NS + round(at_s * S)
    hit = (run.requests["sent_ns"] >= at) & (run.requests["sent_ns"] < at + S // 12)
    run.requests["done_ns"][hit] = np.maximum(run.requests["done_ns"][hit], at + S // 5)
    run.report(stalls=((at_s, 0.2),), stalled_s=0.2, longest_stall_s=0.2)
    return run


def held_and_slow(random: np.random.Generator) -> Simulated:
    """The server is slow from then on, too."""
    run = read_late_for_a_moment(random)
    late = run.requests["sent_ns"] >= START_NS + 10 * S
    run.requests["done_ns"][late] += np.uint64(100 * MS)
    return run


def a_little_late(random: np.random.Generator) -> Simulated:
    """Less than is noted, but most of each response."""
    run = _setup(random, answer_ms=2.0)
    run.requests["due_ns"] -= np.uint64(15 * MS)
    return run


def shed(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    some = random.choice(len(run.requests), int(random.integers(1, 50)), replace=False)
    ops = run.requests["op"][some]
    run.requests["sent_ns"][some] = run.requests["done_ns"][some] = 0
    run.requests["outcome"][some], run.requests["error"][some] = Outcome.REJ, RequestError.SHED
    run.tasks[1] = run.tasks[1][~np.isin(run.tasks[1]["op"], ops)]
    run.effects = run.effects[~np.isin(run.effects["op"], ops)]
    run.report(shed=len(some), sent=len(run.requests) - len(some))
    return run


def cut_short(random: np.random.Generator) -> Simulated:
    """The load process ends before its schedule does, and says nothing of it."""
    run = healthy(random)
    n, left = len(run.requests), int(len(run.requests) * random.uniform(0.5, 0.99))
    gone = run.requests["op"][left:]
    run.requests = run.requests[:left]
    run.tasks[1] = run.tasks[1][~np.isin(run.tasks[1]["op"], gone)]
    run.effects = run.effects[~np.isin(run.effects["op"], gone)]
    run.extra["planned_requests"] = n
    return run


def fault_missed(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    run.extra["faults"] = [Fault("kill", 6.0, None, None, "no process was there")]
    run.extra["planned_faults"] = ("kill@6s",)
    return run


def fault_forgotten(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    run.extra["planned_faults"] = ("kill@6s",)
    return run


def lost(random: np.random.Generator) -> Simulated:
    """A kill in the middle of a backlog."""
    run = _setup(random, kill_at_s=float(random.uniform(4, 10)), pool=2, run_ms=20.0)
    run.machine()
    return run


def duplicated(random: np.random.Generator) -> Simulated:
    """A later boot runs again what the first had left over, after its effect had arrived."""
    run = _setup(random, kill_at_s=6.0, pool=4, run_ms=15.0)
    first = run.tasks[1]
    again = first[(first["started_ns"] != 0) & (first["finished_ns"] == 0)].copy()
    ready = np.uint64(run.boots[1].ready_ns or 0)
    again["attempt"], again["accepted_ns"], again["flushed_ns"] = 2, ready, ready
    again["started_ns"], again["finished_ns"] = ready + np.uint64(MS), ready + np.uint64(2 * MS)
    run.tasks[2] = np.concatenate([again, run.tasks[2]])
    twice = np.zeros(2 * len(again), EFFECT)
    twice["op"] = np.repeat(again["op"], 2)
    twice["arrived_ns"] = np.tile([ready - np.uint64(S), ready + np.uint64(MS + 1)], len(again))
    run.effects = np.concatenate([run.effects, twice])
    return run


def finished_without_effect(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    run.effects = np.delete(run.effects, random.integers(len(run.effects), size=3))
    return run


def effect_of_nobody(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    run.effects["op"][int(random.integers(len(run.effects)))] = (TAG << 32) | 999_999
    return run


def never_accepted(random: np.random.Generator) -> Simulated:
    """Acknowledged, and no row of it: the server answered what it had not written down."""
    run = healthy(random)
    place = int(random.integers(len(run.tasks[1])))
    gone = run.tasks[1]["op"][place]
    run.tasks[1] = np.delete(run.tasks[1], place)
    run.effects = run.effects[run.effects["op"] != gone]
    return run


def out_of_order(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    place = int(random.integers(len(run.tasks[1])))
    run.tasks[1]["finished_ns"][place] = run.tasks[1]["started_ns"][place] - np.uint64(1)
    return run


def after_death(random: np.random.Generator) -> Simulated:
    run = _setup(random, kill_at_s=6.0, run_ms=0.5)
    row = run.tasks[1][int(random.integers(len(run.tasks[1]) // 2)) :][:1]  # one of the first half has finished
    row["finished_ns"] = (run.boots[0].reaped_ns or 0) + S
    return run


def wrong_prediction(random: np.random.Generator) -> Simulated:
    run = _setup(random, kill_at_s=6.0, run_ms=20.0, pool=2)
    run.boots[0] = dataclasses.replace(run.boots[0], predicted_queued=(run.boots[0].predicted_queued or 0) + 1)
    return run


def row_without_a_state(random: np.random.Generator) -> Simulated:
    run = healthy(random)
    row = run.tasks[1][int(random.integers(len(run.tasks[1]))) :][:1]
    run.effects = run.effects[run.effects["op"] != row["op"][0]]
    row["started_ns"] = row["finished_ns"] = 0
    row["dropped_ns"], row["reason"] = row["flushed_ns"], max(DropReason) + 3
    return run


def slow(random: np.random.Generator) -> Simulated:
    """An exponential answer of mean 30 ms and more has its p99 far beyond 50 ms."""
    run = _setup(random, answer_ms=float(random.uniform(30, 80)))
    run.machine()
    return run


def stalled_for_a_while(random: np.random.Generator) -> Simulated:
    """Half a second in which nobody is answered: 4 % of the run, all of them in one window."""
    run = _setup(random, rate=400.0)
    begin = START_NS + round(float(random.uniform(4.1, 9.0)) * S)
    hit = (run.requests["sent_ns"] >= begin) & (run.requests["sent_ns"] < begin + S // 2)
    run.requests["done_ns"][hit] += np.uint64(S // 4)
    return run


def overloaded(random: np.random.Generator) -> Simulated:
    """The pool works off half of what comes in."""
    return _setup(random, rate=200.0, pool=2, run_ms=20.0)


def few(random: np.random.Generator) -> Simulated:
    run = _setup(random, rate=float(random.uniform(10, 25)), run_ms=5.0)
    run.machine()
    return run


def few_and_slow(random: np.random.Generator) -> Simulated:
    """So slow that few values are enough: every answer takes longer than the limit."""
    run = few(random)
    run.requests["done_ns"] += np.uint64(100 * MS)
    return run


def slow_for(part: Callable[[Simulated], np.ndarray]) -> Callable[[np.random.Generator], Simulated]:
    """Answers are slow while others use the processors; `part` says which."""

    def plant(random: np.random.Generator) -> Simulated:
        run = _setup(random)
        run.requests["done_ns"][part(run)] += np.uint64(100 * MS)
        run.machine(other=float(random.uniform(0.6, 0.7)), from_s=5.0, until_s=8.0)
        return run

    return plant


def due_between(from_s: float, until_s: float) -> Callable[[Simulated], np.ndarray]:
    def chosen(run: Simulated) -> np.ndarray:
        due_s = (run.requests["due_ns"].astype(np.int64) - START_NS) / S
        return (due_s >= from_s) & (due_s < until_s)

    return chosen


def stolen(random: np.random.Generator) -> Simulated:
    run = slow(random)
    run.machine(steal=float(random.uniform(0.06, 0.4)))
    return run


def noisy_and_fast(random: np.random.Generator) -> Simulated:
    run = _setup(random)
    run.machine(other=float(random.uniform(0.65, 0.7)))
    return run


def interrupted(plant: Callable[[np.random.Generator], Simulated]) -> Callable[[np.random.Generator], Simulated]:
    def both(random: np.random.Generator) -> Simulated:
        run = plant(random)
        run.extra["interrupted_by"] = str(random.choice(["SIGINT", "SIGTERM"]))
        return run

    return both


WHOLE = ("p99<50ms", "lost==0", "duplicated==0", "achieved>=95%", "error_rate<1%", "backlog<5000", "done_p99<2s", "p95<40ms@2s")
NOISE = "were measured while"
HELD = "were measured while the load generator was late or stood still"

CASES = (
    Case("healthy", healthy, "PASS", (), WHOLE),
    Case("healthy, without objectives", healthy, "PASS", (), ()),
    Case("healthy through a restart", healthy_through_a_restart, "PASS", (), ("p90<50ms", "recovery<2s")),
    Case("the generator is late", late, "INCONCLUSIVE", ("The generator was late",), WHOLE),
    Case("the generator is late and the limit broken", late, "INCONCLUSIVE", ("The generator was late",), ("p99<1ms",)),
    Case("the generator is saturated", saturated, "INCONCLUSIVE", ("The generator was saturated",)),
    Case("more is asked than the generator reaches", above_the_ceiling, "INCONCLUSIVE", ("and reaches",)),
    Case("the ceiling was measured too low", on_time_above_the_ceiling, "PASS", ()),
    Case("the generator stands still for a moment", held_for_a_moment, "INCONCLUSIVE", (HELD,), ("p95<50ms@1s", "p95<50ms")),
    Case("answers are read late for a moment", read_late_for_a_moment, "INCONCLUSIVE", (HELD,), ("p95<50ms@1s", "p95<50ms")),
    Case(
        "the generator stands still, which is allowed", held_for_a_moment, "FAIL", ("is broken in",), ("p95<50ms@1s",), ("noise",)
    ),
    Case("the generator stands still, and the limits hold", read_late_for_a_moment, "PASS", (), ("p90<50ms", "done_p99<2s@4s")),
    Case(
        "a limit is broken beside a generator that stands still",
        held_and_slow,
        "FAIL",
        ("p95<50ms@1s is broken in",),
        ("p95<50ms@1s",),
    ),
    Case("the generator is a little late for a tight limit", a_little_late, "INCONCLUSIVE", (HELD,), ("p99<12ms",)),
    Case("the generator is a little late, and the limit holds", a_little_late, "PASS", (), ("p99<50ms", "service_p99<12ms")),
    Case("requests are shed", shed, "INCONCLUSIVE", ("The generator shed",)),
    Case("less is sent than was planned", cut_short, "INCONCLUSIVE", ("planned requests were sent",)),
    Case("a fault does not land", fault_missed, "INCONCLUSIVE", ("did not land: no process was there",)),
    Case("a fault is forgotten", fault_forgotten, "INCONCLUSIVE", ("1 of 1 planned faults never happened",)),
    Case("tasks are lost", lost, "FAIL", ("lost==0 is broken",)),
    Case("tasks are lost, which nobody forbids", lost, "PASS", (), ("p50<50ms",)),
    Case("effects are duplicated", duplicated, "FAIL", ("duplicated==0 is broken",), ("duplicated==0",)),
    Case("a finished task has no effect", finished_without_effect, "INCONCLUSIVE", ("Invariant 5 is broken",)),
    Case("an effect belongs to nobody", effect_of_nobody, "INCONCLUSIVE", ("Invariant 5 is broken", "Invariant 7 is broken")),
    Case("an answer without a row", never_accepted, "INCONCLUSIVE", ("Invariant 1 is broken",)),
    Case("instants are out of order", out_of_order, "INCONCLUSIVE", ("Invariant 9 is broken",)),
    Case("a row is later than its boot's death", after_death, "INCONCLUSIVE", ("Invariant 6 is broken",)),
    Case("a prediction is wrong", wrong_prediction, "INCONCLUSIVE", ("Invariant 10 is broken",)),
    Case("a row is in no state", row_without_a_state, "INCONCLUSIVE", ("Invariant 2 is broken", "Invariant 3 is broken")),
    Case("a limit is broken", slow, "FAIL", ("p99<50ms is broken",)),
    Case("one window breaks a limit", stalled_for_a_while, "FAIL", ("p95<50ms@2s is broken in",), ("p50<50ms", "p95<50ms@2s")),
    Case("a short stall is nothing to the whole run's p95", stalled_for_a_while, "PASS", (), ("p90<50ms",)),
    Case(
        "the work falls behind",
        overloaded,
        "FAIL",
        ("done_p95<2s is broken", "backlog<200 is broken"),
        ("done_p95<2s", "backlog<200", "p99<50ms"),
    ),
    Case("too few for a p99", few, "INCONCLUSIVE", ("too few for p99",)),
    Case("few are enough for a p75", few, "PASS", (), ("p75<50ms", "lost==0")),
    Case("few, and taken as they are", few, "PASS", (), ("p99<60ms",), ("few-samples",)),
    Case("few are enough where all are too slow", few_and_slow, "FAIL", ("p99<50ms is broken",)),
    Case("slow in noise alone", slow_for(due_between(5.2, 8)), "INCONCLUSIVE", (NOISE,)),
    Case("slow in noise, which is allowed", slow_for(due_between(5.2, 8)), "FAIL", ("p99<50ms is broken",), allow=("noise",)),
    Case("slow without the noise as well", slow_for(due_between(3, 8)), "FAIL", ("p99<50ms is broken",)),
    Case("a stolen machine", stolen, "INCONCLUSIVE", ("was stolen",)),
    Case("noise, and the limits hold all the same", noisy_and_fast, "PASS", (), WHOLE),
    Case("interrupted, healthy", interrupted(healthy), "INCONCLUSIVE", ("The run was interrupted by",), WHOLE),
    Case("interrupted, with a broken limit", interrupted(slow), "INCONCLUSIVE", ("The run was interrupted by",)),
)
