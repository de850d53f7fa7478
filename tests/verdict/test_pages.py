"""What is told of tasks while a run goes on: by the counts in the gauge pages."""

from __future__ import annotations

import pytest

from harness.pages import waiting_and_running
from harness.rows import Gauge


@pytest.mark.parametrize(
    ("accepted", "started", "finished", "failed", "dropped", "expected"),
    [
        (10, 4, 1, 1, 0, (6, 2)),
        (300, 200, 90, 100, 100, (0, 10)),  # skipped because an earlier one raised: they never start, and wait for nothing
        (10, 6, 4, 0, 5, (0, 1)),  # at the end of a short grace period: those that waited, and one of two that ran
        (5, 6, 2, 0, 0, (0, 3)),  # read a moment apart: more had started than there were
        (0, 0, 0, 0, 0, (0, 0)),
        (3, 3, 2, 2, 0, (0, 0)),
    ],
)
def test_a_task_waits_until_it_starts_or_is_dropped_and_runs_until_it_ends(
    accepted: int, started: int, finished: int, failed: int, dropped: int, expected: tuple[int, int]
) -> None:
    counts = {
        Gauge.ACCEPTED: accepted,
        Gauge.STARTED: started,
        Gauge.FINISHED: finished,
        Gauge.FAILED: failed,
        Gauge.DROPPED: dropped,
    }
    assert waiting_and_running(counts.__getitem__) == expected


def test_what_begins_and_ends_while_the_counts_are_read_is_no_backlog() -> None:
    """The reader loses the processor in the middle: what goes on meanwhile is seen whole, or not at all."""
    before = {Gauge.ACCEPTED: 100, Gauge.STARTED: 90, Gauge.FINISHED: 80, Gauge.FAILED: 6, Gauge.DROPPED: 0}
    after = {Gauge.ACCEPTED: 600, Gauge.STARTED: 590, Gauge.FINISHED: 580, Gauge.FAILED: 6, Gauge.DROPPED: 0}
    for n_before in range(8):
        reads = iter([before] * n_before + [after] * 30)

        assert waiting_and_running(lambda gauge, reads=reads: next(reads)[gauge]) == (10, 4), n_before


def test_where_something_begins_all_the_time_it_is_told_all_the_same() -> None:
    n = 0

    def count(gauge: Gauge) -> int:
        nonlocal n
        n += 1
        return {Gauge.ACCEPTED: 100 + n, Gauge.STARTED: 90 + n, Gauge.FINISHED: 80 + n}.get(gauge, 0)

    waiting, running = waiting_and_running(count)
    assert 5 <= waiting <= 15
    assert 0 <= running <= 15
