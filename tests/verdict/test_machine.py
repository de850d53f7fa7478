"""What else the machine does: a burner is seen, the run's own processes are not, and only want of processors is noise."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harness.machine import EVERY_NS, MachineSampler
from harness.model import Evidence, Expectation
from harness.noise import noise_of
from harness.rows import Kind, RowFile, read_rows
from harness.rows.layout import MACHINE_SAMPLE
from tests.accounting.memory import row_file

S = 10**9

# It burns in a child of its own, which has ended and was waited for, and then itself, until its standard input closes.
BURNER = """
import os, sys, threading, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
if not (child := os.fork()):
    burn(0.3)
    os._exit(0)
os.waitpid(child, 0)
burn(0.3)
print("burnt", flush=True)
sys.stdin.read()
"""


@contextmanager
def burner() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", BURNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "burnt\n"
        yield process


def sampled(path: Path, root: int) -> RowFile:
    """One sample before, one after what happens meanwhile."""
    sampler = MachineSampler(path, root)
    assert sampler.sample()
    sampler.close()
    return read_rows(path)


def test_the_work_of_a_process_and_of_its_children_is_the_runs_own(tmp_path: Path) -> None:
    """Also that of children that have ended."""
    with burner() as process:
        own = int(sampled(tmp_path / "own.rows", process.pid).rows["own_ns"][0])
        ours = int(sampled(tmp_path / "ours.rows", os.getpid()).rows["own_ns"][0])

    assert own >= 0.55 * S
    assert ours >= own


def test_the_work_of_a_process_beside_the_run_is_not_its_own(tmp_path: Path) -> None:
    """A process that is no descendant of the root: here the root is a sleeper beside the burner."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeper, burner():
        rows = sampled(tmp_path / "m.rows", sleeper.pid).rows

    assert rows["own_ns"][0] < 0.5 * S
    assert rows["busy_ns"][0] > rows["own_ns"][0]


def test_samples_are_half_a_second_apart_and_say_what_the_processors_did(tmp_path: Path) -> None:
    sampler = MachineSampler(tmp_path / "m.rows")
    end = time.monotonic_ns() + 2 * EVERY_NS + EVERY_NS // 2
    while time.monotonic_ns() < end:
        sampler.sample()
        time.sleep(0.02)
    sampler.close()

    rows = read_rows(tmp_path / "m.rows").rows
    passed = np.diff(rows["t_ns"].astype(np.int64))
    used = sum(np.diff(rows[name].astype(np.int64)) for name in ("busy_ns", "idle_ns", "steal_ns"))
    assert len(rows) >= 2
    assert (passed >= EVERY_NS).all()
    # Processors times time is what they did, to the ticks of the kernel, of which an idle virtual machine misses some:
    # one in eight was seen.
    assert abs(used.sum() - passed.sum() * int(rows["cpus"][0])) <= 0.25 * passed.sum() * int(rows["cpus"][0])
    assert len(os.sched_getaffinity(0)) == rows["cpus"][0]


def noise(*intervals: dict[str, float], stalls: bool = True, warm_up_s: float = 0.0) -> tuple[list[bool], float, float]:
    """Whether each second was noisy, and the shares."""
    found = noise_of(machine(*intervals, stalls=stalls, warm_up_s=warm_up_s))
    return found.noisy.tolist(), found.other_share, found.steal_share


def machine(*intervals: dict[str, float], stalls: bool = True, warm_up_s: float = 0.0) -> Evidence:
    """A machine with two processors, seen once a second from 1 s on; shares per interval."""
    rows = np.zeros(len(intervals) + 1, MACHINE_SAMPLE)
    rows["t_ns"], rows["cpus"] = S + np.arange(len(rows)) * S, 2
    for name in ("busy", "idle", "steal", "own"):
        rows[f"{name}_ns"][1:] = np.cumsum([2 * S * interval.get(name, 0.0) for interval in intervals])
    rows["stalled_ns"] = stalls * (5 * S + np.cumsum([0.0, *(S * interval.get("stalled", 0.0) for interval in intervals)]))
    samples = row_file(Kind.MACHINE, rows)
    return Evidence(1, S, 10 * S, 0, Expectation(0, 0), [], {}, [], [], warm_up_s=warm_up_s, machine=samples)


QUIET = {"busy": 0.5, "own": 0.48, "idle": 0.5, "stalled": 0.02}
CROWDED = {"busy": 1.0, "own": 0.5, "idle": 0.0, "stalled": 0.6}
OWN_WORK = {"busy": 1.0, "own": 0.97, "idle": 0.0, "stalled": 0.9}
BESIDE = {"busy": 0.8, "own": 0.3, "idle": 0.2, "stalled": 0.03}
STOLEN = {"busy": 0.5, "own": 0.49, "idle": 0.44, "steal": 0.06}


def test_noise_is_where_others_leave_too_little() -> None:
    """A run that saturates the machine itself, and others beside idle processors, are none."""
    assert noise(QUIET, CROWDED, OWN_WORK, BESIDE, STOLEN)[0] == [False, True, False, False, True]


def test_a_time_is_noisy_if_it_touches_noise_or_its_aftermath() -> None:
    """Noise from second 2 to 3, and half a second in which its work is worked off; then from 4 to 6."""
    found = noise_of(machine(QUIET, CROWDED, QUIET, CROWDED, CROWDED, QUIET))
    spans_s = [
        (0.0, 1.0),
        (1.0, 0.9),
        (1.5, 1.0),
        (0.5, 9.0),
        (2.2, 0.1),
        (3.4, 0.1),
        (3.6, 0.2),
        (3.6, 0.5),
        (6.4, 0.0),
        (6.6, 1e9),
    ]
    at_ns, length_ns = (np.array([int(each * S) for each in column]) for column in zip(*spans_s, strict=True))

    expected = [False, False, True, True, True, True, False, True, True, False]
    assert found.covers(at_ns, length_ns).tolist() == expected


def test_without_stall_information_a_full_machine_is_what_counts() -> None:
    assert noise(QUIET, CROWDED, OWN_WORK, BESIDE, STOLEN, stalls=False)[0] == [False, True, False, False, True]


def test_shares_are_of_all_processors_over_the_measured_time() -> None:
    _, other, steal = noise(CROWDED, QUIET, STOLEN, BESIDE, warm_up_s=1.0)
    assert abs(other - (0.02 + 0.01 + 0.5) / 3) < 0.01
    assert abs(steal - 0.06 / 3) < 0.001


def test_processes_that_seem_to_have_used_more_than_there_was_are_no_noise() -> None:
    """Processors are counted by ticks, processes exactly: the difference may be below zero."""
    noisy, other, _ = noise({"busy": 0.5, "own": 0.55, "idle": 0.5}, {"busy": 0.5, "own": 0.45, "idle": 0.5})
    assert (noisy, other) == ([False, False], 0.0)


def test_a_run_without_samples_has_no_noise() -> None:
    """One of an older afterload, or killed before the second sample."""
    evidence = Evidence(1, S, 10 * S, 0, Expectation(0, 0), [], {}, [], [])
    assert (noise_of(evidence).noisy_share, noise_of(evidence).is_noisy) == (0.0, False)
    assert not noise_of(evidence).covers(np.array([5]), np.array([5])).any()
