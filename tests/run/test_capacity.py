"""A real search: real servers, real stages, interrupted in the middle and gone on with. 20 threads and 100 ms: 200/s at most."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.commands.main import main
from tests.run.conftest import Done, wait_until

AT_MOST_PER_S = 20 / 0.1


def stages_in(path: Path) -> list[dict[str, object]]:
    file = path / "stages.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def test_a_search_that_is_interrupted_keeps_what_it_measured_and_goes_on(folder: Path, afterload: Callable[..., Done]) -> None:
    """It begins far above what can be done; what that stage shows leads to a rate below the limit that physics sets."""
    options = ["--tasks", "sync", "--pool", "20", "--set", "delay=100ms", "--rate", "300", "--for", "2.5s", "--max-stages", "2"]
    command = [sys.executable, "-m", "harness", "capacity", "email", *options, "--out", "it"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as search:
        wait_until(lambda: stages_in(folder / "it"), 60.0, "the end of the first stage")
        search.send_signal(signal.SIGINT)
        _, err = search.communicate(timeout=60)
    assert search.returncode == 130, err
    assert "go on with: afterload capacity --resume it" in err
    known = json.loads((folder / "it" / "capacity.json").read_text(encoding="utf-8"))["configurations"][0]
    assert known["answer"]["state"] == "unfinished"
    (first,) = stages_in(folder / "it")
    assert known["stages"] == [first]

    done = afterload("capacity", "--resume", "it", "--json", "-", timeout_s=120)

    assert done.status == 4, done.err
    found = done.json["configurations"][0]
    assert found["stages"][0] == first
    assert len(found["stages"]) == 2
    overloaded, lower = found["stages"]
    assert overloaded["growth"]["low"] > 0
    assert overloaded["could_per_s"] <= 1.05 * AT_MOST_PER_S
    assert overloaded["cause"] is not None
    if overloaded["generator"]:
        # On a busy machine the load was late, which says nothing of the server: then the same rate is tried again.
        assert (lower["purpose"], lower["rate"]) == ("repeat", overloaded["rate"])
        is_told = not lower["generator"]
    else:
        assert lower["rate"] < 1.05 * AT_MOST_PER_S
        is_told = True
    assert found["curve"][-1]["standing"] == ("does not hold" if is_told else "not sent")
    assert (folder / "it" / lower["run"] / "report.html").exists()
    assert (folder / "it" / "capacity.html").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["email", "--stages", "50 for 10s"], "capacity looks for a rate"),
        (["email", "--users", "5"], "capacity looks for a rate"),
        (["email", "--slo", "backlog bounded@5s"], "leave the window out"),
        (["email", "--resume", "it"], "and a scenario asks for something else"),
        (["--resume", "nowhere"], "nowhere is no directory of a search"),
        (["email", "--within", "80"], "allowed is 0.5 to 50"),
        (["email", "--vary", "pool=4,many"], "many"),
    ],
)
def test_what_cannot_be_searched_is_told_before_anything_starts(options: list[str], said: str, folder: Path) -> None:
    done = CliRunner().invoke(main, ["capacity", *options])
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert not list(folder.iterdir())
