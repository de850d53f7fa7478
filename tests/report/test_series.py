"""What a run looked like over time, per route and per function: compared with counting one by one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from harness.bins import nice_bin_s
from harness.grouping import NEVER_NS
from harness.heatmap import heat_map
from harness.report.story import Gap, tell
from harness.series import bin_edges, series
from harness.statistics import quantiles_ms, response_ns
from harness.summary import Judged, judge_evidence
from harness.tables import functions, routes
from harness.timeline import Steps
from tests.accounting.world import Plan, simulate

KILLED = Plan(
    seed=3, n_requests=400, n_tasks=2, n_effects=2, kills=(("SIGKILL", 700.0), ("SIGTERM", 1500.0)), fail=0.1, discard=0.05
)


@pytest.fixture(scope="module")
def simulated() -> Judged:
    return judge_evidence(simulate(KILLED).evidence, {"scenario": "email"}, {})


@pytest.mark.parametrize("bin_s", [0.05, 0.2, 1.0, 60.0])
def test_each_bin_has_what_counting_one_by_one_finds(simulated: Judged, bin_s: float) -> None:
    evidence, account, spans = simulated.evidence, simulated.account, simulated.spans
    edges = bin_edges(evidence, account, bin_s)
    found = series(evidence, account, edges, spans)
    ops, tasks = account.tables.ops, account.tables.tasks

    assert account.n_attempted == found.due.sum() == (found.acked + found.rejected + found.indeterminate).sum()
    assert account.finished == found.finished.sum() == found.of_done.sum()
    assert account.accepted == found.accepted.sum()
    assert account.failed == found.failed.sum()
    assert account.never_done == found.undone.sum()
    response, answered = response_ns(ops), ops.outcome != 2
    for number in range(len(edges) - 1):
        inside = answered & (ops.due_ns >= edges[number]) & (ops.due_ns < edges[number + 1])
        assert quantiles_ms(response[inside], (0.5, 0.95, 0.99)) == pytest.approx(found.response_ms[:, number], nan_ok=True)
        done = (spans.done_ns >= 0) & (spans.due_ns >= edges[number]) & (spans.due_ns < edges[number + 1])
        assert quantiles_ms(spans.done_ns[done], (0.5, 0.95, 0.99)) == pytest.approx(found.done_ms[:, number], nan_ok=True)
        started = (tasks.started_ns >= edges[number]) & (tasks.started_ns < edges[number + 1])
        assert np.count_nonzero(started) == found.started[number]


def test_the_mean_of_steps_is_the_area_below_them() -> None:
    """Also where an interval has no end, and where the sums of instants are beyond 64 bits."""
    base = 9_000_000_000_000_000_000
    steps = Steps(start_ns=np.array([base, base + 5, base + 10]), end_ns=np.array([base + 7, base + 15, NEVER_NS]))
    edges = base + np.array([0, 10, 20])

    assert steps.mean_in(edges).tolist() == [1.2, 1.5]


def test_a_bin_is_a_round_number() -> None:
    assert [nice_bin_s(whole, 100) for whole in (0.5, 5.0, 6.0, 200.0, 201.0, 2000.0)] == [0.05, 0.05, 0.1, 2.0, 5.0, 20.0]


def test_every_duration_is_in_the_cell_that_says_so() -> None:
    random = np.random.default_rng(1)
    values = (random.lognormal(12, 4, 5000)).astype(np.int64)
    values[:50] = NEVER_NS
    at = random.integers(0, 1000, 5000)
    found = heat_map(at, values, np.arange(0, 1001, 10))

    assert found.counts.sum() + found.never.sum() == 5000
    assert found.never.sum() == 50
    for number in (0, len(found.floors_ns) // 2, len(found.floors_ns) - 2):
        low, high = found.floors_ns[number], found.floors_ns[number + 1]
        for column in (0, 42):
            inside = (np.maximum(values, 1) >= low) & (values < high) & (at // 10 == column)
            assert np.count_nonzero(inside) == found.counts[number, column]
    assert (np.diff(found.floors_ns) >= 0).all()


def test_routes_and_functions_add_up_to_the_account(judged: Judged) -> None:
    evidence, account = judged.evidence, judged.account
    by_route, by_function = routes(evidence, account), functions(evidence, account)

    assert 2 == len(by_route) == len(by_function)
    assert account.n_attempted == sum(each.attempted for each in by_route)
    assert account.n_acked == sum(each.acked for each in by_route)
    assert account.accepted == sum(each.accepted for each in by_function)
    assert account.finished == sum(each.finished for each in by_function)
    assert account.lost == sum(each.lost for each in by_function) > 0
    ops = account.tables.ops
    number = ops.route_names.index(by_route[0].name)
    counted = (ops.route == number) & (ops.outcome != 2) & (ops.due_ns >= evidence.load_start_ns + 1e9)
    assert quantiles_ms(response_ns(ops)[counted], (0.99,)) == (by_route[0].response.p99_ms,)


def test_no_line_is_drawn_through_an_outage(simulated: Judged) -> None:
    """However short: some point between its ends has no value, for all that a server shows."""
    story = tell(simulated)

    assert len(story.gaps) == 2
    between = story.bin_s * 7.9
    told = dataclasses.replace(story, gaps=(*story.gaps, Gap(between, between + story.bin_s / 5)))
    lines = told.lines()
    for gap in told.gaps:
        inside = (lines["t_s"] >= gap.from_s) & (lines["t_s"] <= gap.until_s)
        assert inside.any()
        for name in ("response_p95_ms", "done_p95_ms", "backlog_max", "busy_mean"):
            assert all(math.isnan(value) for value in lines[name][inside])
    assert (np.diff(lines["t_s"]) > 0).all()
    assert simulated.account.n_attempted == np.nansum(lines["due"])
