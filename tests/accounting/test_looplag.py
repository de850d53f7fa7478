"""How late the event loop was is told of the time in which it could have been in time, and of no other."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from harness.looplag import known_lags
from harness.model import Evidence, Fault
from harness.pages import BootPages
from harness.rows import ROW_TYPES, Gauge, HeaderField, Kind, LivePage, RowWriter
from harness.rows.layout import SETTINGS_OFFSET
from harness.rundir import RunDir
from harness.schema import Loop
from harness.series import gauges_by_bin
from harness.summary import build_summary
from tests.accounting.cases import CASES
from tests.accounting.memory import row_file

MS = 1_000_000


def sampled(evidence: Evidence, lag_ms: float) -> Evidence:
    """A sample every 50 ms of all its boots, from when each was spawned to when the next was, all as late as that."""
    boots = sorted(evidence.boots, key=lambda each: each.boot)
    begins = [evidence.load_start_ns, *((each.ready_ns or 0) - 300 * MS for each in boots[1:])]
    t_ns = np.arange(evidence.load_start_ns, (boots[-1].reaped_ns or 0) + 200 * MS, 50 * MS)
    rows = np.zeros(len(t_ns), ROW_TYPES[Kind.GAUGES])
    rows["t_ns"], rows["loop_lag_ns"] = t_ns, round(lag_ms * MS)
    rows["boot"] = [boots[int(np.searchsorted(begins, at, side="right")) - 1].boot for at in t_ns]
    return dataclasses.replace(evidence, gauges=row_file(Kind.GAUGES, rows))


def beating(evidence: Evidence) -> Evidence:
    """All processes tell when their loops beat."""

    def told(gauges: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(20 * MS if word == Gauge.LOOP_BEAT_PERIOD else value for word, value in enumerate(gauges))

    tasks = {
        boot: [dataclasses.replace(file, gauges=told(file.gauges)) for file in files] for boot, files in evidence.tasks.items()
    }
    return dataclasses.replace(evidence, tasks=tasks)


def loop_of(evidence: Evidence) -> Loop | None:
    return build_summary(evidence, {}, {}).loop


def test_a_loop_that_was_never_late_is_one_all_the_same() -> None:
    loop = loop_of(beating(sampled(CASES["calm"](), 0)))
    assert loop is not None
    assert (loop.lag_ms.max, loop.blocked_s) == (0, 0)
    assert loop_of(sampled(CASES["calm"](), 0)) is None


def test_a_process_that_is_frozen_to_be_killed_is_dead_or_starts_is_not_late() -> None:
    evidence = sampled(CASES["killed"](), 300)
    first, second = sorted(evidence.boots, key=lambda each: each.boot)
    assert evidence.gauges is not None
    t_ns, known = evidence.gauges.rows["t_ns"].astype(np.int64), known_lags(evidence)

    assert first.frozen_ns is not None
    assert second.ready_ns is not None
    assert second.reaped_ns is not None
    down = (t_ns >= first.frozen_ns) & (t_ns < second.ready_ns)
    over = t_ns >= second.reaped_ns
    assert down.sum() > 10
    assert over.any()
    assert (known == ~(down | over)).all()
    loop = loop_of(evidence)
    assert loop is not None
    assert loop.lag_ms.n == np.count_nonzero(known)


def test_a_bin_in_which_nobody_could_have_been_late_has_no_lag() -> None:
    evidence = sampled(CASES["killed"](), 300)
    first, second = sorted(evidence.boots, key=lambda each: each.boot)
    edges_ns = evidence.load_start_ns + 100 * MS * np.arange(100, dtype=np.int64)
    found = gauges_by_bin(evidence, edges_ns)
    assert found is not None
    is_down = (edges_ns[:-1] >= (first.frozen_ns or 0)) & (edges_ns[1:] <= (second.ready_ns or 0))
    is_up = (edges_ns[1:] <= (first.frozen_ns or 0)) & (edges_ns[:-1] >= (first.ready_ns or 0))
    assert is_down.any()
    assert np.isnan(found.loop_lag_max_ms[is_down]).all()
    assert (found.loop_lag_max_ms[is_up] == 300).all()


@pytest.mark.parametrize("ended_ms", [None, 3000])
def test_a_process_that_is_stopped_is_not_late_and_one_that_goes_on_is_given_time_for_its_first_beat(
    ended_ms: int | None,
) -> None:
    calm = CASES["calm"]()
    start_ns = calm.load_start_ns
    stop = Fault(
        name="stop",
        planned_s=2.0,
        landed_ns=start_ns + 2000 * MS,
        boot=1,
        effect="lasts",
        ended_ns=None if ended_ms is None else start_ns + ended_ms * MS,
    )
    evidence = sampled(dataclasses.replace(calm, faults=(stop,)), 300)
    assert evidence.gauges is not None
    at_ms = (evidence.gauges.rows["t_ns"].astype(np.int64) - start_ns) // MS
    last = (evidence.boots[0].reaped_ns or 0) - start_ns
    expected = (at_ms < 2000) | ((at_ms > (ended_ms or 10**9) + 100) & (at_ms * MS < last))
    assert (known_lags(evidence) == expected).all()


@pytest.fixture
def rundir(tmp_path: Path) -> RunDir:
    return RunDir.create("loop", tmp_path / "run")


def test_a_process_that_is_about_to_be_asked_to_end_is_told_so_in_its_page(rundir: RunDir) -> None:
    """That one alone, or all that live: what is cancelled from then on goes with it."""
    writer = RowWriter(rundir.tasks(1), Kind.TASKS, label="a server")
    word = (SETTINGS_OFFSET + 8) // 8
    pages = BootPages(rundir, 1)
    told = []
    for pid in (os.getpid() + 1, os.getpid()):
        pages.announce_stop(pid)
        told.append(int.from_bytes(rundir.tasks(1).read_bytes()[8 * word : 8 * word + 8], "little"))
    pages.announce_stop()
    assert told[0] == 0 < told[1]
    writer.close()
    pages.close()


def test_a_loop_that_has_ended_with_its_server_is_not_late_while_the_process_still_ends(rundir: RunDir) -> None:
    """The interpreter takes its time after the account was closed; nobody waits for the loop any more."""
    writer = RowWriter(rundir.tasks(1), Kind.TASKS, label="a server")
    page = LivePage(rundir.tasks(1))
    writer.gauge(Gauge.LOOP_BEAT, 1_000 * MS)
    writer.gauge(Gauge.LOOP_BEAT_PERIOD, 20 * MS)
    pages = BootPages(rundir, 1)
    pages.refresh()
    assert pages.loop_lag_ns(1_300 * MS) == 280 * MS
    writer.close()
    assert page.field(HeaderField.CLOSED) > 0
    assert pages.loop_lag_ns(1_300 * MS) == 0
    pages.close()
    page.close()


def test_a_stop_that_never_ended_says_nothing_of_the_next_server() -> None:
    evidence = sampled(CASES["killed"](), 30)
    assert evidence.gauges is not None
    first = evidence.boots[0]
    stop = Fault("stop", 1.0, (first.signalled_ns or 0) - 1000 * MS, 1, effect="lasts")
    stopped = dataclasses.replace(evidence, faults=(*evidence.faults, stop))
    is_of_second = evidence.gauges.rows["boot"] == 2
    assert known_lags(evidence)[is_of_second].any()
    assert (known_lags(stopped)[is_of_second] == known_lags(evidence)[is_of_second]).all()
    assert known_lags(stopped)[~is_of_second].sum() < known_lags(evidence)[~is_of_second].sum()
