"""All scenarios by name."""

from __future__ import annotations

import difflib

from scenarios import email
from scenarios.scenario import Scenario

__all__ = ["SCENARIOS", "UnknownScenario", "find"]

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (email.SCENARIO,)}


class UnknownScenario(LookupError):
    """There is no scenario of that name."""


def find(name: str) -> Scenario:
    """The scenario of that name. Raises UnknownScenario naming those that there are."""
    if name in SCENARIOS:
        return SCENARIOS[name]
    near = difflib.get_close_matches(name, SCENARIOS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    msg = f"there is no scenario {name!r}; there is {', '.join(SCENARIOS)}{hint}"
    raise UnknownScenario(msg)
