"""`backlog bounded`: whether work piles up is told by how it grows, with an interval, and not by how much there is at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from harness.figures import check_slo
from harness.growth import growth_of, pooled
from harness.rows import Outcome, RequestError
from harness.schema import SloSummary
from harness.slo import SloError
from harness.summary import build_summary
from tests.verdict.simulated import START_NS, S, Setup, Simulated


def judged(allow: tuple[str, ...] = (), **setup: float) -> SloSummary:
    """Of a queue whose capacity is 4 threads / run_ms."""
    plan = {"slos": ["backlog bounded"], "allow": list(allow)}
    return build_summary(Simulated(Setup(**{"seed": 3, **setup})).evidence(), plan, {}).slos[0]  # type: ignore[arg-type]


def test_a_server_that_keeps_up_has_a_bounded_backlog() -> None:
    assert judged(rate=400.0, run_ms=5.0).holds is True


def test_a_backlog_that_grows_all_the_time_is_not_bounded_however_little_there_is_yet() -> None:
    slo = judged(rate=400.0, run_ms=11.0)
    assert slo.holds is False
    assert slo.low is not None
    assert slo.low > 0
    assert slo.value == pytest.approx(400 - 4 / 0.011, rel=0.4)
    assert slo.unit == "/s"


def test_tasks_of_few_requests_that_pile_up_are_not_bounded() -> None:
    """A fifth of all work is left, and every twentieth request leaves some: 4 tasks/s are little of 400 requests/s."""
    run = Simulated(Setup(seed=3, rate=400.0, run_ms=12.5, for_s=32.0))
    run.tasks[1] = run.tasks[1][::20]
    (slo,) = build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos
    assert slo.holds is False
    assert slo.value == pytest.approx(80, rel=0.2)


def rare(every: int, answered_per_s: float) -> SloSummary:
    """200 requests a second, of which the server answers so many; every so many-th leaves a short task."""
    run = Simulated(Setup(seed=3, rate=200.0, run_ms=5.0, for_s=32.0))
    late_ns = (np.arange(len(run.requests)) * (1 / answered_per_s - 1 / 200) * S).astype(np.uint64)
    run.requests["done_ns"] += late_ns
    for name in ("accepted_ns", "flushed_ns", "started_ns", "finished_ns"):
        run.tasks[1][name] += late_ns
    run.tasks[1] = run.tasks[1][::every]
    return build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos[0]


@pytest.mark.parametrize("every", [1, 20, 200, 500, 1000])
def test_requests_that_wait_for_an_answer_pile_up_however_few_of_them_leave_a_task(every: int) -> None:
    """A task stands for many requests, and so does chance; a request that waits is one."""
    slow = rare(every, 150.0)
    assert slow.holds is False
    assert slow.value == pytest.approx(50, rel=0.05)
    assert rare(every, 200.0).holds is True


@pytest.mark.parametrize("n_answered", [240, 60, 5])
def test_tasks_of_requests_that_were_never_answered_pile_up_like_those_of_others(n_answered: int) -> None:
    """One thread does one of 20 tasks a second; clients wait for half a second, and after the first few in vain."""
    run = Simulated(Setup(seed=3, rate=20.0, run_ms=1000.0, pool=1))
    given_up = run.requests[n_answered:]
    given_up["outcome"], given_up["status"], given_up["error"] = Outcome.IND, 0, RequestError.TIMED_OUT
    given_up["done_ns"] = given_up["sent_ns"] + S // 2
    (slo,) = build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos
    assert slo.holds is False
    assert slo.value == pytest.approx(19, rel=0.1)


@pytest.mark.parametrize("every", [1, 20])
@pytest.mark.parametrize(("for_s", "holds"), [(12.0, None), (16.0, True), (30.0, True)])
def test_requests_that_are_given_up_fill_up_for_as_long_as_clients_wait_for_them(
    for_s: float, holds: bool | None, every: int
) -> None:
    """5 % of 100/s are never answered and given up after 10 s: 50 of them wait at a time, and no more."""
    run = Simulated(Setup(seed=3, rate=100.0, run_ms=5.0, for_s=for_s, warm_up_s=1.0))
    is_given_up = np.random.default_rng(1).random(len(run.requests)) < 0.05
    for name, value in (("outcome", Outcome.IND), ("status", 0), ("error", RequestError.TIMED_OUT)):
        run.requests[name][is_given_up] = value
    run.requests["done_ns"][is_given_up] = run.requests["sent_ns"][is_given_up] + np.uint64(10 * S)
    run.tasks[1] = run.tasks[1][~is_given_up][::every]
    run.effects = run._effects()
    (slo,) = build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos
    assert slo.holds is holds
    assert ("still fills up, which is no growth" in slo.why) == (holds is None)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_that_clients_give_up_is_no_work_of_a_server_that_answers_nothing(share: float) -> None:
    """What is pending stays as it is after ten seconds, for that is how long they wait."""
    run = Simulated(Setup(seed=3, rate=100.0, run_ms=5.0, for_s=90.0, warm_up_s=1.0))
    is_given_up = np.random.default_rng(1).random(len(run.requests)) < share
    for name, value in (("outcome", Outcome.IND), ("status", 0), ("error", RequestError.TIMED_OUT)):
        run.requests[name][is_given_up] = value
    run.requests["done_ns"][is_given_up] = run.requests["sent_ns"][is_given_up] + np.uint64(10 * S)
    run.tasks[1] = run.tasks[1][~is_given_up]
    run.effects = run._effects()
    (slo,) = build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos
    assert slo.holds is None
    assert "of the requests were never answered: clients bound what is pending, not the server" in slo.why


def test_a_server_that_fills_up_with_long_tasks_is_not_called_growing() -> None:
    """20/s of 5 s each are 100 threads of 400; for the first dozen seconds there are more and more of them."""
    slo = judged(rate=20.0, run_ms=5000.0, pool=400)
    assert slo.holds is None
    assert "still fills up, which is no growth: load for longer, or warm up for" in slo.why


def lasting(
    took_s: Callable[[np.ndarray], np.ndarray], *, for_s: float = 30.0, drain_s: float = 5.0, every: int = 1
) -> SloSummary:
    """20 requests a second, every so many-th of which leaves a task, each begun at once; the server ends after the load.

    `took_s`: of each task, by a random number up to 1.
    """
    run = Simulated(Setup(seed=3, rate=20.0, run_ms=5.0, for_s=for_s))
    rows, end_ns = run.tasks[1][::every], run.load_end_ns + round(drain_s * S)
    ended_s = rows["started_ns"] / S + took_s(np.random.default_rng(1).random(len(rows)))
    rows["finished_ns"] = np.where(ended_s < end_ns / S, ended_s, 0.0) * S
    run.boots = [dataclasses.replace(boot, signalled_ns=end_ns, reaped_ns=end_ns + 1) for boot in run.boots]
    run.tasks[1], run.effects = rows, run.effects[:0]
    return build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos[0]


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("for_s", [30.0, 300.0])
def test_tasks_that_hang_for_good_are_growth_and_fill_nothing_up(for_s: float, share: float) -> None:
    """The others take 50 ms."""
    slo = lasting(lambda random: np.where(random < share, np.inf, 0.05), for_s=for_s)
    assert slo.holds is False
    assert slo.value == pytest.approx(20 * share, rel=0.25)
    assert "begun in the first half of the load never ended, while others of their function ended far sooner" in slo.why


def test_tasks_that_hang_are_the_reason_also_where_each_stands_for_several_requests() -> None:
    """A fifth of 5 tasks a second: growth is counted in requests."""
    slo = lasting(lambda random: np.where(random < 0.2, np.inf, 0.05), for_s=60.0, every=4)
    assert slo.holds is False
    assert slo.value == pytest.approx(4, rel=0.3)
    assert "never ended" in slo.why


def test_a_queue_that_grows_is_not_put_down_to_a_few_tasks_that_hang_beside_it() -> None:
    """4 threads do half of 200/s, and 2 % of the tasks, that is 2 to 4 a second, never end."""
    run = Simulated(Setup(seed=3, rate=200.0, run_ms=40.0, for_s=20.0))
    rows, end_ns = run.tasks[1], run.load_end_ns + 30 * S
    rows["finished_ns"][np.random.default_rng(2).random(len(rows)) < 0.02] = 0
    for name in ("started_ns", "finished_ns"):
        rows[name][rows[name] > end_ns] = 0
    run.boots = [dataclasses.replace(boot, signalled_ns=end_ns, reaped_ns=end_ns + 1) for boot in run.boots]
    run.effects = run.effects[:0]
    (slo,) = build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos
    assert (slo.holds, slo.why) == (False, "")
    assert slo.value == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("drain_s", [0.5, 5.0, 60.0])
@pytest.mark.parametrize("share", [0.2, 1.0])
@pytest.mark.parametrize("took_s", [22.0, 25.0, 30.0])
def test_tasks_that_take_most_of_a_short_run_fill_up_and_do_not_hang(took_s: float, share: float, drain_s: float) -> None:
    """A run of 30 s; the last of them are cut off, unless the server drains for so long. Beside them, short ones."""
    slo = lasting(lambda random: np.where(random < share, took_s, 0.05), drain_s=drain_s)
    assert slo.holds is None
    assert "still fills up, which is no growth" in slo.why


@pytest.mark.parametrize("took_s", [np.inf, 100.0])
@pytest.mark.parametrize("share", [0.7, 1.0])
def test_of_tasks_most_of_which_never_ended_nobody_says_that_they_are_no_growth(share: float, took_s: float) -> None:
    """Nor that they hang: what takes longer than the run looks the same."""
    slo = lasting(lambda random: np.where(random < share, took_s, 0.05), for_s=60.0)
    assert slo.holds is None
    assert "whether they take long or hang is not known" in slo.why
    assert "no growth" not in slo.why
    assert "warm up" not in slo.why


@pytest.mark.parametrize("rate", [4.0, 20.0])
def test_long_tasks_that_wait_for_threads_are_not_called_filling(rate: float) -> None:
    """10 threads do 2/s, and what cannot be begun waits."""
    slo = judged(rate=rate, run_ms=5000.0, pool=10)
    assert slo.holds is False
    assert slo.value == pytest.approx(rate - 2, rel=0.25)


def answers_of(took_ns: Callable[[np.ndarray], np.ndarray]) -> SloSummary:
    """50 requests a second whose work is done before the answer; `took_ns`: from when each was due, after load start."""
    run = Simulated(Setup(seed=3, rate=50.0, for_s=12.0))
    due_ns = run.requests["due_ns"].astype(np.int64)
    run.requests["done_ns"] = due_ns + took_ns(due_ns - START_NS)
    run.tasks[1], run.effects = run.tasks[1][:0], run.effects[:0]
    return build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos[0]


def test_answers_that_all_take_long_are_not_called_growing_and_ever_longer_ones_are() -> None:
    """Without a queue of tasks that says which it is: what comes later takes longer, or it does not."""
    random = np.random.default_rng(1)
    assert answers_of(lambda at_ns: (random.exponential(9.0, len(at_ns)) * S).astype(np.int64)).holds is None
    # One after another, at a tenth of the rate.
    assert answers_of(lambda at_ns: 9 * at_ns + S // 5).holds is False


def test_what_chance_could_have_done_is_not_decided() -> None:
    """At 97 % of what it can do, a queue wanders so far that a dozen seconds tell nothing."""
    slo = judged(rate=97.0, run_ms=40.0)
    assert slo.holds is None
    assert "load for longer" in slo.why
    assert judged(allow=("few-samples",), rate=97.0, run_ms=40.0).holds is not None


def test_few_queues_that_keep_up_are_called_growing() -> None:
    """At 95 % of what they can do, most of which is chance."""
    found = [judged(seed=seed, rate=380.0, run_ms=10.0).holds for seed in range(60)]
    assert sum(holds is False for holds in found) <= 2


def test_several_stages_together_say_more_than_one() -> None:
    random = np.random.default_rng(1)
    parts = [growth_of(100 + np.cumsum(random.normal(0, 1, 120)), 0.1) for _ in range(4)]
    known = [part for part in parts if part is not None]
    together = pooled(known)
    assert together.high - together.per_s < min(part.high - part.per_s for part in known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99 bounded", "only the backlog can be bounded"),
        ("backlog bounded@5s", "leave the window out"),
        ("backlog bounded < 5", "one comparison each"),
        ("backlog bound", "expected a comparison"),
    ],
)
def test_what_cannot_be_bounded_is_told(text: str, message: str) -> None:
    with pytest.raises(SloError, match=message):
        check_slo(text)
