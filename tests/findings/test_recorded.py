"""Real runs that were recorded (record.py): what is to be found in each is found, and nothing else."""

from __future__ import annotations

import tarfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from harness.evidence import judge_run
from harness.rundir import RunDir
from harness.schema import Finding, Summary

from .record import CASES, RUNS


@cache
def summary_of(name: str) -> Summary:
    with TemporaryDirectory() as folder:
        with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        return judge_run(RunDir(Path(folder)))


def finding(name: str, finding_id: str) -> Finding:
    (found,) = [each for each in summary_of(name).findings if each.id == finding_id]
    return found


def figures(name: str, finding_id: str) -> dict[str, Any]:
    return finding(name, finding_id).evidence


@pytest.mark.parametrize("name", CASES)
def test_a_run_has_the_findings_that_it_should_have_and_no_others(name: str) -> None:
    assert {each.id for each in summary_of(name).findings} == CASES[name].findings


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("healthy")])
def test_a_healthy_run_has_none(name: str) -> None:
    assert summary_of(name).verdict == "PASS"
    assert summary_of(name).findings == []


def test_the_recordings_are_small() -> None:
    assert sum(path.stat().st_size for path in RUNS.iterdir()) < 1_000_000
    assert {path.name for path in RUNS.iterdir()} == {f"{name}.tar.xz" for name in CASES}


def test_work_that_falls_behind_is_told_with_the_rates_at_which_it_came_in_and_got_done() -> None:
    """Two threads and 100 ms each: no more than 20/s, of 40/s."""
    found = figures("behind", "backlog-grows")

    assert found["accepted_per_s"] == pytest.approx(40, rel=0.02)
    assert 15 < found["ended_per_s"] <= 20
    assert found["grows_per_s"] == pytest.approx(found["accepted_per_s"] - found["ended_per_s"], abs=0.01)
    assert found["responses_flat"]
    assert "no answer shows it" in finding("behind", "backlog-grows").text


def test_the_number_of_threads_that_would_do_follows_from_rate_and_run_time() -> None:
    """40/s times 100 ms and a little are 4 threads in use, which are three quarters of 6."""
    found = figures("behind", "pool-saturated")

    assert found["limit"] == "threads"
    assert found["threads_needed"] == 6
    assert found["capacity_per_s"] == pytest.approx(2 / found["mean_run_ms"] * 1e3, rel=1e-3)
    assert "--pool 6" in finding("behind", "pool-saturated").next


def test_on_a_ramp_the_rate_is_told_up_to_which_the_work_could_follow() -> None:
    """Four threads and 100 ms each: somewhat less than 40/s."""
    found = figures("rising", "falls-behind-from")

    assert 28 < found["rate_per_s"] < 45
    assert 30 < found["ended_per_s"] <= 40


def test_of_stages_the_one_that_was_too_much_is_told() -> None:
    found = figures("step", "backlog-grows")

    assert (found["from_s"], found["until_s"]) == (4.0, 8.0)
    assert found["accepted_per_s"] == pytest.approx(150, rel=0.02)
    assert 60 < found["ended_per_s"] <= 80


def test_more_threads_are_not_advised_to_tasks_that_compute() -> None:
    assert figures("computing", "pool-saturated")["limit"] in {"cores", "gil"}
    assert "More threads will not help" in finding("computing", "pool-saturated").next
    assert "compute" in finding("computing", "move-to-queue").text


def test_a_crash_is_told_with_what_any_other_moment_would_have_cost() -> None:
    """40/s times 100 ms: 4 tasks are pending on average (Little's law), whenever it comes."""
    found = figures("killed", "restart-lost")

    assert found["broken_promises"] == summary_of("killed").tasks.broken_promises > 0
    assert found["pending_mean"] == pytest.approx(4.2, abs=0.6)


def test_a_grace_period_that_was_too_short_is_told_with_what_would_have_been_enough() -> None:
    """At SIGTERM some 60 tasks were pending, for two threads of 100 ms: 3 s, of which there was 1."""
    found = figures("short-grace", "grace-too-short")

    assert found["waited_s"] == pytest.approx(1, abs=0.4)
    assert 2 < found["needed_s"] < 5
    assert found["queued"] > 10


def test_who_holds_the_loop_of_the_bundled_server_is_named() -> None:
    found = figures("blocking", "loop-blocked")

    assert found["running"] == ["send_welcome_mail"]
    assert 300 <= found["blocked_ms"] < 2000


def test_the_time_in_which_the_world_was_gone_is_named() -> None:
    """The receiver went away 4 s after the first delivery."""
    found = figures("gone", "world-slowed-down")

    assert 3.0 <= found["from_s"] <= 5.0
    assert found["run_s"] > 3 * found["usual_run_s"]
