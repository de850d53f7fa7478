"""A real comparison, from the command line, interrupted twice: what is there afterwards, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from harness.commands.main import main
from harness.compare.loading import read_comparison
from harness.compare.record import Comparison
from harness.rundir import RunDir
from tests.compare.conftest import Real

DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(real: Real, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command line, in this process: nothing is measured here any more."""

    def called(*args: str) -> Done:
        monkeypatch.chdir(real.folder)
        status: Any = 0
        try:
            main(list(args))
        except SystemExit as left:
            status = left.code
        out, err = capfd.readouterr()
        return Done(int(status or 0), out, err)

    return called


def test_ctrl_c_leaves_what_was_measured_and_says_how_to_go_on(real: Real) -> None:
    assert real.interrupted.status == 130
    assert "go on with: afterload compare --resume it" in real.interrupted.err
    assert 1 <= len(real.interrupted.runs) < 4
    assert "of 2 blocks, each with" in real.interrupted.out


def test_a_comparison_that_was_killed_goes_on_where_it_stopped(real: Real) -> None:
    assert real.killed.status == -9
    assert real.finished.status in {0, 4}, real.finished.err
    places = [(run.block, run.configuration) for run in real.finished.runs if run.is_usable]
    assert sorted(places) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    # Nothing that was over was done again.
    assert real.finished.runs[: len(real.killed.runs)] == real.killed.runs
    assert real.left_over == []


def test_configurations_take_turns_and_share_their_requests(real: Real) -> None:
    runs = {(run.block, run.place): run for run in real.finished.runs}
    assert [runs[1, 1].configuration, runs[1, 2].configuration] == [0, 1]
    assert [runs[2, 1].configuration, runs[2, 2].configuration] == [1, 0]
    assert {run.seed for run in real.finished.runs if run.block == 1} == {1}
    assert {run.seed for run in real.finished.runs if run.block == 2} == {2}


def test_every_run_has_its_figures_and_each_server_was_a_fresh_one(real: Real) -> None:
    for run in real.finished.runs:
        assert run.values["p95"] is not None
        assert run.values["done_p50"] is not None
        assert run.values["cpu"] is not None
        assert run.values["memory"] is not None
        events = [json.loads(line) for line in (real.path / run.directory / "events.jsonl").read_text().splitlines()]
        assert sum(event["event"] == "boot" for event in events) <= 1
    # The work is done before the answer in one, and after it in the other.
    assert all((run.values["backlog"] is None) == (run.configuration == 1) for run in real.finished.runs)


def test_rows_are_gone_after_their_figures_were_taken_and_the_run_says_so(real: Real, call: Call) -> None:
    """Those of a run that could not be used, as on a busy machine, are kept: whoever wants to know why looks into them."""
    used = [run for run in real.finished.runs if run.is_usable]
    for run in used:
        path = real.path / run.directory
        assert not list(path.glob("*.rows"))
        assert (path / "summary.json").is_file()
        assert (path / "report.html").is_file()
        assert RunDir(path).dropped.is_file()
    path = real.path / used[0].directory
    before = (path / "summary.json").read_bytes()
    done = call("report", str(path))
    assert done.status == 2
    assert "cannot be judged again" in done.err
    assert (path / "summary.json").read_bytes() == before


def test_the_record_is_as_its_schema_says_and_the_page_is_there(real: Real) -> None:
    schema = json.loads((DOCS / "comparison.schema.json").read_text())
    record = json.loads((real.folder / "it.json").read_text())
    jsonschema_rs.validate(schema, record)
    assert Comparison.model_validate(record) == read_comparison(real.path)
    assert "<h1>email" in (real.path / "comparison.html").read_text()
    assert record["complete"] == 2
    assert [each["label"] for each in record["configurations"]] == ["tasks=sync", "tasks=inline"]


def test_of_two_blocks_it_says_that_nothing_is_known_of_chance(real: Real) -> None:
    assert "of fewer than 3 nothing is known of what chance does" in " ".join(real.finished.out.split())


def test_the_progress_tells_how_long_it_will_take(real: Real) -> None:
    lines = [line for line in real.finished.err.splitlines() if line.startswith("run ")]
    assert lines[-1].startswith("run 4/4  block 2")
    assert "left" not in lines[-1]
    assert all(" left  block " in line for line in lines[:-1])


def test_it_can_be_shown_again_and_more_blocks_cannot_be_taken_away(real: Real, call: Call) -> None:
    again = call("compare", "it")
    assert again.status == 0
    assert "tasks=inline against tasks=sync" in again.out
    done = call("compare", "--resume", "it", "--blocks", "1")
    assert done.status == 2
    assert "there are more already" in done.err


def test_runs_of_it_can_be_compared_by_their_summaries(real: Real, call: Call) -> None:
    runs = {run.configuration: str(Path("it") / run.directory) for run in real.finished.runs}
    done = call("compare", runs[0], runs[1])
    assert done.status == 0, done.err
    assert "In these runs tasks=inline was" in done.out
    assert "One run each" in done.out


def test_it_can_be_the_baseline_of_another_one(real: Real, call: Call) -> None:
    done = call("compare", "it", "--baseline", "it.json", "--fail-on", "broken_promises>+0", "--fail-on", "p50>+10%")
    # Against itself nothing has changed, and of two blocks it cannot be told.
    assert done.status == 4, done.err
    assert "p50>+10% of tasks=sync" in done.out


def test_it_says_in_advance_what_it_will_do(real: Real, call: Call) -> None:
    done = call("compare", "email", "--vary", "tasks=sync,async", "--blocks", "4", "--for", "5s", "--dry-run")
    assert done.status == 0
    assert "1  tasks=sync  (baseline)" in done.out
    assert [line.partition(": ")[2] for line in done.out.splitlines() if line.startswith("block")] == ["1 2", "2 1", "1 2", "2 1"]
    assert "8 runs, about 80 s" in done.out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("email",), "nothing is varied"),
        (("email", "--vary", "tasks=sync,async", "--vary", "poool=1,2"), "did you mean 'pool'"),
        (("emaul", "--vary", "tasks=sync,async"), "emaul"),
        (("email", "--vary", "tasks=sync,async", "--expect-loads", "1"), "--expect-loads cannot be given"),
        (("email", "--vary", "tasks=sync,async", "--fail-on", "p95>10%"), "a change has a sign"),
        (("email", "--vary", "tasks=sync,async", "--baseline", "no.json"), "cannot read the baseline"),
        (("email", "--vary", "tasks=sync,async", "--against", "tasks=inline"), "fits no configuration"),
        (("email", "--vary", "tasks=sync,async", "--out", "it"), "is not empty"),
        (("--resume", "it", "--rate", "5"), "--rate cannot be given for a comparison that goes on"),
        (("--resume", "."), "no directory of a comparison"),
        (("it", "--blocks", "3"), "--blocks cannot be given for a comparison that is shown again"),
        (("runs/none", "runs/other"), "there is no run runs/none"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_runs(call: Call, args: tuple[str, ...], words: str) -> None:
    done = call("compare", *args)
    assert done.status == 2, done.out
    assert words in done.err
