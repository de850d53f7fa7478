"""A comparison against one that was made before, e.g., on the main branch: the runs of one against the runs of the other.

They were made at different times and perhaps on different machines, so nothing pairs them: Welch's interval, and no drift is
seen. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.compare.contrasts import Contrast, contrasts_of
from harness.compare.effects import Effect, between, unpaired
from harness.compare.judging import contrast_record, known_of, unknown_losses
from harness.compare.quantities import QUANTITIES
from harness.compare.record import Comparison, ConfigurationRecord, RunRecord, StoredRecord
from harness.compare.words import THESE_RUNS
from harness.errors import UsageError
from harness.wording import listed

__all__ = ["against_stored"]

_NO_MATTER = frozenset({"seed", "port", "cwd", "slos", "allow"})


def against_stored(now: Comparison, stored: Comparison, name: str) -> Comparison:
    """With each configuration held against its namesake there. Raises UsageError if they have nothing in common."""
    if now.title != stored.title:
        raise UsageError(
            f"the baseline {name} is of {stored.title}, and this is {now.title}", "compare with a baseline of the same scenario"
        )
    pairs = [(number, _namesake(each, stored, n=len(now.configurations))) for number, each in enumerate(now.configurations)]
    known = [(number, other) for number, other in pairs if other is not None]
    if not known:
        there = listed([each.label for each in stored.configurations])
        raise UsageError(f"the baseline {name} has none of these configurations: it has {there}")
    effects: dict[tuple[int, str], Effect] = {}
    for number, other in known:
        own, before = _usable(now.runs, number), _usable(stored.runs, other)
        for quantity in QUANTITIES:
            step = max((run.steps.get(quantity, 0.0) for run in (*own, *before)), default=0.0)
            effects[number, quantity] = between(unpaired, known_of(before, quantity), known_of(own, quantity), step)
    contrasts = contrasts_of(effects, now.min_effect)
    records = []
    for number, other in known:
        own, before = _usable(now.runs, number), _usable(stored.runs, other)
        labels = {number: now.configurations[number].label, -1: f"{name} ({stored.configurations[other].label})"}
        names = [labels.get(place, "") for place in range(len(now.configurations))] + [labels[-1]]
        records.append(contrast_record(names, number, len(names) - 1, contrasts, own, before, THESE_RUNS))
    notes = list(_notes(now, stored, known, contrasts))
    return now.model_copy(update={"stored": StoredRecord(name=name, began=stored.began, contrasts=records, notes=notes)})


def _namesake(configuration: ConfigurationRecord, stored: Comparison, *, n: int) -> int | None:
    for number, other in enumerate(stored.configurations):
        if other.label == configuration.label:
            return number
    # One alone is meant, whatever it is called.
    return 0 if n == len(stored.configurations) == 1 else None


def _usable(runs: Sequence[RunRecord], configuration: int) -> list[RunRecord]:
    return [run for run in runs if run.configuration == configuration and run.is_usable]


def _notes(now: Comparison, stored: Comparison, known: Sequence[tuple[int, int]], contrasts: Sequence[Contrast]) -> Iterator[str]:
    if now.environment.get("hash") != stored.environment.get("hash"):
        changed = [
            key
            for key in ("cpu", "cpus", "cpu_quota", "governor", "turbo", "system", "python", "packages")
            if now.environment.get(key) != stored.environment.get(key)
        ]
        yield f"The baseline was made with another {listed(changed) or 'machine'}: a difference may be that."
    differing = sorted({key for number, other in known for key in _differing(now, number, stored, other)})
    if differing:
        yield f"The plans differ in {listed(differing)}: a difference may be that."
    for number, other in known:
        before = stored.configurations[other]
        label = f"{before.label} of the baseline"
        yield from unknown_losses(label, before.plan, _usable(stored.runs, other), contrasts, (number,))


def _differing(now: Comparison, number: int, stored: Comparison, other: int) -> Iterator[str]:
    left: Mapping[str, Any] = now.configurations[number].plan
    right: Mapping[str, Any] = stored.configurations[other].plan
    for key in {*left, *right} - _NO_MATTER:
        if left.get(key) != right.get(key):
            yield key
