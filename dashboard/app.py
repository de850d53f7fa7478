"""The app: which run is shown, by whom it is followed, what is asked of it, and which screen is on top.

Screens get `FrameArrived` and values; they read no files. The run is never touched but by the commands that it takes and,
if this screen has started it, by the SIGINT that Ctrl-C would have been.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen

from dashboard.child import RunChild
from dashboard.ending import is_there
from dashboard.failures import crash_of, failure_of, has_begun
from dashboard.following import Following, Looks, MakeFollower, followed
from dashboard.form import command_line
from dashboard.keymap import read_keymap
from dashboard.messages import FrameArrived
from dashboard.modals.error import ErrorModal
from dashboard.modals.export import SCREEN, ExportModal
from dashboard.modals.kill import KillModal
from dashboard.modals.mark import MarkModal
from dashboard.modals.quit import Quit, QuitModal
from dashboard.offers import Offer, Offers
from dashboard.options import ScreenOptions
from dashboard.palette import commands_of
from dashboard.registry import all_bindings
from dashboard.screens.live import LiveScreen
from dashboard.themes import THEME_NAMES, VARIABLES, themes
from dashboard.watching import Mode, Watching
from harness.control import Command, FaultNow, Mark, Stop, send
from harness.errors import RunError
from harness.live.frame import Frame, Phase

__all__ = ["Dashboard"]

_TICK_S: Final = 0.1
_OVER: Final = frozenset({Phase.JUDGE, Phase.ENDED, Phase.CRASHED})


class Dashboard(App[None]):
    """The screen as a whole."""

    TITLE = "afterload"
    CSS = """
    Screen { background: $background; }
    ModalScreen { background: $background 60%; }
    Toast { max-width: 60; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", id="app.help"),
        Binding("q", "leave", "Quit", id="app.leave"),
        Binding("s", "scenarios", "Scenarios", id="app.scenarios"),
        Binding("H", "history", "History", id="app.history"),
        Binding("ctrl+c", "interrupt", "Stop the load; again: leave", id="app.interrupt", show=False, priority=True),
        Binding("ctrl+q", "leave", "Quit", id="app.leave_too", show=False, priority=True),
    ]

    def __init__(
        self,
        options: ScreenOptions,
        *,
        watching: Watching | None = None,
        offers: Offers | None = None,
        arguments: Sequence[str] | None = None,
        make_follower: MakeFollower = followed,
        handles_signals: bool = False,
    ) -> None:
        """Shows `watching`, or starts a run with `arguments`, or else lets somebody choose from `offers`."""
        super().__init__()
        self.options = options
        self.glyphs: str = options.glyphs
        self.watching = watching
        self.offers = offers
        self.child: RunChild | None = None
        """The run that this screen started last."""
        self.frames: list[Frame | None] = [None, None]
        self.ended_by: int | None = None
        """The signal that ended the screen."""
        self.remembered: tuple[str, dict[str, str]] | None = None
        """What was filled in last on the start screen."""
        self._arguments = arguments
        self._following = Following(make_follower, self._tell, 1 / options.fps)
        self._handles_signals = handles_signals
        self._on_top: Screen[Any] | None = None
        self._leaves_when_over = False
        self._told_end = False
        self._told_crash = False
        self._is_drawn = False
        for theme in themes():
            self.register_theme(theme)
        self.theme = THEME_NAMES[options.theme]
        self._own_keys = read_keymap(options.keys, all_bindings)
        self.set_keymap(self._own_keys)

    # What screens may ask.

    @property
    def known_offers(self) -> list[Offer]:
        """The scenarios, as far as they are known by now."""
        return [] if self.offers is None or self.options.read_only else self.offers.known

    @property
    def why_not_steer(self) -> str:
        """Why the run that is shown takes no commands; empty: it does."""
        frame = self.frames[0]
        if self.watching is None:
            return "no run is shown"
        if self.watching.mode is Mode.REPLAY:
            return "a recording cannot be changed"
        if self.watching.is_read_only:
            return "read-only: this screen looks on and changes nothing"
        if frame is None:
            return "the run has not begun"
        if frame.phase in _OVER:
            return "the run is over"
        if not frame.about.can_be_steered:
            return "this run takes no commands now"
        return ""

    def keys_of(self, binding: Binding) -> str:
        """The user's own keys for it; empty: it has those that it came with."""
        return self._own_keys.get(binding.id or "", "")

    def look(self, look: Looks, side: int = 0) -> None:
        """What the frames of a side are to show from now on."""
        self._following.look(look, side)

    def steer(self, command: Command | None) -> None:
        """Asks the run for a change, or says why it can't be asked. None: nobody wants anything."""
        if command is None:
            return
        if why_not := self.why_not_steer:
            self.notify(why_not, severity="warning")
            return
        assert self.watching is not None
        self._send(self.watching.path, command)

    def start_run(self, arguments: Sequence[str], title: str) -> None:
        """Starts a run, and shows it."""
        if self._is_own_run_going:
            self.notify("a run goes on: stop it first (ctrl+c, or q)", severity="warning")
            return
        try:
            self.child = RunChild.start(arguments, title)
        except RunError as error:
            self.push_screen(ErrorModal("The run could not be started", str(error), hint=error.hint))
            return
        self._told_end = False
        self._leaves_when_over = False
        self.sub_title = command_line(arguments)
        self.show_run(Watching(self.child.path, Mode.OWN))

    def show_run(self, watching: Watching) -> None:
        """Follows a run and shows it, instead of what was shown before."""
        if self._follow(watching.path, 0):
            self.watching = watching
            self._told_crash = False
            self._show_alone(LiveScreen())

    def show_pair(self, one: Watching, other: Path) -> None:
        """Shows two runs side by side."""
        if one != self.watching and not self._follow(one.path, 0):
            return
        self.watching = one
        if self._follow(other, 1):
            from dashboard.screens.compare import CompareScreen

            self.push_screen(CompareScreen())

    # The life of the app.

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """For themes that are not ours."""
        return {**super().get_theme_variable_defaults(), **VARIABLES}

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything that can be done, for the palette."""
        yield from commands_of(self, screen)

    def on_mount(self) -> None:
        """The first screen."""
        if self._handles_signals:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, self.action_interrupt)
            loop.add_signal_handler(signal.SIGTERM, self._end_by, signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            # Not by the loop: it may wait for ever to draw on a terminal that is no more.
            signal.signal(signal.SIGHUP, lambda number, _: self._on_hangup(number, loop))
        self.set_interval(_TICK_S, self._tick)
        self.call_after_refresh(setattr, self, "_is_drawn", True)
        if self.watching is not None:
            # Somebody sees the screen before what it takes to read a run has been imported.
            self.push_screen(LiveScreen())
            self.call_after_refresh(self._follow, self.watching.path, 0)
        elif self._arguments is not None:
            self.start_run(self._arguments, self._arguments[0])
        else:
            self.push_screen(_start_screen()())

    def on_unmount(self) -> None:
        """Nobody is told any more."""
        self._following.close()

    def on_frame_arrived(self, event: FrameArrived) -> None:
        """Handed on to the screen that is seen, also behind a modal."""
        self.frames[event.side] = event.frame
        self._hand_on(event.frame, event.side)
        if event.side == 0 and event.frame.phase is Phase.CRASHED:
            self._tell_crash(event.frame)

    def _tick(self) -> None:
        if (screen := self._shown) is not self._on_top:
            self._on_top = screen
            for side, frame in enumerate(self.frames):
                if frame is not None:
                    self._hand_on(frame, side)
        if self._following.follows(1) and not self._has_pair:
            self._forget(1)
        child = self.child
        if child is None or self._told_end or (status := child.poll()) is None:
            return
        self._told_end = True
        has_summary = (child.path / "summary.json").exists()
        if self._leaves_when_over:
            # Without a summary it was stopped before it had begun: that is told where the summary would be.
            self.exit()
        elif not has_summary:
            self._tell_failure(child, status)

    def _hand_on(self, frame: Frame, side: int) -> None:
        screen = self._shown
        if screen is not None:
            screen.post_message(FrameArrived(frame, side))

    @property
    def _shown(self) -> Screen[Any] | None:
        """The newest screen that is no modal one."""
        return next((each for each in reversed(self.screen_stack) if not isinstance(each, ModalScreen)), None)

    @property
    def _has_pair(self) -> bool:
        from dashboard.screens.compare import CompareScreen

        return any(isinstance(each, CompareScreen) for each in self.screen_stack)

    @property
    def _is_own_run_going(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def _follow(self, path: Path, side: int) -> bool:
        self.frames[side] = None
        try:
            self._following.follow(path, side)
        except RunError as error:
            self.push_screen(ErrorModal("The run cannot be shown", str(error), hint=error.hint))
            return False
        return True

    def _tell(self, frame: Frame, side: int) -> None:
        """Called in the follower's thread."""
        self.post_message(FrameArrived(frame, side))

    def _forget(self, side: int) -> None:
        self._following.forget(side)
        self.frames[side] = None

    def _show_alone(self, screen: Screen[Any]) -> None:
        for _ in self.screen_stack[1:]:
            self.pop_screen()
        self.push_screen(screen)

    def _end_by(self, number: int) -> None:
        self.ended_by = number
        if self._is_drawn:
            self.exit()
        else:
            # In the middle of its making a screen misses what has been taken away already.
            self.call_after_refresh(self.exit)

    def _on_hangup(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        if not is_there(sys.__stdin__):
            # Nothing to give back, nobody to tell; the run goes on.
            os._exit(128 + number)
        loop.call_soon_threadsafe(self._end_by, number)

    @work(thread=True, group="steering")
    def _send(self, path: Path, command: Command) -> None:
        try:
            send(path, command)
        except RunError as error:
            self.call_from_thread(self.notify, str(error), severity="error")

    def _tell_failure(self, child: RunChild, status: int) -> None:
        frame = self._own_frame
        child.forget_directory()
        if not has_begun(frame) and (self.watching is None or self.watching.path == child.path):
            self._forget(0)
            self.watching = None
            self._show_alone(_start_screen()())
        self.push_screen(failure_of(child, status, frame))

    def _tell_crash(self, frame: Frame) -> None:
        watching = self.watching
        if self._told_crash or watching is None or watching.mode is not Mode.ATTACHED:
            return
        self._told_crash = True
        self.push_screen(crash_of(watching.path, frame))

    # Actions.

    def action_help(self) -> None:
        """Keys and metrics."""
        from dashboard.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            shown = self._shown
            self.push_screen(HelpScreen(None if shown is None else type(shown)))

    def action_leave(self) -> None:
        """Ends the screen; a run of its own goes on only if that is wanted."""
        if not self._is_own_run_going:
            self.exit()
        elif not isinstance(self.screen, QuitModal):
            self.push_screen(QuitModal(), self._on_quit)

    def action_interrupt(self) -> None:
        """First the load, then the screen."""
        if not self._is_own_run_going or self._leaves_when_over:
            self.ended_by = signal.SIGINT if self._is_own_run_going else None
            self.exit()
        else:
            self._stop_then_leave()

    def action_scenarios(self) -> None:
        """The start screen."""
        if self.options.read_only:
            self.notify("read-only: no run is started from here", severity="warning")
        elif not isinstance(self.screen, _start_screen()):
            self.push_screen(_start_screen()())

    def action_history(self) -> None:
        """All runs."""
        from dashboard.screens.history import HistoryScreen

        if not isinstance(self.screen, HistoryScreen):
            self.push_screen(HistoryScreen())

    def action_compare(self) -> None:
        """The run that is shown beside another one, which is chosen from all runs."""
        from dashboard.screens.history import HistoryScreen

        watching = self.watching
        if watching is None:
            self.action_history()
            return

        def chosen(other: Path | None) -> None:
            if other is not None:
                self.show_pair(watching, other)

        self.push_screen(HistoryScreen(beside=watching.path), chosen)

    def action_kill(self) -> None:
        """Asks how, and does something to the server."""
        if self._can_steer():
            frame = self.frames[0]
            assert frame is not None
            self.push_screen(KillModal(frame.about), lambda text: self.steer(None if text is None else FaultNow(text)))

    def action_kill_now(self) -> None:
        """SIGKILL, without a question."""
        self.steer(FaultNow("kill"))

    def action_restart(self) -> None:
        """As a deploy does it: SIGTERM, then a new boot."""
        self.steer(FaultNow("restart"))

    def action_mark(self) -> None:
        """A note on the time axis."""
        if self._can_steer():
            self.push_screen(MarkModal(), lambda text: self.steer(None if not text else Mark(text)))

    def action_export(self) -> None:
        """The run as files."""
        if self.watching is None or self.frames[0] is None:
            self.notify("no run is shown", severity="warning")
        elif self.options.read_only:
            self.notify("read-only: nothing is written from here", severity="warning")
        elif not isinstance(self.screen, ExportModal):
            self.push_screen(ExportModal(self.watching.path, is_over=self.frames[0].summary is not None), self._on_export)

    def _can_steer(self) -> bool:
        if why_not := self.why_not_steer:
            self.notify(why_not, severity="warning")
        return not why_not

    def _on_quit(self, choice: Quit | None) -> None:
        if choice is Quit.STOP:
            self._stop_then_leave()
        elif choice is Quit.LEAVE:
            self.exit()

    def _on_export(self, names: tuple[str, ...] | None) -> None:
        if names is None or self.watching is None:
            return
        path = self.watching.path
        if "screen" in names:
            # Not before the question has gone from it.
            self.call_after_refresh(self._write_picture, path / SCREEN)
        if reports := [name for name in names if name != "screen"]:
            self._write_reports(path, reports)

    def _write_picture(self, path: Path) -> None:
        try:
            path.write_text(self.export_screenshot(), encoding="utf-8")
        except OSError as error:
            self.notify(f"cannot write {path}: {error.strerror}", severity="error")
        else:
            self.notify(f"wrote {path}")

    @work(thread=True, group="export")
    def _write_reports(self, path: Path, names: Sequence[str]) -> None:
        from dashboard.exporting import write_reports

        try:
            files = write_reports(path, names)
        except RunError as error:
            self.call_from_thread(self.notify, str(error), severity="error")
        else:
            self.call_from_thread(self.notify, f"wrote {', '.join(files)} into {path}")

    @property
    def _own_frame(self) -> Frame | None:
        """What is shown, if it is the run that this screen has started: another one may be looked at meanwhile."""
        watching, child = self.watching, self.child
        is_own = watching is not None and child is not None and watching.mode is Mode.OWN and watching.path == child.path
        return self.frames[0] if is_own else None

    def _stop_then_leave(self) -> None:
        """The load ends; what there is gets judged, and then the screen ends too."""
        child, frame = self.child, self._own_frame
        assert child is not None
        self._leaves_when_over = True
        phase = child.phase() if frame is None else frame.phase
        if phase is Phase.LOAD:
            try:
                send(child.path, Stop())
            except RunError:
                child.interrupt()
        elif phase in {Phase.START, Phase.LOAD, Phase.DRAIN}:
            child.interrupt()
        # Later there is nothing left to stop, and a signal would only cost the summary.
        self.notify("Stopping the load; the summary follows. ctrl+c again leaves at once.", timeout=60)


def _start_screen() -> type[Screen[None]]:
    from dashboard.screens.start import StartScreen  # of no use where a run is followed

    return StartScreen
