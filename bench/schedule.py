"""schedule: accept, validate, schedule one no-op task, respond, run it; bundled against FastAPI on uvicorn and on granian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.duel import Settings, run_duel
from bench.instrument import CONNECTIONS, Contender, Workshop
from bench.peers import POOL, Engine
from bench.table import duel_lines, finding, head, title

NAME = "schedule"

_ENDPOINTS: tuple[tuple[str, str, float | None], ...] = (
    ("async endpoint, def task", "async/def", 15),
    ("async endpoint, async task", "async/async", 5),
    ("def endpoint, def task", "def/def", None),
)
_LABELS: dict[Engine, str] = {"uvicorn": "FastAPI on uvicorn", "granian": "FastAPI on granian"}


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    yield title("schedule: POST into a model, one no-op task, JSON; bundled : FastAPI")
    yield f"  wrk -t1 -c{CONNECTIONS}, {POOL} task threads each. done/s counts finished tasks, not answers."
    yield "  The models have two fields: two str, or an EmailStr and a str. EmailStr is"
    yield "  validated in pure Python by email-validator, here as there."
    for name, endpoint, target in _ENDPOINTS:
        for model in ("str", "email"):
            yield from _duel(workshop, settings, results, "uvicorn", name, f"/{model}/{endpoint}", target)
    for name, endpoint, _ in _ENDPOINTS[:2]:
        yield from _duel(workshop, settings, results, "granian", name, f"/str/{endpoint}", None)


def _duel(
    workshop: Workshop, settings: Settings, results: dict[str, Any], peer: Engine, name: str, path: str, target: float | None
) -> Iterator[str]:
    model = "str" if path.startswith("/str/") else "EmailStr"
    # The targets are for what the servers do; a validator that is the same Python on both sides only thins the ratio.
    target = target if model == "str" else None
    duel = run_duel(workshop, settings, Contender("bundled", "bundled", path), Contender(_LABELS[peer], peer, path))
    results[f"{peer}{path}"] = duel.as_json()
    results["findings"].append(finding(f"{name}, `{model}`", duel, at_least=target))
    yield ""
    yield f"  {name}, {model}"
    yield head()
    yield from duel_lines(duel, "" if target is None else f"target >= {target:g}")
