"""Runs the stages of a search, one after another: each is a run of its own, with a fresh server, world and load.

So a backlog that one stage leaves behind cannot burden the next one, and a server that does not recover from an overload is
never judged by it at another rate. What was measured is written down after each stage: a search that was interrupted, or killed,
goes on where it was.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from harness.capacity.design import Asking
from harness.capacity.folder import Folder
from harness.capacity.measure import measured
from harness.capacity.schema import Measured
from harness.capacity.search import Asked, Search
from harness.capacity.watch import StageProgress
from harness.capacity.words import rate_of, stage_in_words
from harness.compare.campaign import unmasked
from harness.plan import Plan
from harness.session import describe
from harness.session import run as run_session
from harness.wording import roughly_s

__all__ = ["Driver", "stage_plan"]

_FIRST_OVERHEAD_S: Final = 3.0
_HORIZON_S: Final = 10.0
_DRAIN_S: Final = 1.0
_FAULT_SHARES: Final = (0.5, 1.0)
"""Of the rate that was found: where the faults that were asked for are tried."""

_PURPOSES: Final = {
    "bracket": "trying",
    "bisect": "between:",
    "repeat": "again:",
    "confirm": "confirming",
    "above": "above:",
    "fault": "with the faults:",
}


@dataclass
class Driver:
    """One search that is run for real."""

    asking: Asking
    folder: Folder
    tell: Callable[[str], None]
    secrets: Mapping[str, str] = field(default_factory=dict)  # by the names that the design has in their place
    plan: Plan = field(init=False)
    told: list[Measured] = field(init=False)  # all stages, in order

    def __post_init__(self) -> None:
        self.plan = Plan.of(unmasked(self.asking.plan, self.secrets), "the plan of the search")
        self._described: dict[str, Any] = describe(self.plan)
        self.told = list(self.folder.told(self.asking))
        self.search = Search(self.asking.options, [each for each in self.told if each.purpose != "fault"])

    def run(self) -> int | None:
        """Stages until the search is over. Returns the signal that interrupted it, if one did. Raises RunError."""
        ended_by: int | None = None
        while (asked := self.search.next() or self._with_faults()) is not None:
            if ended_by is not None:
                return ended_by
            self.tell(f"{_PURPOSES[asked.purpose]} {rate_of(asked.rate)} for {asked.seconds:g} s ({self._left(asked)})")
            result, ended_by = self._stage(asked, len(self.told) + 1)
            if result is None:
                return ended_by
            self.told.append(result)
            if asked.purpose != "fault":
                self.search.tell(result)
            self.folder.tell(self.asking, self.told)
            self.tell(f"  {stage_in_words(result, self.asking.options.within)}")
        return None

    def _stage(self, asked: Asked, number: int) -> tuple[Measured | None, int | None]:
        plan = stage_plan(self.plan, asked, number, self.secrets)
        folder = self.folder.of(self.asking)
        path = folder / "stages" / f"{number:02d}-{asked.rate:g}"
        # Left by a search that was killed in the middle of it.
        shutil.rmtree(path, ignore_errors=True)
        progress = StageProgress(
            asked.rate,
            plan.warm_up_s,
            plan.for_s,
            self.tell,
            settling_s=self.search.settling_s(asked.rate),
            may_end=not plan.faults and self.search.knows_settling(asked.rate),
        )
        began = time.monotonic()
        outcome = run_session(plan, self._described, out=path, progress=progress)
        if outcome.interrupted_by is not None:
            return None, outcome.interrupted_by
        boots = outcome.summary.boots
        died = _death(boots[-1].signal, boots[-1].exit_status) if boots else ""
        result = measured(outcome.judged, asked, number, until_ns=progress.ended_ns, died=died)
        run = str(path.relative_to(folder))
        return result.model_copy(update={"run": run, "took_s": time.monotonic() - began}), outcome.asked_to_end

    def _with_faults(self) -> Asked | None:
        """What a fault really loses: at the rate that was found, and at half of it."""
        found = self.search.answer().found
        if not self.plan.faults or found is None:
            return None
        done = {each.rate for each in self.told if each.purpose == "fault"}
        rates = [float(f"{found * part:.3g}") for part in _FAULT_SHARES]
        seconds = self.plan.for_s - self.plan.warm_up_s
        return next((Asked(rate, seconds, "fault") for rate in rates if rate not in done), None)

    def _left(self, asked: Asked) -> str:
        """About how long the search still takes."""
        if asked.purpose == "fault":
            return "the search is over"
        overhead = statistics.fmean([each.took_s - each.seconds for each in self.told] or [_FIRST_OVERHEAD_S])
        return f"about {roughly_s(self.search.seconds_left(asked, overhead))} left"


def stage_plan(plan: Plan, asked: Asked, number: int, secrets: Mapping[str, str] | None = None) -> Plan:
    """The plan of one stage. Arrivals differ from stage to stage where they are random, so that no chance is repeated."""
    changes: dict[str, Any] = {
        "rate": asked.rate,
        "for_s": asked.seconds + plan.warm_up_s,
        "seed": plan.seed + number - 1,
        "slos": [slo for slo in plan.slos if not slo.endswith("bounded")],
        # Rates that are too high are found by trying them, and shown to be.
        "above_ceiling": True,
    }
    if asked.purpose != "fault":
        # What such a stage could not work off in that time is no longer of interest.
        changes |= {"faults": [], "horizon_s": min(plan.horizon_s, _HORIZON_S), "drain_s": min(plan.drain_s, _DRAIN_S)}
    return Plan.of({**unmasked(plan.plain(), secrets or {}), **changes}, "the plan of a stage")


def _death(signal: str | None, status: int | None) -> str:
    return "" if signal is not None or status is None else f"exit status {status}"
