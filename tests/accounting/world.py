"""A synthetic run that knows its own truth: requests, boots, kills, tasks, failures and effects, simulated one by one.

It is slow and plain on purpose: sets and dictionaries, nothing in common with the arrays of the accounting that it is to judge.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.model import Boot, Evidence, Expectation, Fault, GeneratorReport
from harness.rows import UNTAGGED, DropReason, Gauge, Kind, Outcome, RequestError, RowFile, TaskKind

from .memory import gauges_of, row_file

RUN_TAG = 0x1234567
MS = 1_000_000
START_NS = 5_000_000_000_000


@dataclass(frozen=True)
class Plan:
    """What is to happen. Durations in ms, as floats."""

    seed: int = 1
    n_requests: int = 200
    gap_ms: float = 5.0
    processes: int = 1
    n_tasks: int = 1
    n_effects: int = 1
    pool: int = 2
    run_ms: float = 12.0
    kills: tuple[tuple[str, float], ...] = ()  # (signal, ms after load start); "SIGSTOP" for a kill that was frozen first
    restart_ms: float = 60.0
    drain_ms: float = 50.0  # until a SIGTERM gives up
    fail: float = 0.0
    stop_on_error: bool = True
    cancel: float = 0.0  # the app cancels so many of its tasks, half of them before they start
    discard: float = 0.0
    deny: float = 0.0  # the same, and the client is told 200
    queue_limit: int | None = None
    unconnected: float = 0.0  # the share of requests for which the server takes no connection in time
    requeue: bool = False  # a later boot runs what an earlier one left over
    foreign: int = 0
    ends_alive: bool = False
    warm_up_ms: float = 0.0


@dataclass
class Truth:
    """What really happened, by name."""

    outcome: dict[int, str] = field(default_factory=dict)  # op -> ack, rej, ind
    state: dict[tuple[int, int], str] = field(default_factory=dict)  # of each task
    cancelled: set[tuple[int, int]] = field(default_factory=set)  # tasks that the app cancelled, by their last attempt
    by_boot: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    effects: Counter[tuple[int, int]] = field(default_factory=Counter)
    n_rows: int = 0

    def lost(self, *, witness: bool) -> tuple[int, int]:
        """The least and the largest number of tasks that can be lost."""
        queued = sum(state == "never_started" and not self.effects[key] for key, state in self.state.items())
        running = sum(state == "interrupted" and not self.effects[key] for key, state in self.state.items())
        denied = self.denied()
        return queued + denied + (running if witness else 0), queued + denied + running

    def denied(self) -> int:
        """How many tasks were put aside although their request was acknowledged."""
        return sum(state in {"discarded", "rejected"} and self.outcome.get(op) == "ack" for (op, _), state in self.state.items())


@dataclass(frozen=True)
class Run:
    """The evidence of a run and the truth behind it."""

    evidence: Evidence
    truth: Truth


def op_id(number: int) -> int:
    """The operation id of the nth request."""
    return RUN_TAG << 32 | number


def simulate(plan: Plan) -> Run:
    """Lets the plan happen."""
    return _Simulation(plan).run()


class _Server:
    """One boot: accepts until it is told to stop, works until it is dead."""

    def __init__(self, number: int, ready_ns: int, accepts_until_ns: int) -> None:
        self.number = number
        self.ready_ns = ready_ns
        self.accepts_until_ns = accepts_until_ns
        self.jobs: list[tuple[int, list[dict[str, Any]]]] = []  # (ready to run, rows of one request)
        self.rows: list[dict[str, Any]] = []
        self.threads: list[int] = []


class _Simulation:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.truth = Truth()
        self.requests: list[dict[str, Any]] = []
        self.effects: list[dict[str, Any]] = []
        self.boots: list[Boot] = []
        self.files: dict[int, list[RowFile]] = {}
        self.faults: list[Fault] = []
        self.end_ns = 0

    def run(self) -> Run:
        plan = self.plan
        due = [START_NS + int((number + 1) * plan.gap_ms * MS) for number in range(plan.n_requests)]
        pending = list(enumerate(due, start=1))
        load_end = due[-1] if due else START_NS
        ready = START_NS - 50 * MS
        left_over: list[list[dict[str, Any]]] = []
        kills = sorted(plan.kills, key=lambda kill: kill[1])
        for number in range(1, len(kills) + 2):
            fault = kills[number - 1] if number <= len(kills) else None
            # Without a fault: the horizon at which the evidence is taken, or the orderly stop, long after everything is done.
            signalled = load_end + (5 if plan.ends_alive else 10_000) * MS
            if fault is not None:
                signalled = max(START_NS + int(fault[1] * MS), ready + MS)
            server = _Server(number, ready, signalled)
            while pending and pending[0][1] < signalled:
                self._request(server, *pending.pop(0), signalled=signalled, kills=fault is not None and fault[0] != "SIGTERM")
            left_over = self._live_and_die(server, fault, signalled, left_over)
            ready = self.boots[-1].reaped_ns or signalled
            ready += int(plan.restart_ms * MS)
            while fault is not None and pending and pending[0][1] < ready:
                self._refused(*pending.pop(0))
        for number, due_ns in pending:
            self._refused(number, due_ns)
        return Run(evidence=self._evidence(load_end), truth=self.truth)

    def _refused(self, number: int, due_ns: int) -> None:
        sent = due_ns + self.random.randrange(MS)
        self._answer(number, due_ns, sent, sent + 100_000, Outcome.REJ, RequestError.REFUSED)

    def _answer(
        self, number: int, due_ns: int, sent: int, done: int, outcome: Outcome, error: RequestError, status: int = 0
    ) -> None:
        self.truth.outcome[number] = outcome.name.lower()
        self.requests.append(
            {
                "op": op_id(number),
                "status": status,
                "outcome": outcome,
                "error": error,
                "attempt": 1,
                "due_ns": due_ns,
                "sent_ns": sent,
                "done_ns": done,
            }
        )

    def _request(self, server: _Server, number: int, due_ns: int, *, signalled: int, kills: bool) -> None:
        plan, chance = self.plan, self.random.random()
        sent = due_ns + self.random.randrange(MS // 2)
        accepted = sent + 200_000 + self.random.randrange(200_000)
        flushed = accepted + 50_000 + self.random.randrange(100_000)
        done = flushed + 50_000
        if sent >= signalled:
            self._answer(number, due_ns, sent, sent + 100_000, Outcome.REJ, RequestError.REFUSED)
            return
        if plan.unconnected and self.random.random() < plan.unconnected:
            self._answer(number, due_ns, sent, sent + 80 * MS, Outcome.REJ, RequestError.CONNECT_TIMED_OUT)
            return
        if kills and accepted > signalled:
            self._answer(number, due_ns, sent, max(signalled, sent) + 1, Outcome.IND, RequestError.RESET)
            return
        rows = [
            {"op": op_id(number), "index": index, "kind": TaskKind.DEF, "attempt": 1, "accepted_ns": accepted}
            for index in range(plan.n_tasks)
        ]
        server.rows += rows
        if chance < plan.discard:
            for row in rows:
                row |= {"dropped_ns": accepted + 1, "reason": DropReason.DISCARDED}
            self._answer(number, due_ns, sent, done, Outcome.REJ, RequestError.NONE, 500)
            return
        if chance > 1 - plan.deny:
            for row in rows:
                row |= {"dropped_ns": accepted + 1, "reason": DropReason.DISCARDED, "flushed_ns": flushed}
            self._answer(number, due_ns, sent, done, Outcome.ACK, RequestError.NONE, 200)
            return
        if plan.queue_limit is not None and self._queued(server, accepted) > plan.queue_limit:
            for row in rows:
                row |= {"dropped_ns": accepted + 1, "reason": DropReason.REJECTED}
            self._answer(number, due_ns, sent, done, Outcome.REJ, RequestError.NONE, 503)
            return
        if kills and flushed > signalled:
            self._answer(number, due_ns, sent, signalled + 1, Outcome.IND, RequestError.RESET)
            return
        for row in rows:
            row["flushed_ns"] = flushed
        if not plan.n_tasks:
            for index in range(plan.n_effects):
                self._effect(op_id(number), index, accepted + index, server.number)
        if rows:
            server.jobs.append((flushed, rows))
        self._answer(number, due_ns, sent, done, Outcome.ACK, RequestError.NONE, 200)

    def _queued(self, server: _Server, now: int) -> int:
        """An upper bound is enough to choose whom to reject."""
        elapsed = max(now - server.ready_ns, 0)
        done = int(elapsed / (self.plan.run_ms * MS) * self.plan.pool)
        return max(sum(len(rows) for _, rows in server.jobs) - done, 0)

    def _effect(self, op: int, index: int, at: int, boot: int) -> None:
        self.effects.append({"op": op, "index": index, "arrived_ns": at})
        self.truth.effects[op & 0xFFFF_FFFF, index] += 1

    def _live_and_die(
        self, server: _Server, fault: tuple[str, float] | None, signalled: int, left_over: list[list[dict[str, Any]]]
    ) -> list[list[dict[str, Any]]]:
        plan = self.plan
        self._foreign(server)
        if plan.requeue:
            for rows in left_over:
                again = [
                    {
                        "op": row["op"],
                        "index": row["index"],
                        "kind": TaskKind.DEF,
                        "attempt": row["attempt"] + 1,
                        "accepted_ns": server.ready_ns,
                        "flushed_ns": server.ready_ns,
                    }
                    for row in rows
                ]
                server.rows += again
                server.jobs.append((server.ready_ns, again))
        signal = fault[0] if fault is not None else "SIGTERM"
        alive = fault is None and plan.ends_alive
        deadline = signalled
        if signal == "SIGTERM" and not alive:
            deadline = signalled + int(plan.drain_ms * MS) if fault is not None else signalled + 10**13
        self._work(server, deadline)
        instants = ("flushed_ns", "finished_ns", "failed_ns", "dropped_ns")
        ended = max((row.get(name, 0) for row in server.rows for name in instants), default=0)
        in_order = signal == "SIGTERM" and not alive
        dead = max(signalled, ended) + 2 * MS if in_order else signalled + MS
        undone = [row for row in server.rows if not any(row.get(name) for name in ("finished_ns", "failed_ns", "dropped_ns"))]
        queued = sum(not row.get("started_ns") for row in undone)
        if in_order and undone:
            for row in undone:
                row |= {"dropped_ns": max(deadline, row["flushed_ns"]), "reason": DropReason.ABANDONED}
            dead = max(dead, deadline + 2 * MS)
        self._remember(server, undone, alive=alive)
        self._boot(server, fault, signal, signalled, dead, queued, len(undone) - queued, alive=alive, in_order=in_order)
        by_op: dict[int, list[dict[str, Any]]] = {}
        for row in undone:
            if row["op"] >> 32 == RUN_TAG:
                by_op.setdefault(row["op"], []).append(row)
        return list(by_op.values())

    def _work(self, server: _Server, until: int) -> None:
        """Runs the jobs in the order in which they became ready, each on the first free thread; nothing happens after `until`."""
        plan = self.plan
        threads = [server.ready_ns] * plan.pool
        for ready, rows in sorted(server.jobs, key=lambda job: job[0]):
            now = max(ready + 10_000, heapq.heappop(threads))
            stopped = False
            for row in rows:
                if stopped:
                    if now <= until:
                        row |= {"dropped_ns": now, "reason": DropReason.SKIPPED}
                    continue
                is_cancelled = bool(plan.cancel) and self.random.random() < plan.cancel
                if is_cancelled and self.random.random() < 0.5:
                    if now <= until:
                        row |= {"dropped_ns": now, "reason": DropReason.CANCELLED}
                    continue
                duration = int(self.random.expovariate(1 / plan.run_ms) * MS) + 1000
                fails = is_cancelled or self.random.random() < plan.fail
                has_effect = plan.n_effects and (not fails or self.random.random() < 0.5)
                if now <= until:
                    row["started_ns"] = now
                effect_at = now + int(duration * self.random.random())
                if has_effect and effect_at <= until and row.get("started_ns"):
                    self._effect(row["op"], row["index"], effect_at, server.number)
                now += duration
                if now <= until:
                    row["failed_ns" if fails else "finished_ns"] = now
                    row["reason"] = DropReason.CANCELLED if is_cancelled else DropReason.NONE
                stopped = fails and plan.stop_on_error
                now += 1000
            heapq.heappush(threads, now)

    def _foreign(self, server: _Server) -> None:
        for number in range(self.plan.foreign):
            at = server.ready_ns + (number + 1) * 1000
            op = UNTAGGED | (server.number << 8) | number if number % 2 else (RUN_TAG + 1) << 32 | number
            server.rows.append(
                {
                    "op": op,
                    "kind": TaskKind.ASYNC,
                    "attempt": 1,
                    "accepted_ns": at,
                    "flushed_ns": at,
                    "started_ns": at,
                    "finished_ns": at + 1,
                }
            )
            if number % 2:
                self.effects.append({"op": op, "index": 0, "arrived_ns": at})

    def _remember(self, server: _Server, undone: list[dict[str, Any]], *, alive: bool) -> None:
        open_rows = {id(row) for row in undone}
        for row in server.rows:
            if row["op"] >> 32 != RUN_TAG:
                continue
            if id(row) in open_rows:
                state = "awaiting" if alive else "interrupted" if row.get("started_ns") else "never_started"
            elif row.get("finished_ns"):
                state = "finished"
            elif row.get("failed_ns"):
                state = "failed"
            else:
                state = "skipped" if row["reason"] == DropReason.CANCELLED else DropReason(row["reason"]).name.lower()
            key = (row["op"] & 0xFFFF_FFFF, row["index"])
            (self.truth.cancelled.add if row.get("reason") == DropReason.CANCELLED else self.truth.cancelled.discard)(key)
            self.truth.n_rows += 1
            self.truth.by_boot[server.number][state] += 1
            if self.truth.state.get(key) != "finished":
                self.truth.state[key] = state

    def _boot(
        self,
        server: _Server,
        fault: tuple[str, float] | None,
        signal: str,
        signalled: int,
        dead: int,
        queued: int,
        running: int,
        *,
        alive: bool,
        in_order: bool,
    ) -> None:
        frozen = signal == "SIGSTOP"
        self.random.shuffle(server.rows)  # rows are claimed by many threads
        rows = row_file(Kind.TASKS, server.rows).rows
        gauges = list(gauges_of(rows, self.plan.pool))
        if not in_order and not alive:
            gauges[Gauge.STARTED] = max(gauges[Gauge.STARTED] - self.random.randrange(3), 0)
        holes = 0 if in_order or alive else self.random.randrange(3)
        file = RowFile(
            path=Path(f"tasks-{server.number}.rows"),
            kind=Kind.TASKS,
            pid=4000 + server.number,
            boot=server.number,
            created_ns=server.ready_ns,
            closed_ns=dead if in_order else 0,
            unwritten=0,
            claimed=len(rows) + holes,
            missing=0,
            holes=holes,
            names=("", "work"),
            gauges=tuple(gauges),
            rows=rows,
        )
        self.files[server.number] = [file]
        self.boots.append(
            Boot(
                boot=server.number,
                pid=4000 + server.number,
                spawned_ns=server.ready_ns - 10 * MS,
                ready_ns=server.ready_ns,
                signal=None if alive else "SIGKILL" if frozen else signal,
                fault=fault is not None,
                frozen_ns=signalled if frozen else None,
                signalled_ns=None if alive else signalled,
                reaped_ns=None if alive else dead,
                exit_status=None if alive else 0 if in_order else -9,
                predicted_queued=queued if frozen else None,
                predicted_running=running if frozen else None,
                port_free=None if alive else True,
                said_abandoned_queued=queued if in_order else None,
                said_abandoned_running=running if in_order else None,
            )
        )
        if fault is not None:
            name = {"SIGTERM": "term"}.get(signal, "kill")
            self.faults.append(Fault(name=name, planned_s=fault[1] / 1e3, landed_ns=signalled, boot=server.number))

    def _evidence(self, load_end: int) -> Evidence:
        plan = self.plan
        parts = [self.requests[number :: plan.processes] for number in range(plan.processes)]
        return Evidence(
            run_tag=RUN_TAG,
            load_start_ns=START_NS,
            load_end_ns=load_end,
            planned_requests=plan.n_requests,
            expectation=Expectation(tasks_per_request=plan.n_tasks, effects_per_request=plan.n_effects),
            requests=[row_file(Kind.REQUESTS, part) for part in parts],
            tasks=self.files,
            effects=[row_file(Kind.EFFECTS, self.effects)] if plan.n_effects else [],
            boots=self.boots,
            faults=self.faults,
            generators=[
                GeneratorReport(process=number, planned=len(part), sent=len(part), shed=0, cpu_share=0.2, exit_status=0)
                for number, part in enumerate(parts)
            ],
            warm_up_s=plan.warm_up_ms / 1e3,
        )
