"""Comparisons made by hand: what each run came to is said, and nothing has to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.compare.designs import order_of
from harness.compare.quantities import QUANTITIES
from harness.compare.record import ConfigurationRecord, CurvesRecord, Design, FactorRecord, RunRecord

Values = Mapping[str, float]


def design(labels: Sequence[str] = ("tasks=sync", "tasks=async"), *, blocks: int = 8, **more: Any) -> Design:
    values = {
        "title": "email",
        "began": "2026-11-21T10:00:00+00:00",
        "factors": [FactorRecord(key="tasks", values=[label.partition("=")[2] for label in labels])],
        "configurations": [
            ConfigurationRecord(
                label=label,
                values={"tasks": label.partition("=")[2]},
                plan={"scenario": "email", "for_s": 10.0, "warm_up_s": 1.0, "faults": ["kill@6s"], "seed": 1},
            )
            for label in labels
        ],
        "baseline": 0,
        "blocks": blocks,
        "seed": 1,
        "settle_s": 0.0,
        "retries": 1,
        "min_effect": 0.05,
        "keep_runs": False,
    }
    return Design(**{**values, **more})


def run(block: int, configuration: int, values: Values, *, n: int = 2, **more: Any) -> RunRecord:
    place = order_of(block - 1, n).index(configuration) + 1
    fields = {
        "block": block,
        "place": place,
        "configuration": configuration,
        "attempt": 1,
        "directory": f"block-{block:02}/{place}-x",
        "seed": block,
        "began": "2026-11-21T10:00:00Z",
        "took_s": 12.0,
        "is_usable": True,
        "verdict": "PASS",
        "reasons": [],
        "values": {name: values.get(name) for name in QUANTITIES},
        "never": [name for name, value in values.items() if value == float("inf")],
        "curves": CurvesRecord(
            bin_s=0.5, lines={"response_p95_ms": [5.0] * 20, "done_p95_ms": [100.0] * 20, "backlog": [3] * 20, "busy": [2.0] * 20}
        ),
    }
    return RunRecord(**{**fields, **more})


def runs(
    sides: Sequence[Values], *, blocks: int = 8, noise: float = 0.02, seed: int = 1, never: Sequence[int] = ()
) -> list[RunRecord]:
    """Each configuration's typical values, with noise; in the configurations of `never` the work is never done."""
    rng = np.random.default_rng(seed)
    found = []
    for block in range(1, blocks + 1):
        of_block = np.exp(rng.standard_normal() * 0.05)
        for configuration in order_of(block - 1, len(sides)):
            noisy = {
                name: value * of_block * float(np.exp(rng.standard_normal() * noise)) if value < float("inf") else value
                for name, value in sides[configuration].items()
            }
            if configuration in never:
                noisy["done_p95"] = float("inf")
            found.append(run(block, configuration, noisy, n=len(sides)))
    return found
