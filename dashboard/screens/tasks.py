"""The tasks screen: tasks one by one, oldest first, and the life of the one that is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from dashboard.messages import FrameArrived
from dashboard.panels.host import host_of
from dashboard.panels.keybar import KeyBar
from dashboard.panels.lines import line
from dashboard.panels.status import Watch, status_line
from dashboard.panels.tasklines import life_lines, status_tabs, table_lines
from dashboard.panels.textpanel import TextPanel
from dashboard.panels.view import View
from dashboard.watching import Mode
from dashboard.widgets import glyphs_of
from harness.live.frame import MOST_LISTED, NOT_KNOWN, Frame, Phase, TaskLine, TaskStatus

__all__ = ["TasksScreen"]

_LIFE_ROWS: Final = 10
_OVER: Final = frozenset({Phase.ENDED, Phase.CRASHED})
_AFTERWARDS: Final = (TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.LOST, TaskStatus.FAILED, TaskStatus.DONE)


class TasksScreen(Screen[None]):
    """The rows renew as the run goes on; the cursor stays on its task for as long as that is in the list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", key_display="?", id="app.help"),
        Binding("q", "app.leave", "Quit", id="app.leave"),
        Binding("escape,t", "back", "Back", key_display="esc", id="tasks.back"),
        Binding("right,tab", "status(1)", "Next status", key_display="→", id="tasks.next"),
        Binding("left,shift+tab", "status(-1)", "Status before", id="tasks.before", show=False),
        Binding("down,j", "move(1)", "Down", key_display="↓", id="tasks.down"),
        Binding("up,k", "move(-1)", "Up", key_display="↑", id="tasks.up"),
        Binding("pagedown", "move(20)", "Page down", id="tasks.page_down", show=False),
        Binding("pageup", "move(-20)", "Page up", id="tasks.page_up", show=False),
        Binding("home", "move(-100000)", "Oldest", id="tasks.oldest", show=False),
        Binding("end", "move(100000)", "Newest", id="tasks.newest", show=False),
        Binding("space", "hold", "Freeze", id="tasks.freeze"),
        Binding("comma", "step(-1)", "Back in time", key_display=",", id="tasks.step_back"),
        Binding("full_stop", "step(1)", "Forward", key_display=".", id="tasks.step_forward"),
        *(
            Binding(str(key), f"choose('{status.value}')", status.value, id=f"tasks.{status.value}", show=False)
            for key, status in enumerate(TaskStatus, 1)
        ),
    ]
    DEFAULT_CSS = """
    TasksScreen {
        layout: vertical;
        overflow: hidden;
        & #table { height: 1fr; }
        & #life { height: 10; border-top: solid $muted-grid; }
        &.-ascii #life { border-top: ascii $muted-grid; }
    }
    """

    def __init__(self, at_s: float | None = None, shown: Frame | None = None, *, is_replay: bool = False) -> None:
        """`shown`: what was looked at before, which says what one will want to see first. `is_replay`: as a recording."""
        super().__init__()
        self._is_replay = is_replay
        self._frame: Frame | None = None
        self._view = View(columns=20, heat=False, tasks=_first_status(shown), n_tasks=MOST_LISTED, at_s=at_s)
        self._cursor = 0
        self._chosen: tuple[int, int] | None = None  # op and index of the task under the cursor
        self._first = 0

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield TextPanel(id="status")
        yield TextPanel(id="tabs")
        yield TextPanel(id="table")
        yield TextPanel(id="life")
        yield KeyBar(id="keys")

    def on_screen_resume(self) -> None:
        """Comes to the top."""
        self.set_class(glyphs_of(self.app).is_ascii, "-ascii")
        watching = host_of(self.app).watching
        self._is_replay = self._is_replay or (watching is not None and watching.mode is Mode.REPLAY)
        self._view = replace(self._view, is_replay=self._is_replay)
        host_of(self.app).look(self._view.look)

    def on_frame_arrived(self, message: FrameArrived) -> None:
        """Newer rows."""
        if message.side != 0:
            return
        self._frame = message.frame
        if message.frame.phase in _OVER and not self._is_replay:
            self._is_replay = True
            self._view = replace(self._view, is_replay=True)
        self._follow()
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """Other room: the life of the chosen task goes first."""
        self._draw(event.size.width, event.size.height)

    def why_not(self, action: str) -> str:
        """Why a key can do nothing now, in one sentence; empty if it can. The row of keys dims it."""
        return self._view.why_not_held(self._frame) if action == "hold" else ""

    def key_name(self, action: str) -> str:
        """What a key does here, if it is not what it does elsewhere."""
        return "Go on" if action == "hold" and self._view.at_s is not None and not self._is_replay else ""

    def action_back(self) -> None:
        """To where one came from."""
        self.dismiss()

    def action_choose(self, status: str) -> None:
        """Another status."""
        self._cursor, self._first, self._chosen = 0, 0, None
        self._view = replace(self._view, tasks=TaskStatus(status))
        host_of(self.app).look(self._view.look)
        self._draw()

    def action_status(self, by: int) -> None:
        """The next status, or the one before."""
        every = list(TaskStatus)
        self.action_choose(every[(every.index(self._view.tasks or TaskStatus.QUEUED) + by) % len(every)].value)

    def action_move(self, by: int) -> None:
        """The cursor."""
        tasks = self._tasks
        if tasks:
            self._cursor = max(0, min(self._cursor + by, len(tasks) - 1))
            self._chosen = (tasks[self._cursor].op, tasks[self._cursor].index)
            self._draw()

    def action_hold(self) -> None:
        """Freezes the list, never the run. A recording stands still by itself: the instant that was chosen is kept."""
        if reason := self.why_not("hold"):
            self.query_one(KeyBar).say(reason)
        else:
            self._change(self._view.held(self._frame))

    def action_step(self, steps: int) -> None:
        """Back or forward in time."""
        self._change(self._view.stepped(steps, self._frame))

    def on_click(self, event: events.Click) -> None:
        """Chooses a task."""
        table = self.query_one("#table", TextPanel)
        row = event.screen_y - table.region.y - 1
        if event.screen_x < table.region.right and 0 <= row < table.size.height - 1:
            self.action_move(self._first + row - self._cursor)

    def on_mouse_scroll_down(self) -> None:
        """The cursor goes along."""
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        """The cursor goes along."""
        self.action_move(-3)

    @property
    def _tasks(self) -> tuple[TaskLine, ...]:
        """Of the status that is chosen: a frame of the status before may still be the newest."""
        if self._frame is None or self._frame.look.tasks is not self._view.tasks:
            return ()
        return self._frame.tasks

    def _change(self, view: View) -> None:
        self._view = view
        host_of(self.app).look(view.look)
        self._draw()

    def _follow(self) -> None:
        """The cursor stays on its task; if that has left the list, on its place."""
        tasks = self._tasks
        names = {(task.op, task.index): number for number, task in enumerate(tasks)}
        if self._chosen in names:
            moved = names[self._chosen] - self._cursor
            self._cursor += moved
            self._first = max(self._first + moved, 0)
        elif tasks:
            self._cursor = min(self._cursor, len(tasks) - 1)
            self._chosen = (tasks[self._cursor].op, tasks[self._cursor].index)

    def _draw(self, width: int = 0, height: int = 0) -> None:
        frame = self._frame
        if frame is None or not self.is_attached:
            return
        width, height = width or self.size.width, height or self.size.height
        life_rows = _LIFE_ROWS if height >= 22 else 6 if height >= 14 else 0
        rows = max(height - 3 - life_rows, 1)
        self._first = max(min(self._first, self._cursor), self._cursor - rows + 2, 0)
        tasks = self._tasks
        # As on the live screen: the end of a run that is over is told as what it came to, what was before it as a recording.
        is_end = self._view.at_s is None and frame.phase in _OVER
        watch = Watch(is_replay=self._view.is_replay and not is_end, is_held=self._view.at_s is not None, has_tiles=False)
        with self.app.batch_update():
            life = self.query_one("#life", TextPanel)
            life.display = life_rows > 0
            life.styles.height = max(life_rows, 1)
            self.query_one("#status", TextPanel).show([status_line(frame, watch, width)])
            tabs = status_tabs(self._view.tasks or TaskStatus.QUEUED, _numbers(frame), width)
            self.query_one("#tabs", TextPanel).show([tabs])
            if frame.about.has_server_witness:
                self.query_one("#table", TextPanel).show(table_lines(tasks, self._cursor, self._first, rows, width))
            else:
                words = " The server is not seen from inside, so its tasks are not known one by one."
                self.query_one("#table", TextPanel).show([line((words, "muted"))])
            chosen = tasks[self._cursor] if self._cursor < len(tasks) else None
            life.show(life_lines(chosen, width, _outlook(frame)))
            self.query_one(KeyBar).renew()


def _numbers(frame: Frame) -> Mapping[TaskStatus, int]:
    """As far as they are known: in a crashed run what had not ended may have ended since, or be lost."""
    if not frame.about.has_server_witness:
        return {}
    if frame.boot.in_words == NOT_KNOWN:
        return {status: number for status, number in frame.n_tasks.items() if status is not TaskStatus.LOST}
    return frame.n_tasks


def _outlook(frame: Frame) -> str:
    """Of what has not happened by the instant that is shown."""
    if frame.boot.in_words == NOT_KNOWN:
        return "unknown"
    return "never" if frame.phase in {Phase.JUDGE, *_OVER} else "not yet"


def _first_status(frame: Frame | None) -> TaskStatus:
    """What waits, while anything still can; of a run that is over what was lost or has failed, if anything was."""
    if frame is None or frame.summary is None:
        return TaskStatus.QUEUED
    return next((status for status in _AFTERWARDS if frame.n_tasks.get(status)), TaskStatus.QUEUED)
