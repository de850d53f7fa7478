"""spin: answers while one task computes in pure Python and never waits, against FastAPI on uvicorn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from bench.duel import Settings, run_duel
from bench.instrument import Contender, Workshop
from bench.table import Finding, duel_lines, figure, finding, head, range_of, title

NAME = "spin"
TARGET = 0.2


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    yield title("spin: the same beside one task that computes and never waits")
    yield "  A task in pure Python gives the interpreter away only when it must, after the"
    yield "  switch interval: 5 ms, unless the server sets another."
    # The slower side answers some hundred requests a second: a p99 needs some.
    longer = dataclasses.replace(settings, slice_s=max(settings.slice_s, 1.0) if settings.rounds > 1 else settings.slice_s)
    for name, path, has_task in (
        ("async endpoint, no task", "/str/async/none", False),
        ("async endpoint, def task", "/str/async/def", True),
    ):
        bundled = Contender("bundled", "bundled", path, has_task=has_task, beside_spinner=True)
        peer = Contender("FastAPI on uvicorn", "uvicorn", path, has_task=has_task, beside_spinner=True)
        duel = run_duel(workshop, longer, bundled, peer)
        results[path] = duel.as_json()
        yield ""
        yield head(name)
        yield from duel_lines(duel, "")
        if duel.valid:
            p99 = duel.p99_ratio()
            yield f"  {'ratio of p99':<25}{figure(p99.median):>9}  {range_of(p99):<16}target <= {TARGET:g}"
            shown: Finding | None = finding(f"p99 beside one computing task: {name}", duel)
            if shown is not None:
                ours, theirs = (duel.over_slices(side, lambda found: found.p99_ms).median for side in (0, 1))
                shown = dataclasses.replace(
                    shown,
                    value=f"{figure(ours)} ms",
                    against=f"{peer.label}: {figure(theirs)} ms",
                    ratio=f"{figure(p99.median)} ({range_of(p99)})",
                    target=f"<= {TARGET:g}",
                    met=p99.median <= TARGET,
                )
            results["findings"].append(shown)
