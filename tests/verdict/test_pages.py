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
