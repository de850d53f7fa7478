"""Behind an overloaded server nearly all tasks wait: a picture costs what has happened, not how many wait.

That figures are those of all rows, tests/live/test_ledger.py holds as well.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.grouping import NEVER_NS
from harness.live.frame import TaskStatus
from harness.live.rowtail import RowTail
from harness.model import Evidence
from harness.rows import ROW_TYPES, Kind
from tests.accounting.memory import row_file
from tests.accounting.world import MS, START_NS, Plan, simulate
from tests.live.growing import Followed, known_at, write_as_at
from tests.live.test_ledger import check, folding, plans, with_samples

_NAMES = ("started_ns", "finished_ns", "failed_ns", "dropped_ns")


@pytest.mark.parametrize("step", [1, 3, 100])
def test_rows_in_which_something_happened_are_found_wherever_they_stand(step: int, tmp_path: Path):
    """Also where more of them stand together than are looked through at once, and in a file that has been cut off."""
    evidence = simulate(Plan(n_requests=1)).evidence
    rows = np.zeros(10_000, ROW_TYPES[Kind.TASKS])
    rows["op"], rows["accepted_ns"] = np.arange(len(rows)) + 1, 1
    for number, place in enumerate((0, 4_095, 4_096, 4_100, 8_199, 8_200, 9_900)):
        rows[_NAMES[number % 4]][place] = 2
    rows["flushed_ns"][5_000] = 3
    write_as_at(tmp_path, dataclasses.replace(evidence, tasks={1: [row_file(Kind.TASKS, rows)]}), START_NS)
    tail = RowTail(tmp_path / "tasks-1-0.rows")
    places = np.arange(0, len(rows), step)
    expected = np.logical_or.reduce([rows[name] != 0 for name in _NAMES])[places]
    assert expected.any()
    assert np.array_equal(tail.has_any(places, _NAMES), expected)
    assert not len(tail.has_any(np.empty(0, np.int64), _NAMES))
    with tail.path.open("r+b") as file:
        file.truncate(tail.path.stat().st_size - 2_000 * rows.dtype.itemsize)
    assert np.array_equal(tail.has_any(places, _NAMES), expected & (places < 8_000))
    tail.close()


def with_stuck(evidence: Evidence, share: float, seed: int) -> Evidence:
    """The same, but such a share of the tasks never begins, whatever came before or after it."""
    random, tasks, stuck = np.random.default_rng(seed), {}, [np.empty(0, np.uint64)]
    for boot, files in evidence.tasks.items():
        tasks[boot] = []
        for file in files:
            rows = np.array(file.rows)
            chosen = random.random(len(rows)) < share
            stuck.append(rows["op"][chosen])
            for name in (*_NAMES, "reason"):
                rows[name][chosen] = 0
            tasks[boot].append(dataclasses.replace(file, rows=rows))
    effects = [
        dataclasses.replace(file, rows=file.rows[~np.isin(file.rows["op"], np.concatenate(stuck))]) for file in evidence.effects
    ]
    return dataclasses.replace(evidence, tasks=tasks, effects=effects)


@settings(max_examples=40, deadline=None)
@given(
    plan=plans,
    share=st.sampled_from([0.1, 0.5, 1.0]),
    moments_ms=st.lists(st.integers(0, 4_000), min_size=3, max_size=8, unique=True),
    young_ms=st.sampled_from([None, 0, 2_000]),
)
def test_tasks_that_wait_through_many_pictures_count_in_each_of_them(
    plan: Plan, share: float, moments_ms: list[int], young_ms: int | None
):
    """Also where the oldest ones are among them, which those that run are not behind."""
    evidence = with_samples(with_stuck(simulate(plan).evidence, share, plan.seed), plan.pool)
    with tempfile.TemporaryDirectory() as folder:
        followed = Followed(Path(folder), evidence, folding(young_ms))
        for at_ms in sorted(moments_ms):
            followed.read(START_NS + at_ms * MS)
            check(followed, evidence, START_NS + at_ms * MS, 0.1, 0)


def test_tasks_that_wait_are_not_gone_through_for_every_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is read again as a whole, and what is worked out, is what something has happened to, of each file."""
    evidence = simulate(Plan(n_requests=400, gap_ms=2.0, pool=1, run_ms=40.0, ends_alive=True)).evidence
    n_read: list[int] = []
    read_again = RowTail.read_again

    def counted(tail: RowTail, places: np.ndarray) -> np.ndarray:
        rows = read_again(tail, places)
        n_read.append(int(np.count_nonzero(rows["op"])) if tail.kind is Kind.TASKS else 0)
        return rows

    monkeypatch.setattr(RowTail, "read_again", counted)
    followed = Followed(tmp_path, evidence)
    for at_ms in range(100, 900, 50):
        at_ns = START_NS + at_ms * MS
        followed.read(at_ns)
        ledger, _ = followed.tell(at_ns, known_at(evidence, at_ns))
    batch = ledger._batch
    assert batch is not None
    assert len(batch.idle.positions) > 300
    assert max(n_read) <= 30  # those that are new
    assert len(batch.open) <= 30  # those that were accepted since the picture before
    assert len(ledger._changes._alive) <= 2
    assert set(batch.idle.positions) < set(ledger.unsettled()[1])
    oldest = ledger.of_status(TaskStatus.QUEUED, 5)
    assert oldest is not None
    accepted_ns = followed.shelf.works.accepted.now
    assert accepted_ns[oldest].tolist() == sorted(accepted_ns[batch.idle.positions])[:5]


def test_a_task_of_no_operation_that_is_known_waits_but_is_not_the_oldest(tmp_path: Path):
    evidence = simulate(Plan(n_requests=60, gap_ms=2.0, pool=1, run_ms=400.0, ends_alive=True)).evidence
    file = evidence.tasks[1][0]
    rows = np.array(file.rows)
    rows["op"][2::10] += 1 << 32
    evidence = dataclasses.replace(evidence, tasks={1: [dataclasses.replace(file, rows=rows)]})
    followed = Followed(tmp_path, evidence)
    for at_ms in (50, 100, 150):
        followed.read(START_NS + at_ms * MS)
        ledger, _ = followed.tell(START_NS + at_ms * MS, known_at(evidence, START_NS + at_ms * MS))
    batch = ledger._batch
    assert batch is not None
    n_foreign = int(np.count_nonzero(batch.idle.due_ns == NEVER_NS))
    assert n_foreign > 3
    assert batch.idle.n_own == len(batch.idle.positions) - n_foreign > 30
    known = followed.shelf.works.request.now[batch.idle.positions] >= 0
    assert np.array_equal(known, batch.idle.due_ns != NEVER_NS)
