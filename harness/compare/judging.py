"""From runs to a comparison: values side by side, effects, decisions, why, and what to know before believing them. Pure
functions.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from harness.compare.contrasts import Contrast, contrasts_of, of_configuration
from harness.compare.curves import Curves, median_of
from harness.compare.drifts import drift_of
from harness.compare.effects import CONFIDENCE, LEAST_PAIRS, Effect, Known, between, paired
from harness.compare.quantities import QUANTITIES
from harness.compare.record import (
    Comparison,
    ContrastRecord,
    CurvesRecord,
    Design,
    DriftRecord,
    FigureRecord,
    RunRecord,
    WhyRecord,
)
from harness.compare.words import THESE_RUNS, ratio, sentence, value_of
from harness.noise import NOISY_SHARE
from harness.wording import counted, listed

__all__ = [
    "compare_blocks",
    "contrast_record",
    "curves_record",
    "drift_words",
    "figure_record",
    "known_of",
    "unknown_losses",
    "values_of",
    "written",
]

_OFTEN, _SELDOM = 0.6, 0.2
_MOST_WHY: Final = 4


def compare_blocks(
    design: Design, runs: Sequence[RunRecord], environment: Mapping[str, Any], notes: Sequence[str] = ()
) -> Comparison:
    """Judges what there is, also if blocks are missing. `runs` may hold several attempts; the last usable one counts."""
    used = _usable(runs)
    n_blocks = max([design.blocks, *(each.block for each in runs)])
    table = {number: _table(used, number, n_blocks) for number in range(len(design.configurations))}
    steps = {name: max((run.steps.get(name, 0.0) for run in used.values()), default=0.0) for name in QUANTITIES}
    effects: dict[tuple[int, str], Effect] = {}
    for number in range(len(design.configurations)):
        if number == design.baseline:
            continue
        for name in QUANTITIES:
            effects[number, name] = between(paired, table[design.baseline][name], table[number][name], steps[name])
    contrasts = contrasts_of(effects, design.min_effect)
    complete = [
        block for block in range(1, n_blocks + 1) if all((block, number) in used for number in range(len(design.configurations)))
    ]
    labels = [each.label for each in design.configurations]
    shown_by = counted(len(complete), "block") if complete else THESE_RUNS
    return Comparison(
        kind="blocks",
        title=design.title,
        began=design.began,
        confidence=CONFIDENCE,
        min_effect=design.min_effect,
        blocks=design.blocks,
        complete=len(complete),
        factors=design.factors,
        configurations=design.configurations,
        baseline=labels[design.baseline],
        contrasts=[
            contrast_record(labels, number, design.baseline, contrasts, _of(used, number), _of(used, design.baseline), shown_by)
            for number in range(len(labels))
            if number != design.baseline
        ],
        drifts=list(_drifts(table[design.baseline], design.min_effect)),
        notes=[*notes, *_notes(design, runs, used, len(complete), contrasts)],
        environment=dict(environment),
        curves=[curves_record(_of(used, number)) for number in range(len(labels))],
        runs=[run.model_copy(update={"curves": None}) for run in runs],
    )


def curves_record(runs: Sequence[RunRecord]) -> CurvesRecord:
    """The median of runs over time."""
    return written(median_of([_read(each) for run in runs if (each := run.curves) is not None and each.lines]))


def written(curves: Curves) -> CurvesRecord:
    """As they are written: JSON has no infinity."""
    return CurvesRecord(
        bin_s=curves.bin_s,
        lines={name: [None if value == math.inf else value for value in line] for name, line in curves.lines.items()},
        never={
            name: bins
            for name, line in curves.lines.items()
            if (bins := [number for number, value in enumerate(line) if value == math.inf])
        },
    )


def _read(record: CurvesRecord) -> Curves:
    lines = {name: list(line) for name, line in record.lines.items()}
    for name, bins in record.never.items():
        for number in bins:
            lines[name][number] = math.inf
    return Curves(record.bin_s, lines)


def contrast_record(
    labels: Sequence[str],
    number: int,
    baseline: int,
    contrasts: Sequence[Contrast],
    runs: Sequence[RunRecord],
    base_runs: Sequence[RunRecord],
    shown_by: str,
) -> ContrastRecord:
    """One configuration against the baseline. `shown_by`: as `sentence` takes it."""
    own = of_configuration(contrasts, number)
    return ContrastRecord(
        configuration=labels[number],
        sentence=sentence(own, labels[number], labels[baseline], shown_by),
        why=list(_why(runs, base_runs)),
        figures=[figure_record(each) for each in own],
    )


def figure_record(contrast: Contrast) -> FigureRecord:
    """As it is written."""
    quantity, effect = QUANTITIES[contrast.quantity], contrast.effect
    return FigureRecord(
        id=quantity.id,
        title=quantity.title,
        unit=quantity.unit,
        better=quantity.better,
        decision=contrast.decision,
        direction=contrast.direction,
        scale=effect.scale,
        base=effect.base,
        other=effect.other,
        estimate=effect.estimate,
        low=effect.low,
        high=effect.high,
        p=contrast.p,
        spread=effect.spread,
        n=effect.n,
        never_base=effect.never_base,
        never_other=effect.never_other,
        n_base=effect.n_base,
        n_other=effect.n_other,
        matters=contrast.matters,
        needed=contrast.needed,
    )


def values_of(run: RunRecord, name: str) -> float:
    """inf: it never ended; NaN: there is none."""
    if name in run.never:
        return math.inf
    value = run.values.get(name)
    return math.nan if value is None else value


def known_of(runs: Sequence[RunRecord], name: str) -> Known:
    """At least and at most, in the runs of one configuration, in their order; mostly the same.

    What was lost is NaN in all of them if nothing is known of it in one: those in which nothing was running when the server died
    are known the most often, and would stand for the others.
    """
    exact = [values_of(run, name) for run in runs]
    pairs = [
        run.bounds.get(name, (value, value)) if math.isnan(value) else (value, value)
        for run, value in zip(runs, exact, strict=True)
    ]
    known = np.array(pairs, np.float64).reshape(-1, 2)
    if QUANTITIES[name].is_of_all and np.isnan(known).any():
        known[:] = math.nan
    return known[:, 0], known[:, 1]


def unknown_losses(
    label: str, plan: Mapping[str, Any], runs: Sequence[RunRecord], contrasts: Sequence[Contrast], numbers: Container[int]
) -> Iterator[str]:
    """A sentence, if faults hit a configuration and nobody knows exactly what they broke in some of its usable runs.

    `numbers`: of the configurations of `contrasts` in which this one is one of the two.
    """
    usable = [run for run in runs if run.is_usable]
    inexact = sum(math.isnan(values_of(run, "broken_promises")) for run in usable)
    if not inexact or not plan.get("faults"):
        return
    least, most = known_of(usable, "broken_promises")
    which = f"How many promises {label} broke is not known exactly in {inexact} of {counted(len(usable), 'run')}"
    if np.isnan(most).any():
        yield f"{which}, for nobody saw what became of some tasks: it is not compared."
        return
    average = " on average" if len(usable) > 1 else ""
    low, high = (value_of(float(each.mean()), "broken_promises") for each in (least, most))
    own = [each for each in contrasts if each.quantity == "broken_promises" and each.configuration in numbers]
    if any(each.decision != "none" for each in own):
        how = (
            " What is said of them holds for all in between; shown are the values nearest to each other if they surely differ, or"
            " else the middle."
        )
    else:
        how = " It is not compared." if own else ""
    yield f"{which}: {low} to {high}{average}.{how}"


def _usable(runs: Sequence[RunRecord]) -> dict[tuple[int, int], RunRecord]:
    """By block and configuration."""
    return {(run.block, run.configuration): run for run in runs if run.is_usable}


def _of(used: Mapping[tuple[int, int], RunRecord], number: int) -> list[RunRecord]:
    return [run for (_, configuration), run in used.items() if configuration == number]


def _table(used: Mapping[tuple[int, int], RunRecord], number: int, n_blocks: int) -> dict[str, Known]:
    found = {name: (np.full(n_blocks, math.nan), np.full(n_blocks, math.nan)) for name in QUANTITIES}
    runs = _of(used, number)
    places = [run.block - 1 for run in runs]
    for name, (least, most) in found.items():
        least[places], most[places] = known_of(runs, name)
    return found


def _why(runs: Sequence[RunRecord], base_runs: Sequence[RunRecord]) -> Iterator[WhyRecord]:
    """Findings that nearly all runs of one have, and hardly any of the other: what explains a difference."""
    if not runs or not base_runs:
        return
    told = 0
    for of, own, others in (("other", runs, base_runs), ("base", base_runs, runs)):
        for name in dict.fromkeys(name for run in own for name in run.findings):
            n_own, n_others = (sum(name in run.findings for run in side) for side in (own, others))
            if n_own >= _OFTEN * len(own) and n_others <= _SELDOM * len(others) and told < _MOST_WHY:
                told += 1
                text = next(run.findings[name] for run in own if name in run.findings)
                yield WhyRecord(id=name, text=text, of="other" if of == "other" else "base", runs=n_own, runs_without=n_others)


def _drifts(table: Mapping[str, Known], min_effect: float) -> Iterator[DriftRecord]:
    for name, (least, most) in table.items():
        values = (least + most) / 2
        found = drift_of(np.arange(len(values), dtype=np.float64), values, min_effect)
        if found is not None:
            yield DriftRecord(id=name, ratio=found.ratio, p=found.p)


def _notes(
    design: Design,
    runs: Sequence[RunRecord],
    used: Mapping[tuple[int, int], RunRecord],
    n_complete: int,
    contrasts: Sequence[Contrast],
) -> Iterator[str]:
    n_configurations = len(design.configurations)
    if n_complete < LEAST_PAIRS and n_configurations > 1:
        yield f"{counted(n_complete, 'complete block')}: of fewer than {LEAST_PAIRS} nothing is known of what chance does."
    elif n_complete < design.blocks:
        yield f"{n_complete} of {counted(design.blocks, 'block')} are complete."
    for number, configuration in enumerate(design.configurations):
        unusable = [run for run in runs if run.configuration == number and not run.is_usable]
        if unusable:
            left = sum((run.block, number) not in used for run in {each.block: each for each in unusable}.values())
            done = (
                "all of them were done again"
                if not left
                else f"{counted(left, 'block')} of it {'is' if left == 1 else 'are'} left out"
            )
            yield (
                f"{counted(len(unusable), 'run')} of {configuration.label} could not be used, and {done}:"
                f" {(unusable[-1].reasons[0] if unusable[-1].reasons else unusable[-1].verdict).splitlines()[0]}"
            )
        others = range(n_configurations) if number == design.baseline else (number,)
        yield from unknown_losses(configuration.label, configuration.plan, _of(used, number), contrasts, others)
    noisy = [run for run in used.values() if (run.noisy_share or 0) >= NOISY_SHARE]
    if noisy:
        yield (
            f"Other programs were in the way of {len(noisy)} of {counted(len(used), 'run')}: differences are harder to find, and"
            " where there are some, they are those of a busy machine."
        )
    few = {name for run in used.values() for name in run.few}
    if few:
        yield (
            f"{listed([QUANTITIES[name].title for name in QUANTITIES if name in few])} rest on few values in each run: load"
            " longer, or faster."
        )
    hashes = {run.environment_hash for run in used.values() if run.environment_hash}
    if len(hashes) > 1:
        yield "The machine, or versions on it, changed between runs."
    n_tests = sum(not math.isnan(each.p) for each in contrasts)
    if n_tests and design.blocks % 2 and n_configurations > 1:
        yield "An odd number of blocks: what changed over time is not balanced out."


def drift_words(drift: DriftRecord, baseline: str) -> str:
    """A sentence."""
    shown = ratio(drift.ratio) if drift.ratio is not None else "?"
    return f"{QUANTITIES[drift.id].title} of {baseline} drifted by {shown} from the first block to the last."
