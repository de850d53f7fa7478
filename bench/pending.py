"""pending: a million tasks that wait, each of its own request, while all task threads are held: is the last one as quick?"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.duel import Settings, Slice, measure
from bench.instrument import VALID, Contender, Server, Workshop
from bench.peers import POOL
from bench.table import Finding, figure, title
from harness.errors import RunError

NAME = "pending"
_BYTES = 300
_SLICE_S = 1.5
_GC_HEAD = 16
_LIMIT_S = 120.0


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    wanted = settings.n_pending
    yield title(f"pending: {wanted:,} tasks that wait, one a request, all {POOL} threads held")
    contender = Contender("pending", "bundled", "/str/def/def")
    slices: list[tuple[int, Slice]] = []
    with workshop.server(contender) as server:
        server.check(contender)
        for _ in range(POOL):
            server.ask("POST", "/hold")
        # A request without tasks: nothing is to finish, and nothing is waited for.
        load = dataclasses.replace(contender, has_task=False)
        measure(workshop, server, load, settings.warm_up_s)
        before, rss, pending = server.finished(), server.rss_bytes(), 0
        while pending < wanted:
            settings.log(f"{pending:,} of {wanted:,} tasks are pending")
            found = measure(workshop, server, load, _SLICE_S if wanted >= 1_000_000 else settings.slice_s)
            if found.problem:
                raise RunError(f"with {pending:,} tasks pending: {found.problem}{server.child.last_lines()}")
            slices.append((pending, found))
            pending += found.requests
        grown = server.rss_bytes() - rss
        if server.finished() != before:
            raise RunError("tasks ran though every thread was held")
        settings.log(f"waiting for {pending:,} tasks")
        drain_s = _drain(server, before + pending)
        left = server.rss_bytes() - rss
    args = (VALID["email"],)
    args_bytes = sys.getsizeof(args) + _GC_HEAD + sys.getsizeof(VALID["email"])
    each = grown / pending
    tail = max(1, len(slices) // 3)
    first, last = [found for _, found in slices[:tail]], [found for _, found in slices[-tail:]]
    p50 = [statistics.median(found.p50_ms for found in part) for part in (first, last)]
    p99 = [statistics.median(found.p99_ms for found in part) for part in (first, last)]
    yield f"  {'pending before':<18}{'answers/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU s/100k':>12}"
    for count, found in slices[:: max(1, len(slices) // 8)]:
        cpu = 1e5 * found.server_cpu_s / found.requests
        yield f"  {count:<18,}{figure(found.rate):>10}{figure(found.p50_ms):>9}{figure(found.p99_ms):>9}{figure(cpu):>12}"
    yield f"  last third : first third, p50 {figure(p50[1] / p50[0])}, p99 {figure(p99[1] / p99[0])}; target: flat"
    yield f"  {figure(each)} bytes of memory a pending task, {args_bytes} of them its argument:"
    yield f"  {figure(each - args_bytes)} beside it, target <= {_BYTES}"
    yield f"  All {pending:,} had run {figure(drain_s)} s after the release, {figure(drain_s / pending * 1e6)} us each;"
    yield f"  {figure(left / pending)} bytes a task were then still with the process."
    results["slices"] = [(count, dataclasses.asdict(found)) for count, found in slices]
    results |= {"pending": pending, "grown_bytes": grown, "left_bytes": left, "drain_s": drain_s, "argument_bytes": args_bytes}
    results["findings"] += [
        Finding(
            f"p50 with {pending:,} tasks pending (last third of the way up)",
            f"with few (first third): {figure(p50[0])} ms",
            f"{figure(p50[1])} ms",
            figure(p50[1] / p50[0]),
            "flat",
            p50[1] / p50[0] <= 1.25,
        ),
        Finding(
            "bytes a pending task, beside its argument",
            "",
            figure(each - args_bytes),
            "",
            f"<= {_BYTES}",
            each - args_bytes <= _BYTES,
        ),
    ]


def _drain(server: Server, finished: int) -> float:
    """Releases the threads; seconds until everything has run."""
    begun = time.monotonic()
    server.ask("POST", "/release")
    while time.monotonic() - begun < _LIMIT_S:
        with contextlib.suppress(TimeoutError, http.client.HTTPException):
            if server.finished() >= finished:
                return time.monotonic() - begun
        time.sleep(0.05)
    raise RunError(f"the tasks had not all run {_LIMIT_S:g} s after the release{server.child.last_lines()}")
