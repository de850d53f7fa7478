"""What is known of a figure, and what a limit on it comes to: counts, intervals, values that never ended, windows, few values."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from harness.accounting import account
from harness.model import Counted, CountedLoad, Evidence, Fault
from harness.noise import noise_of
from harness.rows import Outcome, RequestError
from harness.samples import Sample, Samples, bounds_of, least_to_bound, least_to_measure
from harness.schema import SloSummary, Summary
from harness.statistics import measure
from harness.summary import build_summary

from .simulated import MS, START_NS, S, Setup, Simulated

NEVER = np.iinfo(np.int64).max


def judged(run: Simulated | Evidence, *slos: str, allow: tuple[str, ...] = ()) -> Summary:
    evidence = run if isinstance(run, Evidence) else run.evidence()
    return build_summary(evidence, {"slos": slos, "allow": allow}, {}, n_bins=10)


def one(run: Simulated | Evidence, slo: str, **more: Any) -> SloSummary:
    return judged(run, slo, **more).slos[0]


@pytest.fixture
def healthy() -> Simulated:
    return Simulated(Setup(1))


@pytest.fixture
def killed() -> Simulated:
    """With a backlog: some tasks were queued and some running when the server was killed."""
    return Simulated(Setup(2, kill_at_s=6.0, pool=2, run_ms=20.0))


def test_a_percentile_is_the_one_of_the_summary(healthy: Simulated) -> None:
    """The same numbers by both names, and by hand."""
    summary = judged(healthy, "p99<1s", "requests.response_ms.p99<1000", "done_p95<1s", "tasks.run_ms.p50<1000", "lag_max<1s")
    known = [
        summary.requests.response_ms.p99,
        summary.requests.response_ms.p99,
        summary.tasks.done_ms.p95,
        summary.tasks.run_ms.p50,
        summary.requests.lag_ms.max,
    ]
    assert known == [slo.value for slo in summary.slos]
    assert all(slo.holds and slo.low == slo.value == slo.high for slo in summary.slos)


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        ("<", False, False, True),
        ("<=", False, True, True),
        (">", True, False, False),
        (">=", True, True, False),
        ("==", False, True, False),
    ],
)
def test_comparisons_are_what_they_say(healthy: Simulated, operator: str, below: bool, equal: bool, above: bool) -> None:
    """A limit below the figure, at it, above it."""
    n = len(healthy.requests)
    summary = judged(healthy, *(f"requests.attempted{operator}{number}" for number in (n - 1, n, n + 1)))
    assert [below, equal, above] == [slo.holds for slo in summary.slos]


def test_what_never_ended_breaks_an_upper_limit_and_holds_a_lower_one(healthy: Simulated) -> None:
    """Three in a hundred without an answer: the p99 is infinite, the p95 is not."""
    silent = healthy.random.choice(len(healthy.requests), len(healthy.requests) * 3 // 100, replace=False)
    healthy.requests["outcome"][silent], healthy.requests["error"][silent] = Outcome.IND, RequestError.CLOSED_EARLY
    summary = judged(healthy, "p99<1h", "p99>1h", "p95<1s", "done_p99<1s")

    assert [slo.holds for slo in summary.slos] == [False, True, True, True]
    assert (summary.slos[0].value, summary.slos[0].never) == (None, True)
    assert summary.tasks.recovered == len(silent)


def test_work_that_is_never_done_is_not_left_out_of_done(killed: Simulated) -> None:
    """The tasks that finished were fast; those that the kill took never ended."""
    summary = judged(killed, "done_p99<1h", "tasks.done_ms.p99<1h", "done_max<1h", "p99<1s")
    share = (summary.tasks.interrupted + summary.tasks.never_started) / summary.tasks.accepted

    assert share > 0.01
    assert [slo.holds for slo in summary.slos[:3]] == [False, True, False]


def test_failed_tasks_are_never_done_and_rejected_ones_are_nobodys_wait(healthy: Simulated) -> None:
    rows = healthy.tasks[1]
    some = np.arange(0, len(rows), 20)  # 5 %
    rows["failed_ns"][some], rows["finished_ns"][some] = rows["finished_ns"][some], 0
    assert one(healthy, "done_p99<1h").holds is False
    assert one(healthy, "done_p90<1h").holds is True


def test_without_a_witness_in_the_world_a_loss_is_an_interval(killed: Simulated) -> None:
    """Tasks that were running may have had their effect: between the queued ones and all of them."""
    evidence = killed.evidence()
    blind = dataclasses.replace(
        evidence, effects=[], expectation=dataclasses.replace(evidence.expectation, effects_per_request=0)
    )
    tasks = judged(blind).tasks
    low, high = tasks.lost_low, tasks.lost
    assert 0 < low < high
    summary = judged(blind, f"lost<={high}", f"lost<{low}", f"lost<={low}", "lost==0", f"lost=={high}", "duplicated==0")

    assert [slo.holds for slo in summary.slos] == [True, False, None, False, None, None]
    assert "a witness is missing" in summary.slos[2].why
    assert "nobody looked at what arrived" in summary.slos[5].why


def test_what_a_server_did_not_tell_is_a_lower_bound(healthy: Simulated) -> None:
    """No task rows at all, as of a server without the probe."""
    evidence = healthy.evidence()
    unseen = dataclasses.replace(
        evidence,
        tasks={},
        effects=[],
        expectation=dataclasses.replace(evidence.expectation, tasks_per_request=0, effects_per_request=0),
    )
    summary = judged(unseen, "backlog<1000", "tasks.accepted<5", "done_p99<5s", "p99<1s", "drain<1s")

    assert [slo.holds for slo in summary.slos] == [None, None, None, True, None]
    assert "the server told nothing" in summary.slos[0].why
    assert summary.verdict == "INCONCLUSIVE"
    assert summary.trusted


def test_a_figure_that_there_is_none_of_cannot_be_told(healthy: Simulated) -> None:
    summary = judged(healthy, "recovery<5s", "boots.7.recovery_s<5", "boots.1.recovery_s<5", "loop.lag_ms.p99<5", "pool.size>=1")
    assert [slo.holds for slo in summary.slos[:4]] == [None] * 4
    assert "there was no fault to recover from" in summary.slos[0].why
    assert "there is no boot 7: this run has 1" in summary.slos[1].why
    assert "no fault ended boot 1" in summary.slos[2].why


def test_recovery_is_that_of_the_slowest_fault(killed: Simulated) -> None:
    summary = judged(killed, "recovery<5s", "recovery<100ms", "boots.1.recovery_s<5")
    assert [slo.holds for slo in summary.slos] == [True, False, True]
    assert summary.slos[0].value == summary.boots[0].recovery_s


def test_a_fault_that_ends_no_boot_is_recovered_from_too(healthy: Simulated) -> None:
    """Frozen for two seconds: nobody is answered meanwhile, and then the first one."""
    landed, ended = START_NS + 6 * S, START_NS + 8 * S
    frozen = (healthy.requests["sent_ns"] >= landed) & (healthy.requests["sent_ns"] < ended)
    healthy.requests["done_ns"][frozen] = ended + np.arange(frozen.sum()) * MS
    healthy.extra["faults"] = [Fault("stop", 6.0, landed, 1, text="stop@6s+2s", effect="lasts", length_s=2.0, ended_ns=ended)]
    healthy.extra["planned_faults"] = ("stop@6s+2s",)
    summary = judged(
        healthy, "recovery<3s", "recovery<1s", 'faults."stop@6s+2s".recovery_s<3', "faults.1.recovery_s<1", "backlog_recovery<5s"
    )

    assert [slo.holds for slo in summary.slos] == [True, False, True, False, True]
    assert summary.slos[0].value == pytest.approx(2.0, abs=0.01)


def test_a_recovery_that_was_too_slow_is_broken_whatever_is_not_known_of_another_fault() -> None:
    """After the second one nobody asked: that may have been slower, and makes the first one no faster."""
    run = Simulated(Setup(2, kill_at_s=6.0, restart_s=3.0, rate=10.0))
    landed = int(run.requests["sent_ns"].max()) + MS
    evidence = run.evidence()
    last = Fault("stop", 11.9, landed, 2, text="stop@11.9s+50ms", effect="lasts", length_s=0.05, ended_ns=landed + 50 * MS)
    evidence = dataclasses.replace(
        evidence, faults=[*evidence.faults, last], planned_faults=(*evidence.planned_faults, "stop@11.9s+50ms")
    )
    summary = judged(evidence, "recovery<1s", "recovery<5s")
    assert [slo.holds for slo in summary.slos] == [False, None]
    assert summary.slos[0].value == pytest.approx(3.0, abs=0.2)
    assert summary.slos[1].why.startswith("no request was sent any more after stop@11.9s+50ms; it lies between 3.0")
    assert summary.verdict == "FAIL"


def test_a_server_that_does_not_come_back_never_recovers(killed: Simulated) -> None:
    """Requests were sent to it until the end, and nobody answered."""
    after = killed.requests["sent_ns"] >= START_NS + 6 * S
    killed.requests["outcome"][after], killed.requests["error"][after] = Outcome.REJ, RequestError.REFUSED
    killed.requests["status"][after] = 0
    killed.tasks[2] = killed.tasks[2][:0]
    killed.effects = killed._effects()
    slo = one(killed, "recovery<1h")
    assert (slo.holds, slo.never) == (False, True)


def test_rates_and_shares(killed: Simulated) -> None:
    """Half a second of twelve without a server."""
    summary = judged(
        killed, "achieved>=90%", "achieved>=99%", "achieved>100/s", "error_rate<10%", "error_rate<1%", "lost<1% of accepted"
    )
    refused = 100 * (killed.requests["outcome"] != Outcome.ACK).sum() / (200 * 10)
    assert [slo.holds for slo in summary.slos] == [True, False, True, True, False, False]
    assert summary.slos[3].value == pytest.approx(refused)
    assert summary.slos[0].limit == pytest.approx(0.9 * 200)


def test_what_was_answered_after_the_load_was_not_achieved_in_it(healthy: Simulated) -> None:
    """A server that does half of what it is asked for has answered all of it at twice the time; windows say the same."""
    due = healthy.requests["due_ns"].astype(np.int64)
    healthy.requests["done_ns"] = due + (due - START_NS) + 2 * MS
    summary = judged(healthy, "achieved>=95%", "achieved>=45%", "achieved>=60%@5s", "offered>=199/s")

    assert summary.requests.acked == 2400
    assert summary.requests.achieved_per_s == pytest.approx(100, rel=0.01)
    assert summary.requests.offered_per_s == pytest.approx(200, rel=0.001)
    assert [slo.holds for slo in summary.slos] == [False, True, False, True]


def test_what_was_left_of_the_warm_up_is_not_achieved_beyond_what_was_due(healthy: Simulated) -> None:
    """A cold start: nothing is answered within the warm-up, and all of that at once after it."""
    due = healthy.requests["due_ns"].astype(np.int64)
    cold = due < START_NS + 2 * S
    healthy.requests["done_ns"][cold] = START_NS + 2 * S + 100 * MS
    requests = judged(healthy).requests
    assert requests.achieved_per_s == requests.offered_per_s == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize("is_counted", [False, True])
def test_rates_of_a_load_that_was_cut_short_in_its_warm_up_are_of_all_of_it(healthy: Simulated, is_counted: bool) -> None:
    """Every other request was shed. With rows or with histograms, which tell of the time after the warm-up alone."""
    nothing = Counted(np.array([], np.int64), np.array([], np.int64), 0)
    load = CountedLoad(0, 1200, 1200, 0, 0, 1200, 0, 0, response=nothing, answered=nothing, service=nothing, lag=nothing)
    shed = np.arange(2400) % 2 == 1
    healthy.tasks[1] = healthy.tasks[1][~np.isin(healthy.tasks[1]["op"], healthy.requests["op"][shed])]
    healthy.requests["outcome"][shed], healthy.requests["error"][shed] = Outcome.REJ, RequestError.SHED
    healthy.requests["sent_ns"][shed] = healthy.requests["done_ns"][shed] = 0
    evidence = dataclasses.replace(healthy.evidence(), warm_up_s=20.0, interrupted_by="SIGINT")
    if is_counted:
        evidence = dataclasses.replace(evidence, requests=[], counted=[load])
    requests = judged(evidence).requests
    assert (requests.offered_per_s, requests.achieved_per_s) == (pytest.approx(200, rel=0.01), pytest.approx(100, rel=0.01))


def test_a_window_is_judged_on_its_own_and_the_worst_is_shown(healthy: Simulated) -> None:
    """Ten seconds are measured: windows of 3 s from 2, 5, 8 s on, and one more that ends with the load."""
    hit = (healthy.requests["due_ns"] >= START_NS + 8.2 * S) & (healthy.requests["due_ns"] < START_NS + 8.6 * S)
    healthy.requests["done_ns"][hit] += np.uint64(500 * MS)
    summary = judged(healthy, "p95<100ms@3s", "p95<100ms", "p50<100ms@3s", "max<10s@3s")
    windows = summary.slos[0].windows

    assert [slo.holds for slo in summary.slos] == [False, True, True, True]
    assert windows is not None
    assert (windows.length_s, windows.n, windows.broken, windows.undecided, windows.worst_from_s) == (3.0, 4, 1, 0, 8.0)
    assert (summary.slos[0].value or 0) > 500
    assert summary.reasons[0].startswith("p95<100ms@3s is broken in 1 of 4 windows of 3.00 s, the worst from 8.0 s on: ")


def test_the_last_window_ends_with_the_load(healthy: Simulated) -> None:
    """It is as long as the others: half a second of stall in its last second is seen beside all of its three."""
    hit = healthy.requests["due_ns"] >= START_NS + 11.5 * S
    healthy.requests["done_ns"][hit] += np.uint64(500 * MS)
    windows = one(healthy, "p90<100ms@3s").windows
    assert windows is not None
    assert (windows.n, windows.broken, windows.worst_from_s) == (4, 1, 9.0)


def test_of_windows_that_are_broken_the_worst_is_shown_and_not_one_that_cannot_be_told(healthy: Simulated) -> None:
    """The slowest was measured in noise; another is broken without any."""
    due_s = (healthy.requests["due_ns"].astype(np.int64) - START_NS) / S
    healthy.requests["done_ns"][(due_s >= 4) & (due_s < 6)] += np.uint64(900 * MS)
    healthy.requests["done_ns"][(due_s >= 8) & (due_s < 10)] += np.uint64(200 * MS)
    healthy.machine(other=0.65, from_s=3.5, until_s=6.5)
    slo = one(healthy, "p90<100ms@2s")
    assert slo.windows is not None
    assert (slo.windows.broken, slo.windows.undecided, slo.windows.worst_from_s) == (1, 1, 8.0)


def test_what_never_ended_is_not_excused_by_noise(healthy: Simulated) -> None:
    """It would not have ended on a quiet machine either, as far as anybody knows; slow answers might have been fast."""
    healthy.machine(other=0.65)
    silent = healthy.random.choice(len(healthy.requests), len(healthy.requests) * 3 // 100, replace=False)
    healthy.requests["outcome"][silent], healthy.requests["error"][silent] = Outcome.IND, RequestError.CLOSED_EARLY
    assert [slo.holds for slo in judged(healthy, "p99<1h", "p95<1ms").slos] == [False, None]


def test_counts_and_rates_have_windows_too(killed: Simulated) -> None:
    summary = judged(killed, "error_rate<1%@2s", "achieved>=90%@2s", "offered>190/s@2s", "backlog<5@2s", "error_rate<60%@1s")
    assert [slo.holds for slo in summary.slos] == [False, False, True, False, True]
    assert [slo.windows.worst_from_s for slo in summary.slos[:2] if slo.windows] == [6.0, 6.0]
    whole = one(killed, "backlog<5")
    assert summary.slos[3].value == whole.value


def test_few_values_in_a_window_leave_it_open(healthy: Simulated) -> None:
    """200 in a second: too few for a p99, and enough for a p95."""
    p99, p95 = judged(healthy, "p99<17ms@1s", "p95<1s@1s").slos
    assert (p99.holds, p95.holds) == (None, True)
    assert p99.windows is not None
    assert p99.windows.undecided == 10
    assert "200 values are too few for p99, which needs 1,000 (or 299 that all hold)" in p99.why
    assert one(healthy, "p99<1s@1s", allow=("few-samples",)).holds is True


def test_noise_is_no_reason_where_what_was_measured_would_hold(healthy: Simulated) -> None:
    """There are too few values, and without noise they would only be smaller; of a limit that breaks, it is the reason."""
    healthy.machine(other=0.65)
    few, broken = judged(healthy, "p99.9<1s", "p95<1ms").slos
    assert (few.holds, broken.holds) == (None, None)
    assert "too few for p99.9" in few.why
    assert "others used" not in few.why
    assert "others used 65 % of the processors" in broken.why


def test_a_window_in_which_nothing_was_due_says_nothing(healthy: Simulated) -> None:
    """As users cause it who wait for a server that stands still."""
    gap = (healthy.requests["due_ns"] >= START_NS + 5 * S) & (healthy.requests["due_ns"] < START_NS + 9 * S)
    ops = healthy.requests["op"][gap]
    healthy.requests = healthy.requests[~gap]
    healthy.tasks[1] = healthy.tasks[1][~np.isin(healthy.tasks[1]["op"], ops)]
    healthy.effects = healthy.effects[~np.isin(healthy.effects["op"], ops)]
    slo = one(healthy, "p95<1s@1s")
    assert slo.holds is True
    assert slo.windows is not None
    assert (slo.windows.n, slo.windows.undecided) == (10, 0)


def test_requests_that_came_back_as_histograms_count_on_the_whole_and_have_no_windows(healthy: Simulated) -> None:
    """A second load process, on another machine: a thousand answers of 100 ms, ten of them never given, and ten refused."""
    answers = Counted(np.array([100 * MS]), np.array([1000]), 0)
    responses = dataclasses.replace(answers, n_never=10)
    load = CountedLoad(1, 1020, 1000, 10, 10, 0, 1020, 10, response=responses, answered=answers, service=responses, lag=answers)
    evidence = dataclasses.replace(healthy.evidence(), counted=[load])
    summary = judged(evidence, "p50<50ms", "p90<50ms", "max<1h", "error_rate<1%", "p50<50ms@2s", "done_p50<1h", "backlog<5000@2s")

    assert [slo.holds for slo in summary.slos] == [True, False, False, True, None, True, True]
    assert summary.slos[0].value == summary.requests.response_ms.p50
    assert summary.slos[3].value == pytest.approx(100 * 20 / 3020)
    assert "there are histograms alone" in summary.slos[4].why


def test_a_limit_that_this_afterload_does_not_know_is_no_crash(healthy: Simulated) -> None:
    """The plan of a later version, judged again."""
    slo = one(healthy, "happiness>5")
    assert (slo.holds, slo.value) == (None, None)
    assert "there is no figure 'happiness'" in slo.why


def test_users_of_a_saturated_load_process_wait_for_it(healthy: Simulated) -> None:
    """In the closed model it is never late: what it slows down counts as measured in noise."""
    healthy.requests["done_ns"] += np.uint64(100 * MS)
    healthy.extra["is_closed"] = True
    assert one(healthy, "p99<50ms").holds is False
    healthy.report(cpu_share=0.97)

    slow, fast = judged(healthy, "p99<50ms", "p99<1s").slos
    assert (slow.holds, fast.holds) == (None, True)
    assert "load process 0 used 97 % of a core" in slow.why
    assert one(healthy, "p99<50ms", allow=("noise",)).holds is False


def test_a_noisy_run_has_a_finding_and_a_quiet_one_has_none(healthy: Simulated) -> None:
    healthy.machine()
    assert judged(healthy).findings == []
    healthy.machine(other=0.65)
    (found,) = judged(healthy).findings
    assert (found.id, found.severity) == ("noisy-machine", "warning")
    assert found.text.startswith("For 13.0 s of 13.0 s others used 65 % of the processors, and somebody had to wait")
    assert found.evidence["other_cpu_share"] == pytest.approx(0.65, abs=0.01)


# --- what can be said of a percentile ---


def sample(values: Any, **more: Any) -> Sample:
    array = np.asarray(values, np.int64)
    return Sample(np.arange(len(array)), array, more.pop("noisy", np.zeros(len(array), np.bool_)), **more)


@pytest.mark.parametrize(
    ("share", "measured_from", "bounded_from"),
    [(0.5, 20, 5), (0.9, 100, 29), (0.95, 200, 59), (0.99, 1000, 299), (0.999, 10_000, 2995), (0.1, 100, 2)],
)
def test_the_numbers_of_values_are_those_of_the_literature(share: float, measured_from: int, bounded_from: int) -> None:
    """59 and 299 are Wilks' (1941) for one-sided tolerance limits of 95 % and 99 % with confidence 95 %."""
    assert (measured_from, bounded_from) == (least_to_measure(share), least_to_bound(share))
    values = np.arange(measured_from) * MS
    assert not bounds_of(sample(values), share).is_few
    assert bounds_of(sample(values[:-1]), share).is_few
    assert bounds_of(sample(values[:bounded_from]), share).high < math.inf
    if bounded_from > 2:
        assert bounds_of(sample(values[: bounded_from - 1]), share).high == math.inf


@pytest.mark.parametrize(("share", "n"), [(0.99, 500), (0.99, 310), (0.95, 100), (0.5, 15), (0.05, 100)])
def test_the_bounds_hold_as_often_as_they_promise(share: float, n: int) -> None:
    """4,000 samples of an exponential distribution whose quantile is known: each bound is right in 95 % of them or more."""
    random = np.random.default_rng(3)
    true_ms = -math.log1p(-share)
    found = [bounds_of(sample(random.exponential(1.0, n) * MS), share) for _ in range(4000)]
    # Three standard errors of a share of 95 % in 4,000.
    assert np.mean([each.low <= true_ms for each in found]) > 0.95 - 0.0104
    assert np.mean([each.high >= true_ms for each in found]) > 0.95 - 0.0104


def test_unknown_values_may_have_been_anything() -> None:
    """Ninety known and ten unknown: the median lies between the values that it would have with them below and above all."""
    found = bounds_of(sample(np.arange(1, 91) * MS, n_unknown=10), 0.5)
    assert (found.low, found.high) == (40.0, 50.0)


def test_values_in_noise_may_have_been_smaller_but_never_larger() -> None:
    noisy = np.arange(100) >= 80
    found = bounds_of(sample(np.arange(1, 101) * MS, noisy=noisy), 0.9)
    assert (found.low, found.measured, found.high) == (70.0, 90.0, 90.0)
    assert bounds_of(sample(np.arange(1, 101) * MS, noisy=noisy), 0.9, allow_noise=True).low == 90.0


def test_single_values_are_those_of_the_statistics(killed: Simulated) -> None:
    """The same counts and maxima by the other way, so that a limit never speaks of other values than the table."""
    evidence = killed.evidence()
    result = account(evidence)
    statistics, samples = measure(evidence, result), Samples(evidence, result, noise_of(evidence))
    for name in ("response", "service", "lag", "wait", "run"):
        ours, theirs = samples.of(name).value_ns, getattr(statistics, name)
        assert len(ours) == theirs.n
        assert (ours.max() / 1e6 if ours.max() != NEVER else math.inf) == theirs.max_ms
    assert len(samples.of("done_finished").value_ns) == statistics.done.n
