"""What can't change any more is let go; no figure changes by that, and what was let go is read again where it is needed."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.live import binned
from harness.live.cutting import cut
from harness.live.folding import Folding
from harness.live.frame import Look, TaskStatus
from harness.live.standing import is_plain
from harness.model import Evidence
from tests.accounting.memory import with_task_rows
from tests.accounting.world import MS, START_NS, Plan, simulate
from tests.live.growing import Followed, known_at
from tests.live.test_ledger import check, folding, instants_of, plans, with_pool, with_samples

_LATE_NS = START_NS + 6_000 * MS


@settings(max_examples=15, deadline=None)
@given(
    plan=plans,
    young_ms=st.sampled_from([0, 50, 500, 3_000]),
    every_ms=st.sampled_from([30, 110, 700]),
    bins=st.lists(st.sampled_from([0.02, 0.1, 0.5]), min_size=1, max_size=2),
    back_s=st.sampled_from([0.5, 2.0, 20.0]),
    pool=st.sampled_from(["as it was", "resized", "squeezed", "shared"]),
)
def test_what_has_been_let_go_changes_no_figure(
    plan: Plan, young_ms: int, every_ms: int, bins: list[float], back_s: float, pool: str
):
    """Watched from its beginning to its end, with one or two lengths of bins in turn."""
    evidence = with_pool(with_samples(simulate(plan).evidence, plan.pool), pool)
    last = max([START_NS, *instants_of(evidence)]) + 2 * every_ms * MS
    with tempfile.TemporaryDirectory() as folder:
        followed = Followed(Path(folder), evidence, folding(young_ms))
        with patch.object(binned, "UNTRIMMED", 8), patch.object(binned, "TRIMMED", 4):
            for number, at_ns in enumerate(range(START_NS, last, max(every_ms * MS, (last - START_NS) // 60))):
                followed.read(at_ns)
                check(followed, evidence, at_ns, bins[number % len(bins)], 0, back_s=back_s)
        assert followed.n_folded
        followed.shelf.close()


def sent_late(evidence: Evidence) -> Evidence:
    """A load process was stopped for six seconds just before it sent."""

    def edit(rows: np.ndarray) -> None:
        rows["due_ns"][np.flatnonzero(rows["sent_ns"] > _LATE_NS)[0]] -= 5_900 * MS

    return _with_requests(evidence, edit)


def sent_twice(evidence: Evidence) -> Evidence:
    def edit(rows: np.ndarray) -> None:
        rows["op"][np.flatnonzero(rows["sent_ns"] > _LATE_NS)[0]] = rows["op"][3]

    return _with_requests(evidence, edit)


def spawned_late(evidence: Evidence) -> Evidence:
    """A task of the first request, six seconds after it."""

    def spawn(tasks: np.ndarray) -> np.ndarray:
        new = tasks[[np.argmin(tasks["accepted_ns"])]]
        new["index"] = 40_000
        for name in ("accepted_ns", "started_ns", "finished_ns"):
            new[name] += np.uint64(_LATE_NS - START_NS)
        return np.concatenate([tasks, new])

    return with_task_rows(evidence, 1, spawn, gauges=False)


@pytest.mark.parametrize("untrimmed", [4, 512])
@pytest.mark.parametrize(
    ("late", "n_tasks"), [(sent_late, 0), (sent_late, 1), (spawned_late, 1), (sent_twice, 0), (sent_twice, 1)]
)
def test_what_comes_of_something_that_has_been_let_go_is_noticed(late, n_tasks: int, untrimmed: int, tmp_path: Path, monkeypatch):
    """Then everything is read again."""
    monkeypatch.setattr(binned, "UNTRIMMED", untrimmed)
    monkeypatch.setattr(binned, "TRIMMED", min(untrimmed, binned.TRIMMED))
    plan = Plan(n_requests=400, gap_ms=20.0, run_ms=3.0, pool=3, n_tasks=n_tasks, n_effects=n_tasks, ends_alive=True)
    evidence = late(simulate(plan).evidence)
    followed = Followed(tmp_path, evidence, Folding(500 * MS, rows=0, listed=5))
    for at_ms in range(0, 7_000, 250):
        followed.read(START_NS + at_ms * MS)
        known, at_s = known_at(evidence, START_NS + at_ms * MS), at_ms / 1e3
        _, light = followed.tell(START_NS + at_ms * MS, known, Look(at_s - 0.5, at_s + 1.0, 0.1))
        if not is_plain(light, followed.shelf.requests, followed.shelf.works):
            break
        check(followed, evidence, START_NS + at_ms * MS, 0.1, 0, back_s=0.5)
    assert (at_ms < 6_750) == (late is sent_twice)
    assert followed.n_read_again == 1


def test_what_a_list_shows_and_what_was_lost_is_kept(tmp_path: Path):
    """One task ran for long and had its effect early, then the server was killed; another's effect came long after that."""
    evidence = simulate(Plan(n_requests=300, gap_ms=20.0, run_ms=45.0, pool=2, fail=0.2, kills=(("SIGKILL", 4_000.0),))).evidence
    [tasks] = evidence.tasks[1]
    ended = np.flatnonzero(tasks.rows["finished_ns"] != 0)
    first = ended[np.argmin(tasks.rows["accepted_ns"][ended])]
    lost = np.flatnonzero((tasks.rows["started_ns"] == 0) & (tasks.rows["op"] != 0))
    late = lost[np.argmin(tasks.rows["accepted_ns"][lost])]

    def hang(rows: np.ndarray) -> None:
        rows["finished_ns"][first] = 0

    evidence = with_task_rows(evidence, 1, hang, gauges=False)
    [effects] = evidence.effects
    rows = np.append(effects.rows, effects.rows[:1])
    rows[-1]["op"], rows[-1]["index"] = tasks.rows["op"][late], tasks.rows["index"][late]
    rows[-1]["arrived_ns"] = START_NS + 7_000 * MS
    evidence = dataclasses.replace(evidence, effects=[dataclasses.replace(effects, rows=rows)])
    followed = Followed(tmp_path / "folded", evidence, Folding(100 * MS, rows=0, listed=5))
    whole = Followed(tmp_path / "whole", evidence)
    for each in (followed, whole):
        each.folder.mkdir()
    n_lost = []
    for at_ms in range(200, 8_000, 400):
        at_ns = START_NS + at_ms * MS
        found = []
        for each in (followed, whole):
            each.read(at_ns)
            ledger, light = each.tell(at_ns, known_at(evidence, at_ns), Look(at_ms / 1e3 - 1.0, at_ms / 1e3 + 1.0, 0.5))
            lists = [ledger.of_status(status, 5) for status in TaskStatus if status is not TaskStatus.OTHER]
            found.append([sorted(each.shelf.works.key.now[chosen].tolist()) for chosen in lists if chosen is not None])
        assert found[0] == found[1], at_ms
        keys, of_all = followed.shelf.works.key.now, whole.shelf.effects.key.now
        assert np.isin(of_all[np.isin(of_all, keys)], followed.shelf.effects.key.now).all()
        check(followed, evidence, at_ns, 0.5, 0, back_s=1.0)
        figures = ledger.figures(cut(light, at_ns), Look(0.0, 1.0, 0.5))
        n_lost.append(figures.lost_queued + figures.lost_running)
    followed.folding = Folding(0, rows=0, listed=1)
    check(followed, evidence, at_ns, 0.5, 0, back_s=1.0)
    assert followed.shelf.last_ns() == whole.shelf.last_ns()
    assert followed.n_folded > 3
    assert 0 < n_lost[-1] == max(n_lost) - 1


def test_what_is_kept_does_not_grow_with_the_run(tmp_path: Path):
    """Half a second of it, the bins beside that, and what has come since the last time."""
    evidence = simulate(Plan(n_requests=1_500, gap_ms=10.0, run_ms=3.0, pool=3, ends_alive=True)).evidence
    followed = Followed(tmp_path, evidence, Folding(500 * MS, rows=0, listed=5))
    n_rows = []
    for at_ms in range(0, 15_000, 500):
        at_ns = START_NS + at_ms * MS
        followed.read(at_ns)
        look = Look(at_ms / 1e3 - 2.0, at_ms / 1e3 + 1.0, 0.5)
        ledger, light = followed.tell(at_ns, known_at(evidence, at_ns), look)
        ledger.figures(cut(light, at_ns), look)
        followed.fold(ledger, cut(light, at_ns))
        n_rows.append(followed.shelf.n_rows)
    assert followed.n_read_again == 0
    assert max(n_rows) == max(n_rows[:10]) < 1_000 < ledger.figures(cut(light, at_ns), look).attempted


def _with_requests(evidence: Evidence, edit) -> Evidence:
    [requests] = evidence.requests
    rows = np.array(requests.rows)
    edit(rows)
    return dataclasses.replace(evidence, requests=[dataclasses.replace(requests, rows=rows)])
