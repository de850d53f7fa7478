"""The schema of comparison.json and of the files that a comparison is continued from: pydantic models, nothing else.

Units are those of summary.json: `ms` and `s`, bytes, counts; shares are parts of 1. What there is none of is null.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from harness.compare.contrasts import Decision, Direction
from harness.compare.effects import Scale
from harness.records import NumberOfNineDigits as Number
from harness.records import Record

__all__ = [
    "SCHEMA_VERSION",
    "Comparison",
    "ConfigurationRecord",
    "ContrastRecord",
    "CurvesRecord",
    "Design",
    "DriftRecord",
    "FactorRecord",
    "FigureRecord",
    "GateRecord",
    "Kind",
    "RunRecord",
    "StoredRecord",
    "WhyRecord",
]

SCHEMA_VERSION: Final = 1

Kind = Literal["blocks", "runs", "pair"]


class FactorRecord(Record):
    """One key that was varied."""

    key: str
    values: list[str]


class ConfigurationRecord(Record):
    """One of the configurations that were compared."""

    label: str
    values: dict[str, str] = Field(description="of each factor")
    plan: dict[str, Any] = Field(description="of a run of it; its seed is that of the first block")


class CurvesRecord(Record):
    """A run, or the median of runs, in equal bins from load start to load end."""

    bin_s: float
    lines: dict[str, list[float | None]] = Field(
        description="null: there is no such value in the bin, or it never ended (see `never`)"
    )
    never: dict[str, list[int]] = Field(default={}, description="by line: numbers of the bins, from 0, in which it never ended")


class RunRecord(Record):
    """One run of a comparison: a line of runs.jsonl."""

    block: int = Field(description="from 1")
    place: int = Field(description="in the block, from 1")
    configuration: int = Field(description="its number, from 0")
    attempt: int = Field(description="from 1; a run that cannot be used is done again")
    directory: str = Field(description="below that of the comparison, or where it was")
    seed: int
    began: str
    took_s: Number
    is_usable: bool = Field(description="false: its figures cannot be trusted, and it is left out")
    verdict: str
    reasons: list[str] = Field(description="why it cannot be used, or did not pass")
    values: dict[str, Number] = Field(description="each figure; null: there is none, or it never ended (see `never`)")
    never: list[str] = Field(description="figures that never ended")
    bounds: dict[str, tuple[float, float]] = Field(default={}, description="of figures that are not known exactly: between which")
    steps: dict[str, float] = Field(default={}, description="how fine figures are")
    few: list[str] = Field(default=[], description="percentiles of too few values")
    findings: dict[str, str] = Field(default={}, description="what it found, by id")
    noisy_share: Number = Field(default=None, description="of the time, in which other programs were in its way")
    environment_hash: str = ""
    curves: CurvesRecord | None = Field(default=None, description="in runs.jsonl alone")


class FigureRecord(Record):
    """One figure of one configuration against the baseline."""

    id: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    decision: Decision
    direction: Direction = Field(description="of a difference; empty: there is none")
    scale: Scale = Field(description="what `estimate` is: other / base, other - base, or nothing where it never ended")
    base: Number = Field(description="typical value of the baseline: geometric mean, of differences the mean")
    other: Number
    estimate: Number
    low: Number = Field(description="of the 95 % interval, not corrected for many comparisons; null: there is none")
    high: Number
    p: Number = Field(description="corrected (Holm) for all figures and configurations; null: there was nothing to test")
    spread: Number = Field(description="from block to block: standard deviation, of logarithms if the scale is ratio")
    n: int = Field(description="pairs of runs")
    never_base: int = Field(description="runs of the baseline in which it never ended")
    never_other: int
    n_base: int | None = Field(default=None, description="runs of the baseline that have the figure; null: not said, `n`")
    n_other: int | None = None
    matters: Number = Field(description="the smallest difference that matters: a share of the baseline, or a number")
    needed: int | None = Field(
        description="blocks that would tell in 9 of 10 comparisons, if it is as large as it looks; null: not said"
    )


class WhyRecord(Record):
    """A finding that one of the two has and the other has not."""

    id: str
    text: str = Field(description="as one of the runs said it")
    of: Literal["base", "other"]
    runs: int = Field(description="of `of`, with this finding")
    runs_without: int = Field(description="of the other one, that have it all the same")


class DriftRecord(Record):
    """A figure of the baseline that changed while the comparison went on."""

    id: str
    ratio: Number = Field(description="last block to first")
    p: Number


class GateRecord(Record):
    """One --fail-on."""

    text: str
    configuration: str
    holds: bool | None = Field(description="null: it cannot be told")
    change: Number = Field(description="as a share, or in the unit of the limit")
    why: str


class ContrastRecord(Record):
    """One configuration against the baseline."""

    configuration: str
    sentence: str
    why: list[WhyRecord]
    figures: list[FigureRecord]


class StoredRecord(Record):
    """Against a comparison that was made before."""

    name: str
    began: str
    contrasts: list[ContrastRecord] = Field(description="each configuration against its namesake there")
    notes: list[str]


class Comparison(Record):
    """The whole of comparison.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Kind = Field(description="blocks: runs side by side; runs: runs made before; pair: one run each, no blocks")
    title: str
    began: str
    confidence: float
    min_effect: float
    blocks: int = Field(description="that were asked for; 0: there are none")
    complete: int = Field(description="blocks with a usable run of each configuration")
    factors: list[FactorRecord]
    configurations: list[ConfigurationRecord]
    baseline: str
    contrasts: list[ContrastRecord]
    drifts: list[DriftRecord]
    notes: list[str] = Field(description="what should be known before the figures are believed")
    stored: StoredRecord | None = Field(default=None, description="--baseline")
    gates: list[GateRecord] = Field(default=[], description="--fail-on")
    environment: dict[str, Any]
    curves: list[CurvesRecord] = Field(description="of each configuration: the median of its usable runs over time")
    runs: list[RunRecord]


class Design(Record):
    """design.json: what a comparison is continued from."""

    schema_version: Literal[1] = SCHEMA_VERSION
    title: str
    began: str
    factors: list[FactorRecord]
    configurations: list[ConfigurationRecord]
    baseline: int
    blocks: int
    seed: int
    settle_s: float
    retries: int
    min_effect: float
    keep_runs: bool
    confirmed: list[str] = Field(default=[])
