"""The small parts: logs, marks and settings from events, tiles, the meters."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.grouping import NEVER_NS
from harness.live import meters
from harness.live.cutting import cut
from harness.live.figures import Left, edges_of, figures_at, oldest_at
from harness.live.follower import Follower
from harness.live.frame import MarkKind, Phase, SideState
from harness.live.history import History
from harness.live.logs import MOST_LINES, Logs
from harness.live.meters import Saturation, SortedValues
from harness.live.seconds import Seconds
from harness.live.sides import client_states, work_states
from harness.live.telling import Told, tell
from harness.statistics import quantiles_ms
from harness.steps import Steps
from tests.accounting.test_fault_recovery import with_a_dead_worker
from tests.accounting.world import MS, START_NS, Plan, simulate

S = 1_000_000_000
spans = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40)


durations = st.integers(1, 9) | st.integers(2**32 - 3, 2**32 + 3) | st.integers(-3, 0) | st.just(NEVER_NS)


@given(st.lists(st.lists(durations, max_size=30), max_size=6), st.lists(durations, max_size=5), st.sampled_from([0, 10, 10_000]))
def test_quantiles_of_values_that_are_added_are_those_of_all(parts: list[list[int]], also: list[int], few: int):
    """Short ones and long ones, and those that two clocks make negative; whether few are kept as they came, or many."""
    values = SortedValues()
    with patch.object(meters, "FEW", few):
        for part in parts:
            values.add(np.array(part, np.int64))
    every = np.array([value for part in parts for value in part] + also, np.int64)
    shares = (0.01, 0.5, 0.95, 1.0)
    expected = quantiles_ms(every, shares)
    assert np.array_equal(values.quantiles_ms(shares, np.array(also, np.int64)), expected, equal_nan=True)


def test_quantiles_stay_exact_when_there_are_many():
    random, values = np.random.default_rng(5), SortedValues()
    parts = [random.integers(1, 10**9, 5_000) for _ in range(20)]
    for part in parts:
        values.add(part)
    assert values.quantiles_ms((0.5, 0.999), np.empty(0, np.int64)) == quantiles_ms(np.concatenate(parts), (0.5, 0.999))


@given(spans, st.lists(st.integers(0, 60), min_size=1, max_size=5), st.integers(1, 3))
def test_saturation_in_parts_is_that_of_the_whole(lengths: list[tuple[int, int]], asked: list[int], size: int):
    starts = np.sort(np.array([start for start, _ in lengths], np.int64))
    ends = np.sort(np.array([start + length for start, length in lengths], np.int64))
    meter, told = Saturation(), -1
    for until in sorted(asked):
        meter.add(starts[(starts > told) & (starts <= until)], ends[(ends > told) & (ends <= until)])
        told = until
        assert meter.until(until, [(0, size)]) == Steps(starts, ends).duration_ns(size, until)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40), st.integers(0, 40)), max_size=30))
def test_the_oldest_is_the_one_that_was_due_first(tasks: list[tuple[int, int, int]]):
    due, begin, length = (np.array(column, np.int64) for column in zip(*tasks, strict=True)) if tasks else (np.empty(0, int),) * 3
    instants = np.arange(0, 60, 7)
    found = oldest_at(due, begin, begin + length, instants)
    for instant, oldest in zip(instants, found, strict=True):
        there = due[(begin <= instant) & (begin + length > instant)]
        assert math.isnan(oldest) if not len(there) else oldest == (instant - there.min()) / 1e6


def test_a_log_is_read_on_where_it_was(tmp_path: Path):
    logs = Logs(tmp_path)
    (tmp_path / "server-1.log").write_bytes(b"one\ntwo\nthr")
    logs.refresh()
    assert [line.text for line in logs.lines] == ["one", "two", "thr"]
    with (tmp_path / "server-1.log").open("ab") as file:
        file.write(b"ee\n\xff\x1b[31mred\x1b[0m\x07\n")
    logs.refresh()
    assert [line.text for line in logs.lines] == ["one", "two", "three", "\ufffdred\ufffd"]
    assert {line.source for line in logs.lines} == {"server-1"}


def test_of_a_log_that_grows_fast_only_the_end_is_kept(tmp_path: Path):
    logs = Logs(tmp_path)
    (tmp_path / "server-1.log").write_text("".join(f"line {number}\n" for number in range(100_000)))
    (tmp_path / "world.log").write_bytes(b"x" * 1_000_000)
    logs.refresh()
    assert len(logs.lines) <= MOST_LINES
    texts = [line.text for line in logs.lines if line.source == "server-1"]
    assert texts[-1] == "line 99999"
    assert all(text.startswith("line ") for text in texts)
    assert max(len(line.text) for line in logs.lines) <= 2_000


def test_what_of_a_log_was_passed_over_is_told(tmp_path: Path):
    logs = Logs(tmp_path)
    (tmp_path / "world.log").write_bytes(b"x" * 1_000_000)
    logs.refresh()
    told, rest = (line.text for line in logs.lines)
    assert told.startswith("... 934,464 bytes passed over")
    assert set(rest) == {"x"}


def test_a_log_that_is_begun_anew_is_read_from_its_beginning(tmp_path: Path):
    logs = Logs(tmp_path)
    (tmp_path / "server-1.log").write_text("a long first line\n")
    logs.refresh()
    (tmp_path / "server-1.log").write_text("new\n")
    logs.refresh()
    assert [line.text for line in logs.lines] == ["a long first line", "new"]


PLAN = {"scenario": "email", "rate": 50.0, "tasks": "sync", "pool": 8, "warm_up_s": 1.0}


def event(at_s: float, what: str, **fields: Any) -> dict[str, Any]:
    return {"t_ns": round(at_s * S), "event": what, **fields}


def told(*events: dict[str, Any], at_s: float = 100.0, plan: dict[str, Any] = PLAN, pool: int | None = None) -> Told:
    return tell(list(events), plan, {1: Left(5, 2, 6)}, round(at_s * S), 10 * S, pool)


UP = (
    event(9.0, "boot_spawned", boot=1, pid=7, spawned_ns=9 * S),
    event(9.5, "boot_ready", boot=1, ready_ns=round(9.5 * S)),
    event(9.8, "load_started", load_start_ns=10 * S, load_end_ns=70 * S),
    event(9.8, "phase", name="load"),
)


def command(at_s: float, number: str, do: str, value: Any) -> dict[str, Any]:
    return event(at_s, "command", id=number, do=do, value=value, text=f"{do}={value}", who="somebody")


def test_a_change_is_pending_until_it_has_landed():
    asked = command(20.0, "a", "rate", 200.0)
    (rate, *_) = told(*UP, asked).settings
    assert (rate.name, rate.value, rate.pending) == ("rate", 50.0, 200.0)
    landed = told(*UP, asked, event(21.0, "command_landed", id="a", do="rate", at_ns=20 * S + S // 2, detail=""))
    (rate, *_) = landed.settings
    assert (rate.value, rate.pending) == (200.0, None)
    mark = next(mark for mark in landed.marks if mark.kind is MarkKind.LOAD)
    assert (mark.at_s, mark.label) == (10.5, "-> 200/s")


def test_a_change_that_was_refused_is_told_with_the_reason():
    refused = told(*UP, command(20.0, "a", "pool", 0), event(20.1, "command_refused", id="a", do="pool", why="there is no pool"))
    assert all(setting.pending is None for setting in refused.settings)
    (mark,) = [mark for mark in refused.marks if mark.kind is MarkKind.PROBLEM]
    assert mark.text == "pool=0 was refused: there is no pool"


def test_what_somebody_marked_is_a_note():
    marked = told(*UP, command(20.0, "a", "mark", "deploy of 14:30 with the new index"), event(20.0, "command_landed", id="a"))
    (mark,) = [mark for mark in marked.marks if mark.kind is MarkKind.NOTE]
    assert mark.label == "deploy of 14"
    assert mark.text == "deploy of 14:30 with the new index"


def test_the_rate_of_stages_is_that_of_the_instant():
    plan = {**PLAN, "rate": None, "stages": "10 for 10s, 10..30 for 10s"}
    rates = [told(*UP, at_s=at_s, plan=plan).settings[0].value for at_s in (12.0, 25.0, 29.9)]
    assert rates == [10.0, 20.0, 29.8]


def test_stages_that_are_over_have_no_rate_of_now():
    plan = {**PLAN, "rate": None, "stages": "10 for 10s, 10..30 for 10s"}
    drained = told(*UP, event(31.0, "phase", name="drain"), at_s=31.0, plan=plan)
    assert drained.settings[0].value == 0.0
    over = told(*UP, event(40.0, "end"), event(40.1, "problem", text="noted afterwards"), at_s=40.2, plan=plan)
    assert over.settings[0].value is None


def test_the_pool_of_several_processes_is_that_of_each_as_it_is_asked_for():
    """All of them together have sixteen threads; a key that asks for one fewer must not ask each for fifteen."""

    def pool_of(*events: dict[str, Any], **plan: Any) -> Any:
        found = told(*UP, *events, plan={**PLAN, **plan}, pool=16).settings
        return next(setting.value for setting in found if setting.name == "pool")

    assert pool_of(workers=2) == 8
    assert pool_of(command(20.0, "a", "pool", 7), event(20.1, "command_landed", id="a"), workers=2) == 7
    assert pool_of(workers=2, pool=None) == 8  # what the server has by itself
    assert pool_of(workers=1) == 16


@pytest.mark.parametrize(("signal", "words"), [("SIGTERM", "draining"), ("SIGINT", "draining"), ("SIGKILL", "being killed")])
def test_a_server_that_was_asked_to_end_drains_until_it_is_dead(signal: str, words: str):
    asked = event(20.0, "boot_signalled", boot=1, signal=signal, fault=True, signalled_ns=20 * S)
    ending = told(*UP, asked, at_s=21.0)
    assert ending.boot.in_words == words
    assert ending.is_draining == (words == "draining")
    assert not ending.is_there
    dead = told(*UP, asked, event(22.0, "boot_reaped", boot=1, reaped_ns=22 * S, exit_status=0), at_s=23.0)
    assert not dead.is_draining
    orderly = event(20.0, "boot_signalled", boot=1, signal="SIGTERM", fault=False, signalled_ns=20 * S)
    assert not told(*UP, orderly, at_s=21.0).is_draining
    assert not told().is_draining


def test_a_server_that_is_stopped_is_there_and_does_not_move():
    stop = event(20.0, "fault", number=1, name="stop", text="stop@10s+2s", landed_ns=20 * S, boot=1, detail="", receipt={})
    stopped = told(*UP, stop, at_s=21.0)
    assert stopped.boot.in_words == "stopped (SIGSTOP)"
    assert stopped.boot.for_s == 1.0
    assert not stopped.is_there
    assert [(each.from_s, each.until_s, each.gone_s) for each in stopped.outages] == [(10.0, None, None)]
    over = told(*UP, stop, event(22.0, "fault_ended", number=1, ended_ns=22 * S), at_s=23.0)
    assert over.boot.in_words == "up"
    assert over.is_there
    assert [(each.from_s, each.until_s, each.gone_s) for each in over.outages] == [(10.0, 12.0, None)]


def test_a_server_that_dies_on_its_own_is_an_outage_and_a_mark():
    dead = told(*UP, event(30.0, "boot_reaped", boot=1, reaped_ns=30 * S, exit_status=-11))
    (mark,) = [mark for mark in dead.marks if mark.kind is MarkKind.DOWN]
    assert mark.label == "down -6"
    assert "died on its own (status -11)" in mark.text
    assert [(each.from_s, each.until_s, each.gone_s) for each in dead.outages] == [(20.0, None, 20.0)]
    assert dead.phase is Phase.LOAD


def test_a_fault_that_did_not_land_is_a_problem():
    missed = event(
        30.0, "fault", number=1, name="stop", text="stop@20s+1s", landed_ns=None, boot=1, detail="it had ended", receipt={}
    )
    (mark,) = [mark for mark in told(*UP, missed).marks if mark.kind is MarkKind.PROBLEM]
    assert mark.text == "stop@20s+1s did not land: it had ended"


def seconds(n: int, **columns: list[float]) -> Seconds:
    """Quiet ones, but for what is given; shorter columns stay as they end."""
    quiet = {
        **dict.fromkeys(("acked", "accepted", "ended"), 50),
        **dict.fromkeys(("rejected", "indeterminate", "failed", "backlog", "lost"), 0),
        **dict.fromkeys(("response_ms", "done_ms"), 10.0),
        **dict.fromkeys(("waiting_ms", "oldest_ms"), math.nan),
    }
    made: dict[str, Any] = {}
    for name, value in quiet.items():
        given_values = columns.get(name, [value])
        made[name] = np.array([*given_values, *[given_values[-1]] * (n - len(given_values))])
    return Seconds(**made)


def test_a_side_is_left_at_half_of_what_it_was_entered_at():
    quiet = [10.0] * 8
    states = client_states(seconds(30, response_ms=[*quiet, *[150.0] * 6, *[70.0] * 6, *[40.0] * 10]), 0.0)
    assert states[7] is SideState.OK
    assert states[13] is SideState.SLOW
    assert states[19] is SideState.SLOW
    assert states[-1] is SideState.OK


def test_few_errors_are_failing_until_they_are_half_as_many():
    states = client_states(seconds(20, rejected=[0, 0, 5, 0]), 0.0)
    assert states[1] is SideState.OK
    assert states[2] is SideState.FAILING
    assert states[6] is SideState.FAILING
    assert states[7] is SideState.OK


def test_somebody_who_waits_for_more_than_a_second_is_slow_even_if_nobody_is_answered():
    states = client_states(
        seconds(6, acked=[50, 50, 0], response_ms=[10.0, 10.0, math.nan], waiting_ms=[math.nan, 50.0, 1050.0]), 0.0
    )
    assert states[:3] == [SideState.OK, SideState.OK, SideState.SLOW]


def test_work_is_behind_while_more_and_more_waits():
    backlog, oldest = [*range(0, 300, 20), *[280] * 10], [*(each * 150.0 for each in range(15)), *[2000.0] * 10]
    states = work_states(seconds(25, backlog=[float(each) for each in backlog], oldest_ms=oldest))
    assert states[5] is SideState.OK
    assert states[10] is SideState.BEHIND
    assert states[-1] is SideState.SLOW


def test_tasks_that_were_lost_are_told_for_ten_seconds():
    states = work_states(seconds(20, lost=[0, 0, 0, 7, 0]))
    assert [second for second, state in enumerate(states) if state is SideState.FAILING] == list(range(3, 13))


@given(st.data())
def test_what_a_tile_said_of_a_second_it_says_for_good(data: st.DataObject):
    """States of the first seconds do not depend on how many there are, or on which were told before."""
    n = data.draw(st.integers(1, 25))
    values = st.lists(st.sampled_from([0.0, 1.0, 3.0, 50.0, 900.0, 3000.0]), min_size=n, max_size=n)
    columns = {
        name: data.draw(values) for name in ("acked", "rejected", "response_ms", "waiting_ms", "backlog", "oldest_ms", "lost")
    }
    whole = seconds(n, **columns)
    cut = data.draw(st.integers(0, n))
    first = seconds(cut, **{name: column[:cut] or [0.0] for name, column in columns.items()}) if cut else None
    for states in (lambda of, known=(): client_states(of, 2.0, known), work_states):
        assert states(whole)[:cut] == (states(first) if first is not None else [])
        assert states(whole, states(first) if first is not None else []) == states(whole)


def test_a_directory_that_is_not_there_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no run directory"):
        History(tmp_path / "nothing")
    with pytest.raises(UsageError, match="there is no run directory"):
        Follower(tmp_path / "nothing", tell=lambda _: None)


def test_what_a_dead_worker_has_lost_stays_lost_when_a_load_machine_is_lost_as_well():
    """While its server goes on, and nothing is over."""
    evidence = with_a_dead_worker(simulate(Plan(n_requests=400, gap_ms=5.0, pool=2, run_ms=30.0, seed=4, processes=2)).evidence)
    at_ns = evidence.load_end_ns + 2 * MS
    boots = [dataclasses.replace(boot, reaped_ns=None, signalled_ns=None, signal=None) for boot in evidence.boots]
    live = dataclasses.replace(evidence, boots=boots, n_load_processes=2)
    lost = dataclasses.replace(live, requests=live.requests[:1], lost_rows_of=frozenset({1}))
    n_lost = []
    for seen in (live, lost):
        figures = figures_at(cut(seen, at_ns), at_ns, edges_of(START_NS, 0.0, 4.0, 0.5, at_ns))
        n_lost.append(figures.lost_queued + figures.lost_running)
        assert n_lost[-1] == int(figures.lost.sum())
    assert n_lost[0] > n_lost[1] > 30  # of the requests of the other machine nothing is known
