"""Two runs beside each other: the same scales, aligned at load start, what differs, and what that is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from dashboard.messages import FrameArrived
from dashboard.panels import charts
from dashboard.panels.arrange import LEAST_HEIGHT, LEAST_WIDTH
from dashboard.panels.host import host_of
from dashboard.panels.keybar import NO_HEAT_MAP, KeyBar
from dashboard.panels.lines import wrapped
from dashboard.panels.pairing import Paper, charts_of, delta_lines, deltas, heats_of, sentence, title_line
from dashboard.panels.textpanel import TextPanel
from dashboard.panels.texts import tiny_lines
from dashboard.panels.view import View
from dashboard.raster.window import gutter_of
from dashboard.screens.findings import DifferencesModal
from dashboard.unforeseen import attempt
from dashboard.widgets import Drawing, EventLane, HeatMapView, TimeAxis, TimeChart, glyphs_of
from harness.live.frame import Frame, Look, Mark

if TYPE_CHECKING:
    from harness.compare.record import Comparison

__all__ = ["CompareScreen"]

_WIDE: Final = 100  # from here on the runs stand side by side
_SIDES: Final = ("a", "b")
_PANELS: Final = ("durations", "backlog", "heat")  # `tab` goes through them where the runs are stacked
_DELTA_ROWS: Final = 8  # heading, five figures, two lines of words


class CompareScreen(Screen[None]):
    """It is given frames of two sides; instants count from the load start of each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", key_display="?", id="app.help"),
        Binding("q", "app.leave", "Quit", id="app.leave"),
        Binding("escape", "back", "Back", key_display="esc", id="compare.back"),
        Binding("f", "differences", "What differs", id="compare.differences"),
        Binding("tab", "next_panel", "Next panel", key_display="tab", id="compare.panel"),
        Binding("comma", "step(-1)", "Earlier", key_display=",", id="compare.step_back"),
        Binding("full_stop", "step(1)", "Later", key_display=".", id="compare.step_forward"),
        Binding("end", "live", "End", id="compare.end"),
        Binding("less_than_sign", "event(False)", "Event before", key_display="<", id="compare.event_before", show=False),
        Binding("greater_than_sign", "event(True)", "Next event", key_display=">", id="compare.event_next", show=False),
        Binding("plus", "closer", "Shorter time", key_display="+", id="compare.closer"),
        Binding("minus", "farther", "Longer time", key_display="-", id="compare.farther"),
        Binding("equals_sign", "whole", "Whole run", key_display="=", id="compare.whole"),
        Binding("i", "intensity", "How often, how much time", id="compare.intensity", show=False),
        Binding("h", "heat", "Heat", id="compare.heat"),
        Binding("e", "app.export", "Export", id="compare.export"),
    ]
    DEFAULT_CSS = """
    CompareScreen {
        layout: vertical;
        overflow: hidden;
        & #sides { height: 1fr; layout: horizontal; }
        & #sides.stacked { layout: vertical; }
        & .side { width: 1fr; height: auto; padding-right: 1; }
        & .stacked .side { padding-right: 0; }
        & .side > * { width: 100%; }
        & #delta { border-top: solid $muted-grid; }
        & #tiny { height: 1fr; }
        &.-ascii #delta { border-top: ascii $muted-grid; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._frames: list[Frame | None] = [None, None]
        self._marks: list[tuple[Mark, ...]] = [(), ()]
        self._looks: list[Look | None] = [None, None]
        # Labels of a run, not of now: both begin at 0.
        self._view = View(is_replay=True)
        self._panel = 0
        self._heat: bool | None = None  # None: where there is room
        self._intensity = False
        self._pointed_s: float | None = None
        self._heat_rows = 1
        self._comparison: Comparison | None = None
        self._compared: tuple[str, str] | None = None  # the directories that it is of, or will be

    def compose(self) -> ComposeResult:
        """A column each, and what differs below."""
        yield TextPanel(id="tiny")
        with Horizontal(id="sides"):
            for side in _SIDES:
                with Vertical(id=side, classes="side"):
                    yield TextPanel(id=f"{side}-title")
                    yield TimeChart(id=f"{side}-durations", classes="chart")
                    yield TimeChart(id=f"{side}-backlog", classes="chart")
                    yield HeatMapView(id=f"{side}-heat", classes="chart")
                    yield EventLane(id=f"{side}-lane")
                    yield TimeAxis(id=f"{side}-ruler")
        yield TextPanel(id="delta")
        yield KeyBar(id="keys")

    def on_screen_resume(self) -> None:
        """Comes to the top."""
        self.set_class(glyphs_of(self.app).is_ascii, "-ascii")
        self._looks = [None, None]
        self._arrange(self.app.size.width, self.app.size.height)

    def on_resize(self, event: events.Resize) -> None:
        """Side by side, or one above the other."""
        self._arrange(event.size.width, event.size.height)

    def on_frame_arrived(self, message: FrameArrived) -> None:
        """Of one of the two."""
        frame, side = message.frame, message.side
        self._frames[side] = frame
        if len(frame.marks) >= len(self._marks[side]) or frame.at_s >= frame.newest_s:
            self._marks[side] = frame.marks
        self._look()
        self._compare()
        self._draw()

    def action_back(self) -> None:
        """To where one came from."""
        self.dismiss()

    def action_next_panel(self) -> None:
        """Where the runs are stacked, there is room for one panel of each."""
        if self._is_stacked:
            self._panel = (self._panel + 1) % len(_PANELS)
            self._arrange(self.size.width, self.size.height)
        else:
            self.query_one(KeyBar).say("All panels are shown; where it is narrow, tab goes through them.")

    def action_step(self, steps: int) -> None:
        """Both to an instant before or after."""
        self._change(self._view.stepped(steps, self._longer))

    def action_event(self, forwards: bool) -> None:
        """Both to an event of either."""
        self._change(self._view.to_event(forwards, (*self._marks[0], *self._marks[1]), self._longer))

    def action_live(self) -> None:
        """Both to their ends."""
        self._change(self._view.live())

    def action_closer(self) -> None:
        """A shorter stretch of time."""
        self._change(self._view.closer(self._longer))

    def action_farther(self) -> None:
        """A longer one."""
        self._change(self._view.farther(self._longer))

    def action_whole(self) -> None:
        """All of both, or as before."""
        self._change(self._view.whole_or_back())

    def action_heat(self) -> None:
        """The heat maps."""
        self._heat = not self._shows("heat")
        self._panel = 2 if self._heat else 0
        self._arrange(self.size.width, self.size.height)

    def action_differences(self) -> None:
        """All that is known of the difference, in words."""
        if self._comparison is None:
            self.query_one(KeyBar).say("What differs is told once both runs have ended and were compared.")
        else:
            self.app.push_screen(DifferencesModal(self._comparison))

    def action_intensity(self) -> None:
        """The heat map's colour: how many, or how much time in all."""
        if not self._shows("heat"):
            self.query_one(KeyBar).say(NO_HEAT_MAP)
            return
        self._intensity = not self._intensity
        self._draw()

    @on(Drawing.Pointed)
    def _point(self, message: Drawing.Pointed) -> None:
        self._pointed_s = message.at_s
        self._draw()

    @on(Drawing.Picked)
    def _pick(self, message: Drawing.Picked) -> None:
        self._change(self._view.at(message.at_s, self._longer))

    def _compare(self) -> None:
        """Once both have ended."""
        a, b = self._frames
        if a is None or b is None or a.summary is None or b.summary is None:
            return
        paths = (a.about.path, b.about.path)
        if paths != self._compared:
            self._compared = paths
            self._work_out(*paths)

    @work(thread=True, exclusive=True, group="comparing")
    def _work_out(self, one: str, other: str) -> None:
        def work_out() -> None:
            # What it needs takes half a second to import, and most sessions compare nothing.
            from dashboard.comparing import compared

            self.app.call_from_thread(self._told, compared(Path(one), Path(other)))

        attempt(self.app, "The two were not compared", work_out)

    def _told(self, found: Comparison) -> None:
        self._comparison = found
        self._draw()

    @property
    def _longer(self) -> Frame | None:
        known = [frame for frame in self._frames if frame is not None]
        return max(known, key=lambda frame: frame.newest_s, default=None)

    @property
    def _is_stacked(self) -> bool:
        return self.size.width < _WIDE

    @staticmethod
    def _is_tiny(width: int, height: int) -> bool:
        return width < LEAST_WIDTH or height < LEAST_HEIGHT

    def _shows(self, panel: str, width: int = 0, height: int = 0) -> bool:
        width, height = width or self.size.width, height or self.size.height
        if width < _WIDE:
            return _PANELS[self._panel] == panel
        if panel == "heat":
            return self._heat if self._heat is not None else height >= 32
        return True

    def _change(self, view: View) -> None:
        if view != self._view:
            self._view = view
            self._look()
            self._draw()

    def _look(self) -> None:
        """Both sides over the same window; a side that ended earlier is shown at its end."""
        for side in (0, 1):
            frame = self._frames[side]
            look = self._view.look(self._longer)
            if frame is not None and look.at_s is not None and look.at_s >= frame.newest_s:
                look = replace(look, at_s=None)
            if look != self._looks[side]:
                self._looks[side] = look
                host_of(self.app).look(look, side)

    def _arrange(self, width: int, height: int) -> None:
        if not self.is_attached or not self.query("#sides"):
            return
        stacked = width < _WIDE
        shown = [panel for panel in _PANELS if self._shows(panel, width, height)]
        n_delta = (_DELTA_ROWS if height >= 22 else _DELTA_ROWS - 3) + 1
        # Where one stands above the other there is one axis of time, and events have rows of their own only if there is room.
        n_lanes = 2 if not stacked or height >= 28 else 0
        room = height - 1 - n_delta - (2 + n_lanes + 1 if stacked else 3)
        each, rest = divmod(max(room // 2 if stacked else room, len(shown)), len(shown))
        rows = {panel: each + (number < rest) for number, panel in enumerate(shown)}
        is_tiny = self._is_tiny(width, height)
        with self.app.batch_update():
            self.query_one("#tiny").display = is_tiny
            for name in ("#sides", "#delta", "#keys"):
                self.query_one(name).display = not is_tiny
            self.query_one("#sides").set_class(stacked, "stacked")
            for side in _SIDES:
                for panel in _PANELS:
                    widget = self.query_one(f"#{side}-{panel}")
                    widget.display = panel in rows
                    widget.styles.height = rows.get(panel, 1)
                self.query_one(f"#{side}-lane").display = n_lanes > 0
                self.query_one(f"#{side}-ruler").display = not (stacked and side == "a")
            self.query_one("#delta").styles.height = n_delta
        columns = width if stacked else width // 2 - 1
        self._heat_rows = rows.get("heat", 1)
        self._view = replace(self._view, columns=max(columns - gutter_of(columns), 1), heat="heat" in rows)
        self._look()
        self._draw()

    def _paper(self) -> Paper:
        drawing = self.query_one("#a-heat", HeatMapView)
        width = self.size.width if self._is_stacked else self.size.width // 2 - 1
        return Paper(width, self._heat_rows, glyphs_of(self.app), drawing.is_colored)

    def _draw(self) -> None:
        a, b = self._frames
        if not self.is_attached or not self.query("#sides"):
            return
        with self.app.batch_update():
            if self._is_tiny(self.size.width, self.size.height):
                both = [tiny_lines(frame, self.size.width, 6)[:-1] for frame in (a, b) if frame is not None]
                self.query_one("#tiny", TextPanel).show([each for lines in both for each in lines])
                return
            for side, frame in zip(_SIDES, (a, b), strict=True):
                title = title_line(frame, side.upper(), self.query_one(f"#{side}").size.width or self.size.width)
                self.query_one(f"#{side}-title", TextPanel).show([title])
            if a is not None and b is not None:
                self._draw_both(a, b)
        self.query_one(KeyBar).renew()

    def _draw_both(self, a: Frame, b: Frame) -> None:
        window = self._view.window(self._longer)
        if self._pointed_s is not None:
            window = replace(window, cursor_s=self._pointed_s)
        durations, backlogs = charts_of(a, b, window)
        heats = heats_of(a, b, window, self._paper(), intensity=self._intensity) if self._shows("heat") else None
        for number, (side, frame) in enumerate(zip(_SIDES, (a, b), strict=True)):
            if self._shows("durations"):
                self.query_one(f"#{side}-durations", TimeChart).show(durations[number])
            if self._shows("backlog"):
                self.query_one(f"#{side}-backlog", TimeChart).show(backlogs[number])
            if heats is not None:
                self.query_one(f"#{side}-heat", HeatMapView).show(heats[number])
            self.query_one(f"#{side}-lane", EventLane).show(charts.lane(frame, window))
            self.query_one(f"#{side}-ruler", TimeAxis).show(charts.ruler(window))
        # It is of the whole runs: beside figures of an earlier instant it would be a ratio of others.
        shows_ends = a.summary is not None and b.summary is not None
        contrast = self._comparison.contrasts[0] if self._comparison is not None and shows_ends else None
        found, width = deltas(a, b, contrast), self.size.width
        rows = list(delta_lines(found, ("A", "B"), width))
        if self.size.height >= 22:
            rows += wrapped(("", ""), sentence(a, b, found, contrast), width - 1, most=2)
        else:
            rows = rows[:-1]  # the heading says whose figure is whose
        self.query_one("#delta", TextPanel).show(rows)
