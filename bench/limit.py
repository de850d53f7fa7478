"""limit: the scheduling POST against a route of the same server that never enters Python, which is as fast as the server gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.duel import Settings, run_duel
from bench.instrument import Contender, Workshop
from bench.table import duel_lines, finding, head, title

NAME = "limit"
TARGET = 0.5


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    yield title("limit: the same server, with Python : without Python (GET /docs, a constant)")
    constant = Contender("GET /docs", "bundled", "/docs", method="GET", has_task=False)
    for name, path in (("async endpoint, def task", "/str/async/def"), ("def endpoint, def task", "/str/def/def")):
        duel = run_duel(workshop, settings, Contender(name, "bundled", path), constant)
        results[path] = duel.as_json()
        results["findings"].append(finding(f"{name}, `str`", duel, at_least=TARGET, against="the limit, GET /docs"))
        yield ""
        yield head()
        yield from duel_lines(duel, f"target >= {TARGET:g}")
