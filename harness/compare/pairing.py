"""Runs that were made before, compared: in groups of the same configuration if there are enough of each, else one against one.

Pure functions: the runs are given as they were judged, or as their summaries if their rows are gone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.compare.alike import doubts_of, labels_of
from harness.compare.contrasts import contrasts_of, of_one_run_each
from harness.compare.curves import no_curves
from harness.compare.effects import CONFIDENCE, LEAST_PAIRS, Effect, between, unpaired
from harness.compare.judging import contrast_record, curves_record, known_of, unknown_losses, written
from harness.compare.quantities import QUANTITIES, Measured, bounds_of, measured_of, of_summary
from harness.compare.record import Comparison, ConfigurationRecord, FactorRecord, RunRecord
from harness.compare.within import Durations, ratios_within
from harness.compare.words import ONE_RUN_EACH, THESE_RUNS
from harness.figures import Series
from harness.grouping import NEVER_NS
from harness.noise import noise_of
from harness.samples import Samples
from harness.schema import Summary
from harness.statistics import measured_from_ns
from harness.summary import Judged
from harness.verdict import slowed_by

__all__ = ["MIN_EFFECT", "Given", "compare_pair", "compare_runs", "run_record"]

MIN_EFFECT: Final = 0.05
_SHARES: Final = (0.50, 0.95, 0.99)
_SERIES: Final[dict[str, Series]] = {"": "response", "done_": "done"}


@dataclass(frozen=True, slots=True)
class Given:
    """One run that was made before."""

    name: str
    summary: Summary
    judged: Judged | None = None  # None: its rows are gone


def compare_pair(
    base: Judged | Summary, other: Judged | Summary, *, names: tuple[str, str] = ("A", "B"), min_effect: float = MIN_EFFECT
) -> Comparison:
    """Two runs against each other: what differs, with intervals for what chance does within them."""
    return compare_runs([_given(base, names[0]), _given(other, names[1])], min_effect=min_effect)


def compare_runs(runs: Sequence[Given], *, min_effect: float = MIN_EFFECT) -> Comparison:
    """The first run, or all that were made as it was, against the others."""
    summaries = [run.summary for run in runs]
    names = labels_of(summaries, [run.name for run in runs])
    groups = _groups(runs)
    if len(groups) > 1 and all(len(group) >= LEAST_PAIRS for group in groups):
        labels = labels_of([summaries[group[0]] for group in groups], [runs[group[0]].name for group in groups])
    else:
        groups, labels = [[place] for place in range(len(runs))], names
    records = [
        run_record(runs[place], number, index + 1) for number, group in enumerate(groups) for index, place in enumerate(group)
    ]
    effects = _effects(runs, groups, records)
    is_pair = all(len(group) == 1 for group in groups)
    contrasts = contrasts_of(effects, min_effect)
    if is_pair:
        contrasts = [of_one_run_each(each) for each in contrasts]
    configurations = [
        ConfigurationRecord(label=label, values={}, plan=summaries[group[0]].plan)
        for label, group in zip(labels, groups, strict=True)
    ]
    notes = list(doubts_of(summaries, names))
    for number, configuration in enumerate(configurations):
        label, plan = configuration.label, configuration.plan
        own = [record for record in records if record.configuration == number]
        notes += unknown_losses(label, plan, own, contrasts, (number,) if number else range(len(groups)))
    if is_pair:
        notes.insert(
            0,
            "One run each: the intervals tell of chance within these runs, and nothing of what another run would come to."
            " afterload compare SCENARIO --vary ... makes several of each.",
        )
    return Comparison(
        kind="pair" if is_pair else "runs",
        title=str(summaries[0].plan.get("scenario") or " ".join(map(str, summaries[0].plan.get("command", ())))),
        began=str(summaries[0].environment.get("began", "")),
        confidence=CONFIDENCE,
        min_effect=min_effect,
        blocks=0,
        complete=0,
        factors=[FactorRecord(key="run", values=labels)] if is_pair else [],
        configurations=configurations,
        baseline=labels[0],
        contrasts=[
            contrast_record(
                labels,
                number,
                0,
                contrasts,
                [record for record in records if record.configuration == number],
                [record for record in records if record.configuration == 0],
                ONE_RUN_EACH if is_pair else THESE_RUNS,
            )
            for number in range(1, len(groups))
        ],
        drifts=[],
        notes=notes,
        environment=summaries[0].environment,
        curves=[curves_record([record for record in records if record.configuration == number]) for number in range(len(groups))],
        runs=[record.model_copy(update={"curves": None}) for record in records],
    )


def run_record(run: Given, configuration: int, number: int) -> RunRecord:
    """As a run of a comparison is written, with its curves if there are rows."""
    if run.judged is not None:
        return _described(run.summary, measured_of(run.judged), run.name, configuration, number)
    return _described(
        run.summary,
        Measured(of_summary(run.summary), {}, (), no_curves(), bounds_of(run.summary)),
        run.name,
        configuration,
        number,
    )


def _described(summary: Summary, measured: Measured, name: str, configuration: int, number: int) -> RunRecord:
    machine = summary.machine
    return RunRecord(
        block=number,
        place=configuration + 1,
        configuration=configuration,
        attempt=1,
        directory=name,
        seed=int(summary.plan.get("seed", 0)),
        began=str(summary.environment.get("began", "")),
        took_s=None,
        is_usable=summary.trusted,
        verdict=summary.verdict,
        reasons=summary.reasons,
        values=dict(measured.values),
        never=[name for name, value in measured.values.items() if math.isinf(value)],
        bounds=dict(measured.bounds),
        steps=dict(measured.steps),
        few=list(measured.few),
        findings={each.id: each.text for each in summary.findings},
        noisy_share=(machine.noisy_s or 0.0) / machine.seen_s if machine is not None and machine.seen_s else None,
        environment_hash=str(summary.environment.get("hash", "")),
        curves=written(measured.curves),
    )


def _given(run: Judged | Summary, name: str) -> Given:
    return Given(name, run) if isinstance(run, Summary) else Given(name, run.summary, run)


def _groups(runs: Sequence[Given]) -> list[list[int]]:
    """Places of the runs of each configuration, in the order in which these come first."""
    found: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        plan = {key: value for key, value in run.summary.plan.items() if key not in {"seed", "port", "slos", "allow"}}
        found.setdefault(repr(sorted(plan.items(), key=str)), []).append(place)
    return list(found.values())


def _effects(runs: Sequence[Given], groups: Sequence[list[int]], records: Sequence[RunRecord]) -> dict[tuple[int, str], Effect]:
    effects = {}
    for number in range(1, len(groups)):
        sides = [[record for record in records if record.configuration == side] for side in (0, number)]
        steps = {
            name: max((record.steps.get(name, 0.0) for side in sides for record in side), default=0.0) for name in QUANTITIES
        }
        for name in QUANTITIES:
            effects[number, name] = between(unpaired, known_of(sides[0], name), known_of(sides[1], name), steps[name])
        if len(groups[0]) == len(groups[number]) == 1:
            effects |= _within(number, runs[groups[0][0]], runs[groups[number][0]], effects)
    return effects


def _within(number: int, base: Given, other: Given, effects: dict[tuple[int, str], Effect]) -> dict[tuple[int, str], Effect]:
    found = {}
    for prefix, series in _SERIES.items():
        if base.judged is None or other.judged is None:
            continue
        within = ratios_within(_durations(base.judged, series), _durations(other.judged, series), _SHARES)
        for share, each in zip(_SHARES, within, strict=True):
            key = (number, f"{prefix}p{share * 100:.0f}")
            if not math.isnan(each.ratio):
                found[key] = dataclasses.replace(effects[key], low=each.low, high=each.high, p=each.p)
    return found


def _durations(judged: Judged, series: Series) -> Durations:
    evidence = judged.evidence
    sample = Samples(evidence, judged.account, noise_of(evidence), slowed=bool(slowed_by(evidence))).of(series)
    from_ns = measured_from_ns(evidence)
    dated = sample.at_ns >= from_ns
    value = np.where(sample.value_ns == NEVER_NS, math.inf, sample.value_ns / 1e6)
    return Durations((sample.at_ns[dated] - from_ns) / 1e9, value[dated], (evidence.load_end_ns - from_ns) / 1e9)
