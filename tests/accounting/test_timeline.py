"""Backlog, busy threads, saturation and bins against a simulation that looks at every nanosecond of small runs."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.accounting import account
from harness.grouping import NEVER_NS
from harness.model import Boot, Evidence, Expectation
from harness.rows import DropReason, Gauge, Kind, Outcome, TaskKind
from harness.rowscan import left_in
from harness.series import SHARES, bin_edges, done_or_never, series
from harness.spans import NONE_NS, task_spans
from harness.statistics import rank
from harness.timeline import Steps, outages, pool_of, recovery_s, timeline
from harness.usage import usage_of

from .cases import CASES
from .memory import row_file, with_task_rows
from .test_accounting_truth import runs
from .world import MS, RUN_TAG, START_NS, Plan, Run, simulate

INTERVALS = st.lists(
    st.tuples(st.integers(0, 40), st.one_of(st.integers(0, 20), st.none())).map(
        lambda pair: (pair[0], NEVER_NS if pair[1] is None else pair[0] + pair[1])
    ),
    max_size=30,
)


def steps_of(intervals: list[tuple[int, int]]) -> Steps:
    array = np.array(intervals, np.int64).reshape(-1, 2)
    return Steps(start_ns=np.sort(array[:, 0]), end_ns=np.sort(array[:, 1]))


def count_at(intervals: list[tuple[int, int]], instant: int) -> int:
    return sum(start <= instant < end for start, end in intervals)


@given(intervals=INTERVALS)
def test_the_count_and_its_maximum_are_those_of_every_instant(intervals: list[tuple[int, int]]) -> None:
    steps, instants = steps_of(intervals), range(70)
    counts = [count_at(intervals, instant) for instant in instants]

    assert counts == steps.at(np.array(instants)).tolist()
    assert max(counts) == steps.highest()


@given(intervals=INTERVALS, edges=st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted))
def test_the_maximum_of_a_bin_is_that_of_its_instants(intervals: list[tuple[int, int]], edges: list[int]) -> None:
    expected = [max(count_at(intervals, instant) for instant in range(begin, end)) for begin, end in itertools.pairwise(edges)]
    assert expected == steps_of(intervals).highest_in(np.array(edges, np.int64)).tolist()


@given(intervals=INTERVALS, at_least=st.integers(1, 6), until=st.integers(0, 80))
def test_the_time_at_or_above_a_count_is_the_number_of_such_instants(
    intervals: list[tuple[int, int]], at_least: int, until: int
) -> None:
    expected = sum(count_at(intervals, instant) >= at_least for instant in range(until))
    assert expected == steps_of(intervals).duration_ns(at_least, until)


@settings(deadline=None)
@given(run=runs(), n_bins=st.integers(1, 12))
def test_the_timeline_of_a_random_run_is_that_of_its_rows_one_by_one(run: Run, n_bins: int) -> None:
    """Each task waits from accepted until started or dropped, and runs from started to its end, until its boot dies."""
    evidence = run.evidence
    result = account(evidence)
    found = timeline(evidence, result, n_bins)
    reaped = {boot.boot: boot.reaped_ns or NEVER_NS for boot in evidence.boots}
    waiting, running = [], []
    for number, (file,) in evidence.tasks.items():
        for row in file.rows:
            leaves = [int(row[name]) for name in ("started_ns", "dropped_ns") if row[name]]
            waiting.append((int(row["accepted_ns"]), min([*leaves, reaped[number]])))
            if row["started_ns"]:
                ends = [int(row[name]) for name in ("finished_ns", "failed_ns") if row[name]]
                running.append((int(row["started_ns"]), min([*ends, reaped[number]])))
    edges = found.edges_ns.tolist()
    for intervals, at_end, highest, peak in (
        (waiting, found.backlog_end, found.backlog_max, found.backlog_peak),
        (running, found.busy_end, found.busy_max, found.busy_peak),
    ):
        assert [count_at(intervals, edge) for edge in edges[1:]] == at_end.tolist()
        assert max((count_at(intervals, start) for start, _ in intervals), default=0) == peak
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            moments = [begin, *(start for start, _ in intervals if begin <= start < end)]
            assert (max(count_at(intervals, moment) for moment in moments) if end > begin else highest[number]) == highest[number]
    due = [int(row["due_ns"]) for file in evidence.requests for row in file.rows]
    assert len(due) == found.arrivals.sum()
    finished = [
        row
        for file in itertools.chain(*evidence.tasks.values())
        for row in file.rows
        if row["finished_ns"] and row["op"] >> 32 == evidence.run_tag
    ]
    assert len(finished) == found.completions.sum()
    # What a process that was there after the load left behind was never done, so that there is no time by which all was.
    left = [
        row
        for number, (file,) in evidence.tasks.items()
        for row in file.rows
        if reaped[number] >= evidence.load_end_ns
        and row["op"] >> 32 == evidence.run_tag
        and not any(row[name] for name in ("finished_ns", "failed_ns"))
        and (not row["dropped_ns"] or row["reason"] == DropReason.ABANDONED)
    ]
    ends = [
        int(row["finished_ns"]) or int(row["failed_ns"])
        for file in itertools.chain(*evidence.tasks.values())
        for row in file.rows
        if row["op"] >> 32 == evidence.run_tag and (row["finished_ns"] or row["failed_ns"])
    ]
    if ends and not left:
        last = max(ends)
        assert found.drain_s == max(last - evidence.load_end_ns, 0) / 1e9
    else:
        assert found.drain_s is None


def test_work_that_the_app_cancelled_runs_no_more_and_leaves_a_drain_as_it_was() -> None:
    """Each request cancels the task of the one before, long before its end; the last one of all finishes."""
    rows = [
        {
            "op": RUN_TAG << 32 | (number + 1),
            "kind": TaskKind.SPAWNED,
            "attempt": 1,
            "accepted_ns": START_NS + number * 50 * MS,
            "flushed_ns": START_NS + number * 50 * MS,
            "started_ns": START_NS + number * 50 * MS,
            "failed_ns": START_NS + (number * 50 + 40) * MS if number < 99 else 0,
            "finished_ns": START_NS + 6000 * MS if number == 99 else 0,
            "reason": DropReason.CANCELLED if number < 99 else 0,
        }
        for number in range(100)
    ]
    asked = [
        {
            "op": row["op"],
            "status": 200,
            "outcome": Outcome.ACK,
            "attempt": 1,
            "due_ns": row["accepted_ns"] - MS,
            "sent_ns": row["accepted_ns"] - MS,
            "done_ns": row["accepted_ns"] + MS,
        }
        for row in rows
    ]
    end_ns = START_NS + 5000 * MS
    boot = Boot(
        1, 4001, START_NS - 2, START_NS - 1, signal="SIGTERM", signalled_ns=end_ns + 2000 * MS, reaped_ns=end_ns + 3000 * MS
    )
    file = row_file(Kind.TASKS, rows, pid=4001, boot=1, gauges={Gauge.REQUESTS: 100})
    evidence = Evidence(
        run_tag=RUN_TAG,
        load_start_ns=START_NS,
        load_end_ns=end_ns,
        planned_requests=100,
        expectation=Expectation(tasks_per_request=0, effects_per_request=0),
        requests=[row_file(Kind.REQUESTS, asked)],
        tasks={1: [file]},
        effects=[],
        boots=[boot],
    )
    whole = account(evidence)
    found = timeline(evidence, whole)

    assert (found.busy_peak, found.drain_s) == (1, 1.0)
    assert (whole.lost, whole.failed, whole.cancelled_running, whole.finished) == (0, 99, 99, 1)
    assert sum(flow.busy[-1] for flow in usage_of(evidence).flows) <= 1
    assert left_in([file]) == (0, 0)


def test_a_task_that_raises_in_the_end_holds_up_the_drain_as_one_that_returns() -> None:
    """Half of them wait for a minute for somebody who is not there: a deploy waits for them too."""
    evidence = simulate(Plan(n_requests=100, gap_ms=5, pool=8, run_ms=1.0, seed=2)).evidence
    late_ns = evidence.load_end_ns + 60_000 * MS

    def hang(rows: np.ndarray) -> None:
        rows["finished_ns"][::2], rows["failed_ns"][::2] = 0, late_ns

    hung = with_task_rows(evidence, 1, hang)
    assert timeline(hung, account(hung)).drain_s == 60.0


@settings(deadline=None)
@given(run=runs())
def test_a_pool_is_saturated_while_every_thread_has_a_task(run: Run) -> None:
    """Never longer than it lived, never with more threads than it has, and not at all if it was never full."""
    evidence = run.evidence
    pool = pool_of(evidence, account(evidence))
    size = evidence.boots[-1] and evidence.tasks[evidence.boots[-1].boot][0].gauges[Gauge.POOL_SIZE]

    assert pool.size == size
    assert pool.busy_max <= size
    assert 0 <= pool.saturated_s <= pool.lived_s + 1e-9
    assert (pool.saturated_s == 0) or pool.busy_max == size


def test_a_kill_is_an_outage_until_the_next_boot_is_ready_and_over_with_its_first_answer() -> None:
    run = simulate(Plan(n_requests=200, kills=(("SIGKILL", 300.0),), restart_ms=150.0, seed=2))
    evidence = run.evidence
    first, second = evidence.boots
    (outage,) = outages(evidence)
    assert (outage.from_ns, outage.until_ns) == (first.signalled_ns, second.ready_ns)

    rows = evidence.requests[0].rows
    after = rows[(rows["sent_ns"] > first.signalled_ns) & (rows["outcome"] == Outcome.ACK)]
    expected = (int(after["done_ns"].min()) - (first.signalled_ns or 0)) / 1e9
    assert recovery_s(first, account(evidence)) == expected
    assert expected > 0.15
    assert recovery_s(second, account(evidence)) is None


def test_a_server_that_never_comes_back_leaves_an_outage_without_an_end() -> None:
    evidence = simulate(Plan(n_requests=100, kills=(("SIGKILL", 200.0),))).evidence
    gone = dataclasses.replace(evidence, boots=evidence.boots[:1])
    assert [outage.until_ns for outage in outages(gone)] == [None]


def test_percentiles_over_time_are_those_of_what_was_due_in_the_bin() -> None:
    """An operation without an answer makes its bin's p95 infinite; a bin in which nothing was due has none."""
    evidence = simulate(Plan(n_requests=20, gap_ms=10.0)).evidence
    found = timeline(evidence, account(evidence), 1)
    rows = evidence.requests[0].rows
    response = np.sort(rows["done_ns"] - rows["due_ns"])
    assert found.response_p95_ms.tolist() == [response[18] / 1e6]

    far = dataclasses.replace(evidence, load_end_ns=evidence.load_end_ns + 10_000 * MS)
    assert math.isnan(timeline(far, account(far), 4).response_p95_ms[-1])


@settings(deadline=None)
@given(run=runs())
def test_the_bins_have_each_task_that_was_never_done_once(run: Run) -> None:
    """However many processes began it; one that a later process did after all is in none of them."""
    result = account(run.evidence)
    found = series(run.evidence, result, bin_edges(run.evidence, result, 0.1))

    assert result.inline or found.undone.sum() == result.never_done


def test_work_that_a_later_process_took_over_and_did_is_not_lost_in_the_bins() -> None:
    for requeue in (False, True):
        plan = Plan(n_requests=400, gap_ms=5, pool=2, run_ms=12, kills=(("SIGKILL", 1000.0),), requeue=requeue, seed=3)
        evidence = simulate(plan).evidence
        assert (account(evidence).lost == 0) is requeue
        assert np.isinf(timeline(evidence, account(evidence), 20).done_p95_ms).any() is np.bool_(not requeue)


@pytest.mark.parametrize("name", ["killed", "calm"])
def test_where_most_was_lost_no_percentile_of_those_that_were_left_is_told(name: str) -> None:
    """In the report, its table and comparisons as in the summary: the share that is looked at decides."""
    evidence = CASES[name]()
    result = account(evidence)
    spans, edges = task_spans(result.tables), bin_edges(evidence, result, 0.5)
    found = series(evidence, result, edges, spans)
    told = done_or_never(found, spans)
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        inside = (spans.due_ns >= begin) & (spans.due_ns < end)
        ended = sorted(spans.done_ns[inside & (spans.done_ns != NONE_NS)].tolist())
        all_of_them = [*(value / 1e6 for value in ended), *[math.inf] * int(np.count_nonzero(inside & spans.is_left))]
        for row, share in enumerate(SHARES):
            expected = all_of_them[rank(share, len(all_of_them)) - 1] if all_of_them else math.nan
            assert np.array_equal(told[row, number], expected, equal_nan=True)
    assert np.isinf(told).any() is np.bool_(result.lost > 0)
    assert np.isinf(told[1]).sum() > np.isinf(found.done_ms[1]).sum() or not result.lost


def test_lost_tasks_take_longer_than_those_that_took_long() -> None:
    """92 % are done at once, 4 % after 10 s, and 4 % are lost: the p95 is 10 s, and not that of the 96 % that were done."""
    evidence = simulate(Plan(n_requests=1000, gap_ms=1.0, pool=8, run_ms=0.1, seed=2)).evidence

    def delay(rows: np.ndarray) -> None:
        number = (rows["op"] & 0xFFFF_FFFF) % 100
        slow, lost = (number >= 92) & (number < 96), number >= 96
        rows["finished_ns"][slow] += 10_000 * MS
        rows["finished_ns"][lost] = rows["failed_ns"][lost] = 0

    late = with_task_rows(evidence, 1, delay)
    result = account(late)
    spans = task_spans(result.tables)
    edges = late.load_start_ns + 200 * MS * np.arange(6, dtype=np.int64)
    found = done_or_never(series(late, result, edges, spans), spans)[SHARES.index(0.95)]

    assert (found[:5] > 10_000).all()
    assert np.isfinite(found[:5]).all()
    (whole,) = timeline(late, result, n_bins=1).done_p95_ms
    assert 10_000 < whole < math.inf
