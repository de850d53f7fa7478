"""limit: the scheduling POST against a route of the same server that never enters Python, which is as fast as the server gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.instrument import Contender, Settings, Workshop, run_duel
from bench.table import duel_lines, head, title

NAME = "limit"


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    yield title("limit: the same server, with Python : without Python (GET /docs, a constant)")
    constant = Contender("GET /docs", "bundled", "/docs", has_task=False)
    yield head()
    for label, path in (("def endpoint, def task", "/def/def"), ("the same, str for EmailStr", "/plain/def")):
        duel = run_duel(workshop, settings, Contender(label, "bundled", path, email=not path.startswith("/plain")), constant)
        results[path] = duel.as_json()
        yield from duel_lines(duel, "target >= 0.5")
        yield from (f"  invalid: {problem}" for problem in duel.problems)
