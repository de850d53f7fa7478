"""An app that shows one screen with frames of a simulated run: what the real one gives its screens, without run and follower.

`python -m tests.dashboard.stage [live|tasks|compare] [seconds]` shows it in a terminal, as if the run went on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from textual.app import App
from textual.screen import Screen

from dashboard.messages import FrameArrived
from dashboard.options import Glyphs
from dashboard.screens.compare import CompareScreen
from dashboard.screens.live import LiveScreen
from dashboard.screens.tasks import TasksScreen
from dashboard.themes import VARIABLES, themes
from dashboard.watching import Mode, Watching
from harness.control import Command
from harness.live.frame import Frame, Look
from tests.dashboard.frames import frame_of
from tests.dashboard.simulation import SCISSORS, Simulation, simulate

__all__ = ["Stage"]

PATH = Path("runs/email-20261121-090000")


class Stage(App[None]):
    """Frames come when `tick` is called, or by the clock if `goes`."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        screen: Callable[[], Screen[None]],
        runs: tuple[Simulation, ...],
        *,
        newest_s: float = 0.0,
        mode: Mode = Mode.OWN,
        glyphs: Glyphs = "braille",
        changed: Callable[[Frame], Frame] = lambda frame: frame,
        goes: bool = False,
        theme: str = "afterload-dark",
    ) -> None:
        super().__init__()
        self.runs = runs
        self.newest_s = newest_s
        self.frames: list[Frame | None] = [None, None]
        self.looks: list[Look | Callable[[Frame], Look] | None] = [None, None]
        self.glyphs = glyphs
        self.watching: Watching | None = Watching(PATH, mode)
        self.steered: list[Command] = []
        self.done: list[str] = []  # app actions that screens asked for
        self._first = screen
        self._changed = changed
        self._goes = goes
        self._theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return VARIABLES

    def on_mount(self) -> None:
        for theme in themes():
            self.register_theme(theme)
        self.theme = self._theme
        self.push_screen(self._first())
        if self._goes:
            began_s, at_s = time.monotonic(), self.newest_s

            def on() -> None:
                self.newest_s = at_s + time.monotonic() - began_s
                self.tick()

            self.set_interval(0.25, on)

    @property
    def why_not_steer(self) -> str:
        assert self.watching is not None
        return "A recording cannot be changed." if self.watching.mode is Mode.REPLAY else ""

    def look(self, look: Look | Callable[[Frame], Look], side: int = 0) -> None:
        self.looks[side] = look
        self.tick(side)

    def steer(self, command: Command) -> None:
        self.steered.append(command)

    def tick(self, side: int | None = None) -> None:
        """The frames as of now."""
        for number, run in enumerate(self.runs):
            look = self.looks[number]
            if look is None or side not in {None, number}:
                continue
            newest_s = min(self.newest_s, run.story.for_s + 5)
            before = self.frames[number] or frame_of(run, Look(0, 30, 1), newest_s)
            made = frame_of(run, look(before) if callable(look) else look, newest_s, number=before.number + 1)
            self.frames[number] = self._changed(made)
            self.screen.post_message(FrameArrived(self._changed(made), number))

    def action_help(self) -> None:
        self.done.append("help")

    def action_leave(self) -> None:
        self.done.append("leave")
        if self._goes:
            self.exit()

    def action_kill(self) -> None:
        self.done.append("kill")

    def action_kill_now(self) -> None:
        self.done.append("kill_now")

    def action_restart(self) -> None:
        self.done.append("restart")

    def action_mark(self) -> None:
        self.done.append("mark")

    def action_export(self) -> None:
        self.done.append("export")

    def action_scenarios(self) -> None:
        self.done.append("scenarios")

    def action_compare(self) -> None:
        self.done.append("compare")


if __name__ == "__main__":
    name, at, glyphs = [*sys.argv[1:], *("live", "0", "braille")[len(sys.argv) - 1 :]]
    screens = {"live": LiveScreen, "tasks": TasksScreen, "compare": CompareScreen, "replay": LiveScreen}
    runs = (simulate(SCISSORS), simulate(SCISSORS))
    mode = Mode.REPLAY if name == "replay" else Mode.OWN
    Stage(screens[name], runs, newest_s=float(at), glyphs=glyphs, goes=name != "replay", mode=mode).run()
