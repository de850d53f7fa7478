"""What the figures mean, in words: each with a name that stays, a severity, its evidence, and what to try next. Pure.

One cause makes one finding: where two would say the same, the one that knows more says it. docs/findings-reference.md lists all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness.findings.answers import of_answers, of_users
from harness.findings.backlog import of_backlog
from harness.findings.catalogue import CATALOGUE, Entry, rank_of
from harness.findings.crowd import of_the_machine
from harness.findings.effects import of_effects
from harness.findings.ends import of_ends
from harness.findings.facts import Facts
from harness.findings.finding import SEVERITIES, FoundOut, Severity
from harness.findings.loops import of_loops
from harness.findings.moving import of_moving
from harness.findings.processes import of_processes
from harness.findings.raised import of_raised
from harness.findings.restarts import of_restarts
from harness.findings.sharing import of_sharing
from harness.findings.witnesses import of_witnesses

__all__ = ["CATALOGUE", "Entry", "Facts", "FoundOut", "Severity", "find"]

_KINDS = (
    of_witnesses,
    of_ends,
    of_restarts,
    of_backlog,
    of_sharing,
    of_loops,
    of_raised,
    of_effects,
    of_answers,
    of_processes,
    of_users,
    of_the_machine,
)

_EXPLAINS = {
    # While the world was slow its tasks were the slow ones, and they held the threads.
    "world-slowed-down": {"few-slow-tasks"},
    # Answers that wait for a thread are slow because of that.
    "endpoints-starved": {"responses-slow-down"},
}
"""What is left out where its cause was found."""


def find(facts: Facts) -> tuple[FoundOut, ...]:
    """All findings, the gravest first, and of equally grave ones those that explain most."""
    found = [finding for of_kind in _KINDS for finding in of_kind(facts)]
    found += of_moving(facts, found)
    explained = {
        finding for cause, results in _EXPLAINS.items() if any(each.id == cause for each in found) for finding in results
    }
    found = [each for each in found if each.id not in explained]
    found.sort(key=lambda each: (SEVERITIES.index(each.severity), rank_of(each.id)))
    return tuple(replace(each, evidence=_plain(each.evidence)) for each in found)


def _plain(value: Any) -> Any:
    """As JSON has it: a figure that there is none of is null."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
