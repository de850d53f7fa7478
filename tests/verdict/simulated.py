"""Whole runs with a known truth: a queue with several servers, and one thing wrong with it, told to the judge by its rows alone.

The simulation knows which requests were due, how long each answer and each task took, and what was planted; the judge gets only
what a real run leaves behind. Rows are made by numpy, so that hundreds of runs are judged in seconds.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.model import Boot, Evidence, Expectation, Fault, GeneratorReport
from harness.rows import DropReason, Gauge, Kind, Outcome, RequestError, RowFile, TaskKind
from harness.rows.layout import EFFECT, MACHINE_SAMPLE, REQUEST, TASK
from tests.accounting.memory import gauges_of, row_file

TAG = 0x2345678
MS = 1_000_000
S = 1_000_000_000
START_NS = 7_000 * S


@dataclass(frozen=True)
class Setup:
    """What is offered to which server. Times in ms."""

    seed: int
    rate: float = 200.0
    for_s: float = 12.0
    warm_up_s: float = 2.0
    pool: int = 4
    run_ms: float = 5.0  # mean of a task, exponential
    answer_ms: float = 4.0  # mean of an answer, 1 ms of it fixed
    kill_at_s: float | None = None
    restart_s: float = 0.5


class Simulated:
    """A run whose rows may still be changed before it is judged."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.random = random = np.random.default_rng(setup.seed)
        n = int(setup.rate * setup.for_s)
        self.requests = requests = np.zeros(n, REQUEST)
        op = np.arange(1, n + 1, dtype=np.uint64)
        requests["op"] = (np.uint64(TAG) << np.uint64(32)) | op
        requests["attempt"] = 1
        due = START_NS + (np.arange(n) * S / setup.rate).astype(np.int64)
        sent = due + random.integers(20_000, 300_000, n)
        accepted = sent + random.integers(100_000, 400_000, n)
        answered = accepted + MS + (random.exponential(max(setup.answer_ms - 1.0, 0.01), n) * MS).astype(np.int64)
        requests["due_ns"], requests["sent_ns"], requests["done_ns"] = due, sent, answered
        requests["outcome"], requests["status"] = Outcome.ACK, 202
        self.load_end_ns = START_NS + round(setup.for_s * S)
        self.extra: dict[str, Any] = {}
        self.boots: list[Boot] = []
        self.tasks: dict[int, np.ndarray] = {}
        self.holes: dict[int, int] = {}
        self._serve(accepted, answered)
        self.effects = self._effects()

    def _serve(self, accepted: np.ndarray, answered: np.ndarray) -> None:
        setup, requests = self.setup, self.requests
        kill_ns = None if setup.kill_at_s is None else START_NS + round(setup.kill_at_s * S)
        back_ns = None if kill_ns is None else kill_ns + round(setup.restart_s * S)
        end_ns = self.load_end_ns + 60 * S
        boots = [(START_NS - S, kill_ns or end_ns)] + ([(back_ns, end_ns)] if back_ns is not None else [])
        for number, (ready_ns, until_ns) in enumerate(boots, 1):
            mine = np.flatnonzero((requests["sent_ns"] >= ready_ns) & (requests["sent_ns"] < until_ns))
            # What had been sent and not been accepted when the server died.
            cut = mine[answered[mine] >= until_ns] if number == 1 and kill_ns else mine[:0]
            requests["outcome"][cut], requests["status"][cut] = Outcome.IND, 0
            requests["error"][cut], requests["done_ns"][cut] = RequestError.RESET, until_ns + 1
            inside = mine[accepted[mine] < until_ns]
            self.tasks[number] = self._work(requests["op"][inside], accepted[inside], answered[inside], until_ns)
            self._boot(number, ready_ns, until_ns, is_fault=number == 1 and kill_ns is not None)
        if kill_ns is not None and back_ns is not None:
            down = (requests["sent_ns"] >= kill_ns) & (requests["sent_ns"] < back_ns)
            requests["outcome"][down], requests["status"][down] = Outcome.REJ, 0
            requests["error"][down], requests["done_ns"][down] = RequestError.REFUSED, requests["sent_ns"][down] + 100_000
            self.extra["faults"] = [Fault("kill", setup.kill_at_s or 0.0, kill_ns, 1)]
            self.extra["planned_faults"] = (f"kill@{setup.kill_at_s:g}s",)

    def _work(self, op: np.ndarray, accepted: np.ndarray, answered: np.ndarray, until_ns: int) -> np.ndarray:
        """First come, first served, by `pool` threads; nothing happens after `until_ns`."""
        n = len(op)
        rows = np.zeros(n, TASK)
        rows["op"], rows["kind"], rows["attempt"] = op, TaskKind.DEF, 1
        rows["accepted_ns"], flushed = accepted, answered - 200_000
        durations = (self.random.exponential(self.setup.run_ms, n) * MS).astype(np.int64) + 1000
        started = np.zeros(n, np.int64)
        free = [0] * self.setup.pool
        for place in np.argsort(flushed):
            begin = max(int(flushed[place]) + 10_000, heapq.heappop(free))
            started[place] = begin
            heapq.heappush(free, begin + int(durations[place]))
        ended = started + durations
        rows["flushed_ns"] = np.where(flushed < until_ns, flushed, 0)
        rows["started_ns"] = np.where(started < until_ns, started, 0)
        rows["finished_ns"] = np.where(ended < until_ns, ended, 0)
        return rows

    def _boot(self, number: int, ready_ns: int, until_ns: int, *, is_fault: bool) -> None:
        rows = self.tasks[number]
        queued, running = rows["started_ns"] == 0, (rows["started_ns"] != 0) & (rows["finished_ns"] == 0)
        self.boots.append(
            Boot(
                boot=number,
                pid=5000 + number,
                spawned_ns=ready_ns - S // 10,
                ready_ns=ready_ns,
                signal="SIGKILL" if is_fault else "SIGTERM",
                fault=is_fault,
                frozen_ns=until_ns if is_fault else None,
                signalled_ns=until_ns,
                reaped_ns=until_ns + MS,
                exit_status=-9 if is_fault else 0,
                predicted_queued=int(queued.sum()) if is_fault else None,
                predicted_running=int(running.sum()) if is_fault else None,
                port_free=True,
            )
        )

    def _effects(self) -> np.ndarray:
        """Each task's effect arrives in the middle of its run."""
        rows = np.concatenate(list(self.tasks.values()))
        done = rows[rows["finished_ns"] != 0]
        effects = np.zeros(len(done), EFFECT)
        effects["op"] = done["op"]
        effects["arrived_ns"] = (done["started_ns"] + done["finished_ns"]) // 2
        return effects

    def machine(self, *, other: float = 0.02, steal: float = 0.0, from_s: float = 0.0, until_s: float = 1e9) -> None:
        """Samples of a machine with two processors, of which others take a share between two instants."""
        t_s = np.arange(-0.25, self.setup.for_s + 3.0, 0.5)
        inside = (t_s >= from_s) & (t_s < until_s)
        taken, stolen = np.where(inside, other, 0.02), np.where(inside, steal, 0.0)
        own = np.full(len(t_s), 0.3)
        idle = np.maximum(1.0 - own - taken - stolen, 0.0)
        rows = np.zeros(len(t_s), MACHINE_SAMPLE)
        rows["t_ns"] = (START_NS + t_s * S).astype(np.int64)
        columns = {"own_ns": own, "idle_ns": idle, "steal_ns": stolen, "busy_ns": own + taken}
        for name, share in columns.items():
            rows[name] = (1e12 + np.cumsum(share * 2 * S / 2)).astype(np.int64)
        rows["stalled_ns"] = (1e12 + np.cumsum(np.where(idle < 0.1, 0.4, 0.01) * S / 2)).astype(np.int64)
        rows["cpus"] = 2
        self.extra["machine"] = row_file(Kind.MACHINE, rows)

    def evidence(self) -> Evidence:
        """What a real run would have left behind."""
        n = len(self.requests)
        known: dict[str, Any] = {
            "run_tag": TAG,
            "load_start_ns": START_NS,
            "load_end_ns": self.load_end_ns,
            "planned_requests": n,
            "expectation": Expectation(tasks_per_request=1, effects_per_request=1),
            "requests": [row_file(Kind.REQUESTS, self.requests)],
            "tasks": {boot.boot: [self._task_file(boot)] for boot in self.boots},
            "effects": [row_file(Kind.EFFECTS, self.effects)],
            "boots": self.boots,
            "generators": [GeneratorReport(0, planned=n, sent=n, shed=0, cpu_share=0.3, exit_status=0)],
            "warm_up_s": self.setup.warm_up_s,
        }
        return Evidence(**{**known, **self.extra})

    def _task_file(self, boot: Boot) -> RowFile:
        rows = self.tasks[boot.boot]
        gauges = gauges_of(rows, self.setup.pool)
        return row_file(
            Kind.TASKS,
            rows,
            path=Path(f"tasks-{boot.boot}.rows"),
            boot=boot.boot,
            pid=boot.pid,
            closed_ns=0 if boot.fault else boot.reaped_ns,
            gauges={gauge: gauges[gauge] for gauge in Gauge},
        )

    def report(self, **changes: Any) -> None:
        """Changes what the load process says of itself."""
        before = self.evidence().generators[0]
        self.extra["generators"] = [dataclasses.replace(before, **changes)]


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

CASES = (
    Case("healthy", healthy, "PASS", (), WHOLE),
    Case("healthy, without objectives", healthy, "PASS", (), ()),
    Case("healthy through a restart", healthy_through_a_restart, "PASS", (), ("p90<50ms", "recovery<2s")),
    Case("the generator is late", late, "INCONCLUSIVE", ("The generator was late",), WHOLE),
    Case("the generator is late and the limit broken", late, "INCONCLUSIVE", ("The generator was late",), ("p99<1ms",)),
    Case("the generator is saturated", saturated, "INCONCLUSIVE", ("The generator was saturated",)),
    Case("more is asked than the generator reaches", above_the_ceiling, "INCONCLUSIVE", ("and reaches",)),
    Case("the ceiling was measured too low", on_time_above_the_ceiling, "PASS", ()),
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
