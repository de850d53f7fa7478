"""fastrapi: the bundled server with a task against the published fastrapi without one, which cannot schedule any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.duel import Settings, run_duel
from bench.instrument import Contender, Workshop
from bench.table import duel_lines, finding, head, title

NAME = "fastrapi"
TARGET = 2.5


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    yield title("fastrapi: bundled, with a task : the published fastrapi, without any")
    yield "  Its own example of background tasks is answered with 422, and its async def"
    yield "  endpoints fail under load: a def endpoint that validates and answers."
    peer = Contender("fastrapi, no task", "fastrapi", "/str/def/none", has_task=False)
    for name, path in (("async endpoint, def task", "/str/async/def"), ("def endpoint, def task", "/str/def/def")):
        duel = run_duel(workshop, settings, Contender(name, "bundled", path), peer)
        results[path] = duel.as_json()
        results["findings"].append(finding(f"{name}, `str`", duel, at_least=TARGET))
        yield ""
        yield head()
        yield from duel_lines(duel, f"target >= {TARGET:g}")
