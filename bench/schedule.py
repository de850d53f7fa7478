"""schedule: accept, validate, schedule one no-op task, respond, run it; the bundled server against FastAPI on uvicorn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.instrument import CONNECTIONS, Contender, Settings, Workshop, run_duel
from bench.table import duel_lines, head, title

NAME = "schedule"

_VARIANTS = (
    ("async endpoint, def task", "/async/def", "target >= 15"),
    ("async endpoint, async task", "/async/async", "target >= 5"),
    ("def endpoint, def task", "/def/def", ""),
    ("def endpoint, async task", "/def/async", ""),
    ("def, def, str for EmailStr", "/plain/def", ""),
)


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    yield title("schedule: POST into a model, one no-op task, JSON; bundled : FastAPI on uvicorn")
    yield f"  wrk -t1 -c{CONNECTIONS}, both servers with 40 task threads; FastAPI's usual best is the"
    yield "  async def endpoint with a def task. done/s counts finished tasks, not answers."
    for heading, path, target in _VARIANTS:
        email = not path.startswith("/plain")
        bundled = Contender("bundled", "bundled", path, email=email)
        duel = run_duel(workshop, settings, bundled, Contender("FastAPI on uvicorn", "fastapi", path, email=email))
        results[path] = duel.as_json()
        yield ""
        yield head(heading)
        yield from duel_lines(duel, target)
        yield from (f"  invalid: {problem}" for problem in duel.problems)
