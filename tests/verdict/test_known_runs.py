"""Hundreds of simulated runs whose truth is known: each gets the verdict that it deserves, for the right reason."""

from __future__ import annotations

import numpy as np
import pytest

from harness.summary import build_summary

from .planted import CASES, Case

N_SEEDS = 6


def test_there_are_two_hundred_of_them() -> None:
    assert len(CASES) * N_SEEDS >= 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_run_is_judged_right_and_for_the_right_reason(case: Case) -> None:
    """Nothing but what was planted is found, on every seed."""
    for seed in range(N_SEEDS):
        run = case.plant(np.random.default_rng([seed, len(case.name)]))
        summary = build_summary(run.evidence(), {"slos": case.slos, "allow": case.allow}, {}, n_bins=10)

        where = f"seed {seed}: {summary.reasons} {[slo.model_dump() for slo in summary.slos]}"
        assert summary.verdict == case.verdict, where
        assert len(summary.reasons) == len(case.reasons), where
        for expected, found in zip(case.reasons, summary.reasons, strict=True):
            assert expected in found, where
        if case.verdict == "PASS":
            assert all(slo.holds for slo in summary.slos), where
        if summary.interrupted_by:
            assert all(slo.holds is None and slo.value is None for slo in summary.slos), where
