"""executor: the cost of one no-op task from `add_task` to finished, against the executors that Python programs use.

A list of tasks belongs to a request, so the bundled server cannot be asked without HTTP. One request adds N tasks instead, and
the app reads the clock just before the first `add_task` and inside the last task: HTTP is paid once and does not show.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.duel import Settings, Spread
from bench.executor_peers import BURSTS, THREADS
from bench.instrument import Contender, Server, Workshop
from bench.table import Finding, figure, range_of, title
from harness.errors import RunError

NAME = "executor"

_LIMIT_S = 60.0
_BUNDLED = {
    # key: label, options, async def
    "list": ("bundled, one request's list in turn", (), False),
    "parallel": ("bundled, --order parallel", ("--order", "parallel"), False),
    "async": ("bundled, async def, in turn", (), True),
}
_PEERS = {
    f"thread_pool_{THREADS}": f"ThreadPoolExecutor({THREADS}).submit",
    "thread_pool_1": "ThreadPoolExecutor(1).submit",
    "create_task": "asyncio.create_task (async def)",
    "run_in_executor": "loop.run_in_executor",
    "anyio_together": "anyio.to_thread, concurrent",
    "anyio_in_turn": "anyio.to_thread, in turn",
}


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    n = settings.n_burst
    yield title("executor: one no-op task, from add_task to finished, in microseconds")
    yield f"  Bundled: one request adds N = {n:,} tasks (a list needs one), timed inside"
    yield f"  the app: HTTP is paid once for all. {THREADS} threads everywhere; asyncio on uvloop;"
    yield "  run_in_executor and anyio with N/10. In turn: one thread runs the whole list."
    rounds: list[dict[str, float]] = []
    for number in range(settings.rounds):
        settings.log(f"executors, round {number + 1} of {settings.rounds}")
        found: dict[str, float] = {}
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            found |= _bundled(workshop, n) if side == 0 else _peers(workshop, n)
        rounds.append(found)
    results["rounds"] = rounds
    yield ""
    yield f"  {'':<38}{'us':>8}  {'min..max':<16}{'x bundled':>9}"
    for key, label in {**{key: label for key, (label, _, _) in _BUNDLED.items()}, **_PEERS}.items():
        spread = Spread.of([found[key] for found in rounds])
        # An `async def` task is held against the bundled server's own such tasks.
        base = "async" if key in ("create_task", "async") else "list"
        ratio = Spread.of([found[key] / found[base] for found in rounds])
        shown = "" if key == base else figure(ratio.median)
        yield f"  {label:<38}{figure(spread.median):>8}  {range_of(spread):<16}{shown:>9}".rstrip()
        results[key] = {"us": asdict(spread), "ratio": asdict(ratio)}
    adding = Spread.of([found["adding"] for found in rounds])
    yield f"  first line: target <= 3 us; {figure(adding.median)} us of it inside add_task"
    # In turn is the default; side by side each task is queued and taken by itself, which is what the pool does.
    for key, label in (("list", "in turn"), ("parallel", "parallel")):
        ratio = Spread.of([found[f"thread_pool_{THREADS}"] / found[key] for found in rounds])
        results[f"thread_pool_to_{key}"] = asdict(ratio)
        yield f"  ThreadPoolExecutor({THREADS}) : bundled {label:<10}{figure(ratio.median):>6} ({range_of(ratio)}), target >= 5"
    _findings(results, "list", "cost of one no-op task, `add_task` to finished, in turn")
    _findings(results, "parallel", 'the same, `order="parallel"`')


def _findings(results: dict[str, Any], key: str, what: str) -> None:
    own, pool, ratio = results[key]["us"], results[f"thread_pool_{THREADS}"]["us"], results[f"thread_pool_to_{key}"]
    against = f"ThreadPoolExecutor({THREADS}): {figure(pool['median'])} us"
    # The other way round than elsewhere: how often its cost fits into that of the thread pool.
    shown = f"{figure(ratio['median'])} ({range_of(Spread(**ratio))})"
    target = "<= 3 us, >= 5" if key == "list" else ""
    met = own["median"] <= 3 and ratio["median"] >= 5 if key == "list" else None
    results["findings"].append(Finding(what, against, f"{figure(own['median'])} us", shown, target, met))


def _bundled(workshop: Workshop, n: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, (label, options, is_async) in _BUNDLED.items():
        with workshop.server(Contender(label, "bundled", "/burst"), *options) as server:
            burst(server, n // 4, is_async=is_async)
            bursts = [burst(server, n, is_async=is_async) for _ in range(BURSTS)]
        found[key] = statistics.median(total for total, _ in bursts)
        if key == "list":
            found["adding"] = statistics.median(adding for _, adding in bursts)
    return found


def burst(server: Server, n: int, *, is_async: bool) -> tuple[float, float]:
    """Microseconds per task from the first `add_task` to the last task's end, and inside `add_task`."""
    status, body = server.ask("POST", f"/burst?n={n}&is_async={str(is_async).lower()}")
    if status != 200:
        raise RunError(f"POST /burst was answered {status}: {body[:200]!r}{server.child.last_lines()}")
    end = time.monotonic() + _LIMIT_S
    while not (result := server.ask_json("GET", "/burst"))["ended_ns"]:
        if time.monotonic() > end:
            raise RunError(f"{n} tasks had not finished after {_LIMIT_S:g} s{server.child.last_lines()}")
        time.sleep(0.02)
    return (result["ended_ns"] - result["begun_ns"]) / n / 1e3, (result["added_ns"] - result["begun_ns"]) / n / 1e3


def _peers(workshop: Workshop, n: int) -> dict[str, float]:
    child = workshop.start("peers", [sys.executable, "-m", "bench.executor_peers", str(n)])
    exited = child.wait(_LIMIT_S)
    if exited is None:
        child.kill()
        raise RunError(f"the other executors were not done after {_LIMIT_S:g} s{child.last_lines()}")
    if exited.status != 0:
        raise child.died("while it measured the other executors")
    bursts: dict[str, list[float]] = json.loads(child.log.read_text().splitlines()[-1])
    return {key: statistics.median(values) for key, values in bursts.items()}
