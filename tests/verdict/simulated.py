"""Whole runs with a known truth: a queue with several servers, and one thing wrong with it, told to the judge by its rows alone.

The simulation knows which requests were due, how long each answer and each task took, and what was planted; the judge gets only
what a real run leaves behind. Rows are made by numpy, so that hundreds of runs are judged in seconds.
"""

from __future__ import annotations

import dataclasses
import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.model import Boot, Evidence, Expectation, Fault, GeneratorReport
from harness.rows import Gauge, Kind, Outcome, RequestError, RowFile, TaskKind
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
    then: tuple[float, float] | None = None  # from when on another rate, and which

    @property
    def due_s(self) -> np.ndarray:
        """When each request is due, after load start."""
        if self.then is None:
            return np.arange(int(self.rate * self.for_s)) / self.rate
        at_s, rate = self.then
        before, after = int(self.rate * at_s), int(rate * (self.for_s - at_s))
        return np.concatenate([np.arange(before) / self.rate, at_s + np.arange(after) / rate])


class Simulated:
    """A run whose rows may still be changed before it is judged."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.random = random = np.random.default_rng(setup.seed)
        due_s = setup.due_s
        n = len(due_s)
        self.requests = requests = np.zeros(n, REQUEST)
        op = np.arange(1, n + 1, dtype=np.uint64)
        requests["op"] = (np.uint64(TAG) << np.uint64(32)) | op
        requests["attempt"] = 1
        due = START_NS + (due_s * S).astype(np.int64)
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
