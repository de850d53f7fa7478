"""Parts of a run in which nothing happens to the server: a fault that lasted belongs to none, with what it held up."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable

import numpy as np
import pytest

from harness.accounting import account
from harness.findings.stretch import Stretch, stretches_of
from harness.model import Evidence, Fault
from harness.rows import TaskKind
from harness.usage import usage_of
from tests.accounting.memory import edit_rows
from tests.accounting.world import MS, Plan, simulate
from tests.verdict.simulated import S, Setup, Simulated

STOPPED_MS, GOES_ON_MS = 2000, 3000
CAUGHT_UP_MS = 3250
ANSWER_MS = 30


def stopped() -> Evidence:
    """A server that nothing can overload, stopped for a second; in a quarter of one it does what came meanwhile, in order."""
    evidence = simulate(Plan(n_requests=600, gap_ms=10, pool=8, run_ms=20, seed=5, warm_up_ms=1000)).evidence
    start_ns = evidence.load_start_ns

    def held(at_ns: np.ndarray) -> np.ndarray:
        since_ms = (at_ns.astype(np.int64) - start_ns) / MS
        share = (GOES_ON_MS - CAUGHT_UP_MS) / (STOPPED_MS - CAUGHT_UP_MS)
        later_ms = CAUGHT_UP_MS + (since_ms - CAUGHT_UP_MS) * share
        is_held = (since_ms >= STOPPED_MS) & (since_ms < CAUGHT_UP_MS) & (at_ns != 0)
        return np.where(is_held, start_ns + (later_ms * MS).astype(np.int64), at_ns.astype(np.int64))

    def hold(*names: str, by_ms: int = 0) -> Callable[[np.ndarray], None]:
        def edit(rows: np.ndarray) -> None:
            for name in names:
                rows[name] = held(np.where(rows[name] != 0, rows[name] + np.uint64(by_ms * MS), 0))

        return edit

    stop = Fault(
        name="stop",
        planned_s=STOPPED_MS / 1e3,
        landed_ns=start_ns + STOPPED_MS * MS,
        boot=1,
        effect="lasts",
        ended_ns=start_ns + GOES_ON_MS * MS,
    )
    return dataclasses.replace(
        evidence,
        requests=[edit_rows(file, hold("done_ns", by_ms=ANSWER_MS)) for file in evidence.requests],
        tasks={
            boot: [edit_rows(file, hold("accepted_ns", "started_ns", "finished_ns", by_ms=ANSWER_MS)) for file in files]
            for boot, files in evidence.tasks.items()
        },
        faults=(stop,),
    )


@pytest.fixture(scope="module")
def parts() -> tuple[Stretch, Stretch]:
    evidence = stopped()
    before, after = stretches_of(evidence, account(evidence), usage_of(evidence))
    return before, after


def test_what_a_stop_held_up_does_not_count_as_answers_that_get_slower(parts: tuple[Stretch, Stretch]) -> None:
    """Those that were due just before it and answered after it: a tenth of the last third."""
    before, after = parts

    assert (before.from_s, before.until_s) == (1.0, STOPPED_MS / 1e3)
    assert all(ANSWER_MS <= p95 < ANSWER_MS + 20 for p95 in (*before.answers_ms, *after.answers_ms)), parts


def test_what_follows_a_stop_begins_when_all_is_answered_that_it_held_up(parts: tuple[Stretch, Stretch]) -> None:
    """The work that comes with it in a burst is no sign that more and more is pending."""
    _, after = parts

    assert CAUGHT_UP_MS / 1e3 - 0.05 <= after.from_s <= CAUGHT_UP_MS / 1e3 + 0.3
    assert not after.growth.rises
    assert after.grows_per_s == pytest.approx(0, abs=3)


@pytest.mark.parametrize(
    ("setup", "is_told"),
    [
        (Setup(seed=1, rate=20, run_ms=5000, pool=400), False),  # a hundred run in the end, and a hundred more could
        (Setup(seed=1, rate=20, run_ms=2000, pool=400), False),
        (Setup(seed=1, rate=20, run_ms=5000, pool=60), True),  # more and more wait for one of the threads
        (Setup(seed=1, rate=400, run_ms=10, pool=3), True),
    ],
    ids=["long tasks", "not so long ones", "long tasks and too few threads", "short tasks and too few threads"],
)
def test_a_server_that_fills_up_with_long_tasks_does_not_fall_behind(setup: Setup, *, is_told: bool) -> None:
    evidence = Simulated(setup).evidence()
    (stretch,) = stretches_of(evidence, account(evidence), usage_of(evidence))
    assert stretch.growth.rises
    assert stretch.falls_behind == is_told


@pytest.mark.parametrize("for_s", [20.0, 60.0])
def test_a_server_that_fills_up_with_few_long_tasks_beside_many_short_ones_does_not_fall_behind(for_s: float) -> None:
    """Every twentieth takes 45 s, the others 5 ms: 90 of 40/s in the end."""
    run = Simulated(Setup(seed=1, rate=40, run_ms=5, pool=400, for_s=for_s))
    run.tasks[1]["finished_ns"][::20] = run.tasks[1]["started_ns"][::20] + np.uint64(45_000 * MS)
    evidence = run.evidence()
    (stretch,) = stretches_of(evidence, account(evidence), usage_of(evidence))
    assert stretch.growth.rises
    assert not stretch.falls_behind


def sharing(seed: int, load: float, for_s: float) -> Evidence:
    """50/s tasks on the event loop, which share the processor: all of them run. `load`: of what it can do."""
    run = Simulated(Setup(seed=seed, rate=50.0, run_ms=5.0, for_s=for_s, warm_up_s=1.0))
    rows = run.tasks[1]
    rows["kind"] = TaskKind.ASYNC
    order = np.argsort(rows["started_ns"])
    came_s = rows["started_ns"][order] / S
    work_s = np.random.default_rng(seed + 100).exponential(load / 50.0, len(rows))
    ended_s, now, served, waiting, place = np.zeros(len(rows)), float(came_s[0]), 0.0, [], 0
    while place < len(rows) or waiting:
        next_s = came_s[place] if place < len(rows) else np.inf
        end_s = now + (waiting[0][0] - served) * len(waiting) if waiting else np.inf
        if end_s <= next_s:
            now = end_s
            served, which = heapq.heappop(waiting)
            ended_s[which] = now
        else:
            served += (next_s - now) / len(waiting) if waiting else 0.0
            now = next_s
            heapq.heappush(waiting, (served + work_s[place], place))
            place += 1
    known = ended_s < run.load_end_ns / S + 60
    rows["finished_ns"][order] = np.where(known, ended_s * S, 0).astype(np.uint64)
    run.effects = run._effects()
    return run.evidence()


@pytest.mark.parametrize(("load", "least", "most"), [(0.8, 0, 0), (1.05, 7, 10)])
def test_tasks_on_the_event_loop_that_share_it_fall_behind_although_none_waits(load: float, least: int, most: int) -> None:
    """As more and more of them run, each takes longer: that is no filling up."""
    n_behind = 0
    for seed in range(10):
        evidence = sharing(seed, load, 30.0)
        found = stretches_of(evidence, account(evidence), usage_of(evidence))
        n_behind += any(each.falls_behind for each in found)
    assert least <= n_behind <= most


def test_tasks_that_hang_for_good_fall_behind() -> None:
    """A tenth of 50/s; the others take 5 ms."""
    run = Simulated(Setup(seed=1, rate=50, run_ms=5, pool=400, for_s=20))
    run.tasks[1]["finished_ns"][::10] = 0
    evidence = run.evidence()
    (stretch,) = stretches_of(evidence, account(evidence), usage_of(evidence))
    assert stretch.falls_behind
