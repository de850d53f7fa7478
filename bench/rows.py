"""rows: what it costs the bundled server to write down every task, in two ways.

Under load, as a ratio of rates, beside the same server against itself: that is the noise, several times the two per cent that are
asked about. Therefore also directly: bursts of no-op tasks with rows and without (bench/executor.py), whose difference per task,
over the time per request under load, is the loss of throughput where nothing else waits.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from bench.duel import Settings, Spread, run_duel
from bench.executor import burst
from bench.instrument import Contender, Workshop
from bench.table import Finding, duel_lines, figure, head, range_of, title

NAME = "rows"
_PATH = "/str/def/def"  # the quickest, where a row would show most
_ON = Contender("with --rows", "bundled", _PATH, rows=True)
_OFF = Contender("without", "bundled", _PATH)


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    yield title("rows: the bundled server writing one row a task : writing none")
    yield head("def, def, str")
    duel = run_duel(workshop, settings, _ON, _OFF)
    results["on_off"] = duel.as_json()
    yield from duel_lines(duel, "target >= 0.98")

    yield head("noise: twice the same")
    control = run_duel(workshop, settings, _OFF, _OFF)
    results["control"] = control.as_json()
    yield from duel_lines(control, "1 but for noise")

    found = [_bursts(workshop, settings) for _ in range(settings.rounds)]
    row_us = Spread.of([on - off for on, off in found])
    results["bursts"] = {"us_on_off": found, "row_us": asdict(row_us)}
    yield f"  by bursts of {settings.n_burst:,} tasks: {figure(row_us.median)} us a row ({range_of(row_us)})"
    if duel.valid:
        # The quickest round, in which a row weighs most; on a busy machine the median would flatter it.
        request_us = 1e6 / duel.rates(1).most
        share = 100 * row_us.median / request_us
        yield f"  of {figure(request_us)} us a request in the quickest round without: {share:.1f} %, target <= 2 %"
        ratio = duel.ratio()
        results["findings"].append(
            Finding(
                "rows on, def endpoint, def task, `str`: share of a request's time",
                f"off: {figure(request_us)} us a request",
                f"{figure(row_us.median)} us a row ({range_of(row_us)})",
                f"{share:.1f} %; rates under load: {figure(ratio.median)} ({range_of(ratio)})",
                "<= 2 %",
                share <= 2,
            )
        )


def _bursts(workshop: Workshop, settings: Settings) -> tuple[float, float]:
    """Microseconds per task with rows and without: medians of eight bursts each, taken in turns."""
    settings.log("bursts with and without rows")
    times: tuple[list[float], list[float]] = ([], [])
    with ExitStack() as stack:
        servers = [stack.enter_context(workshop.server(contender)) for contender in (_ON, _OFF)]
        for server in servers:
            burst(server, settings.n_burst, is_async=False)
        for side in (0, 1, 1, 0) * 4:
            times[side].append(burst(servers[side], settings.n_burst, is_async=False)[0])
    return statistics.median(times[0]), statistics.median(times[1])
