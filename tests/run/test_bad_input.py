"""Bad input: one clear message with what to do, the right exit status, nothing left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands.main import main
from tests.judged import require_judged, summary_in
from tests.run.conftest import Done

Afterload = Callable[..., Done]


@pytest.fixture
def here(folder: Path, capsys: pytest.CaptureFixture[str]) -> Afterload:
    """The same command line without a process of its own."""

    def call(*given: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, given)), prog_name="afterload")
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return call


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("run", "emial"), "analytics, cache, email, files, flaky, webhook; did you mean 'email'?"),
        (("run", "email", "--rate", "0"), "rate is 0.0; allowed is more than 0"),
        (("run", "plan.toml"), "there is no scenario 'plan.toml'; there is action, analytics"),
        (("run", "plan.toml"), "a plan is run with --plan plan.toml"),
        (("run", "email", "--rate", "five"), "'--rate': 'five' is no number; write one, as 20 or 0.5"),
        (("run", "email", "--rate", "nan"), "'--rate': 'nan' is no number"),
        (("run", "email", "--users", "1.5"), "'--users': '1.5' is no whole number; write one, as 8"),
        (("run", "email", "--pool", "0"), "pool is 0; allowed is 1 or more"),
        (("run", "email", "--port", "70000"), "'--port': 70000 is not allowed; allowed is 0 to 65,535"),
        (("capacity", "email", "--most", "0"), "'--most': 0 is not allowed; allowed is more than 0"),
        (("capacity", "email", "--within", "inf"), "'--within': 'inf' is no number; allowed is 0.5 to 50"),
        (("compare", "email", "--blocks", "some"), "'--blocks': 'some' is no whole number; allowed is 1 to 1,000"),
        (("runs", "prune", "--keep", "-1"), "'--keep': -1 is not allowed; allowed is 0 or more"),
        (("run", "email", "--for", "5s", "--fault", "kill@5s"), "fault kill@5s comes after the end of the load (5 s)"),
        (
            ("run", "email", "--fault", "kil@5s"),
            "'kil' is not a kind of fault; did you mean 'kill'? kil@5s ^ allowed here: one of",
        ),
        (("run", "email", "--fault", "kill@soon"), "'soon' is neither a time nor a gauge kill@soon ^ allowed here: a time"),
        (("run", "email", "--for", "5"), "'5' is no duration: write a number and a unit"),
        (("run", "email", "--set", "dealy=1s"), "has no setting 'dealy'; it has delay"),
        (("run", "email", "--set", "delay=fast"), "setting delay: 'fast' is no duration"),
        (("run", "email", "--set", "delay"), "--set delay has no value"),
        (("run", "email", "--tasks", "fast"), "'fast' is not one of"),
        (("run",), "name a scenario"),
        (("run", "email", "--warm-up", "5s", "--for", "5s", "--fault", "none"), "nothing would be left to measure"),
        (("run", "--plan", "nothing.toml"), "cannot read the plan nothing.toml"),
        (("run", "email", "--json", "nowhere/summary.json"), "cannot write the summary to nowhere/summary.json"),
        (("run", "email", "--rate", "90000", "--for", "600s"), "are more than 20,000,000 requests"),
        (("run", "email", "--set", "delay=55s"), "setting delay is 55s; allowed is 0ms to 50s"),
        (("report", "nowhere"), "there is no run directory nowhere"),
        (("report", "."), "holds no run that can be judged"),
        (("runs", "--since", "7"), "'7' is no duration: write a number and a unit (s, m, h, d), e.g., 12h or 7d"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(
    here: Afterload, folder: Path, given: tuple[str, ...], expected: str
) -> None:
    """Exit status 2; no run directory is made."""
    done = here(*given)

    assert expected in " ".join(done.err.split())
    assert (done.status, done.out) == (2, "")
    assert list(folder.iterdir()) == []


def test_a_wrong_option_ends_the_real_command_without_a_traceback(afterload: Afterload, folder: Path) -> None:
    """Of all mistakes, one in a process of its own."""
    done = afterload("run", "email", "--set", "delay=fast")

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: setting delay: 'fast' is no duration")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('scenario = "email"\nrtae = 5\n', "there is no key 'rtae'; did you mean 'rate'?"),
        ('scenario = "email"\nrate = "fast"\n', "rate is 'fast'"),
        ('scenario = "email"\norder = "random"\n', "order is 'random'; allowed is 'sequential' or 'parallel'"),
        ("scenario = email\n", "is no TOML"),
        ('scenario = "email"\nseed = "abc"\n', "seed is 'abc'"),
        ('scenario = "email"\nsettings = 5\n', "settings is 5"),
        ("", "the plan plan.toml names no scenario and no command hint: write, e.g., scenario"),
        ('[plan]\nscenario = "email"\n', "plan plan.toml: there is no key 'plan'"),
    ],
)
def test_a_wrong_plan_is_named_by_key_and_value(here: Afterload, folder: Path, text: str, expected: str) -> None:
    """Each problem of a plan file names its key, what was given and what is allowed."""
    (folder / "plan.toml").write_text(text)

    done = here("run", "--plan", "plan.toml")

    assert done.status == 2
    assert expected in " ".join(done.err.split())


def test_a_port_in_use_is_told_before_anything_is_started(afterload: Afterload) -> None:
    """With the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = afterload("run", "email", "--port", port)

    assert done.status == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.err
    assert "hint:" in done.err


def test_an_unwritable_run_directory_is_told(afterload: Afterload, folder: Path) -> None:
    """A file where the directory should be; permissions would not stop root."""
    (folder / "file").write_text("")

    done = afterload("run", "email", "--out", "file/run")

    assert done.status == 2
    assert "cannot write the run directory file/run: Not a directory" in done.err


def test_a_run_directory_is_never_used_twice(afterload: Afterload, folder: Path) -> None:
    """The account of an earlier run is not overwritten."""
    (folder / "run").mkdir()
    (folder / "run" / "tasks-1.rows").write_text("precious")

    done = afterload("run", "email", "--out", "run")

    assert done.status == 2
    assert "is not empty" in done.err
    assert (folder / "run" / "tasks-1.rows").read_text() == "precious"


def shadow(folder: Path, module: str, text: str) -> dict[str, str]:
    """Puts a module in front of the real one, for the children of a run."""
    path = folder / "shadow"
    path.mkdir()
    (path / module).write_text(text)
    return {"PYTHONPATH": f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def test_a_world_that_does_not_start_is_told_with_the_end_of_its_log(afterload: Afterload, folder: Path) -> None:
    """It ends before it is ready: status 1, its last words, and where the whole log is."""
    code = "import sys\nif 'world' in sys.orig_argv:\n    raise SystemExit('no mail today')\n"
    done = afterload("run", "email", env=shadow(folder, "sitecustomize.py", code))

    assert done.status == 1
    assert "world exited with status 1 before it was ready" in done.err
    assert "no mail today" in done.err
    assert "full log:" in done.err


def test_a_server_that_crashes_at_import_is_told_with_the_end_of_its_log(afterload: Afterload, folder: Path) -> None:
    """A library that only the server loads is broken."""
    done = afterload("run", "email", env=shadow(folder, "uvloop.py", "raise RuntimeError('no loop today')\n"))

    assert done.status == 1
    assert "server-1 exited with status 1 before it was ready" in done.err
    assert "no loop today" in done.err
    assert "full log:" in done.err


def test_modules_of_the_users_own_do_not_get_into_the_run(afterload: Afterload, folder: Path) -> None:
    """`server.py` is the most common name there is."""
    for name in ("server.py", "scenarios.py", "harness.py", "email.py"):
        (folder / name).write_text("raise RuntimeError('not mine')\n")

    done = afterload("run", "email", "--rate", "20", "--for", "1s", env={"PYTHONSAFEPATH": "1"})

    summary = summary_in(folder / "runs" / "latest")
    require_judged(done.status, summary, done.err)
    assert summary["requests"]["acked"] == 20
    assert "not mine" not in done.out + done.err


def test_a_failed_start_is_told_in_its_run_directory_and_is_not_the_latest(afterload: Afterload, folder: Path) -> None:
    """The log is kept; `runs/latest` stays with the last run that measured something."""
    done = afterload("run", "email", env=shadow(folder, "uvloop.py", "raise RuntimeError('no loop today')\n"))

    assert done.status == 1
    (run,) = (folder / "runs").iterdir()
    events = (run / "events.jsonl").read_text()
    assert "no loop today" in events
    assert '"event": "end"' in events
