"""Made runs of any size: a run directory as a real run leaves it, whose rows were worked out instead of measured.

A load at a constant rate, one task and one effect a request, a pool that is a little too small, and a SIGKILL after three
fifths of the time. Columns are numpy arrays, so ten million rows take a few seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from harness.rows import Gauge, Kind, Outcome, RequestError, TaskKind
from harness.rows.layout import GAUGES_OFFSET, HEADER_BYTES, MAGIC, NAME_BYTES, NAMES_OFFSET, ROW_TYPES, VERSION, HeaderField
from harness.rundir import RunDir

__all__ = ["make_run"]

RUN_TAG = 0x1234567
START_NS = 5_000_000_000_000
MS = 1_000_000
POOL = 8
RESTART_NS = 900 * MS
ROUTES = tuple(f"POST /orders/{number}" for number in range(12))
FUNCTIONS = tuple(f"task_{number}" for number in range(5))
OVERLOAD = 1.05
"""Arrivals per second over what the pool can do."""

Instants = NDArray[np.int64]


def make_run(
    path: Path,
    n_rows: int,
    *,
    for_s: float = 600.0,
    routes: Sequence[str] = ROUTES,
    functions: Sequence[str] = FUNCTIONS,
    seed: int = 1,
) -> RunDir:
    """Writes a run of about `n_rows` rows, a third of each witness, into the new directory `path`."""
    path.mkdir(parents=True)
    rundir = RunDir(path)
    random = np.random.default_rng(seed)
    n = max(n_rows // 3, 10)
    end = START_NS + int(for_s * 1e9)
    due = START_NS + (np.arange(n) * (for_s * 1e9 / n)).astype(np.int64)
    sent = due + random.integers(5_000, 60_000, n)
    accepted = sent + random.integers(100_000, 400_000, n)
    flushed = accepted + random.integers(20_000, 80_000, n)
    done = flushed + (random.lognormal(0.0, 0.8, n) * 200_000).astype(np.int64)
    run = (random.lognormal(0.0, 0.5, n) / math.exp(0.125) * OVERLOAD * POOL * for_s * 1e9 / n).astype(np.int64)
    kill = START_NS + int(for_s * 0.6e9)
    reaped, ready = kill + 8 * MS, kill + RESTART_NS
    of_boot = [accepted <= kill, sent >= ready]
    op = (np.uint64(RUN_TAG) << np.uint64(32)) | np.arange(1, n + 1, dtype=np.uint64)
    function = random.integers(0, len(functions), n)
    effects: list[tuple[NDArray[np.uint64], Instants]] = []
    last = end
    for boot, chosen in enumerate(of_boot, start=1):
        lanes = _through_the_pool(flushed[chosen], run[chosen])
        started, finished = lanes
        if boot == 1:
            started = np.where(started > kill, 0, started)
            finished = np.where((started == 0) | (finished > kill), 0, finished)
        rows = np.zeros(int(chosen.sum()), ROW_TYPES[Kind.TASKS])
        rows["op"], rows["func"], rows["kind"], rows["attempt"] = op[chosen], 1 + function[chosen], TaskKind.DEF, 1
        for name, values in (
            ("accepted_ns", accepted[chosen]),
            ("flushed_ns", flushed[chosen]),
            ("started_ns", started),
            ("finished_ns", finished),
        ):
            rows[name] = values
        gauges = {
            Gauge.POOL_SIZE: POOL,
            Gauge.LANES: 1,
            Gauge.ACCEPTED: len(rows),
            Gauge.STARTED: int(np.count_nonzero(started)),
            Gauge.FINISHED: int(np.count_nonzero(finished)),
        }
        names = ("", *functions)
        _write(rundir.tasks(boot), Kind.TASKS, rows, boot=boot, names=names, gauges=gauges)
        is_done = finished != 0
        effects.append((op[chosen][is_done], finished[is_done] - 1000))
        last = max(last, int(finished.max(initial=0)))
    requests = np.zeros(n, ROW_TYPES[Kind.REQUESTS])
    acked = (of_boot[0] & (done <= kill)) | of_boot[1]
    cut = of_boot[0] & ~acked | ((sent < kill) & ~of_boot[0])
    requests["op"], requests["attempt"], requests["due_ns"], requests["sent_ns"] = op, 1, due, sent
    requests["route"] = 1 + random.integers(0, len(routes), n)
    requests["done_ns"] = np.where(acked, done, np.where(cut, kill + 50_000, sent + 100_000))
    requests["outcome"] = np.where(acked, Outcome.ACK, np.where(cut, Outcome.IND, Outcome.REJ))
    requests["error"] = np.where(acked, RequestError.NONE, np.where(cut, RequestError.RESET, RequestError.REFUSED))
    requests["status"] = np.where(acked, 202, 0)
    _write(rundir.requests(0), Kind.REQUESTS, requests, names=("", *routes))
    arrived = np.zeros(sum(len(ops) for ops, _ in effects), ROW_TYPES[Kind.EFFECTS])
    arrived["op"] = np.concatenate([ops for ops, _ in effects])
    arrived["arrived_ns"] = np.concatenate([instants for _, instants in effects])
    _write(rundir.effects(), Kind.EFFECTS, arrived[np.argsort(arrived["arrived_ns"])])
    _write(rundir.gauges(), Kind.GAUGES, _gauges(kill, ready, last))
    _describe(rundir, n=n, for_s=for_s, instants=(end, kill, reaped, ready, last + 100 * MS))
    return rundir


def _through_the_pool(ready: Instants, run: Instants) -> tuple[Instants, Instants]:
    """Start and end of each task, dealt out to the threads in turn."""
    started, finished = np.zeros_like(ready), np.zeros_like(ready)
    for thread in range(POOL):
        arrival, length = ready[thread::POOL], run[thread::POOL]
        worked = np.concatenate(([0], np.cumsum(length)[:-1]))
        begin = np.maximum.accumulate(arrival - worked) + worked
        started[thread::POOL], finished[thread::POOL] = begin, begin + length
    return started, finished


def _gauges(kill: int, ready: int, last: int) -> NDArray[np.void]:
    instants = np.arange(START_NS, last, 50 * MS)
    instants = instants[(instants <= kill) | (instants >= ready)]
    rows = np.zeros(len(instants), ROW_TYPES[Kind.GAUGES])
    rows["t_ns"], rows["boot"], rows["pool_size"], rows["pool_busy"] = instants, np.where(instants <= kill, 1, 2), POOL, POOL
    rows["server_rss_bytes"], rows["server_cpu_ns"] = 100 << 20, (instants - START_NS) // 2
    return rows


def _describe(rundir: RunDir, *, n: int, for_s: float, instants: tuple[int, int, int, int, int]) -> None:
    end, kill, reaped, ready, over = instants
    plan = {
        "scenario": "email", "engine": "rust", "tasks": "sync", "pool": POOL, "rate": n / for_s, "for_s": for_s,
        "warm_up_s": 1.0, "faults": [f"kill@{for_s * 0.6:g}s"], "load_processes": 1, "seed": 1, "arrivals": "constant",
        "drain_s": 30.0, "horizon_s": 120.0, "request_timeout_s": 10.0,
    }  # fmt: skip
    rundir.plan.write_text(tomli_w.dumps(plan), encoding="utf-8")
    rundir.environment.write_text(json.dumps({"cpu": "made", "cpus": 2, "packages": {}}), encoding="utf-8")
    expects = {"tasks_per_request": 1, "effects_per_request": 1}
    scenario = {"name": "email", "expects": expects, "traffic": [], "effects": ["mails"], "has_check": False}
    rundir.scenario.write_text(json.dumps(scenario), encoding="utf-8")
    events: list[dict[str, Any]] = [
        {"event": "run", "run_tag": RUN_TAG, "plan": plan},
        *_boot(1, START_NS - 500 * MS, START_NS - 100 * MS),
        {"event": "load_started", "load_start_ns": START_NS, "load_end_ns": end, "planned": n},
        {"event": "boot_signalled", "boot": 1, "signal": "SIGKILL", "fault": True, "signalled_ns": kill},
        _reaped(1, reaped, -9),
        {"event": "fault", "name": "kill", "planned_s": for_s * 0.6, "landed_ns": kill, "boot": 1, "detail": ""},
        *_boot(2, reaped, ready),
        {"event": "load_done", "process": 0, "planned": n, "sent": n, "shed": 0, "cpu_share": 0.2, "exit_status": 0},
        {"event": "boot_signalled", "boot": 2, "signal": "SIGTERM", "fault": False, "signalled_ns": over},
        _reaped(2, over + 50 * MS, 0),
        {"event": "end"},
    ]
    with rundir.events.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"t_ns": START_NS, **event}) + "\n" for event in events)


def _boot(number: int, spawned: int, ready: int) -> list[dict[str, Any]]:
    return [
        {"event": "boot_spawned", "boot": number, "pid": 1000 + number, "spawned_ns": spawned},
        {"event": "boot_ready", "boot": number, "ready_ns": ready},
    ]


def _reaped(number: int, at: int, status: int) -> dict[str, Any]:
    ended = {"exit_status": status, "forced": False, "served_to_the_end": False}
    return {"event": "boot_reaped", "boot": number, "reaped_ns": at, **ended}


def _write(
    path: Path,
    kind: Kind,
    rows: NDArray[np.void],
    *,
    boot: int = 0,
    names: tuple[str, ...] = ("",),
    gauges: dict[Gauge, int] | None = None,
) -> None:
    header = bytearray(HEADER_BYTES)
    for offset, value in ((8, VERSION), (12, int(kind)), (16, ROW_TYPES[kind].itemsize), (20, HEADER_BYTES)):
        header[offset : offset + 4] = value.to_bytes(4, "little")
    fields = {
        HeaderField.PID: 1,
        HeaderField.BOOT: boot,
        HeaderField.CREATED: 1,
        HeaderField.CLAIMED: len(rows),
        HeaderField.CLOSED: 2,
        HeaderField.NAMES_USED: len(names),
        **{GAUGES_OFFSET + 8 * gauge: value for gauge, value in (gauges or {}).items()},
    }
    for offset, value in fields.items():
        header[offset : offset + 8] = value.to_bytes(8, "little")
    for number, name in enumerate(names):
        offset = NAMES_OFFSET + number * NAME_BYTES
        header[offset : offset + len(name.encode())] = name.encode()
    header[:8] = MAGIC
    with path.open("xb") as file:
        file.write(header)
        rows.tofile(file)
