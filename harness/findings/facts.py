"""Everything that findings are made from: the evidence, and what has been computed from it. Pure: no clock, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.accounting import Account
from harness.findings.stretch import Stretch, stretches_of
from harness.model import Evidence
from harness.statistics import Statistics
from harness.steered import profile_in_force
from harness.timeline import Pool, Timeline
from harness.usage import Usage, usage_of

__all__ = ["Facts"]


@dataclass(frozen=True)
class Facts:
    """One run."""

    evidence: Evidence
    account: Account
    statistics: Statistics
    timeline: Timeline
    pool: Pool
    plan: Mapping[str, Any]
    environment: Mapping[str, Any]

    @cached_property
    def usage(self) -> Usage:
        """Tasks by function and over time."""
        return usage_of(self.evidence)

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """The times in which a boot was up and load was sent as the plan has it: at one rate, or on one ramp."""
        profile = profile_in_force(self.evidence, self.plan)
        return stretches_of(self.evidence, self.account, self.usage, profile)

    @cached_property
    def main(self) -> Stretch | None:
        """What is said of rates is said of this one: one that falls behind, the highest rate where that changes, the longest."""
        changes = self.plan.get("stages") is not None or self.plan.get("replay") is not None or bool(self.evidence.load_changes)
        return max(
            self.stretches,
            key=lambda each: (each.falls_behind, each.accepted_per_s if changes else 0.0, each.seconds),
            default=None,
        )

    @property
    def cores(self) -> int:
        """That the run could use; 0: unknown."""
        return int(self.environment.get("cpus") or 0)

    def at_s(self, instant_ns: int | None) -> float | None:
        """Seconds since load start."""
        return None if instant_ns is None else (instant_ns - self.evidence.load_start_ns) / 1e9
