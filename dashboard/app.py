"""The app as a whole: how it begins and ends, which runs it starts, and which screen is on top.

What nobody has asked for yet is imported when somebody does: the first picture waits for none of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen

from dashboard.alertness import Settling
from dashboard.caching import Caches
from dashboard.following import MakeFollower, followed
from dashboard.keymap import read_keymap
from dashboard.messages import FrameArrived
from dashboard.options import ScreenOptions
from dashboard.pacing import is_choked
from dashboard.registry import all_bindings
from dashboard.runapp import RunApp
from dashboard.screens.live import LiveScreen
from dashboard.themes import THEME_NAMES, VARIABLES, themes
from dashboard.watching import Watching
from harness.errors import RunError
from harness.live.frame import Frame

if TYPE_CHECKING:
    from dashboard.child import RunChild
    from dashboard.modals.quit import Quit
    from dashboard.offers import Offer, Offers

__all__ = ["Dashboard"]

_TICK_S: Final = 0.1


class Dashboard(RunApp):
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
        super().__init__(options, watching, make_follower)
        self.offers = offers
        self.ended_by: int | None = None
        """The signal that ended the screen."""
        self.remembered: tuple[str, dict[str, str]] | None = None
        """What was filled in last on the start screen."""
        self._arguments = arguments
        self._handles_signals = handles_signals
        self._has_terminal = False
        self._caches = Caches()
        self._settling = Settling()
        self._on_top: Screen[Any] | None = None
        self._leaves_when_over = False
        self._is_drawn = False
        self._held: set[int] = set()  # sides whose newest frame waits for the terminal
        self._given: tuple[Screen[Any] | None, Frame | None] = (None, None)  # the last one that was handed on, and to whom
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

    def keys_of(self, binding: Binding) -> str:
        """The user's own keys for it; empty: it has those that it came with."""
        return self._own_keys.get(binding.id or "", "")

    def start_run(self, arguments: Sequence[str], title: str) -> None:
        """Starts a run, and shows it."""
        if self.runs.is_own_going:
            self.notify("a run goes on: stop it first (ctrl+c, or q)", severity="warning")
            return
        from dashboard.form import command_line

        try:
            watching = self.runs.start(arguments, title)
        except RunError as error:
            self._show_error("The run could not be started", error)
            return
        self._leaves_when_over = False
        self.sub_title = command_line(arguments)
        self.show_run(watching)

    def show_run(self, watching: Watching) -> None:
        """Follows a run and shows it, instead of what was shown before."""
        if self._follow(watching):
            self._show_alone(LiveScreen())

    def show_pair(self, one: Watching, other: Path) -> None:
        """Shows two runs side by side; afterwards the one that was shown before is shown again."""
        before = self.watching
        if one != before and not self._follow(one):
            return
        try:
            self.runs.follow(other, 1)
        except RunError as error:
            self._show_again(before)
            self._show_error("The run cannot be shown", error)
            return
        from dashboard.screens.compare import CompareScreen

        self.push_screen(CompareScreen(), lambda _: self._show_again(before))

    # The life of the app.

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """For themes that are not ours."""
        return {**super().get_theme_variable_defaults(), **VARIABLES}

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything that can be done, for the palette."""
        from dashboard.palette import commands_of

        yield from commands_of(self, screen)

    def on_mount(self) -> None:
        """The first screen."""
        if self._handles_signals:
            from dashboard.ending import is_there

            self._has_terminal = is_there(sys.__stdin__)  # a browser has none
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
            self.call_after_refresh(self._follow, self.watching)
        elif self._arguments is not None:
            self.start_run(self._arguments, self._arguments[0])
        else:
            self.push_screen(_start_screen()())

    def on_unmount(self) -> None:
        """Nobody is told any more."""
        self.runs.close()

    def on_frame_arrived(self, event: FrameArrived) -> None:
        """Handed on to the screen that is seen, also behind a modal."""
        if not self.runs.is_followed(event.side, event.turn):
            return
        self.frames[event.side] = event.frame
        self._caches.count()
        if self._settling.is_due() and self._handles_signals:  # in a process of its own
            self.call_after_refresh(self._settling.settle)
        if self.offers is not None:
            # For the palette. Before there are figures it would take from them, and from the first picture.
            self.offers.ask()
        if is_choked(self._driver):
            # The newest one is shown when the terminal can show any, and none before it.
            self._held.add(event.side)
        else:
            self._hand_on(event.frame, event.side)
        if self.screen is not self._shown:
            # A question may be about whether the run goes on.
            self.screen.post_message(FrameArrived(event.frame, event.side))
        if event.side == 0 and self.runs.has_crashed(event.frame) and self.watching is not None:
            from dashboard.failures import crash_of

            self.push_screen(crash_of(self.watching.path, event.frame))

    def _tick(self) -> None:
        if self._has_terminal:
            self._look_after_terminal()
        if (screen := self._shown) is not self._on_top:
            self._on_top = screen
            for side, frame in enumerate(self.frames):
                if frame is not None and not (screen is self._given[0] and frame is self._given[1]):
                    self._hand_on(frame, side)
        elif self._held and not is_choked(self._driver):
            for side in sorted(self._held):
                if (newest := self.frames[side]) is not None:
                    self._hand_on(newest, side)
            self._held.clear()
        if self.runs.follows(1) and not self._has_pair:
            self.runs.forget(1)
        status = self.runs.end_of_own()
        if status is None or self.child is None:
            return
        if self._leaves_when_over:
            # Without a summary it was stopped before it had begun: that is told where the summary would be.
            self.exit()
            return
        from dashboard.modals.quit import QuitModal

        asking = self.screen if isinstance(self.screen, QuitModal) else None
        if (self.child.path / "summary.json").exists():
            if asking is not None:
                asking.tell_end()
            return
        if asking is not None:
            asking.dismiss(None)
        self._tell_failure(self.child, status)

    def _hand_on(self, frame: Frame, side: int) -> None:
        screen = self._shown
        if screen is not None:
            self._given = screen, frame
            screen.post_message(FrameArrived(frame, side))

    @property
    def _shown(self) -> Screen[Any] | None:
        """The newest screen that is no modal one."""
        return next((each for each in reversed(self.screen_stack) if not isinstance(each, ModalScreen)), None)

    @property
    def _has_pair(self) -> bool:
        from dashboard.screens.compare import CompareScreen

        return any(isinstance(each, CompareScreen) for each in self.screen_stack)

    def _follow(self, watching: Watching) -> bool:
        try:
            self.runs.show(watching)
        except RunError as error:
            self._show_error("The run cannot be shown", error)
            return False
        return True

    def _show_again(self, before: Watching | None) -> None:
        """After a comparison, which followed another run where this one is."""
        if before == self.watching:
            return
        if before is None or not self._follow(before):
            self.runs.forget(0)
            self.runs.watching = None

    def _show_alone(self, screen: Screen[Any]) -> None:
        for _ in self.screen_stack[1:]:
            self.pop_screen()
        self.push_screen(screen)

    def _show_error(self, title: str, error: RunError) -> None:
        from dashboard.modals.error import ErrorModal

        self.push_screen(ErrorModal(title, str(error), hint=error.hint))

    def _tell_failure(self, child: RunChild, status: int) -> None:
        """Of a run that was started here."""
        from dashboard.failures import failure_of, has_begun

        frame = self.runs.own_frame
        child.forget_directory()
        if not has_begun(frame) and (self.watching is None or self.watching.path == child.path):
            self.runs.forget(0)
            self.runs.watching = None
            self._show_alone(_start_screen()())
        self.push_screen(failure_of(child, status, frame))

    def _end_by(self, number: int) -> None:
        self.ended_by = number
        if self._is_drawn:
            self.exit()
        else:
            # In the middle of its making a screen misses what has been taken away already.
            self.call_after_refresh(self.exit)

    def _on_hangup(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        from dashboard.ending import is_there

        if not is_there(sys.__stdin__):
            # Nothing to give back, nobody to tell; the run goes on.
            os._exit(128 + number)
        loop.call_soon_threadsafe(self._end_by, number)

    def _look_after_terminal(self) -> None:
        """A terminal that is no session's own goes away without a signal; reading from it would take all of a processor."""
        from dashboard.ending import is_there

        if not is_there(sys.__stdin__):
            self._on_hangup(signal.SIGHUP, asyncio.get_running_loop())

    # Actions.

    def action_help(self) -> None:
        """Keys and metrics."""
        from dashboard.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            shown = self._shown
            self.push_screen(HelpScreen(None if shown is None else type(shown)))

    def action_leave(self) -> None:
        """Ends the screen; a run of its own goes on only if that is wanted."""
        if not self.runs.is_own_going:
            self.exit()
            return
        from dashboard.modals.quit import QuitModal

        if not isinstance(self.screen, QuitModal):
            self.push_screen(QuitModal(), self._on_quit)

    def action_interrupt(self) -> None:
        """First the load, then the screen."""
        if not self.runs.is_own_going or self._leaves_when_over:
            self.ended_by = signal.SIGINT if self.runs.is_own_going else None
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

    # What they come to.

    def _on_quit(self, choice: Quit | None) -> None:
        from dashboard.modals.quit import Quit

        if choice is Quit.STOP:
            self._stop_then_leave()
        elif choice is Quit.LEAVE:
            self.exit()

    def _stop_then_leave(self) -> None:
        """The load ends; what there is gets judged, and then the screen ends too. A run that is over by now has been judged."""
        if not self.runs.is_own_going:
            self.exit()
            return
        self._leaves_when_over = True
        self.runs.stop_load()
        self.notify("Stopping the load; the summary follows. ctrl+c again leaves at once.", timeout=60)


def _start_screen() -> type[Screen[None]]:
    from dashboard.screens.start import StartScreen  # of no use where a run is followed

    return StartScreen
