"""Runs the stages of a search, one after another: each is a run of its own, with a fresh server, world and load.

So a backlog that one stage leaves behind cannot burden the next one, and a server that does not recover from an overload is
never judged by it at another rate. What was measured is written down after each stage: a search that was interrupted, or killed,
goes on where it was.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.capacity.measure import measured
from harness.capacity.schema import Measured
from harness.capacity.search import Asked, Search
from harness.capacity.watch import StageProgress
from harness.plan import Plan
from harness.session import run as run_session
from harness.wording import duration_s, per_second

__all__ = ["Driver", "read_stages", "stage_plan"]

_STAGES: Final = "stages.jsonl"
_FIRST_OVERHEAD_S: Final = 3.0
_HORIZON_S: Final = 10.0
_DRAIN_S: Final = 1.0


@dataclass
class Driver:
    """One search that is run for real."""

    search: Search
    plan: Plan
    described: dict[str, Any]
    folder: Path  # of this search
    tell: Callable[[str], None]

    def run(self) -> int | None:
        """Stages until the search is over. Returns the signal that interrupted it, if one did. Raises RunError."""
        while (asked := self.search.next()) is not None:
            number = len(self.search.told) + 1
            self.tell(f"{_PURPOSES[asked.purpose]} {per_second(asked.rate)} for {asked.seconds:g} s ({self._left(asked)})")
            result, interrupted_by = self._stage(asked, number)
            if interrupted_by is not None or result is None:
                return interrupted_by
            self.search.tell(result)
            with (self.folder / _STAGES).open("a", encoding="utf-8") as file:
                file.write(result.model_dump_json() + "\n")
            self.tell(f"  {in_words(result)}")
        return None

    def _stage(self, asked: Asked, number: int) -> tuple[Measured | None, int | None]:
        plan = stage_plan(self.plan, asked, number)
        path = self.folder / "stages" / f"{number:02d}-{asked.rate:g}"
        # Left by a search that was killed in the middle of it.
        shutil.rmtree(path, ignore_errors=True)
        progress = StageProgress(asked.rate, plan.warm_up_s, plan.for_s, self.tell, may_end=True)
        began = time.monotonic()
        outcome = run_session(plan, self.described, out=path, progress=progress)
        if outcome.interrupted_by is not None:
            return None, outcome.interrupted_by
        judged = outcome.judged
        died = _death(judged.summary.boots[0].signal, judged.summary.boots[0].exit_status) if judged.summary.boots else ""
        result = measured(judged, asked, number, until_ns=progress.ended_ns, died=died)
        took_s = time.monotonic() - began
        run = str(path.relative_to(self.folder))
        return result.model_copy(update={"run": run, "took_s": took_s}), None

    def _left(self, asked: Asked) -> str:
        """About how long the search still takes."""
        told = self.search.told
        overhead = [each.took_s - each.seconds for each in told]
        each_s = self.search.options.stage_s + (sum(overhead) / len(overhead) if overhead else _FIRST_OVERHEAD_S)
        left_s = self.search.stages_left() * each_s
        return f"about {duration_s(max(round(left_s), asked.seconds))} left" if left_s else "the last one"


def stage_plan(plan: Plan, asked: Asked, number: int) -> Plan:
    """The plan of one stage. Arrivals differ from stage to stage where they are random, so that no chance is repeated."""
    changes: dict[str, Any] = {
        "rate": asked.rate,
        "for_s": asked.seconds + plan.warm_up_s,
        "faults": (),
        "seed": plan.seed + number - 1,
        "slos": tuple(slo for slo in plan.slos if not slo.endswith("bounded")),
        # What one stage could not work off in that time is no longer of interest.
        "horizon_s": min(plan.horizon_s, _HORIZON_S),
        "drain_s": min(plan.drain_s, _DRAIN_S),
        "above_ceiling": True,
    }
    return Plan.of({**plan.model_dump(exclude_none=True, exclude_defaults=True), **changes}, "the plan of a stage")


def read_stages(folder: Path) -> Iterator[Measured]:
    """What a search has measured before. A last line that a crash cut off is passed over. Raises UsageError."""
    try:
        text = (folder / _STAGES).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield Measured.model_validate(json.loads(line))
        except ValueError:
            return


def _death(signal: str | None, status: int | None) -> str:
    return "" if signal is not None or status is None else f"exit status {status}"


_PURPOSES: Final = {
    "bracket": "trying",
    "bisect": "between:",
    "repeat": "again:",
    "confirm": "confirming",
    "above": "above:",
}


def in_words(result: Measured) -> str:
    """One stage in one line."""
    if result.generator:
        return f"says nothing: {result.generator}"
    growth = result.growth
    broken = [f"{each.text} is broken" for each in result.limits if each.holds is False]
    if result.died:
        broken.append(f"the server died: {result.died}")
    elif growth is None or growth.low > 0:
        rise = "" if growth is None else f" by {per_second(growth.per_s)} ({per_second(growth.low)} to {per_second(growth.high)})"
        broken.insert(0, f"the backlog grows{rise}")
    if not broken:
        return "holds"
    return "; ".join(broken) + (f"; {result.cause.text}" if result.cause else "")
