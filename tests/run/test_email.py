"""The main job, through the command line: load, a kill in the middle, and exactly what was lost."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.rows import Kind, read_rows
from tests.judged import require_judged
from tests.run.conftest import Done

Afterload = Callable[..., Done]
SHORT = ("--rate", 60, "--pool", 4, "--for", "3s", "--set", "delay=100ms", "--seed", 1)


def check_every_invariant_holds(summary: dict) -> None:
    assert [invariant for invariant in summary["invariants"] if not invariant["holds"]] == []
    assert len(summary["invariants"]) >= 7


def test_a_deploy_with_time_to_drain_loses_nothing(afterload: Afterload) -> None:
    """SIGTERM and a drain deadline longer than the work."""
    done = afterload("run", "email", *SHORT, "--fault", "term@1500ms", "--json", "-")

    summary = done.json
    check_every_invariant_holds(summary)
    require_judged(done.status, summary, done.err)
    assert summary["tasks"]["lost"] == summary["tasks"]["broken_promises"] == 0
    assert summary["tasks"]["effects"] == summary["tasks"]["finished"] == summary["tasks"]["accepted"]
    assert summary["boots"][0]["signal"] == "SIGTERM"
    assert summary["boots"][0]["exit_status"] == 0


@pytest.mark.parametrize("fault", ["term", "int"])
def test_what_the_server_says_it_abandoned_is_what_the_accounting_finds(afterload: Afterload, folder: Path, fault: str) -> None:
    """With a drain deadline shorter than the work, three accounts agree: the server's words, its gauges, its rows."""
    done = afterload("run", "email", *SHORT, "--fault", f"{fault}@1500ms", "--drain", "200ms", "--out", "run", "--json", "-")

    summary = done.json
    check_every_invariant_holds(summary)
    boot = summary["boots"][0]
    said = (folder / "run" / "server-1.log").read_text()
    assert f"{boot['queued_at_death']} never started" in said
    assert f"{boot['running_at_death']} running" in said
    assert boot["queued_at_death"] + boot["running_at_death"] > 0
    assert boot["exit_status"] == 3
    assert summary["tasks"]["lost"] > 0


def test_a_crash_out_of_the_blue_is_accounted_for_as_exactly(afterload: Afterload) -> None:
    """Nothing is frozen and nothing predicted; the rows tell all the same."""
    done = afterload("run", "email", *SHORT, "--fault", "crash@1500ms", "--json", "-")

    check_every_invariant_holds(done.json)
    assert done.json["boots"][0]["predicted_lost"] is None
    assert "broken promises" in done.err, "with --json - the summary for people is on standard error"
    assert done.json["tasks"]["lost"] > 0


def test_several_faults_in_one_run_each_have_their_boot(afterload: Afterload) -> None:
    """Three boots, two receipts."""
    done = afterload("run", "email", *SHORT, "--fault", "kill@1s", "--fault", "term@2s", "--json", "-")

    check_every_invariant_holds(done.json)
    assert [boot["signal"] for boot in done.json["boots"]] == ["SIGKILL", "SIGTERM", "SIGTERM"]


def test_a_run_without_a_backlog_loses_nothing_at_a_kill(afterload: Afterload) -> None:
    """Light load, quick mails: whatever is lost was running."""
    given = ("--rate", 20, "--pool", 8, "--for", "2s", "--set", "delay=1ms", "--fault", "kill@1s")
    tasks = afterload("run", "email", *given, "--json", "-").json["tasks"]

    assert tasks["never_started"] == 0


def test_load_from_several_processes_is_one_load(afterload: Afterload) -> None:
    """Two processes share one schedule; nobody sends twice."""
    done = afterload("run", "email", *SHORT, "--fault", "kill@1500ms", "--processes", 2, "--arrivals", "poisson", "--json", "-")

    check_every_invariant_holds(done.json)
    assert done.json["generator"]["processes"] == 2
    assert done.json["requests"]["attempted"] == done.json["requests"]["planned"]


def test_the_run_directory_keeps_everything_and_can_be_judged_and_run_again(afterload: Afterload, folder: Path) -> None:
    """Rows, logs, plan, events and summary; `report` reads the same figures out of them."""
    first = afterload("run", "email", *SHORT, "--fault", "kill@1500ms", "--json", "summary.json")
    # 4: on a busy machine it may have been late.
    assert first.status in {0, 4}, first.err
    run = folder / "runs" / "latest"

    names = {path.name for path in run.resolve().iterdir()}
    assert names >= {
        "plan.toml", "environment.json", "events.jsonl", "summary.json", "scenario.json", "requests-0.rows", "tasks-1.rows",
        "tasks-2.rows", "effects-1.rows", "gauges.rows", "server-1.log", "server-2.log", "world.log", "load-0.log",
    }  # fmt: skip
    assert {read_rows(path).kind for path in run.glob("*.rows")} == set(Kind)
    again = afterload("report", "--json", "-")
    assert again.status == first.status
    assert again.json == json.loads((folder / "summary.json").read_text()) == json.loads((run / "summary.json").read_text())
    plan = tomllib.loads((run / "plan.toml").read_text())
    assert plan["faults"] == ["kill@1500ms"]
    rerun = afterload("run", "--plan", run.resolve() / "plan.toml", "--json", "-")
    assert rerun.status in {0, 4}, rerun.err
    assert rerun.json["plan"] == first_plan(folder)


def first_plan(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())["plan"]


def test_without_a_command_the_email_scenario_breaks_promises_and_its_prediction_is_exact(
    afterload: Afterload, folder: Path
) -> None:
    """`make run` without a terminal: progress while it runs, then what was lost, within a minute.

    What was queued and running when everything was frozen is what is lost, but for effects that had already happened.
    """
    done = afterload()

    for word in ("broken promises", "SIGKILL", "invariants hold"):
        assert word in done.out
    for word in ("sent", "backlog"):
        assert word in done.err
    summary = json.loads((folder / "runs" / "latest" / "summary.json").read_text())
    tasks, (killed, second) = summary["tasks"], summary["boots"]
    check_every_invariant_holds(summary)
    require_judged(done.status, summary, done.err)
    assert tasks["broken_promises"] > 0
    assert killed["signal"] == "SIGKILL"
    assert killed["predicted_lost"] == killed["queued_at_death"] + killed["running_at_death"] > 0
    assert second["queued_at_death"] == second["running_at_death"] == 0
    assert tasks["interrupted"] == killed["running_at_death"]
    assert tasks["never_started"] == killed["queued_at_death"]
    # An interrupted task may have had its effect: then it is not lost.
    effects_of_interrupted = tasks["effects"] - tasks["finished"]
    assert 0 <= effects_of_interrupted <= tasks["interrupted"]
    assert tasks["lost"] == tasks["interrupted"] + tasks["never_started"] - effects_of_interrupted
    assert killed["recovery_s"] > 0
    # The event loop ended with the account; that its process took its time to go is not the loop's lateness.
    closed_ns = read_rows(folder / "runs" / "latest" / "tasks-2.rows").closed_ns
    samples = read_rows(folder / "runs" / "latest" / "gauges.rows").rows
    assert closed_ns > 0
    assert not samples["loop_lag_ns"][samples["t_ns"] > closed_ns].any()
    assert summary["loop"]["lag_ms"]["n"] > 100
