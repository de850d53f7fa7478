"""The live screen: what the client sees and what the work sees, over time, while a run goes on or afterwards."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen
from textual.timer import Timer

from dashboard.messages import FrameArrived
from dashboard.panels.arrange import Arrangement, Layout, Panel, Wanted, arrange
from dashboard.panels.host import host_of
from dashboard.panels.keybar import NO_HEAT_MAP, KeyBar
from dashboard.panels.picture import Picture, Shown
from dashboard.panels.slider import Slider
from dashboard.panels.status import Watch
from dashboard.panels.steering import Asked, change, why_not
from dashboard.panels.view import SPEEDS, View
from dashboard.raster.window import gutter_of
from dashboard.watching import Mode
from dashboard.widgets import Drawing, glyphs_of
from harness.live.frame import Frame, Mark, Phase

__all__ = ["LiveScreen"]

_PLAY_EVERY_S: Final = 0.25
OWN_CPU_EVERY_S: Final = 2.0
_OVER: Final = frozenset({Phase.ENDED, Phase.CRASHED})
_HAS_ENDED: Final = "The run is over; an earlier instant is shown. Space goes on to the end."
_FEW_TILES: Final = 2
_ASKED_FOR_S: Final = 1.5  # what is pending stands in the side column as well
_PANELS: Final = {"1": Panel.SCISSORS, "2": Panel.BACKLOG, "3": Panel.HEAT, "4": Panel.POOL, "5": Panel.LOG}


class LiveScreen(Screen[None]):
    """One run. It is given frames and never reads a file; what it wants to see of the run it tells the app."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", key_display="?", id="app.help"),
        Binding("q", "app.leave", "Quit", id="app.leave"),
        Binding("space", "hold", "Freeze", id="live.freeze"),
        Binding("k", "app.kill", "Kill", id="live.kill"),
        Binding("K", "app.kill_now", "Kill at once", id="live.kill_now", show=False),
        Binding("r", "app.restart", "Restart", id="live.restart"),
        Binding("U", "steer('load', True)", "Load", key_display="u/U", id="live.more_load"),
        Binding("u", "steer('load', False)", "Less load", id="live.less_load", show=False),
        Binding("P", "steer('pool', True)", "Pool", key_display="p/P", id="live.larger_pool"),
        Binding("p", "steer('pool', False)", "Smaller pool", id="live.smaller_pool", show=False),
        Binding("y", "steer('tasks', True)", "Kind", id="live.kind"),
        Binding("t", "tasks", "Tasks", id="live.tasks"),
        Binding("f", "findings", "Findings", id="live.findings"),
        Binding("comma", "step(-1)", "Back", key_display=",", id="live.back"),
        Binding("full_stop", "step(1)", "Forward", key_display=".", id="live.forward"),
        Binding("end", "live", "Live", id="live.end"),
        Binding("m", "app.mark", "Mark", id="live.mark"),
        Binding("h", "heat", "Heat", id="live.heat"),
        Binding("l", "log", "Log", id="live.log"),
        Binding("d", "drawer", "Side", id="live.drawer"),
        Binding("v", "layout", "View", id="live.layout"),
        Binding("c", "app.compare", "Compare", id="live.compare"),
        Binding("e", "app.export", "Export", id="live.export"),
        Binding("s", "app.scenarios", "Scenarios", id="live.scenarios"),
        Binding("less_than_sign", "event(False)", "Event before", key_display="<", id="live.event_before", show=False),
        Binding("greater_than_sign", "event(True)", "Next event", key_display=">", id="live.event_next", show=False),
        Binding("plus", "closer", "Shorter time", key_display="+", id="live.closer", show=False),
        Binding("minus", "farther", "Longer time", key_display="-", id="live.farther", show=False),
        Binding("equals_sign", "whole", "Whole run", key_display="=", id="live.whole", show=False),
        Binding("i", "intensity", "How often, how much time", id="live.intensity", show=False),
        Binding("x", "faster", "Play faster", id="live.faster", show=False),
        Binding("home", "beginning", "Beginning", id="live.beginning", show=False),
        Binding("escape", "back", "Out of one panel, or of the freeze", id="live.escape", show=False),
        *(
            Binding(key, f"only('{panel}')", f"Only {panel}", id=f"live.panel_{key}", show=False)
            for key, panel in _PANELS.items()
        ),
    ]
    DEFAULT_CSS = """
    LiveScreen { layout: vertical; overflow: hidden; }
    LiveScreen.-ascii #aside { border-left: ascii $muted-grid; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._frame: Frame | None = None
        self._marks: tuple[Mark, ...] = ()
        self._view = View()
        self._wanted = Wanted()
        self._arrangement = Arrangement(is_tiny=False)
        self._intensity = False
        self._speed = 0  # which of SPEEDS
        self._playing: Timer | None = None
        self._is_over = False
        self._tells_end = False  # that the run has ended while an earlier instant was shown
        self._asked = Asked()
        self._pointed_s: float | None = None
        self._ui_share: float | None = None
        self._used_s = (0.0, 0.0)
        self._is_there = False  # the panels can be asked for

    def compose(self) -> ComposeResult:
        """The picture and the keys."""
        yield Picture(id="picture")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Looks from now on."""
        self.set_class(glyphs_of(self.app).is_ascii, "-ascii")
        self._is_there = True
        self._used_s = (time.process_time(), time.monotonic())
        self.set_interval(OWN_CPU_EVERY_S, self._measure_self)
        self._arrange(self.app.size.width, self.app.size.height)

    def on_screen_resume(self) -> None:
        """Comes to the top: another screen may have looked at something else."""
        self._suit_mode()
        self._look()

    def on_resize(self, event: events.Resize) -> None:
        """Other room."""
        self._arrange(event.size.width, event.size.height)

    def on_frame_arrived(self, message: FrameArrived) -> None:
        """The run as it is now, or as it was at the instant that was asked for."""
        if message.side != 0:
            return
        self._frame = frame = self._asked.shown_in(message.frame)
        if frame.phase in _OVER and frame.at_s >= frame.newest_s and not self._is_over:
            self._is_over = True
            self.query_one(KeyBar).unsay(_HAS_ENDED)
            self._suit_mode()
            self._look()
        if not self._tells_end and frame.newest.phase in _OVER and frame.at_s < frame.newest_s and not self._is_replay:
            self._tells_end = True
            self._say(_HAS_ENDED)
        if not self._marks or message.frame.at_s >= message.frame.newest_s or len(message.frame.marks) > len(self._marks):
            self._marks = message.frame.marks
        self._draw()

    # What keys do.

    def why_not(self, action: str) -> str:
        """Why a key can do nothing now, in one sentence; empty if it can. The row of keys dims it."""
        if action == "hold" and not self._is_replay:
            # Not in the first picture, a moment before anything is known: the row of keys would change at once.
            return self._view.why_not_held(self._frame) if self._frame is not None else ""
        return why_not(action, self._frame, host_of(self.app).why_not_steer)

    def key_name(self, action: str) -> str:
        """What a key does here, if it is not what it does elsewhere."""
        if action == "hold" and self._is_replay:
            return "Stop" if self._playing is not None else "Play"
        if action == "hold" and self._view.at_s is not None:
            return "Go on"
        if action == "live" and self._is_replay:
            return "End"
        return ""

    def action_hold(self) -> None:
        """Freezes what is shown, never what is collected. A recording is played, or stopped."""
        if self._is_replay:
            self._play(self._playing is None)
        elif reason := self._view.why_not_held(self._frame):
            self._say(reason)
        else:
            self._change(self._view.held(self._frame))

    def action_step(self, steps: int) -> None:
        """Back or forward in time."""
        self._play(False)
        self._change(self._view.stepped(steps, self._frame))

    def action_event(self, forwards: bool) -> None:
        """To an event."""
        self._play(False)
        self._change(self._view.to_event(forwards, self._marks, self._frame))

    def action_live(self) -> None:
        """To the newest instant."""
        self._play(False)
        self._change(self._view.live())

    def action_beginning(self) -> None:
        """To load start."""
        self._play(False)
        self._change(self._view.at(0.0, self._frame))

    def action_closer(self) -> None:
        """A shorter stretch of time."""
        self._change(self._view.closer(self._frame))

    def action_farther(self) -> None:
        """A longer one."""
        self._change(self._view.farther(self._frame))

    def action_whole(self) -> None:
        """All of the run, or as before."""
        self._change(self._view.whole_or_back())

    def action_faster(self) -> None:
        """Plays faster, and after the fastest as fast as it was."""
        if not self._is_replay:
            self._say("Only a recording can be played faster: this run goes on.")
            return
        self._speed = (self._speed + 1) % len(SPEEDS)
        self._play(True)

    def action_heat(self) -> None:
        """The heat map in the place of the curves."""
        self._want(replace(self._wanted, heat_on_top=not self._wanted.heat_on_top, only=None))

    def action_intensity(self) -> None:
        """The heat map's colour: how many, or how much time in all."""
        if not self._has_heat:
            self._say(NO_HEAT_MAP)
            return
        self._intensity = not self._intensity
        self._draw()

    def action_log(self) -> None:
        """The log of the server."""
        self._want(replace(self._wanted, log=not self._wanted.log))

    def action_drawer(self) -> None:
        """The side column."""
        self._want(replace(self._wanted, drawer=not self._arrangement.aside_columns))

    def action_layout(self) -> None:
        """The next of the three."""
        every = list(Layout)
        layout = every[(every.index(self._wanted.layout) + 1) % len(every)]
        self._want(replace(self._wanted, layout=layout, only=None))
        self._say(f"View: {layout.value}")

    def action_only(self, panel: str) -> None:
        """One panel, as large as it can be; the same key brings the others back."""
        chosen = Panel(panel)
        self._want(replace(self._wanted, only=None if self._wanted.only is chosen else chosen))

    def action_back(self) -> None:
        """Out of what was chosen last: one panel, the frozen instant."""
        if self._wanted.only is not None:
            self._want(replace(self._wanted, only=None))
        elif self._view.at_s is not None and not self._is_replay:
            self.action_live()

    def action_steer(self, what: str, more: bool) -> None:
        """A change of the load, the pool or the kind of tasks, from what it is or will be."""
        reason = self.why_not(f"steer('{what}', {more})")
        if reason or self._frame is None:
            self._say(reason or "Nothing is known of the run yet.")
            return
        command = change(self._frame, what, more=more)
        if command is not None:
            host_of(self.app).steer(command)
            self._frame = self._asked.after(command, self._frame)
            self._draw()
            self.query_one(KeyBar).say(f"asked for: {command}", _ASKED_FOR_S)

    def action_tasks(self) -> None:
        """The tasks one by one."""
        from dashboard.screens.tasks import TasksScreen

        self.app.push_screen(TasksScreen(self._view.at_s, self._frame, is_replay=self._is_replay))

    def action_findings(self) -> None:
        """All findings, with what to do."""
        from dashboard.screens.findings import FindingsModal

        if self._frame is not None:
            self.app.push_screen(FindingsModal(self._frame.findings))

    @on(Drawing.Pointed)
    def _point(self, message: Drawing.Pointed) -> None:
        self._pointed_s = message.at_s
        self._draw()

    @on(Drawing.Picked)
    def _pick(self, message: Drawing.Picked) -> None:
        self._play(False)
        self._change(self._view.at(message.at_s, self._frame))

    @on(Slider.Picked)
    def _slide(self, message: Slider.Picked) -> None:
        self._play(False)
        self._change(self._view.at(message.at_s, self._frame))

    # How it is done.

    @property
    def _is_replay(self) -> bool:
        """A run that is over is a recording, whoever made it."""
        watching = host_of(self.app).watching
        return self._is_over or (watching is not None and watching.mode is Mode.REPLAY)

    @property
    def _has_heat(self) -> bool:
        """Whether a heat map is to be seen."""
        return bool({Panel.HEAT, Panel.DONE_HEAT} & self._arrangement.rows.keys())

    def _suit_mode(self) -> None:
        """A recording is shown as a whole, with a slider."""
        self._view = replace(self._view, is_replay=self._is_replay)
        self._wanted = replace(self._wanted, slider=self._is_replay)
        self._arrange(self.app.size.width, self.app.size.height)

    def _say(self, text: str) -> None:
        self.query_one(KeyBar).say(text)

    def _change(self, view: View) -> None:
        if view != self._view:
            self._view = view
            self._draw()
            # What is known already is seen before anybody looks for more: both take turns, and somebody waits for this.
            self.call_after_refresh(self._look)

    def _look(self) -> None:
        """Not behind a screen that looks at something else: that one would show this. Behind a question this one is seen."""
        stack = self.app.screen_stack
        if self in stack and all(isinstance(each, ModalScreen) for each in stack[stack.index(self) + 1 :]):
            host_of(self.app).look(self._view.look)

    def _want(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._arrange(self.size.width, self.size.height)
        self._draw()

    def _play(self, goes: bool) -> None:
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
        if goes and self._frame is not None:
            if self._view.at_s is None or self._view.at_s >= self._frame.newest_s:
                self._change(self._view.at(0.0, self._frame))
            self._playing = self.set_interval(_PLAY_EVERY_S, self._play_on)
        self._draw()

    def _play_on(self) -> None:
        here_s = self._view.instant(self._frame) + _PLAY_EVERY_S * SPEEDS[self._speed]
        if self._frame is None or here_s >= self._frame.newest_s:
            self._play(False)
        self._change(self._view.at(here_s, self._frame))

    def _measure_self(self) -> None:
        used_s, at_s = time.process_time(), time.monotonic()
        if at_s > self._used_s[1]:
            self._ui_share = (used_s - self._used_s[0]) / (at_s - self._used_s[1])
        self._used_s = (used_s, at_s)

    def _arrange(self, width: int, height: int) -> None:
        if not self._is_there:
            return
        found = arrange(width, height, self._wanted)
        if found != self._arrangement:
            self._arrangement = found
            self.query_one(Picture).arrange_as(found)
            self.query_one(KeyBar).display = not found.is_tiny
        columns = max(width - found.aside_columns, 1)
        view = replace(
            self._view,
            columns=max(columns - gutter_of(columns), 1),
            heat=self._has_heat,
        )
        if view != self._view:
            self._view = view
            self._look()
        self._draw()

    def _draw(self) -> None:
        if not self._is_there:
            return
        picture, frame = self.query_one(Picture), self._frame
        if frame is None:
            picture.say("waiting for the first figures")
            return
        window = self._view.window(frame)
        if self._pointed_s is not None:
            window = replace(window, cursor_s=self._pointed_s)
        shown = Shown(
            frame=frame,
            window=window,
            watch=self._watch(),
            marks=self._marks,
            at_s=self._view.instant(frame),
            intensity=self._intensity,
            can_steer=not host_of(self.app).why_not_steer,
        )
        picture.show(shown, self.size.width, self.size.height)
        self.query_one(KeyBar).read_out(self._words(frame))

    def _words(self, frame: Frame) -> str:
        """Of the instant below the mouse; empty: it is nowhere."""
        from dashboard.panels.charts import read_out  # there are figures now, and so there is numpy

        return "" if self._pointed_s is None else read_out(frame, self._pointed_s)

    def _watch(self) -> Watch:
        watching = host_of(self.app).watching
        return Watch(
            is_replay=self._is_replay and (self._view.at_s is not None or not self._is_over),
            is_held=self._view.at_s is not None,
            playing=SPEEDS[self._speed] if self._playing is not None else 0.0,
            ui_share=self._ui_share,
            has_tiles=self._arrangement.n_tiles > _FEW_TILES,
            note="read only" if watching is not None and watching.is_read_only else "",
        )
