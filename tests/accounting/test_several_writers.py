"""A boot of several processes is accounted for as one, whichever of them wrote a row."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.accounting import account
from harness.evidence import evidence_of
from harness.headline import headline
from harness.invariants import check
from harness.model import Boot, Evidence, Fault
from harness.rows import ROW_TYPES, Gauge, Kind, RowFile
from harness.rowscan import left_in
from harness.statistics import measure
from harness.summary import build_summary
from harness.timeline import busy_steps, pool_of, timeline
from harness.usage import usage_of
from tests.accounting.cases import CASES
from tests.accounting.memory import gauges_of, row_file
from tests.accounting.world import MS, START_NS, Plan, simulate


def spread(evidence: Evidence, n_files: int, seed: int) -> Evidence:
    """Each row to one of several files by chance; each file with gauges of its own and a part of the threads."""
    choose = np.random.default_rng(seed)
    tasks = {}
    for boot, (file,) in evidence.tasks.items():
        writer = choose.integers(n_files, size=len(file.rows))
        sizes = [file.gauges[Gauge.POOL_SIZE] // n_files] * n_files
        sizes[0] += file.gauges[Gauge.POOL_SIZE] - sum(sizes)
        tasks[boot] = [part(file, file.rows[writer == number], size, number) for number, size in enumerate(sizes)]
    return dataclasses.replace(evidence, tasks=tasks)


def part(file: RowFile, rows: np.ndarray, pool: int, number: int) -> RowFile:
    holes = file.holes if number == 0 else 0
    changes = {
        "rows": rows,
        "holes": holes,
        "claimed": len(rows) + holes,
        "gauges": gauges_of(rows, pool),
        "pid": file.pid + number,
    }
    return dataclasses.replace(file, **changes)


@settings(deadline=None, max_examples=10)
@given(n_files=st.integers(2, 4), seed=st.integers(0, 1 << 30))
def test_rows_spread_over_several_files_give_the_same_account(n_files: int, seed: int) -> None:
    """Counts, invariants, figures and the timeline do not depend on how many processes wrote them."""
    one = CASES["killed"]()
    several = spread(one, n_files, seed)

    first, second = account(one), account(several)
    assert first == second
    assert [each for each in check(several, second) if not each.holds] == []
    assert measure(one, first) == measure(several, second)
    assert timeline(one, first).backlog_max.tolist() == timeline(several, second).backlog_max.tolist()
    assert pool_of(one, first) == pool_of(several, second)


def test_what_a_process_does_that_has_the_number_of_a_dead_one_counts() -> None:
    """One worker ended and the next one was given its number, as in a container with few: both are as if they had two numbers."""
    one = simulate(Plan(n_requests=200, gap_ms=10.0, pool=2, run_ms=15.0, seed=3)).evidence
    (file,) = one.tasks[1]
    ended_ns = int(np.sort(file.rows["finished_ns"])[100])
    is_later = file.rows["accepted_ns"] > ended_ns
    first, second = part(file, file.rows[~is_later], 1, 0), part(file, file.rows[is_later], 1, 1)
    first, second = dataclasses.replace(first, created_ns=START_NS), dataclasses.replace(second, created_ns=ended_ns + MS)
    first.rows["finished_ns"][first.rows["finished_ns"] > ended_ns] = 0
    first.rows["started_ns"][first.rows["started_ns"] > ended_ns] = 0

    def told(pid: int) -> Evidence:
        boot = dataclasses.replace(one.boots[0], worker_deaths=((first.pid, ended_ns),))
        return dataclasses.replace(one, tasks={1: [first, dataclasses.replace(second, pid=pid)]}, boots=[boot])

    other, again = told(second.pid), told(first.pid)
    edges = np.arange(START_NS, one.load_end_ns, 10 * MS)
    assert busy_steps(again).at(edges).tolist() == busy_steps(other).at(edges).tolist()
    assert busy_steps(again).at(np.array([one.load_end_ns]))[0] > 0
    assert timeline(again, account(again)).backlog_max.tolist() == timeline(other, account(other)).backlog_max.tolist()
    assert [flow.busy.tolist() for flow in usage_of(again).flows] == [flow.busy.tolist() for flow in usage_of(other).flows]
    assert build_summary(again, {}, {}).boots == build_summary(other, {}, {}).boots


def with_five_queued(file: RowFile, dead_ns: int) -> RowFile:
    """Its process died then, before it began its last five tasks."""
    rows = np.sort(file.rows[file.rows["accepted_ns"] < dead_ns], order="accepted_ns")
    for name in ("flushed_ns", "started_ns", "finished_ns"):
        rows[name][-5:] = 0
    return dataclasses.replace(file, rows=rows, claimed=len(rows), created_ns=START_NS - MS, closed_ns=0)


def test_what_a_hang_up_left_that_replaced_workers_is_told_of_as_its_doing() -> None:
    """In the fault's own line and among what restarts lost."""
    one = run_without_faults()
    several = spread(one, 2, 7)
    first, second = several.tasks[1]
    ended_ns = START_NS + 2000 * MS
    boot = dataclasses.replace(one.boots[0], worker_deaths=((second.pid, ended_ns),))
    receipt = {"pid": 1, "signal": "SIGHUP", "outcome": "replaced", "replaced": [second.pid]}
    fault = Fault("hup", 1.9, ended_ns - 100 * MS, 1, effect="asks", ended_ns=ended_ns, receipt=receipt, text="hup@1.9s")
    files = [first, with_five_queued(second, ended_ns)]
    summary = build_summary(dataclasses.replace(one, tasks={1: files}, boots=[boot], faults=[fault]), {}, {})
    (found,) = [each.evidence["restarts"] for each in summary.findings if each.id == "restart-lost"]

    assert (summary.faults[0].left_queued, summary.faults[0].left_running) == (5, 0)
    assert [(each["what"], each["queued"]) for each in found] == [("the fault hup@1.9s", 5)]


@pytest.mark.parametrize("on_its_own", [False, True])
def test_what_a_worker_left_is_not_what_was_left_by_the_one_that_got_its_number(on_its_own: bool) -> None:
    """One was killed or died, the next one has its number and is killed with the boot: each has left its own."""
    plan = Plan(n_requests=400, gap_ms=10.0, pool=2, run_ms=30.0, seed=3, kills=(("SIGKILL", 3900.0),), restart_ms=50)
    one = simulate(plan).evidence
    (file,) = one.tasks[1]
    dead_ns = START_NS + 2000 * MS
    is_later = file.rows["accepted_ns"] > dead_ns
    rows = np.array(file.rows[~is_later])
    for name in ("flushed_ns", "started_ns", "finished_ns", "failed_ns", "dropped_ns"):
        rows[name][rows[name] > dead_ns] = 0
    first = dataclasses.replace(part(file, rows, 1, 0), created_ns=START_NS, closed_ns=0)
    second = dataclasses.replace(part(file, file.rows[is_later], 1, 1), created_ns=dead_ns + 10 * MS)
    queued, running = left_in([first])
    receipt = {"pid": first.pid, "signal": "SIGKILL", "queued": queued, "running": running, "dead_ns": dead_ns}
    fault = Fault("worker", 2.0, dead_ns - MS, 1, effect="replaces", ended_ns=dead_ns, receipt=receipt, text="worker@2s")

    def told(pid: int) -> Evidence:
        boot = dataclasses.replace(one.boots[0], worker_deaths=((first.pid, dead_ns),), predicted_queued=None)
        boot = dataclasses.replace(boot, dead_workers=(first.pid,) if on_its_own else (), predicted_running=None)
        return dataclasses.replace(
            one,
            tasks={**one.tasks, 1: [first, dataclasses.replace(second, pid=pid)]},
            boots=[boot, *one.boots[1:]],
            faults=one.faults if on_its_own else [fault, *one.faults],
        )

    again, other = (build_summary(told(pid), {}, {}) for pid in (first.pid, second.pid))
    lost = {each.id: each.evidence for each in again.findings}
    assert queued > 20
    assert [each for each in again.invariants if each.id == "10" and not each.holds] == []
    assert [each["queued"] for each in lost["restart-lost"]["restarts"]] == [queued, left_in([second])[0]][on_its_own:]
    assert not on_its_own or lost["worker-died"]["queued"] == queued
    assert (again.findings, again.faults) == (other.findings, other.faults)


def test_what_a_fault_ended_that_had_the_number_of_one_that_died_is_told_with_the_fault_alone() -> None:
    """The first died on its own with 3 queued tasks; its successor, of the same pid, was killed with 11, and the boot went on."""
    one = run_without_faults()
    (file,) = one.tasks[1]
    died_ns, killed_ns = START_NS + 1000 * MS, START_NS + 2000 * MS
    files = []
    for from_ns, until_ns, n_left, pid in ((0, died_ns, 3, 7), (died_ns, killed_ns, 11, 7), (killed_ns, 1 << 62, 0, 9)):
        rows = file.rows[(file.rows["accepted_ns"] >= from_ns) & (file.rows["accepted_ns"] < until_ns - 50 * MS)]
        rows = rows[np.argsort(rows["accepted_ns"])]
        for name in ("flushed_ns", "started_ns", "finished_ns"):
            rows[name][len(rows) - n_left :] = 0
        created_ns = max(from_ns, START_NS - 10 * MS) + MS
        files.append(dataclasses.replace(file, rows=rows, claimed=len(rows), pid=pid, created_ns=created_ns))
    boot = dataclasses.replace(one.boots[0], dead_workers=(7,), worker_deaths=((7, died_ns), (7, killed_ns)))
    receipt = {"pid": 7, "signal": "SIGKILL", "replaced": [7], "serving": [9]}
    fault = Fault("worker", 2.0, killed_ns - MS, 1, effect="replaces", receipt=receipt, text="worker@2s")
    summary = build_summary(dataclasses.replace(one, tasks={1: files}, boots=[boot], faults=[fault]), {}, {})
    found = {each.id: each.evidence for each in summary.findings}

    assert [left_in([each]) for each in files] == [(3, 0), (11, 0), (0, 0)]
    assert found["worker-died"]["queued"] == 3
    assert [each["queued"] for each in found["restart-lost"]["restarts"]] == [11]
    assert summary.faults[0].left_queued == 11


def run_without_faults() -> Evidence:
    return simulate(Plan(n_requests=300, gap_ms=10.0, pool=2, run_ms=5.0, seed=2)).evidence


def test_what_a_worker_held_that_was_asked_to_end_and_lived_on_is_what_the_end_of_its_boot_lost() -> None:
    """SIGTERM to one of two workers; half a second later both still work, and SIGKILL ends them: told once, and of SIGKILL."""
    plan = Plan(n_requests=300, gap_ms=10.0, pool=2, run_ms=40.0, seed=2, kills=(("SIGKILL", 1500.0),))
    killed = spread(simulate(plan).evidence, 2, 1)
    receipt = {"pid": killed.tasks[1][0].pid, "signal": "SIGTERM"}
    fault = Fault("worker", 1.0, START_NS + 1000 * MS, 1, effect="replaces", receipt=receipt, text="worker=term@1s")
    summary = build_summary(dataclasses.replace(killed, faults=[fault, *killed.faults]), {}, {})
    boot = summary.boots[0]

    assert left_in(killed.tasks[1][:1])[0] > 20
    assert [(each.left_queued, each.left_running) for each in summary.faults] == [
        (0, 0),
        (boot.queued_at_death, boot.running_at_death),
    ]
    assert "then lost by SIGKILL at 1.5 s (" in headline(summary)


def boot_of(*events: dict[str, object]) -> Boot:
    run = {"event": "run", "run_tag": 1, "t_ns": START_NS}
    scenario = {"name": "own", "expects": {"tasks_per_request": 0, "effects_per_request": 0}, "traffic": []}
    spawned = {"event": "boot_spawned", "pid": 1, "spawned_ns": 1}
    told = [{"boot": 1, **event} for event in (spawned, *events)]
    (boot,) = evidence_of([run, *told], {"for_s": 5.0, "warm_up_s": 1.0}, scenario, []).boots
    return boot


REAPED = {"event": "boot_reaped", "reaped_ns": 30, "exit_status": -9, "forced": False, "served_to_the_end": False}


def test_a_worker_whose_end_is_seen_when_its_boot_has_been_reaped_ended_with_its_boot() -> None:
    """The one of which it was seen before did not."""
    boot = boot_of(
        {"event": "worker_ended", "pid": 7, "ended_ns": 10},
        {"event": "boot_signalled", "signal": "SIGKILL", "fault": True, "signalled_ns": 20},
        REAPED,
        {"event": "worker_ended", "pid": 8, "ended_ns": 31},
    )

    assert (boot.worker_death_ns(7, 1), boot.worker_death_ns(8, 1)) == (10, None)


def test_a_worker_died_on_its_own_though_the_end_of_its_boot_began_with_another_one_of_its_number() -> None:
    boot = boot_of(
        {"event": "worker_died", "pid": 7, "t_ns": 10},
        {"event": "worker_ended", "pid": 7, "ended_ns": 21},
        {"event": "worker_died", "pid": 8, "t_ns": 22},
        {"event": "boot_signalled", "signal": "SIGKILL", "fault": True, "signalled_ns": 20, "pid": 7},
        REAPED,
    )

    assert boot.dead_workers == (7,)
    assert (boot.worker_death_ns(7, 1), boot.worker_death_ns(7, 12), boot.worker_death_ns(8, 1)) == (10, None, None)


def with_sizes(evidence: Evidence, t_ns: np.ndarray, sizes: np.ndarray | int, boot: np.ndarray | int = 1) -> Evidence:
    """With samples of the pool alone."""
    rows = np.zeros(len(t_ns), ROW_TYPES[Kind.GAUGES])
    rows["t_ns"], rows["pool_size"], rows["boot"] = t_ns, sizes, boot
    return dataclasses.replace(evidence, gauges=row_file(Kind.GAUGES, rows))


def test_while_a_process_is_replaced_by_another_one_the_pool_has_the_threads_of_both() -> None:
    """Its size is the one that it had for most of the time; and it is full while all threads are busy that there are then."""
    evidence = spread(CASES["killed"](), 2, 1)
    alone = pool_of(evidence, account(evidence))
    boot = evidence.boots[0]
    assert boot.ready_ns is not None
    assert boot.reaped_ns is not None
    begin_ns = (boot.ready_ns + boot.reaped_ns) // 2
    end_ns = begin_ns + (boot.reaped_ns - begin_ns) // 2
    t_ns = np.arange(boot.ready_ns, evidence.load_end_ns, 1_000_000)
    begin_ns, end_ns = t_ns[t_ns >= begin_ns][0], t_ns[t_ns >= end_ns][0]
    sizes = np.where((t_ns >= begin_ns) & (t_ns < end_ns), alone.size + 1, alone.size)
    sampled = with_sizes(evidence, t_ns, sizes, np.where(t_ns < boot.reaped_ns, 1, 2))

    pool = pool_of(sampled, account(sampled))
    busy = busy_steps(evidence, [1], only_def=True)
    not_full_ns = busy.duration_ns(alone.size, int(end_ns)) - busy.duration_ns(alone.size, int(begin_ns))
    assert not_full_ns > 0
    assert (pool.size, pool.busy_max) == (alone.size, alone.busy_max)
    assert pool.saturated_s == (round(alone.saturated_s * 1e9) - not_full_ns) / 1e9


def test_a_pool_is_as_large_as_it_was_in_the_load_whatever_the_end_of_its_processes_took() -> None:
    """One of two hangs for ten seconds when the run is over; and where no sample has a size, what the pages show is known."""
    evidence = spread(simulate(Plan(n_requests=300, gap_ms=20, pool=8, run_ms=200, seed=1)).evidence, 2, 1)
    unsampled = pool_of(evidence, account(evidence))
    (boot,) = evidence.boots
    assert boot.reaped_ns is not None
    late = dataclasses.replace(boot, reaped_ns=boot.reaped_ns + 10_000 * MS)
    t_ns = np.arange(evidence.load_start_ns - 100 * MS, late.reaped_ns, 50 * MS)
    hangs = dataclasses.replace(evidence, boots=(late,))

    ended = with_sizes(hangs, t_ns, np.where(t_ns < evidence.load_end_ns + 50 * MS, 8, 4))
    unknown = with_sizes(evidence, t_ns, 0)
    assert pool_of(ended, account(ended)).size == 8
    assert unsampled.saturated_s > 5
    assert pool_of(unknown, account(unknown)) == unsampled


def test_a_worker_that_two_faults_had_to_do_with_is_told_of_with_the_one_that_ended_it() -> None:
    """A hang-up waits for all that were there, and a rolling restart as well."""
    one = simulate(Plan(n_requests=300, gap_ms=10.0, pool=2, run_ms=5.0, seed=2)).evidence
    several = spread(one, 2, 7)
    first, second = several.tasks[1]
    dead_ns = START_NS + 2000 * MS
    faults = [
        Fault(
            kind, at_s, START_NS + round(at_s * 1e9), 1, effect=effect, ended_ns=dead_ns, receipt=receipt, text=f"{kind}@{at_s}s"
        )
        for kind, at_s, effect, receipt in (
            ("hup", 1.5, "asks", {"pid": 1, "signal": "SIGHUP", "outcome": "replaced", "replaced": [second.pid]}),
            ("rolling", 1.8, "replaces", {"pid": 1, "signal": "SIGHUP", "replaced": [second.pid]}),
        )
    ]
    boot = dataclasses.replace(one.boots[0], worker_deaths=((second.pid, dead_ns),))
    evidence = dataclasses.replace(one, tasks={1: [first, with_five_queued(second, dead_ns)]}, boots=[boot], faults=faults)
    summary = build_summary(evidence, {"scenario": "email"}, {})
    (lost,) = (each for each in summary.findings if each.id == "restart-lost")
    assert "the fault rolling@1.8s at 1.8 s left 5 queued tasks behind" in lost.text
    assert "hup" not in lost.text
    assert [fault.left_queued for fault in summary.faults] == [0, 5]
    assert summary.boots[0].queued_by_workers == 5
