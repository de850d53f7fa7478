"""Every scenario in every kind of task, with a kill in the middle, through the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scenarios import Rows
from scenarios.registry import find
from tests.scenarios.conftest import Afterload, broken_invariants, figure

Together = Callable[..., dict[str, dict[str, Any]]]

SMALL = {
    "email": ("--rate", 30, "--set", "delay=60ms", "--set", "fail=20%", "--set", "reject=5%"),
    "action": ("--rate", 20, "--set", "delay=60ms", "--set", "fail=30%", "--set", "analytics=5ms"),
    "analytics": ("--rate", 60, "--set", "hold=20ms", "--set", "patience=20ms"),
    "flaky": ("--rate", 30, "--set", "raises=20%", "--set", "hangs=2%", "--set", "hang=500ms", "--set", "slowest=500ms"),
}
KINDS = ("sync", "async", "blocking", "inline")


@pytest.mark.parametrize("name", SMALL)
def test_every_kind_of_every_scenario_survives_a_kill_with_every_invariant(together: Together, name: str) -> None:
    """The account is exact however the work is written and whatever goes wrong with it, and the world agrees."""
    given = ("--pool", 4, "--for", "2s", "--warm-up", "0ms", "--fault", "kill@1s", "--request-timeout", "5s")
    runs = together(name, *SMALL[name], *given, each={kind: ("--tasks", kind) for kind in KINDS})

    for kind, summary in runs.items():
        tasks = summary["tasks"]
        check_the_account(summary, kind)
        assert [boot["signal"] for boot in summary["boots"]] == ["SIGKILL", "SIGTERM"], kind
        # What goes wrong by design is told as what it is: a failed task, or with nothing behind the answer a refused request.
        went_wrong = summary["requests"]["rejected"] if kind == "inline" else tasks["failed"]
        # One writer at a time never finds the row locked.
        assert went_wrong > 0 or (name, kind) == ("analytics", "blocking"), kind
    if name == "action":
        assert figure(runs["sync"], "gap") > 0
        assert runs["sync"]["tasks"]["skipped"] == 0
        assert "analytics never heard of them" in runs["sync"]["text"]
    if name == "flaky":
        settings = find("flaky").resolve({"raises": "20%"})
        for kind in ("sync", "async", "blocking"):
            ended = [row for row in Rows(runs[kind]["run"]).tasks if row["finished_ns"] or row["failed_ns"]]
            meant = {int(row["op"]) for row in ended if settings.happens("raises", f"{row['op']:016x}")}
            assert {int(row["op"]) for row in ended if row["failed_ns"]} == meant, kind
    if name == "analytics":
        for kind in ("sync", "async"):
            log = "".join((runs[kind]["run"] / f"server-{boot}.log").read_text() for boot in (1, 2))
            assert "database is locked" in log, kind
            missing = runs[kind]["tasks"]["failed"] + runs[kind]["tasks"]["lost"]
            assert figure(runs[kind], "missing") > 0
            # Some of them may have got no answer.
            assert figure(runs[kind], "logged") + missing >= runs[kind]["requests"]["acked"], kind


def check_the_account(summary: dict[str, Any], kind: str) -> None:
    assert broken_invariants(summary) == [], kind
    assert summary["scenario"]["problems"] == [], kind
    assert summary["boots"][0]["signal"] == "SIGKILL", kind
    assert summary["requests"]["acked"] > 0, kind
    assert summary["tasks"]["effects"] > 0, kind
    assert (summary["tasks"]["accepted"] == 0) == (kind == "inline"), kind
    assert sum(each["arrived"] for each in summary["scenario"]["effects"]) == summary["tasks"]["effects"], kind


@pytest.mark.parametrize("engine", ["uvicorn", "granian"])
def test_the_same_scenarios_have_exact_accounts_on_other_servers(afterload: Afterload, folder: Path, engine: str) -> None:
    """Each scenario and each kind, the kind of a scenario being another one on each server; AFTERLOAD_FULL=1: all of them."""
    shift = ("uvicorn", "granian").index(engine)
    square = [(name, KINDS[(number + shift) % len(KINDS)]) for number, name in enumerate(SMALL)]
    if os.environ.get("AFTERLOAD_FULL"):
        square = [(name, kind) for name in SMALL for kind in KINDS]
    given = ("--engine", engine, "--pool", 4, "--for", "2s", "--warm-up", "0ms", "--fault", "kill@1s", "--request-timeout", "5s")

    def run(name: str, kind: str) -> dict[str, Any]:
        out = ("--out", f"{name}-{kind}", "--json", "-")
        done = afterload("run", name, "--tasks", kind, *SMALL[name], *given, *out, timeout_s=100)
        assert done.out, done.err
        return done.json

    with ThreadPoolExecutor(4) as pool:
        for (name, kind), summary in zip(square, pool.map(lambda each: run(*each), square), strict=True):
            check_the_account(summary, kind)
            assert summary["plan"]["engine"] == engine, name


def test_with_the_policy_stop_a_task_that_raises_ends_its_request_and_what_is_left_shows_it(together: Together) -> None:
    """Which actions fail is known in advance; the later task of each never starts, and the world has only their first effect."""
    given = ("--rate", 40, "--pool", 8, "--for", "1500ms", "--fault", "none", "--set", "fail=30%", "--set", "delay=5ms")
    (summary,) = together("action", *given, each={"stop": ("--on-error", "stop")}).values()

    settings = find("action").resolve({"fail": "30%"})
    ops = {f"{op:016x}" for op in Rows(summary["run"]).tasks["op"].tolist()}
    meant = sum(settings.happens("fail", op) for op in ops)
    assert broken_invariants(summary) == []
    assert summary["tasks"]["failed"] == summary["tasks"]["skipped"] == figure(summary, "stopped") == meant > 0
    assert figure(summary, "gap") == figure(summary, "others") == 0
    assert figure(summary, "whole") == len(ops) - meant > 0
    assert "logged, and nothing came after that" in summary["text"]
