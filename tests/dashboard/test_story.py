"""A run in sentences, and the options of the screen: values in, values out."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from dashboard.offers import Offers
from dashboard.options import has_screen, options_for
from dashboard.serving import attach_command, is_own
from dashboard.story import Story
from harness.errors import RunError
from harness.live.figures import Left
from harness.live.frame import Look, Mark, MarkKind, Phase
from harness.live.telling import tell
from tests.dashboard.frames import frame_of
from tests.dashboard.simulation import Simulation


def told(run: Simulation, until_s: float, step_s: float = 0.5) -> list[str]:
    story, lines, at_s = Story(), [], 0.0
    while at_s <= until_s:
        lines += story.of(frame_of(run, Look(0, 30, 1), at_s))
        at_s += step_s
    return lines


def test_each_change_is_told_once(scissors: Simulation) -> None:
    lines = told(scissors, 120)

    assert len(lines) == len(set(lines))
    assert sum("SIGKILL" in line and "finding" not in line for line in lines) == 1
    assert any("work sees" in line for line in lines)


def test_what_stays_as_it_is_is_told_every_ten_seconds_at_least(healthy: Simulation) -> None:
    """A listener must be able to tell silence from an end."""
    instants = [float(line.split(" s ")[0]) for line in told(healthy, 50)]

    assert all(later - earlier <= 10.5 for earlier, later in pairwise(instants))
    assert len(instants) < 40


def test_a_fault_that_is_known_once_its_server_is_dead_is_told_then_and_nothing_is_told_twice(healthy: Simulation) -> None:
    """A SIGTERM at 2 s that takes 3 s stands before the end of the warm-up, which has been told by then."""
    marks = (
        Mark(-0.2, MarkKind.UP, "up", "boot 1 is ready", known_s=-0.1, event=0),
        Mark(2.0, MarkKind.FAULT, "TERM -3", "SIGTERM to boot 1", known_s=5.1, event=4),
        Mark(3.0, MarkKind.PHASE, "warm", "the warm-up is over", event=1),
        Mark(3.2, MarkKind.NOTE, "again", "again", event=2),
        Mark(3.4, MarkKind.NOTE, "again", "again", event=3),
        Mark(5.0, MarkKind.DOWN, "down", "boot 1 is dead", known_s=5.1, event=5),
    )
    story, lines = Story(), []
    story.of(replace(frame_of(healthy, Look(0, 30, 1), 0.0), marks=(), phase=Phase.START))
    for at_s in (1.0, 3.1, 3.3, 4.0, 5.0, 5.5, 6.0):
        known = tuple(mark for mark in marks if mark.from_s <= at_s)
        lines += story.of(replace(frame_of(healthy, Look(0, 30, 1), at_s), marks=known))
    told_of = [line.strip() for line in lines if any(mark.text in line for mark in marks)]
    assert told_of == [
        "-0.2 s  boot 1 is ready",
        "3.0 s  the warm-up is over",
        "3.2 s  again",
        "3.4 s  again",
        "5.0 s  boot 1 is dead",
        "5.1 s  SIGTERM to boot 1 (at 2.0 s)",
    ]


def test_a_fault_is_told_once_although_effects_that_arrive_after_it_change_how_many_it_lost(healthy: Simulation) -> None:
    """Each mark of an event that has several is told all the same."""
    events = [
        {"t_ns": 0, "event": "load_started", "load_start_ns": 0},
        {"t_ns": 2_000_000_000, "event": "fault", "name": "kill", "boot": 1, "landed_ns": 1_900_000_000},
        {"t_ns": 2_000_000_000, "event": "boot_reaped", "boot": 1, "reaped_ns": 1_950_000_000, "exit_status": -9},
        {"t_ns": 3_100_000_000, "event": "fault", "name": "kill", "boot": 2, "landed_ns": 3_000_000_000},
    ]
    story, lines = Story(), []
    for at_s, lost in ((0.5, 0), (2.5, 4), (3.5, 2), (4.5, 0)):
        so_far = [event for event in events if event["t_ns"] <= at_s * 1e9]
        left = {1: Left(0, 4, lost)}
        marks = tell(so_far, {"warm_up_s": 1.0}, left, round(at_s * 1e9), 0, None).marks
        lines += story.of(replace(frame_of(healthy, Look(0, 30, 1), at_s), marks=marks))

    wanted = ("kill to boot", "boot 1 died", "the load begins", "the warm-up")
    assert [line.strip() for line in lines if any(words in line for words in wanted)] == [
        "0.0 s  the load begins",
        "1.0 s  the warm-up is over: from here on it is measured",
        "1.9 s  kill to boot 1 with 0 queued and 4 running tasks; 4 of them are lost",
        "1.9 s  boot 1 died on its own (status -9), with 0 queued and 4 running tasks",
        "3.0 s  kill to boot 2",
    ]


def test_that_everything_is_being_stopped_is_told_once_and_before_it_has_ended(healthy: Simulation) -> None:
    events = [{"t_ns": 1_000_000_000, "event": "phase", "name": "stop"}]
    marks = tell(events, {}, {}, 2_000_000_000, 0, None).marks
    story = Story()
    story.of(replace(frame_of(healthy, Look(0, 30, 1), 0.5), marks=()))
    lines = story.of(replace(frame_of(healthy, Look(0, 30, 1), 1.5), phase=Phase.STOP, marks=marks))
    assert [line for line in lines if "stopped" in line] == ["    1.0 s  everything is being stopped"]


@pytest.mark.parametrize("share", ["response_p95_ms", "done_p95_ms"])
def test_that_too_many_were_never_answered_is_told_as_never(healthy: Simulation, share: str) -> None:
    story, lines = Story(), []
    for at_s in (5.0, 6.0, 16.0, 27.0):
        frame = frame_of(healthy, Look(0, 30, 1), at_s)
        lines += story.of(replace(frame, totals=replace(frame.totals, **{share: math.inf})))
    assert "p95 never" in lines[-1]


def test_the_same_frame_twice_says_nothing_more(scissors: Simulation) -> None:
    story = Story()
    frame = frame_of(scissors, Look(0, 30, 1), 60.0)

    assert story.of(frame)
    assert story.of(frame) == []
    assert frame.phase is Phase.LOAD


# Options.


def given(n_cpus: float = 8, **env: str):
    return options_for(fps=None, glyphs=None, theme=None, is_plain=False, env=env, n_cpus=n_cpus)


@pytest.mark.parametrize(
    ("env", "glyphs"),
    [
        ({"LANG": "de_DE.UTF-8"}, "braille"),
        ({"LANG": "C.utf8"}, "braille"),
        ({"LANG": "de_DE.ISO-8859-1"}, "ascii"),
        ({"LANG": "C"}, "ascii"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, "ascii"),
        ({}, "braille"),
    ],
)
def test_without_utf_8_charts_are_ascii(env: dict[str, str], glyphs: str) -> None:
    assert given(**env).glyphs == glyphs


def test_over_ssh_there_are_fewer_pictures_unless_they_are_asked_for() -> None:
    assert given().fps == 4
    assert given(SSH_CONNECTION="10.0.0.1 5 10.0.0.2 22").fps == 2
    assert options_for(fps=8, glyphs=None, theme=None, is_plain=False, env={"SSH_TTY": "/dev/pts/1"}).fps == 8


def test_where_a_run_has_no_processor_to_spare_it_is_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(n_cpus=2).fps == given(n_cpus=1, SSH_TTY="/dev/pts/1").fps == 1
    assert given(n_cpus=3).fps == 4
    assert given(n_cpus=1.5).fps == 1
    with monkeypatch.context() as patch:
        patch.setattr("os.sched_getaffinity", lambda _: range(16))
        for quota, fps in ((None, 4), (1.5, 1), (8.0, 4)):
            patch.setattr("harness.host.Host.cpu_quota", quota)
            assert options_for(fps=None, glyphs=None, theme=None, is_plain=False, env={}).fps == fps
    over = options_for(fps=None, glyphs=None, theme=None, is_plain=False, env={}, is_live=False, n_cpus=2)
    assert over.fps == 4


def test_a_pipe_a_dumb_terminal_and_a_closed_one_are_no_screen() -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    closed = Tty()
    closed.close()
    assert has_screen(Tty(), Tty(), {"TERM": "xterm"})
    assert not has_screen(io.StringIO(), Tty(), {"TERM": "xterm"})
    assert not has_screen(Tty(), io.StringIO(), {"TERM": "xterm"})
    assert not has_screen(Tty(), Tty(), {"TERM": "dumb"})
    assert has_screen(io.StringIO(), io.StringIO(), {"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"})


# In a browser.


@pytest.mark.parametrize(
    ("host", "origin", "is_taken"),
    [
        ("127.0.0.1:8300", None, True),
        ("localhost:8300", "http://localhost:8300", True),
        ("[::1]:8300", None, True),
        ("127.0.0.1:8301", None, False),
        ("127.0.0.1", None, False),
        ("evil.example:8300", None, False),  # a name that somebody lets point here
        ("localhost:8300", "http://evil.example", False),
        ("localhost:8300", "null", False),
        ("", None, False),
        ("[::", None, False),
        ("localhost:port", None, False),
    ],
)
def test_only_pages_of_its_own_are_served(host: str, origin: str | None, is_taken: bool) -> None:
    headers = {"Host": host} | ({"Origin": origin} if origin else {})

    assert is_own(headers, "127.0.0.1", 8300) is is_taken


def test_whoever_bound_it_wider_is_reached_by_any_name() -> None:
    assert is_own({"Host": "box.example:8300"}, "0.0.0.0", 8300)
    assert not is_own({"Host": "box.example:8300", "Origin": "http://evil.example"}, "0.0.0.0", 8300)


def test_each_looker_on_gets_a_process_that_changes_nothing() -> None:
    """The name of the directory is an argument and no more, whatever is in it."""
    command = attach_command(Path("runs/a b; rm -rf x"), {"fps": 2.0, "glyphs": None, "theme": "light", "keys": None})

    assert "attach --read-only --fps 2.0 --theme light -- 'runs/a b; rm -rf x'" in command


def test_an_answer_that_does_not_come_is_told_to_whoever_waits_for_it() -> None:
    offers = Offers()
    offers.ask = lambda: None  # type: ignore[method-assign]
    assert offers.known == []
    offers._answer.set_exception(RunError("no"))
    assert offers.known == []
    with pytest.raises(RunError, match="no"):
        offers.wait()
