"""The other executors, in a process of their own: `python -m bench.executor_peers N` prints {name: [us per task, by burst]}."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor, wait

import anyio
import anyio.to_thread
import uvloop

from bench import noop

THREADS = 40  # also anyio's own limit, which Starlette takes
BURSTS = 3
SLOW = 10  # these get a tenth of the tasks


def us_per_task(n: int, begun_ns: int) -> float:
    ended_ns = noop.ended_ns()
    assert ended_ns, "not every task has run"
    return (ended_ns - begun_ns) / n / 1e3


def thread_pool(n: int, threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(threads):
            pool.submit(time.sleep, 0.0005)
        wait([pool.submit(time.sleep, 0)])
        noop.arm(n)
        begun_ns = time.monotonic_ns()
        futures = [pool.submit(noop.task) for _ in range(n)]
        wait(futures)
    return us_per_task(n, begun_ns)


async def create_task(n: int) -> float:
    noop.arm(n)
    begun_ns = time.monotonic_ns()
    await asyncio.gather(*[asyncio.create_task(noop.async_task()) for _ in range(n)])
    return us_per_task(n, begun_ns)


async def run_in_executor(n: int) -> float:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as pool:
        noop.arm(n)
        begun_ns = time.monotonic_ns()
        await asyncio.gather(*[loop.run_in_executor(pool, noop.task) for _ in range(n)])
    return us_per_task(n, begun_ns)


async def anyio_together(n: int) -> float:
    noop.arm(n)
    begun_ns = time.monotonic_ns()
    async with anyio.create_task_group() as group:
        for _ in range(n):
            group.start_soon(anyio.to_thread.run_sync, noop.task)
    return us_per_task(n, begun_ns)


async def anyio_in_turn(n: int) -> float:
    noop.arm(n)
    begun_ns = time.monotonic_ns()
    for _ in range(n):
        await anyio.to_thread.run_sync(noop.task)
    return us_per_task(n, begun_ns)


async def on_loop(measure: Callable[[int], Awaitable[float]], n: int) -> list[float]:
    await measure(max(1, n // 4))
    return [await measure(n) for _ in range(BURSTS)]


def main() -> None:
    n = int(sys.argv[1])
    found: dict[str, list[float]] = {}
    for threads in (THREADS, 1):
        thread_pool(n // 4, threads)
        found[f"thread_pool_{threads}"] = [thread_pool(n, threads) for _ in range(BURSTS)]
    found["create_task"] = uvloop.run(on_loop(create_task, n))
    for name, measure in (
        ("run_in_executor", run_in_executor),
        ("anyio_together", anyio_together),
        ("anyio_in_turn", anyio_in_turn),
    ):
        found[name] = uvloop.run(on_loop(measure, max(1, n // SLOW)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
