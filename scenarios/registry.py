"""All scenarios by name."""

from __future__ import annotations

import difflib
import importlib
from typing import Final

from scenarios import own
from scenarios.scenario import Scenario

__all__ = ["NAMES", "UnknownScenario", "find"]

NAMES: Final = ("action", "analytics", "cache", "email", "files", "flaky", "webhook")
"""Each is a module of this package. Only the one that is asked for is imported: the server under test pays for no other."""


class UnknownScenario(LookupError):
    """There is no scenario of that name."""


def find(name: str) -> Scenario:
    """The scenario of that name, or in that file. Raises UnknownScenario naming those that there are, or own.BadScenarioFile."""
    if own.looks_like_a_file(name):
        return own.load(name)
    if name in NAMES:
        scenario: Scenario = importlib.import_module(f"scenarios.{name}").SCENARIO
        return scenario
    near = difflib.get_close_matches(name, NAMES, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif name.endswith(".toml"):
        hint = f"a plan is run with --plan {name}"
    else:
        hint = "for a file of your own write its name with .py"
    msg = f"there is no scenario {name!r}; there is {', '.join(NAMES)}; {hint}"
    raise UnknownScenario(msg)
