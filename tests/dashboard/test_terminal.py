"""The screen in a real terminal, over real runs: how it begins, how it ends, and that the run does not care."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest

from dashboard.commandline import main
from harness.schema import Summary
from tests.kills import TOLERATED

from .terminal import Terminal, environment

FIELDS_BEFORE_LENGTH = 7


def begin(terminal: Terminal, length: str) -> None:
    """Fills in how long, and starts: from the list of scenarios to the field for it, typing as people do."""
    terminal.wait_for("afterload run email")
    for key in ["\t"] * FIELDS_BEFORE_LENGTH + list(length):
        terminal.press(key)
        time.sleep(0.05)
    terminal.wait_for(f"--for {length}")
    terminal.press("\r")
    terminal.wait_until(lambda: figure_is_shown(terminal), what="a figure")


def figure_is_shown(terminal: Terminal) -> bool:
    return re.search(r"p95 [\d.,]+ m?s", terminal.text) is not None


def run_in(folder: Path) -> Path:
    [path] = [each for each in (folder / "runs").iterdir() if not each.is_symlink()]
    return path


def summary_of(path: Path) -> Summary:
    return Summary.model_validate_json((path / "summary.json").read_bytes())


def sessions_in(folder: Path) -> list[int]:
    """Processes of runs in the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and "harness" in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_ctrl_c_ends_the_load_gives_the_terminal_back_and_prints_the_summary(folder: Path) -> None:
    """From the form to the summary; the exit status is that of the run, whose load was ended by hand."""
    with Terminal(cwd=folder) as terminal:
        begin(terminal, "60s")
        terminal.forget()
        terminal.press("\x03")
        terminal.wait_for("Stopping the load")
        status = terminal.end()
        assert terminal.is_as_before, terminal.left_on
        text = terminal.text
    path = run_in(folder)
    summary = summary_of(path)
    assert status == {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}[summary.verdict]
    assert summary.verdict != "PASS"
    assert 0 < summary.requests.attempted < 6000
    assert f"run directory: runs/{path.name}" in text
    assert "invariants hold" in text
    assert not sessions_in(folder)


def test_a_run_outlives_its_screen_and_can_be_looked_at_again(folder: Path) -> None:
    """SIGKILL to the screen. The run goes on to its end with every request sent; others look on, and leave as they like."""
    with Terminal(cwd=folder) as terminal:
        begin(terminal, "6s")
        terminal.process.kill()
        terminal.end()
    path = run_in(folder)
    assert sessions_in(folder)

    with Terminal("attach", "--read-only", cwd=folder) as looker, Terminal("attach", "--plain", cwd=folder) as listener:
        listener.wait_for("client sees")
        listener.press("\x03")  # of somebody else's run: leaves
        assert listener.end() == 128 + signal.SIGINT
        assert "the run goes on: afterload attach" in listener.text
        looker.wait_for("CLIENT SEES", "read only")
        looker.press("q")
        assert looker.end() == 0
        assert looker.is_as_before, looker.left_on
        assert "the run goes on: afterload attach" in looker.text

    end = time.monotonic() + 90
    while sessions_in(folder):
        assert time.monotonic() < end
        time.sleep(0.1)
    summary = summary_of(path)
    assert summary.requests.attempted == 600
    # On a busy machine the load may be late, whoever looks.
    assert all(TOLERATED.match(reason) for reason in summary.reasons), summary.reasons
    assert all(invariant.holds for invariant in summary.invariants)

    with Terminal("attach", cwd=folder) as after:
        after.wait_for(summary.verdict)
        after.press("q")
        assert after.end() == (4 if summary.reasons else 0)
        assert f"run directory: runs/{path.name}" in after.text


def test_a_run_that_is_stopped_before_it_has_begun_leaves_nothing(folder: Path) -> None:
    """Whenever in its start that is: no error is shown, no process stays, the status is that of an interrupted run."""
    with Terminal(cwd=folder) as terminal:
        terminal.wait_for("afterload run email")
        terminal.press("\r")
        terminal.wait_for("starting")
        terminal.press("\x03")
        assert terminal.end() == 128 + signal.SIGINT
        assert "The run has crashed" not in terminal.text
        assert terminal.is_as_before, terminal.left_on
    assert not sessions_in(folder)


def test_what_is_typed_before_the_first_picture_is_not_lost(runs: dict[str, Path], here: Path) -> None:
    """Somebody knows the way by heart: to the history."""
    with Terminal(cwd=here) as terminal:
        terminal.press("H")
        terminal.wait_for("healthy", "killed")
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.is_as_before, terminal.left_on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(runs: dict[str, Path], here: Path, number: int) -> None:
    with Terminal("replay", "runs/killed", cwd=here) as terminal:
        terminal.wait_for("CLIENT SEES")
        terminal.signal(number)
        assert terminal.end() == 128 + number
        assert terminal.is_as_before, terminal.left_on


def test_a_signal_before_the_first_picture_gives_the_terminal_back_too(runs: dict[str, Path], here: Path) -> None:
    """What is typed is hidden from the beginning on, long before there is an app that listens."""
    with Terminal("replay", "runs/killed", cwd=here) as terminal:
        terminal.wait_until(lambda: not terminal.is_as_before, what="the hidden keys")
        terminal.signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM, terminal.text[-3000:]
        assert terminal.is_as_before, terminal.left_on


def test_a_screen_whose_window_is_closed_ends(runs: dict[str, Path], here: Path) -> None:
    """It does not wait for ever to draw on what is no more."""
    with Terminal("replay", "runs/killed", cwd=here) as terminal:
        terminal.wait_for("CLIENT SEES")
        terminal.hang_up()
        assert terminal.process.wait(timeout=30) == 128 + signal.SIGHUP


def test_a_screen_whose_terminal_goes_away_without_a_word_ends(runs: dict[str, Path], here: Path) -> None:
    """It is not told where the terminal is nobody's: as under a program that made one for it, and is killed."""
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    command = [sys.executable, "-P", "-m", "dashboard", "replay", "runs/killed"]
    screen = subprocess.Popen(
        command, cwd=here, stdin=its, stdout=its, stderr=its, start_new_session=True, env={**environment(), "TERM": "xterm"}
    )
    os.close(its)
    try:
        seen = b""
        while b"CLIENT" not in seen:
            seen += os.read(own, 1 << 16)
        os.close(own)
        assert screen.wait(20) == 128 + signal.SIGHUP
    finally:
        screen.kill()
        screen.wait()


def test_a_screen_that_breaks_gives_the_terminal_back(runs: dict[str, Path], here: Path) -> None:
    """And says with what, on the terminal as it was."""
    code = (
        "import sys\n"
        "from dashboard.screens.live import LiveScreen\n"
        "from dashboard.entry import main\n"
        "def broken(self): raise ZeroDivisionError('planted')\n"
        "LiveScreen.on_mount = broken\n"
        "sys.argv = ['afterload', 'replay', 'runs/killed']\n"
        "main()\n"
    )
    with Terminal(cwd=here, program=["-c", code]) as terminal:
        assert terminal.end() == 1
        assert "planted" in terminal.text
        assert terminal.is_as_before, terminal.left_on


def test_every_size_is_borne_and_no_color_is_none(runs: dict[str, Path], here: Path) -> None:
    with Terminal("replay", "runs/killed", cwd=here, columns=200, rows=60, env={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("CLIENT SEES")
        for columns, rows in ((60, 18), (1, 1), (300, 90), (20, 5), (80, 24)):
            terminal.resize(columns, rows)
            time.sleep(0.05)
        terminal.forget()
        terminal.resize(120, 36)
        terminal.wait_for("CLIENT SEES")
        terminal.press("?")
        terminal.wait_for("Everywhere")
        terminal.press("\x03")
        assert terminal.end() == 0
        assert terminal.is_as_before, terminal.left_on
        raw = terminal.raw
        # Whole ones: in two runs of all tests, and in no other, a sequence was cut off within a number.
        shades = list(re.finditer(r"[34]8;2;(\d+);(\d+);(\d+)[;m]", raw))
        assert shades
        coloured = [shade for shade in shades if len(set(shade.groups())) > 1]
        assert [raw[shade.start() - 80 : shade.end() + 80] for shade in coloured] == [], f"{len(raw)} written in all"


# Without a terminal.


def plain(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "dashboard", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**environment(), **(env or {})},
    )


def test_without_a_terminal_a_recording_is_told_in_sentences(runs: dict[str, Path], here: Path) -> None:
    """Each at its instant, no cursor motion; the summary on standard output; the exit status is that of the verdict."""
    done = plain("replay", "runs/killed", cwd=here)

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert all(re.match(r" *-?\d+\.\d s  \S", line) for line in lines), lines
    instants = [float(line.split(" s  ")[0]) for line in lines]
    assert instants == sorted(instants)
    assert any("kill to boot 1" in line for line in lines)
    assert any("work sees" in line for line in lines)
    assert "broken promises" in done.stdout
    assert "run directory: runs/killed" in done.stdout


def test_without_a_terminal_and_a_command_the_email_scenario_is_run(tmp_path: Path) -> None:
    """As without the dashboard: it fails here for want of a place, headless and in words."""
    (tmp_path / "runs").write_text("no directory")
    done = plain(cwd=tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write the run directory")


@pytest.mark.parametrize("command", ["attach", "replay", "serve-ui"])
def test_a_run_that_is_not_there_is_no_screen(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command], prog_name="afterload")

    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "error: there is no run yet" in told
    assert "afterload run email makes one" in told


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["replay"], "--fps belongs behind the command: afterload replay --fps ..."),
        (["run", "email"], "--fps is of the screen, and afterload run has none: leave it out"),
    ],
)
def test_options_of_the_screen_before_a_command_are_refused(
    command: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where they belong, if anywhere: what is advised is taken."""
    with pytest.raises(SystemExit) as ended:
        main(["--fps", "2", *command], prog_name="afterload")

    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_commands_without_a_screen_do_not_import_it() -> None:
    """`afterload run` is as fast as it was."""
    code = "import sys; import dashboard.commandline; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import json; {code}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment()},
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint({"textual", "rich", "aiohttp", "textual_serve"})
