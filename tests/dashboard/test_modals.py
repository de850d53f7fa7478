"""The questions: each answer of each, and that escape answers none."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from dashboard.app import Dashboard
from dashboard.following import Looks
from dashboard.modals.error import ErrorModal
from dashboard.modals.export import ExportModal
from dashboard.modals.kill import KillModal
from dashboard.modals.mark import MarkModal
from dashboard.modals.quit import QuitModal
from dashboard.modals.tick import Tick
from dashboard.screens.live import LiveScreen
from dashboard.watching import Mode, Watching
from harness.live.frame import Frame, Look, Phase

from .conftest import play, shown, until
from .frames import frame_of, with_newest
from .simulation import SCISSORS, simulate

Make = Callable[..., Dashboard]

AT_S = 60.0


class Simulated:
    """Follows a run that is simulated, so that it stands still."""

    def __init__(self, path: Path, *, tell: Callable[[Frame], None], every_s: float) -> None:
        self._tell = tell
        self._run = simulate(SCISSORS)

    def start(self) -> None:
        self.look(Look(0, 120, 1))

    def look(self, look: Looks) -> None:
        if not isinstance(look, Look):
            look = look(frame_of(self._run, Look(0, 30, 1), AT_S))
        self._tell(frame_of(self._run, look, AT_S))

    def close(self) -> None:
        pass


@pytest.fixture
def going(here: Path) -> Iterator[Path]:
    """A run directory that takes commands: somebody holds it, and the file is there."""
    path = here / "runs" / "going"
    path.mkdir(parents=True)
    (path / "events.jsonl").write_text('{"t_ns": 1, "event": "run", "run_tag": 1}\n')
    (path / "commands.jsonl").touch(mode=0o600)
    fd = os.open(path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield path
    os.close(fd)


@pytest.fixture
def live(app: Make, going: Path) -> Callable[[], Dashboard]:
    def make() -> Dashboard:
        return app(watching=Watching(going, Mode.ATTACHED), make_follower=Simulated)

    return make


def commands_in(path: Path) -> list[str]:
    said = [json.loads(line) for line in (path / "commands.jsonl").read_text().splitlines() if line]
    return [f"{each['do']}={each['value']}" for each in said]


async def begun(pilot: Pilot[None]) -> Dashboard:
    dashboard = pilot.app
    assert isinstance(dashboard, Dashboard)
    await until(pilot, lambda: dashboard.frames[0], "a frame")
    return dashboard


def test_the_kill_is_asked_for_and_sent(live: Callable[[], Dashboard], going: Path) -> None:
    """SIGTERM is the second choice; what the session gets is the fault as --fault has it."""

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        await pilot.press("k")
        assert isinstance(dashboard.screen, KillModal)
        await pilot.press("down")
        assert dashboard.screen.fault == "term"
        await pilot.press("enter")
        await until(pilot, lambda: commands_in(going), "the command")

    play(live(), script)
    assert commands_in(going) == ["fault=term"]


def test_how_long_a_stopping_server_may_take_can_be_said(live: Callable[[], Dashboard], going: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await begun(pilot)
        await pilot.press("k", "down", "tab", *"5s", "enter")
        await until(pilot, lambda: commands_in(going), "the command")

    play(live(), script)
    assert commands_in(going) == ["fault=term=5s"]


def test_a_fault_that_lasts_is_asked_for_how_long(live: Callable[[], Dashboard], going: Path) -> None:
    """And a length that is none is told, and not sent."""

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        await pilot.press("k")
        modal = dashboard.screen
        assert isinstance(modal, KillModal)
        assert not modal.query_one("#rest").display
        which = [each.fault for each in modal.choices].index("stop")
        await pilot.press(*["down"] * which, "enter")
        length = modal.query_one("#length", Input)
        assert length.has_focus
        await pilot.press("backspace", "backspace", *"soon", "enter")
        await until(pilot, lambda: "soon" in str(modal.query_one(".problem", Static).content), "the problem")
        assert dashboard.screen is modal
        length.value = "3s"
        await pilot.press("enter")
        await until(pilot, lambda: commands_in(going), "the command")

    play(live(), script)
    assert commands_in(going) == ["fault=stop+3s"]


def test_escape_sends_nothing(live: Callable[[], Dashboard], going: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        for key, kind in (("k", KillModal), ("m", MarkModal), ("e", ExportModal)):
            await pilot.press(key)
            assert isinstance(dashboard.screen, kind)
            await pilot.press("escape")
            await pilot.pause()
            assert not isinstance(dashboard.screen, kind)

    play(live(), script)
    assert commands_in(going) == []


def test_a_note_is_set(live: Callable[[], Dashboard], going: Path) -> None:
    """Nothing that is empty; keys of the screen below are letters here."""

    async def script(pilot: Pilot[None]) -> None:
        await begun(pilot)
        await pilot.press("m", "enter", *"quk", "enter")
        await until(pilot, lambda: commands_in(going), "the command")

    play(live(), script)
    assert commands_in(going) == ["mark=quk"]


def test_kill_at_once_and_restart_ask_nothing(live: Callable[[], Dashboard], going: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await begun(pilot)
        await pilot.press("K", "r")
        await until(pilot, lambda: len(commands_in(going)) == 2, "both commands")

    play(live(), script)
    assert sorted(commands_in(going)) == ["fault=kill", "fault=restart"]


def test_who_looks_on_read_only_changes_and_writes_nothing(app: Make, going: Path) -> None:
    """Each key says why."""
    watching = Watching(going, Mode.ATTACHED, is_read_only=True)

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        before = dashboard.screen
        assert dashboard.why_not_steer.startswith("read-only")
        await pilot.press("k", "K", "r", "m", "e", "s")
        await pilot.pause()
        assert dashboard.screen is before
        assert not any(command.title.startswith("Run ") for command in dashboard.get_system_commands(before))

    play(app(watching=watching, make_follower=Simulated, options={"read_only": True}), script)
    assert commands_in(going) == []
    assert {path.name for path in going.iterdir()} == {"commands.jsonl", "events.jsonl"}


def test_a_recording_is_exported_by_the_harness_itself(app: Make, runs: dict[str, Path]) -> None:
    """The screen as a picture, without the question in it, and the report in the formats that were asked for."""
    path = runs["killed"]
    kept = (path / "summary.json").read_text()

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        await until(pilot, lambda: dashboard.frames[0] and dashboard.frames[0].summary, "the summary")
        await pilot.press("e")
        modal = dashboard.screen
        assert isinstance(modal, ExportModal)
        modal.query_one("#markdown", Tick).value = True
        await pilot.press("enter")
        await until(pilot, lambda: (path / "report.md").exists() and (path / "screen.svg").exists(), "the files")

    play(app(watching=Watching(path, Mode.REPLAY)), script)
    assert "broken promises" in (path / "report.md").read_text()
    assert (path / "report.html").stat().st_size > 100_000
    picture = (path / "screen.svg").read_text()
    assert "CLIENT&#160;SEES" in picture
    assert "Export" not in picture
    assert (path / "summary.json").read_text() == kept


def test_the_report_waits_for_the_verdict(live: Callable[[], Dashboard]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        await pilot.press("e")
        boxes = {box.id: box.disabled for box in dashboard.screen.query(Tick)}
        assert not boxes.pop("screen")
        assert all(boxes.values())

    play(live(), script)


def test_a_run_that_has_crashed_is_told_with_what_its_server_said_last(app: Make, runs: dict[str, Path]) -> None:
    """Nobody holds its directory, and there is no summary; what it had measured is still shown behind."""
    (runs["killed"] / "summary.json").unlink()
    (runs["killed"] / "server-2.log").write_text("ImportError: planted\n")

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        await until(pilot, lambda: isinstance(dashboard.screen, ErrorModal), "the news")
        await until(
            pilot, lambda: "The run has crashed" in shown(dashboard) and "afterload report" in shown(dashboard), "the text"
        )
        assert "server-2: ImportError: planted" in shown(dashboard)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(dashboard.screen, LiveScreen), "the screen behind")
        await pilot.pause(0.6)
        assert isinstance(dashboard.screen, LiveScreen)  # it is told once

    play(app(watching=Watching(runs["killed"], Mode.ATTACHED)), script)


@pytest.mark.parametrize(("keys", "answer"), [(["s"], "stop"), (["l"], "leave"), (["escape"], None), (["enter"], None)])
def test_quitting_asks_what_is_to_become_of_the_run(live: Callable[[], Dashboard], keys: list[str], answer: str | None) -> None:
    """An enter too many stops nothing."""
    answers: list[object] = []

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        dashboard.push_screen(QuitModal(), answers.append)
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()

    play(live(), script)
    assert answers == [answer]


@pytest.mark.parametrize("size", [(60, 18), (80, 24)])
def test_every_question_fits_on_a_small_screen(live: Callable[[], Dashboard], size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        for modal, last in (
            (ErrorModal("It broke", "Why it did.", lines=["a line"] * 3, hint="Try again."), "OK"),
            (QuitModal(), "Stay"),
            (MarkModal(), "Enter sets it"),
            (ExportModal(Path("runs/x"), is_over=False), "Write"),
            (KillModal(simulated_about()), "Do it"),
        ):
            dashboard.push_screen(modal)
            await until(pilot, lambda last=last: last in shown(dashboard), last)
            assert modal.query(Button) or modal.query(Input)
            await pilot.press("escape")
            await pilot.pause()

    play(live(), script, size)


def simulated_about():
    return frame_of(simulate(SCISSORS), Look(0, 30, 1), AT_S).about


class OwnRun:
    """A run that this screen has started, as far as the screen asks it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status: int | None = None  # None: it goes on

    def poll(self) -> int | None:
        return self.status

    def forget_directory(self) -> None:
        """It has begun."""

    def last_lines(self, n: int) -> list[str]:
        return ["planted"][:n]

    def phase(self) -> Phase:
        return Phase.LOAD

    def close(self) -> None:
        pass


def test_ctrl_c_stops_ones_own_run_also_while_another_one_is_looked_at(app: Make, going: Path, runs: dict[str, Path]) -> None:
    """What is looked at is a recording, in which there is nothing to stop."""

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        dashboard.runs.child = OwnRun(going)  # type: ignore[assignment]
        await pilot.press("ctrl+c")
        await until(pilot, lambda: commands_in(going), "the command")
        assert dashboard.is_running
        assert ["Stopping the load" in each.message for each in dashboard._notifications] == [True]

    play(app(watching=Watching(runs["healthy"], Mode.REPLAY)), script)
    assert commands_in(going) == ["stop=None"]


@pytest.mark.parametrize("key", ["s", "l", "escape"])
def test_a_run_that_ends_while_it_is_asked_what_is_to_become_of_it_is_over(app: Make, runs: dict[str, Path], key: str) -> None:
    """There is nothing left to stop: whoever does not stay leaves at once."""
    own = OwnRun(runs["killed"])

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        dashboard.runs.child = own  # type: ignore[assignment]
        await pilot.press("q")
        await until(pilot, lambda: "The run goes on" in shown(dashboard), "the question")
        own.status = 0
        await until(pilot, lambda: "The run is over by now" in shown(dashboard), "the end of the run")
        for words in ("Left running", "Leave it running"):
            await until(pilot, lambda words=words: words not in shown(dashboard), f"the end of {words!r}")
        await pilot.press(key)
        if key == "escape":
            await until(pilot, lambda: isinstance(dashboard.screen, LiveScreen), "the screen behind")
            assert not dashboard._exit
        else:
            await until(pilot, lambda: dashboard._exit, "the end of the screen", 3)
            assert not dashboard._notifications

    play(app(watching=Watching(runs["killed"], Mode.OWN)), script)


def test_a_run_that_crashes_while_it_is_asked_what_is_to_become_of_it_is_told_as_that(app: Make, runs: dict[str, Path]) -> None:
    own = OwnRun(runs["killed"])
    (own.path / "summary.json").unlink()

    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        dashboard.runs.child = own  # type: ignore[assignment]
        await pilot.press("q")
        await until(pilot, lambda: isinstance(dashboard.screen, QuitModal), "the question")
        own.status = 137
        await until(pilot, lambda: isinstance(dashboard.screen, ErrorModal), "the news")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(dashboard.screen, LiveScreen), "the screen behind, and no question")

    play(app(watching=Watching(runs["killed"], Mode.OWN)), script)


class Ending(Simulated):
    """The same, until it is told to end."""

    last: Ending | None = None
    phase = Phase.LOAD

    def start(self) -> None:
        Ending.last = self
        super().start()

    def look(self, look: Looks) -> None:
        if not isinstance(look, Look):
            look = look(frame_of(self._run, Look(0, 30, 1), AT_S))
        self._look = look
        frame = frame_of(self._run, look, AT_S)
        # As where an earlier instant is shown: the summary is not there, but the run is over by now.
        self._tell(with_newest(frame, phase=self.phase))

    def end(self) -> None:
        self.phase = Phase.ENDED
        self.look(self._look)


def test_a_run_that_ends_while_it_is_asked_what_to_export_can_be_reported(app: Make, going: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        dashboard = await begun(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "The report is made when the run is over" in shown(dashboard), "the question")
        assert Ending.last is not None
        Ending.last.end()
        await until(pilot, lambda: "The run is over by now: the report can be made." in shown(dashboard), "the end of the run")
        assert not [box.id for box in dashboard.screen.query(Tick) if box.disabled]
        await pilot.press("escape", "e")  # and whoever asks once more, at whatever instant, is asked as of a run that is over
        await until(pilot, lambda: isinstance(dashboard.screen, ExportModal), "the question")
        assert not [box.id for box in dashboard.screen.query(Tick) if box.disabled]

    play(app(watching=Watching(going, Mode.ATTACHED), make_follower=Ending), script)
