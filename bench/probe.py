"""probe: what the probe costs FastAPI on uvicorn that runs one no-op `async def` task a request, and one that runs none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.duel import Settings, median_within, run_duel
from bench.instrument import Contender, Workshop
from bench.table import Finding, duel_lines, figure, head, title

NAME = "probe"
LEAST = 0.95
_ROUNDS, _CONTROL_ROUNDS = 12, 3
"""Times as many rounds as elsewhere. Where a process happens to have its code and its names in memory moves its rate by some per
cent for as long as it lives, which is as much as what is to be seen: only the median of many processes is steady."""

_PATHS = (("async endpoint, async task", "/str/async/async", True), ("async endpoint, no task", "/str/async/none", False))


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    n_rounds = settings.rounds
    settings = replace(settings, rounds=_ROUNDS * n_rounds)
    yield title("probe: FastAPI on uvicorn with the probe in it : without")
    for name, path, has_task in _PATHS:
        probed = Contender("with the probe", "uvicorn", path, has_task=has_task, probed=True)
        plain = Contender("without", "uvicorn", path, has_task=has_task)
        yield ""
        yield head(f"{name}, str")
        duel = run_duel(workshop, settings, probed, plain)
        results[path] = duel.as_json()
        yield from duel_lines(duel, f"target >= {LEAST:g}")
        rate_within, cpu_within = _within(duel.ratios()), _within(duel.cpu_ratios())
        yield f"  their medians, 95 %: {rate_within}; CPU {cpu_within}"
        if duel.valid:
            ratio, cpu = duel.ratio(), duel.cpu_ratio()
            results["findings"].append(
                Finding(
                    f"the probe in FastAPI on uvicorn, {name}, `str`",
                    f"without: {figure(duel.rates(1).median)} requests/s",
                    f"{figure(ratio.median)} of it ({rate_within})",
                    f"CPU a request: {figure(cpu.median)} times ({cpu_within})",
                    f">= {LEAST:g}",
                    ratio.median >= LEAST,
                )
            )
    yield head("noise: twice the same")
    control = run_duel(workshop, replace(settings, rounds=_CONTROL_ROUNDS * n_rounds), plain, plain)
    results["control"] = control.as_json()
    yield from duel_lines(control, "1 but for noise")


def _within(ratios: Sequence[float]) -> str:
    found = median_within(ratios)
    return "too few rounds" if found is None else f"{found[0]:.3f}..{found[1]:.3f}"
