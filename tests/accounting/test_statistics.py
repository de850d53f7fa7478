"""Quantiles against numpy and against their definition; durations against sums made by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.accounting import account
from harness.grouping import NEVER_NS, positions
from harness.rows import Outcome, RequestError
from harness.statistics import measure, quantiles, quantiles_ms
from harness.summary import build_summary

from .memory import edit_rows
from .test_accounting_truth import runs
from .world import Plan, Run, simulate

DURATIONS = st.lists(st.one_of(st.integers(0, 10**13), st.just(NEVER_NS)), min_size=1, max_size=300)
SHARES = st.one_of(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999, 1.0]), st.floats(0.001, 1.0))


@given(values=DURATIONS, share=SHARES)
def test_a_quantile_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[int], share: float) -> None:
    """The definition, word by word: no interpolation, so the result is one of the values."""
    ordered = sorted(values)
    expected = next(value for number, value in enumerate(ordered, start=1) if number >= share * len(values))
    (found,) = quantiles_ms(np.array(values, np.int64), (share,))

    assert found == (math.inf if expected == NEVER_NS else expected / 1e6)


@given(values=st.lists(st.integers(0, 10**13), min_size=1, max_size=300), share=st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]))
def test_a_quantile_is_numpys_inverted_cdf(values: list[int], share: float) -> None:
    array = np.array(values, np.int64)
    assert quantiles_ms(array, (share,)) == (np.quantile(array, share, method="inverted_cdf") / 1e6,)


def test_what_never_ended_is_infinite_from_its_share_on() -> None:
    values = np.array([1_000_000] * 96 + [NEVER_NS] * 4)
    found = quantiles(values)

    assert (found.n, found.n_never) == (100, 4)
    assert (found.p50_ms, found.p95_ms) == (1.0, 1.0)
    assert (found.p99_ms, found.max_ms) == (math.inf, math.inf)


def test_no_values_have_no_quantile() -> None:
    assert math.isnan(quantiles(np.empty(0, np.int64)).p50_ms)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        quantiles_ms(np.array([1]), (share,))


@given(run=runs())
def test_durations_are_those_of_the_rows_looked_at_one_by_one(run: Run) -> None:
    """Response, lag, wait, run and to-done of a random run, by plain loops; the warm-up is left out, refusals are counted."""
    evidence = run.evidence
    found = measure(evidence, account(evidence))
    begin = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
    requests = [row for file in evidence.requests for row in file.rows]
    due = {int(row["op"]): int(row["due_ns"]) for row in requests}
    response, lag, n_rejected = [], [], 0
    for row in requests:
        if row["due_ns"] < begin:
            continue
        lag.append(int(row["sent_ns"]) - int(row["due_ns"]))
        if row["outcome"] == Outcome.REJ and row["error"] != RequestError.CONNECT_TIMED_OUT:
            n_rejected += 1
        else:
            answered = row["outcome"] == Outcome.ACK
            response.append(int(row["done_ns"]) - int(row["due_ns"]) if answered else NEVER_NS)
    wait, worked, done = [], [], []
    for file in itertools.chain(*evidence.tasks.values()):
        for row in file.rows:
            op = int(row["op"])
            if due.get(op, -1) < begin:
                continue
            if row["started_ns"]:
                wait.append(int(row["started_ns"]) - int(row["accepted_ns"]))
                ended = int(row["finished_ns"]) or int(row["failed_ns"])
                if ended:
                    worked.append(ended - int(row["started_ns"]))
            if row["finished_ns"]:
                done.append(int(row["finished_ns"]) - due[op])
    assert n_rejected == found.n_rejected
    expected = [response, lag, wait, worked] + ([] if evidence.expectation.tasks_per_request == 0 else [done])
    actual = [found.response, found.lag, found.wait, found.run] + ([found.done] if len(expected) == 5 else [])
    for values, shown in zip(expected, actual, strict=True):
        assert repr(quantiles(np.array(values, np.int64))) == repr(shown)


def test_an_effect_that_arrives_twice_stands_for_no_other_one() -> None:
    """Two effects a request, of a quarter of them the first one twice and the second one never: those are not done."""
    evidence = simulate(Plan(n_requests=400, n_tasks=0, n_effects=2)).evidence

    def again(rows: np.ndarray) -> None:
        second = (rows["index"] == 1) & ((rows["op"] & 0xFFFF_FFFF) <= 100)
        rows["index"][second] = 0

    twice = dataclasses.replace(
        evidence,
        expectation=dataclasses.replace(evidence.expectation, most_effects_per_start=2),
        effects=[edit_rows(file, again) for file in evidence.effects],
    )
    summary = build_summary(twice, {"slos": ["done_p90<1h", "done_p50<1h"]}, {})

    assert (summary.tasks.lost, summary.tasks.done_ms.n) == (100, 300)
    assert [slo.holds for slo in summary.slos] == [False, True]


@given(known=st.sets(st.integers(0, 60)), wanted=st.lists(st.integers(0, 70)))
def test_positions_finds_what_is_there_and_nothing_else(known: set[int], wanted: list[int]) -> None:
    table = np.array(sorted(known), np.uint32)
    where, found = positions(table, np.array(wanted, np.uint32))

    assert [value in known for value in wanted] == found.tolist()
    assert [value for value in wanted if value in known] == table[where[found]].tolist()
