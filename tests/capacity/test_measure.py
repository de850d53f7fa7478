"""What one stage comes to: from rows of a queue whose truth is known, judged as those of a real run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from harness.capacity.causes import cause_of
from harness.capacity.measure import measured
from harness.capacity.predict import demand_of, predict
from harness.capacity.schema import GrowthSeen, LimitSeen, Measured
from harness.capacity.search import Asked
from harness.capacity.standing import Standing, grown, standing, unclear
from harness.capacity.words import stage_in_words
from harness.findings.stretch import Stretch, Way
from harness.findings.trend import Trend
from harness.rows import Kind, Outcome, TaskKind
from harness.summary import Judged, build_summary, judge_evidence
from tests.accounting.memory import gauges_of, row_file
from tests.verdict.simulated import MS, START_NS, S, Setup, Simulated

SLOS = ["p99<50ms", "done_p95<100ms"]


def stage(*, until_s: float | None = None, died: str = "", report: dict[str, Any] | None = None, **setup: Any) -> Measured:
    """A stage of 10 s; the capacity is 4 threads / run_ms."""
    run = Simulated(Setup(seed=3, **setup))
    if report:
        run.report(**report)
    judged = judge_evidence(run.evidence(), {"slos": SLOS}, {"cpus": 2})
    asked = Asked(run.setup.rate, 10.0, "bisect")
    until_ns = None if until_s is None else START_NS + round(until_s * S)
    return measured(judged, asked, 1, until_ns=until_ns, died=died)


def test_a_stage_that_holds_has_no_cause_and_says_what_could_be_done() -> None:
    found = stage(rate=400.0, run_ms=5.0)
    assert found.growth is not None
    assert found.growth.low < 0 < found.growth.high
    assert found.cause is None
    assert [limit.holds for limit in found.limits] == [True, True]
    # 4 threads and 5 ms.
    assert found.could_per_s == pytest.approx(800, rel=0.1)
    assert found.run_mean_ms == pytest.approx(5.0, rel=0.1)
    # Run, wait, and until the answer is out: that is when a task may start.
    assert found.pending_mean == pytest.approx(3.5, rel=0.2)
    assert found.tasks_per_request == pytest.approx(1.0, rel=0.02)


def test_an_overloaded_stage_shows_what_got_done_and_that_the_pool_is_full() -> None:
    found = stage(rate=600.0, run_ms=10.0)
    assert found.growth is not None
    assert found.growth.low > 0
    assert found.growth.per_s == pytest.approx(200, rel=0.2)
    assert found.could_per_s == pytest.approx(400, rel=0.1)
    assert found.cause is not None
    assert found.cause.kind == "pool"
    assert "4 threads" in found.cause.text
    assert found.limits[1].holds is False


def test_growth_is_that_of_requests_however_few_of_them_leave_a_task() -> None:
    """A third of what comes in stays, of all of them or of every twentieth."""
    run = Simulated(Setup(seed=3, rate=600.0, run_ms=10.0))
    run.tasks[1] = run.tasks[1][::20]
    judged = judge_evidence(run.evidence(), {"slos": []}, {"cpus": 2})
    growth = measured(judged, Asked(600.0, 10.0, "bisect"), 1, until_ns=None).growth
    assert growth is not None
    assert growth.per_s == pytest.approx(200, rel=0.2)
    assert growth.unit == pytest.approx(20, rel=0.01)


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_stage_in_which_tasks_never_ended_says_nothing_until_a_longer_one_shows_whether_they_only_take_long(
    share: float,
) -> None:
    """However little is pending by them yet: 2 % of 10/s are two tasks in all."""
    run = Simulated(Setup(seed=3, rate=10.0, run_ms=5.0))
    rows, end_ns = run.tasks[1], run.load_end_ns + 5 * S
    rows["finished_ns"][round(0.5 / share) :: round(1 / share)] = 0
    run.boots = [dataclasses.replace(boot, signalled_ns=end_ns, reaped_ns=end_ns + 1) for boot in run.boots]
    run.effects = run.effects[:0]
    judged = judge_evidence(run.evidence(), {"slos": []}, {"cpus": 2})
    found = measured(judged, Asked(10.0, 10.0, "bisect"), 1, until_ns=None)
    assert (found.growth, found.may_hang) == (None, True)
    # All 10 s after the warm-up, and 5 s more.
    assert found.settling_s == pytest.approx(15.0, abs=0.2)
    assert standing([found], 0.05) is None
    assert "whether they take long or hang is not known" in stage_in_words(found, 0.05)


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_a_loop_of_the_app_s_own_that_the_first_request_has_begun_is_no_share_that_never_ends(rate: float) -> None:
    """There is one of it however long one looks; at low rates it is more than 1 % of all tasks."""
    run = Simulated(Setup(seed=3, rate=rate, run_ms=250.0, for_s=25.0))
    rows, end_ns = run.tasks[1], run.load_end_ns + 5 * S
    loop = rows[:1].copy()
    loop["index"], loop["func"], loop["kind"], loop["finished_ns"] = 1, 2, TaskKind.SPAWNED, 0
    run.tasks[1] = np.concatenate([rows, loop])
    run.boots = [dataclasses.replace(boot, signalled_ns=end_ns, reaped_ns=end_ns + 1) for boot in run.boots]
    run.effects = run._effects()
    evidence = run.evidence()
    files = [dataclasses.replace(file, names=("", "work", "flush_forever")) for file in evidence.tasks[1]]
    judged = judge_evidence(dataclasses.replace(evidence, tasks={1: files}), {"slos": []}, {"cpus": 2})
    found = measured(judged, Asked(rate, 24.0, "bisect"), 1, until_ns=None)
    assert not found.may_hang
    assert found.growth is not None
    assert not grown(found.growth).grows


def test_tasks_that_were_cut_off_by_the_death_of_their_worker_do_not_hang() -> None:
    """One of two processes dies after 4 of 12 s, with 20 tasks that run, and another one takes its place."""
    run = Simulated(Setup(seed=3, rate=100.0, run_ms=400.0, pool=1000))
    dead_ns, ready_ns = START_NS + 4 * S, run.boots[0].spawned_ns
    rows, second = run.tasks[1], np.arange(len(run.tasks[1])) % 2 == 1
    dies = second & (rows["accepted_ns"] < dead_ns)
    for name in ("flushed_ns", "started_ns", "finished_ns"):
        rows[name][dies & (rows[name] >= dead_ns)] = 0
    processes = ((5001, ~second, ready_ns), (5002, dies, ready_ns), (5003, second & ~dies, dead_ns))
    files = [
        row_file(Kind.TASKS, rows[own], boot=1, pid=pid, created_ns=began_ns, gauges=dict(enumerate(gauges_of(rows[own], 4))))
        for pid, own, began_ns in processes
    ]
    run.boots = [dataclasses.replace(boot, worker_deaths=((5002, dead_ns),)) for boot in run.boots]
    run.effects = run._effects()
    evidence = dataclasses.replace(run.evidence(), tasks={1: files})
    found = measured(judge_evidence(evidence, {"slos": []}, {"cpus": 2}), Asked(100.0, 10.0, "bisect"), 1, until_ns=None)
    assert not found.may_hang
    assert found.growth is not None
    assert not grown(found.growth).grows


def test_a_rate_at_which_answers_pile_up_does_not_hold_however_few_requests_leave_a_task() -> None:
    """A quarter of 200/s is not answered, and every five hundredth leaves a task."""
    run = Simulated(Setup(seed=3, rate=200.0, run_ms=5.0))
    run.requests["done_ns"] += (np.arange(len(run.requests)) * S // 600).astype(np.uint64)
    run.tasks[1] = run.tasks[1][::500]
    judged = judge_evidence(run.evidence(), {"slos": []}, {"cpus": 2})
    found = measured(judged, Asked(200.0, 10.0, "bisect"), 1, until_ns=None)
    assert found.growth is not None
    assert found.growth.per_s == pytest.approx(50, rel=0.1)
    assert standing([found], 0.05) is Standing.BROKEN


def test_of_a_stage_that_was_ended_early_only_the_time_before_counts() -> None:
    whole, early = stage(rate=600.0, run_ms=10.0), stage(rate=600.0, run_ms=10.0, until_s=5.0)
    assert early.ended_early
    assert early.seconds == pytest.approx(3.0)
    assert early.pending_end < 0.6 * whole.pending_end
    assert early.could_per_s == pytest.approx(400, rel=0.1)


def test_a_server_that_died_does_not_hold_whatever_else_was_measured() -> None:
    found = stage(rate=400.0, run_ms=5.0, died="exit status 3")
    assert found.died == "exit status 3"
    assert found.cause is not None
    assert found.cause.kind == "server"


def test_a_server_that_refuses_what_is_too_much_does_not_hold_the_rate() -> None:
    """Every tenth request gets a 503 and leaves no work behind: the backlog stays bounded. A 404 is the client's own."""
    run = Simulated(Setup(seed=3, rate=400.0, run_ms=5.0))
    run.requests["outcome"][::10], run.requests["status"][::10] = Outcome.REJ, 503
    judged = judge_evidence(run.evidence(), {"slos": SLOS}, {"cpus": 2})
    found = measured(judged, Asked(400.0, 10.0, "bisect"), 1, until_ns=None)
    assert standing([found], 0.05) is Standing.BROKEN
    assert found.cause is not None
    assert "fails 10 % of the requests" in found.cause.text
    (failing,) = [limit for limit in found.limits if limit.text == "failing<=1%"]
    assert failing.sure
    run.requests["status"][::10] = 404
    judged = judge_evidence(run.evidence(), {"slos": SLOS}, {"cpus": 2})
    assert len(measured(judged, Asked(400.0, 10.0, "bisect"), 1, until_ns=None).limits) == len(SLOS)


def test_what_was_never_done_is_no_limit_that_held() -> None:
    """500 values are too few for a p99, and of these more than 1 % were never done: as measured, it is broken."""
    run = Simulated(Setup(seed=3, rate=50.0, run_ms=5.0))
    rows = run.tasks[1]
    some = np.flatnonzero(rows["accepted_ns"] > START_NS + 2 * S)[10::60]
    rows["failed_ns"][some], rows["finished_ns"][some] = rows["finished_ns"][some], 0
    judged = judge_evidence(run.evidence(), {"slos": ["done_p99<2s"]}, {"cpus": 2})
    assert judged.summary.slos[0].holds is None
    (limit,) = measured(judged, Asked(50.0, 10.0, "bisect"), 1, until_ns=None).limits
    assert (limit.holds, limit.sure) == (False, False)


@pytest.mark.parametrize("text", ["achieved≥95%", "achieved>=95%"])
def test_a_limit_that_cannot_be_told_counts_as_it_was_measured_however_its_sign_is_written(text: str) -> None:
    run = Simulated(Setup(seed=3, rate=400.0, run_ms=5.0))
    run.requests["outcome"][::2], run.requests["status"][::2] = Outcome.REJ, 404
    run.machine(other=0.9)
    judged = judge_evidence(run.evidence(), {"slos": [text]}, {"cpus": 2})
    assert judged.summary.slos[0].holds is None
    (limit,) = measured(judged, Asked(400.0, 10.0, "bisect"), 1, until_ns=None).limits
    assert limit.holds is False


def test_a_stage_that_holds_is_not_told_to_grow() -> None:
    """A slope that is hardly chance, and of less than a handful of tasks."""
    little = GrowthSeen(per_s=0.5, low=0.05, high=1.0, seconds=8.0, mean=3.0)
    result = Measured(number=1, purpose="bisect", rate=100.0, seconds=8.0, growth=little)
    assert standing([result], 0.05) is Standing.HOLDS
    assert stage_in_words(result, 0.05) == "holds"


def test_a_stage_that_was_ended_early_says_so_and_is_not_told_to_hold_where_it_seems_not_to() -> None:
    """What waited grew and grew; of all that is pending it is not known for sure."""
    may_grow = GrowthSeen(per_s=8.0, low=-0.5, high=16.5, seconds=8.0, mean=500.0)
    result = Measured(number=1, purpose="bisect", rate=100.0, seconds=8.0, ended_early=True, growth=may_grow)
    assert standing([result], 0.05) is Standing.SEEMS_BROKEN
    said = "seems not to hold: the backlog grows by 8.0/s (-0.5 to 16.5), which may be chance, ended early"
    assert stage_in_words(result, 0.05) == said
    assert stage_in_words(result, 0.2) == "holds, ended early"
    nothing = stage_in_words(result.model_copy(update={"growth": None, "settling_s": 5.0}), 0.05)
    assert nothing.startswith("says nothing, ended early: what comes in takes so long")


@pytest.mark.parametrize("settling_s", [0.0, 5.0])
def test_a_stage_with_a_fault_says_what_was_lost_also_where_the_load_had_not_settled(settling_s: float) -> None:
    result = Measured(number=1, purpose="fault", rate=20.0, seconds=1.0, growth=None, settling_s=settling_s, lost=90)
    assert stage_in_words(result, 0.05) == "lost 90 tasks"


def test_a_stage_without_a_load_after_its_warm_up_is_not_told_to_warm_up_for_longer() -> None:
    result = Measured(number=1, purpose="bisect", rate=20.0, seconds=0.0, growth=None)
    assert stage_in_words(result, 0.05) == "says nothing: there is no load to look at"
    unsettled = stage_in_words(result.model_copy(update={"settling_s": 5.0}), 0.05)
    assert "warm up for 5.00 s more" in unsettled


def test_a_generator_that_shed_what_it_could_not_send_says_nothing_of_the_server() -> None:
    found = stage(rate=400.0, run_ms=5.0, report={"shed": 40, "overdue": 40})
    assert "could not be sent in time" in found.generator
    assert found.cause is not None
    assert found.cause.kind == "generator"


def test_a_generator_that_stood_still_says_nothing_of_the_server() -> None:
    assert "stood still" in stage(rate=400.0, run_ms=5.0, report={"stalled_s": 6.0, "longest_stall_s": 1.0}).generator


def test_a_saturated_generator_does_not_blame_the_server() -> None:
    """Every fortieth request was sent 25 ms late and answered later still: p99 is over its limit."""
    run = Simulated(Setup(seed=3, rate=200.0, run_ms=5.0))
    late = np.arange(0, len(run.requests), 40)
    run.requests["sent_ns"][late] += np.uint64(25 * MS)
    run.requests["done_ns"][late] += np.uint64(60 * MS)
    for name in ("accepted_ns", "flushed_ns", "started_ns", "finished_ns"):
        run.tasks[1][name][late] += np.uint64(60 * MS)
    run.effects = run._effects()
    run.report(cpu_share=0.97)
    judged = judge_evidence(run.evidence(), {"slos": SLOS}, {"cpus": 2})
    assert not judged.summary.trusted
    found = measured(judged, Asked(200.0, 10.0, "bisect"), 1, until_ns=None)
    assert found.generator.startswith("The generator was saturated: load process 0 used 97 % of a core")
    assert "Send fewer" not in found.generator
    assert found.cause is not None
    assert found.cause.kind == "generator"


def half_sent() -> Judged:
    """At 400/s every second request is missing, with the load process that should have sent it."""
    run = Simulated(Setup(seed=3, rate=200.0, run_ms=5.0))
    run.report(exit_status=1, planned=4800, sent=2400)
    evidence = dataclasses.replace(run.evidence(), planned_requests=4800)
    return judge_evidence(evidence, {"slos": SLOS}, {"cpus": 2})


def test_a_rate_that_a_dead_load_process_did_not_send_is_not_held() -> None:
    found = measured(half_sent(), Asked(400.0, 10.0, "bisect"), 1, until_ns=None)
    assert found.generator == "Load process 0 ended with status 1"
    assert standing([found], 0.05) is None


def test_of_a_stage_that_was_ended_early_nobody_expects_all_requests() -> None:
    assert measured(half_sent(), Asked(400.0, 10.0, "bisect"), 1, until_ns=START_NS + 8 * S).generator == ""


def test_of_a_server_that_tells_nothing_a_stage_shows_what_holds_for_its_clients_and_says_so() -> None:
    """200/s too much pile up in truth; the server wrote no rows, so what is seen stays bounded."""
    evidence = Simulated(Setup(seed=3, rate=600.0, run_ms=10.0)).evidence()
    expectation = dataclasses.replace(evidence.expectation, tasks_per_request=0, effects_per_request=0)
    blind = dataclasses.replace(evidence, tasks={}, effects=[], expectation=expectation)
    judged = judge_evidence(blind, {"slos": []}, {"cpus": 2})
    found = measured(judged, Asked(600.0, 10.0, "bisect"), 1, until_ns=None)
    assert found.answers_only
    assert found.unseen == unclear([found]) == ""
    partly = Simulated(Setup(seed=3, rate=400.0, run_ms=5.0))
    partly.tasks[1]["op"][: len(partly.tasks[1]) // 2] = 0
    judged = judge_evidence(partly.evidence(), {"slos": []}, {"cpus": 2})
    found = measured(judged, Asked(400.0, 10.0, "bisect"), 1, until_ns=None)
    assert not found.answers_only
    assert found.unseen
    assert standing([found], 0.05) is Standing.SEEMS_TO_HOLD
    assert unclear([found]) == found.unseen


def test_a_stage_whose_rows_contradict_each_other_does_not_show_that_a_rate_holds() -> None:
    run = Simulated(Setup(seed=3, rate=400.0, run_ms=5.0))
    run.tasks[1]["finished_ns"][::100] = run.tasks[1]["started_ns"][::100] - np.uint64(MS)
    judged = judge_evidence(run.evidence(), {"slos": []}, {"cpus": 2})
    found = measured(judged, Asked(400.0, 10.0, "bisect"), 1, until_ns=None)
    assert "is broken (the instants of each row are in order)" in found.unseen


def test_the_run_times_behind_a_prediction_are_those_of_the_requests() -> None:
    run = Simulated(Setup(seed=3, rate=400.0, run_ms=5.0))
    demand = demand_of(run.evidence(), 400.0, 4, 1, 0.8)
    assert demand is not None
    assert float(demand.run_s.mean()) == pytest.approx(0.005, rel=0.1)
    assert demand.pool_per_s == pytest.approx(800, rel=0.1)
    assert demand.cpu_s == pytest.approx(0.002)


def test_the_threads_can_do_as_many_requests_more_as_fewer_of_them_leave_a_task() -> None:
    """4 threads and 5 ms do 800 tasks/s: every twentieth request leaves one."""
    run = Simulated(Setup(seed=3, rate=400.0, run_ms=5.0, for_s=32.0))
    run.tasks[1] = run.tasks[1][::20]
    demand = demand_of(run.evidence(), 400.0, 4, 1, None)
    assert demand is not None
    assert demand.pool_per_s == pytest.approx(20 * 800, rel=0.1)
    predicted = predict(demand, "constant")
    assert predicted.run_mean_ms == pytest.approx(5 / 20, rel=0.1)
    assert predicted.curve[0].rate == pytest.approx(0.2 * 20 * 800, rel=0.1)
    assert predicted.curve[0].utilisation == pytest.approx(0.2, rel=0.01)


def way(*, busy: float, run_s: float = 0.05) -> Way:
    bins = np.ones(40)
    counts = np.full(40, 10, np.int64)
    return Way(
        accepted=400,
        started=400,
        left=0,
        ended=400,
        run_s=run_s,
        wait_s=0.1,
        backlog=20 * bins,
        busy=busy * bins,
        run_by_bin_s=run_s * bins,
        n_run=counts,
        ended_by_bin=counts,
    )


def stretch(cpu: float, load: float = 0.2, **changes: Any) -> Stretch:
    plain = Stretch(
        boot=1,
        from_s=1.0,
        until_s=9.0,
        ramp=None,
        bin_s=0.2,
        threads=8,
        processes=1,
        in_threads=way(busy=8.0),
        on_loop=None,
        growth=Trend(1.0, 0.001, is_steady=True),
        answers_ms=(5.0, 5.0, 5.0),
        cpu_share=cpu,
        load_cpu_share=load,
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(
    ("kind", "cpu", "load", "figures"),
    [
        ("pool", 0.3, 0.2, {"pool_size": 8, "busy_mean": 8.0, "run_mean_ms": 50.0}),
        ("gil", 0.97, 0.2, {"pool_size": 8, "busy_mean": 8.0, "run_mean_ms": 50.0}),
        ("cpu", 1.3, 0.6, {"pool_size": 8, "busy_mean": 8.0, "run_mean_ms": 50.0}),
        ("loop", 0.3, 0.2, {"loop_lag_p99_ms": 400.0}),
        ("responses", 0.3, 0.2, {}),
    ],
)
def test_what_gives_way_is_told_from_the_gauges(kind: str, cpu: float, load: float, figures: dict[str, Any]) -> None:
    run = Simulated(Setup(seed=1))
    summary = build_summary(run.evidence(), {}, {})
    broken = LimitSeen(text="p99<50ms", holds=False, sure=True, value=90.0, limit=50.0, unit="ms")
    steady = GrowthSeen(per_s=0.0, low=-1.0, high=1.0, seconds=8.0, mean=4.0)
    result = Measured(
        number=1, purpose="bisect", rate=100.0, seconds=8.0, growth=steady, limits=(broken,), cpu_share=cpu, load_cpu_share=load
    ).model_copy(update=figures)
    assert cause_of(result, stretch(cpu, load), 2, summary).kind == kind


@pytest.mark.parametrize("text", ["p99<50ms", "failing<=1%"])
def test_the_backlog_is_said_to_stay_bounded_only_where_that_could_be_told(text: str) -> None:
    summary = build_summary(Simulated(Setup(seed=1)).evidence(), {}, {})
    broken = LimitSeen(text=text, holds=False, sure=True, value=90.0, limit=50.0, unit="")
    steady = GrowthSeen(per_s=0.0, low=-1.0, high=1.0, seconds=8.0, mean=4.0)
    told = Measured(number=1, purpose="bisect", rate=100.0, seconds=8.0, growth=steady, limits=(broken,))
    untold = told.model_copy(update={"growth": None, "settling_s": 7.0})
    of_told, of_untold = (cause_of(each, None, 2, summary) for each in (told, untold))
    assert (of_told.kind, of_untold.kind) == ("responses", "responses")
    assert of_told.text == f"{of_untold.text} while the backlog stays bounded"


def test_where_no_gauge_is_at_its_end_what_they_show_is_said() -> None:
    run = Simulated(Setup(seed=1))
    run.machine(other=0.5)
    summary = build_summary(run.evidence(), {}, {})
    growing = GrowthSeen(per_s=9.0, low=7.0, high=11.0, seconds=8.0, mean=40.0)
    result = Measured(
        number=1, purpose="bisect", rate=100.0, seconds=8.0, growth=growing, cpu_share=0.5, pool_size=8, busy_mean=4.0
    )
    found = cause_of(result, stretch(0.5), 2, summary)
    assert found.kind == "unknown"
    assert "4.0 of 8 threads busy" in found.text
    assert "other programs had 50 % of the machine" in found.text
