"""The lower half of the app: the run that is shown, what screens may ask about it, and what keys ask of it.

Screens get `FrameArrived` and values; they read no files. The run is never touched but by the commands that it takes and,
if this screen has started it, by the SIGINT that Ctrl-C would have been.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import App

from dashboard.following import Following, Looks, MakeFollower
from dashboard.messages import FrameArrived
from dashboard.options import ScreenOptions
from dashboard.runs import Runs
from dashboard.unforeseen import attempt
from dashboard.watching import Watching
from harness.live.frame import Frame, Phase

if TYPE_CHECKING:
    from dashboard.child import RunChild
    from harness.control import Command

__all__ = ["RunApp"]


class RunApp(App[None]):
    """Knows the runs. Which screens there are is the business of the app as a whole."""

    def __init__(self, options: ScreenOptions, watching: Watching | None, make_follower: MakeFollower) -> None:
        super().__init__()
        self.options = options
        self.glyphs: str = options.glyphs
        self.runs = Runs(Following(make_follower, self._tell, 1 / options.fps), watching)

    # What screens may ask.

    @property
    def watching(self) -> Watching | None:
        """The run that is shown."""
        return self.runs.watching

    @property
    def child(self) -> RunChild | None:
        """The run that this screen started last."""
        return self.runs.child

    @property
    def frames(self) -> list[Frame | None]:
        """The newest of each side."""
        return self.runs.frames

    @property
    def why_not_steer(self) -> str:
        """Why the run that is shown takes no commands; empty: it does."""
        return self.runs.why_not_steer

    def look(self, look: Looks, side: int = 0) -> None:
        """What the frames of a side are to show from now on."""
        self.runs.look(look, side)

    def steer(self, command: Command | None) -> None:
        """Asks the run for a change, or says why it can't be asked. None: nobody wants anything."""
        if command is None or not self._can_steer():
            return
        assert self.watching is not None
        self._send(self.watching.path, command)

    # What keys ask of the run.

    def action_kill(self) -> None:
        """Asks how, and does something to the server."""
        if self._can_steer():
            from dashboard.modals.kill import KillModal

            frame = self.frames[0]
            assert frame is not None
            self.push_screen(KillModal(frame.about), lambda text: None if text is None else self._do(text))

    def action_kill_now(self) -> None:
        """SIGKILL, without a question."""
        self._do("kill")

    def action_restart(self) -> None:
        """As a deploy does it: SIGTERM, then a new boot."""
        self._do("restart")

    def action_mark(self) -> None:
        """A note on the time axis."""
        if self._can_steer():
            from dashboard.modals.mark import MarkModal
            from harness.control import Mark

            self.push_screen(MarkModal(), lambda text: self.steer(None if not text else Mark(text)))

    def action_export(self) -> None:
        """The run as files."""
        if self.watching is None or self.frames[0] is None:
            self.notify("no run is shown", severity="warning")
            return
        if self.options.read_only:
            self.notify("read-only: nothing is written from here", severity="warning")
            return
        from dashboard.modals.export import ExportModal

        if not isinstance(self.screen, ExportModal):
            self.push_screen(ExportModal(self.watching.path, is_over=_is_judged(self.frames[0])), self._on_export)

    # What they come to.

    def _can_steer(self) -> bool:
        if why_not := self.why_not_steer:
            self.notify(why_not, severity="warning")
        return not why_not

    def _do(self, fault: str) -> None:
        """To the server, at once."""
        from harness.control import FaultNow

        self.steer(FaultNow(fault))

    @work(thread=True, group="steering")
    def _send(self, path: Path, command: Command) -> None:
        from harness.control import send

        attempt(self, "The run was not asked", lambda: send(path, command))

    def _on_export(self, names: tuple[str, ...] | None) -> None:
        from dashboard.modals.export import SCREEN

        if names is None or self.watching is None:
            return
        path, other = self.watching.path, self.frames[1]
        if "screen" in names:
            # Not before the question has gone from it.
            self.call_after_refresh(self._write_picture, path / SCREEN)
        if reports := [name for name in names if name != "screen"]:
            self._write_reports(path, reports)
            if other is not None and _is_judged(other):
                self._write_reports(Path(other.about.path), reports)

    def _write_picture(self, path: Path) -> None:
        try:
            path.write_text(self.export_screenshot(), encoding="utf-8")
        except OSError as error:
            self.notify(f"cannot write {path}: {error.strerror}", severity="error", markup=False)
        else:
            self.notify(f"wrote {path}", markup=False)

    @work(thread=True, group="export")
    def _write_reports(self, path: Path, names: Sequence[str]) -> None:
        def write() -> None:
            from dashboard.exporting import write_reports

            files = write_reports(path, names)
            self.call_from_thread(self.notify, f"wrote {', '.join(files)} into {path}", markup=False)

        attempt(self, "The report was not written", write)

    def _tell(self, frame: Frame, side: int, turn: int) -> None:
        """Called in the follower's thread."""
        self.post_message(FrameArrived(frame, side, turn))


def _is_judged(frame: Frame) -> bool:
    """Whether the run has its summary by now, also where an earlier instant is shown, at which there was none."""
    return frame.newest.phase is Phase.ENDED
