"""Whole runs with load machines: real processes, on loopback and from another network namespace with another clock."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from harness.load.pacing import arrival_times_ns
from harness.load.profile import steady
from tests.judged import LATE

from .conftest import Command, Place, wait_until

RUN = ("run", "email", "--out", "run", "--pool", 40, "--fault", "none", "--join-bind", "127.0.0.1:0")
OURS, THEIRS = "10.213.77.1", "10.213.77.2"
AHEAD_S = 100_000


@dataclass(frozen=True)
class Elsewhere:
    """What a command is started by to run in another network, with another clock."""

    before: tuple[str, ...]


def _does(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """A network namespace, joined to this one by a pair of interfaces, and a time namespace that is 100,000 s ahead."""
    name = f"aft{os.getpid()}"
    if os.geteuid() != 0 or not shutil.which("ip") or not _does("ip", "netns", "add", name):
        pytest.skip("network namespaces are not permitted here (they need root and ip of iproute2)")
    try:
        inside = ("ip", "-n", name)
        for command in (
            ("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name),
            ("ip", "addr", "add", f"{OURS}/30", "dev", f"{name}a"),
            ("ip", "link", "set", f"{name}a", "up"),
            (*inside, "addr", "add", f"{THEIRS}/30", "dev", f"{name}b"),
            (*inside, "link", "set", f"{name}b", "up"),
            (*inside, "link", "set", "lo", "up"),
        ):
            subprocess.run(command, check=True, capture_output=True)
        clock = ("unshare", "--time", "--monotonic", str(AHEAD_S), "--fork", "--kill-child")
        if not _does("ip", "netns", "exec", name, *clock, "true"):
            pytest.skip("time namespaces are not permitted here")
        yield Elsewhere(("ip", "netns", "exec", name, *clock))
    finally:
        _does("ip", "netns", "del", name)


def begun(place: Place, join: tuple[object, ...] = (), **run: Any) -> tuple[Command, Command]:
    """A run with one load process here and one on a load machine, half a second after its load began."""
    options = [part for name, value in run.items() for part in (f"--{name}", value)]
    here = place.start(*RUN, "--expect-loads", 1, *options)
    there = place.start("load", "--join", f"127.0.0.1:{place.port()}", *join)
    wait_until(lambda: place.events("load_started"), "the start of the load")
    wait_until(lambda: len(place.rows()[0].rows) > 40, "the first requests")
    return here, there


def test_a_joined_run_sends_and_is_judged_as_one_with_local_processes(place: Place, elsewhere: Elsewhere) -> None:
    """One local process and two on another machine, whose clock is 28 hours ahead, send what one process would, when it would."""
    options = ("--rate", 120, "--for", "1500ms", "--warm-up", "200ms", "--arrivals", "poisson")
    here = place.start(
        *(*RUN[:-1], f"{OURS}:0"), "--host", OURS, "--yes-this-target-is-mine", OURS, "--expect-loads", 1, *options
    )
    at = f"{OURS}:{wait_until(lambda: place.events('boot_spawned'), 'the start') and place.port()}"
    there = place.start("load", "--join", at, "--processes", 2, "--yes-this-target-is-mine", OURS, before=elsewhere.before)
    assert there.end() == 0, there.text()
    assert here.end() in {0, 4}, here.text()
    assert "handed back what became of the" in there.text()
    assert "ended early" not in there.text()

    due = arrival_times_ns("poisson", steady(120.0, 1.5), 1)
    files, summary = place.rows(), place.summary()
    (started,), (clock,) = place.events("load_started"), place.events("load_machine_clock")
    uncertainty_ns = clock["relation"]["uncertainty_ns"]
    assert abs(clock["relation"]["start_offset_ns"] - AHEAD_S * 10**9) <= uncertainty_ns
    assert [file.clock_uncertainty_ns for file in files] == [0, uncertainty_ns, uncertainty_ns]
    found = np.concatenate([np.asarray(file.rows) for file in files])
    found = found[np.argsort(found["op"])]
    assert np.array_equal(found["op"] & 0xFFFF_FFFF, np.arange(len(due)) + 1)
    # The schedule was told by a reading before the load, and the rows were put on our clock by one more after it.
    off_ns = found["due_ns"].astype(np.int64) - started["load_start_ns"] - due
    assert np.abs(off_ns).max() <= 2 * uncertainty_ns
    assert np.all(off_ns[::3] == 0)
    # Three load processes beside whatever else this machine does: one may have been late, and nothing else may be wrong.
    assert all(LATE.match(reason) for reason in summary["reasons"]), summary["reasons"]
    assert (summary["requests"]["attempted"], summary["requests"]["acked"]) == (len(due), len(due))
    assert (summary["tasks"]["finished"], summary["tasks"]["lost"]) == (len(due), 0)
    assert all(invariant["holds"] for invariant in summary["invariants"])
    assert {event["process"]: "machine" in event for event in place.events("load_done")} == {0: False, 1: True, 2: True}


def test_a_machine_that_never_comes_ends_the_run_and_it_says_how_many_came(place: Place) -> None:
    run = place.start(*RUN, "--rate", 10, "--for", "1s", "--expect-loads", 2, "--join-within", "3s")
    came = place.start("load", "--join", f"127.0.0.1:{place.port()}", "--join-within", "6s")

    assert run.end() == 1
    assert came.end() == 1
    # On a slow machine not even the one that was started comes within this time, or is being greeted at its end.
    (number,) = re.findall(r"error: ([01]) of 2 load machines joined within 3 s", run.text())
    assert number == "0" or "the run ended before this machine had sent its part" in came.text()


def test_a_machine_that_is_interrupted_hands_back_what_it_sent(place: Place) -> None:
    here, there = begun(place, rate=100, **{"for": "20s"})
    there.send(signal.SIGINT)

    assert (there.end(), here.end()) == (130, 4)
    local, joined = place.rows()
    assert min(local.closed_ns, joined.closed_ns) > 0
    assert len(joined.rows) > 10
    summary = place.summary()
    assert any("it was interrupted there by SIGINT" in reason for reason in summary["reasons"])
    assert all(invariant["holds"] for invariant in summary["invariants"]), summary["invariants"]


def test_a_machine_that_is_killed_makes_the_run_inconclusive_and_is_no_bug_of_the_accounting(place: Place) -> None:
    here, there = begun(place, rate=100, **{"for": "20s"})
    there.process.kill()

    assert here.end() == 4
    there.end()
    summary = place.summary()
    ways = ("is lost: the connection to it broke", "left: afterload load ended there")
    assert any(way in reason for way in ways for reason in summary["reasons"]), summary["reasons"]
    assert all(invariant["holds"] for invariant in summary["invariants"]), summary["invariants"]
    # What the server did for requests whose rows are not there is known, and whether it was promised is not.
    assert summary["tasks"]["finished"] > summary["requests"]["attempted"]


def test_a_load_process_that_is_killed_there_leaves_its_rows(place: Place) -> None:
    here, there = begun(place, rate=100, **{"for": "20s"})
    there.child("load-1").kill()

    assert (there.end(), here.end()) == (1, 4)
    local, joined = place.rows()
    assert local.closed_ns
    assert not joined.closed_ns
    assert len(joined.rows) > 10
    assert any("load-1 was ended by SIGKILL in the middle of the load" in reason for reason in place.summary()["reasons"])


def test_an_interrupted_run_takes_back_the_rows_and_lets_the_machine_end(place: Place) -> None:
    here, there = begun(place, rate=100, **{"for": "20s"})
    here.send(signal.SIGINT)

    assert (here.end(), there.end()) == (130, 0)
    local, joined = place.rows()
    assert min(local.closed_ns, joined.closed_ns) > 0
    assert "the run ended early" in there.text()
    assert place.summary()["interrupted_by"] == "SIGINT"


def test_when_the_machine_that_measures_dies_the_load_machine_ends_and_leaves_nothing(place: Place) -> None:
    here, there = begun(place, rate=100, **{"for": "20s"})
    here.process.kill()

    assert there.end() == 1
    assert re.search(r"is gone: .*; nothing more is sent|the run ended before this machine", there.text())


def test_too_many_rows_come_back_as_histograms_and_whose_promise_was_broken_is_an_interval(place: Place) -> None:
    """All load is sent from elsewhere; the server is killed with a backlog."""
    here = place.start(
        *RUN[:4], "--pool", 2, "--fault", "kill@1500ms", *RUN[8:], "--expect-loads", 1, "--load-processes", 0, "--join-rows", 10,
        "--rate", 100, "--for", "2500ms", "--warm-up", "500ms",
    )  # fmt: skip
    there = place.start("load", "--join", f"127.0.0.1:{place.port()}")

    assert there.end() == 0, there.text()
    assert here.end() in {0, 4}, here.text()
    summary = place.summary()
    requests, tasks = summary["requests"], summary["tasks"]
    assert place.rows() == []
    assert requests["attempted"] == requests["counted"] == 250
    assert requests["acked"] + requests["rejected"] + requests["indeterminate"] == 250
    assert requests["response_ms"]["n"] + requests["rejected"] >= 200
    assert 0 < requests["response_ms"]["p50"] < 1000
    assert tasks["lost"] == tasks["lost_low"] > 0
    assert (tasks["broken_promises_low"], tasks["broken_promises"]) == (0, tasks["lost"])
    assert all(invariant["holds"] for invariant in summary["invariants"]), summary["invariants"]
    assert "250 of them came back as histograms" in here.text()
