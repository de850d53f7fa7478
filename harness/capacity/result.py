"""What a search came to, put together: the answer, the curve over all rates, the prediction beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.capacity.design import Asking, Design
from harness.capacity.predict import Demand, demand_of, pool_for, predict
from harness.capacity.schema import Configuration, Measured, Point, PointStanding
from harness.capacity.search import Search
from harness.capacity.standing import Standing, growth_at, standing
from harness.capacity.words import in_words, noise_in_words
from harness.errors import RunError
from harness.evidence import read_evidence
from harness.figures import check_slo, figure_of, limit_of
from harness.plan import Plan
from harness.rundir import RunDir

__all__ = ["configuration", "points"]

_WORDS: Final[dict[Standing, PointStanding]] = {
    Standing.HOLDS: "holds",
    Standing.SEEMS_TO_HOLD: "seems to hold",
    Standing.SEEMS_BROKEN: "seems not to",
    Standing.BROKEN: "does not hold",
}


def configuration(asking: Asking, design: Design, told: Sequence[Measured], folder: Path) -> Configuration:
    """`folder`: that of the configuration, below which its runs are."""
    search = Search(asking.options, [each for each in told if each.purpose != "fault"])
    answer = search.answer()
    plan = Plan.of(asking.plan, "the plan of the search")
    demand = _demand(search, answer.found, folder)
    target = design.target_rate
    return Configuration(
        label=asking.label,
        plan=asking.plan,
        answer=answer.model_copy(update={"text": in_words(answer) + noise_in_words(told)}),
        curve=points(told, asking.options.within),
        stages=tuple(told),
        prediction=None if demand is None else predict(demand, plan.arrivals),
        pool=None if demand is None or target is None else pool_for(demand, target, _done_limit_s(plan), plan.arrivals),
    )


def points(told: Sequence[Measured], within: float) -> tuple[Point, ...]:
    """One for each rate, in order."""
    found = []
    for rate in sorted({each.rate for each in told}):
        results = [each for each in told if each.rate == rate and each.purpose != "fault"]
        faults = [each for each in told if each.rate == rate and each.lost is not None]
        growth = growth_at(results)
        found.append(
            Point(
                rate=rate,
                standing=_standing(results, within) if results else "not tried",
                stages=len(results),
                response_p99_ms=_median([each.response_p99_ms for each in results]),
                done_p95_ms=_median([each.done_p95_ms for each in results]),
                growth_per_s=None if growth is None else growth.per_s,
                growth_low=None if growth is None else growth.low,
                growth_high=None if growth is None else growth.high,
                at_kill=_median([each.pending_mean for each in results]),
                lost=max((each.lost for each in faults if each.lost is not None), default=None),
            )
        )
    return tuple(found)


def _standing(results: Sequence[Measured], within: float) -> PointStanding:
    found = standing(results, within)
    if found is None:
        return "not sent" if all(each.generator for each in results) else "not settled"
    return _WORDS[found]


def _median(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return statistics.median(known) if known else None


def _demand(search: Search, found: float | None, folder: Path) -> Demand | None:
    """From the stage at the highest rate that holds, the longest of them."""
    held = [each for each in search.told if found is not None and each.rate <= found and not each.generator]
    best = max(held, key=lambda each: (each.rate, each.seconds), default=None)
    if best is None or not best.pool_size:
        return None
    try:
        evidence = read_evidence(RunDir(folder / best.run))
    except (OSError, RunError):
        # Somebody has removed the runs: the answer is there without them.
        return None
    return demand_of(evidence, best.rate, best.pool_size, best.processes, best.cpu_share)


def _done_limit_s(plan: Plan) -> float | None:
    """The limit on p95 of the time until done, if one was given."""
    for slo in map(check_slo, plan.slos):
        figure = figure_of(slo, slo.figure)
        if figure.series == "done" and figure.share == 0.95 and slo.window_s is None and slo.operator in {"<", "<="}:
            return limit_of(slo, figure)[0] / 1e3
    return None
