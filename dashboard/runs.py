"""The runs that the screen is about: the one that is shown, the one beside it, and the one that this screen has started.

Follows them, remembers the newest frame of each, says what can be asked of them. Knows no widgets and no screens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dashboard.following import Following, Looks
from dashboard.watching import Mode, Watching
from harness.errors import RunError
from harness.live.frame import Frame, Phase

if TYPE_CHECKING:  # where a run is followed none is started
    from dashboard.child import RunChild

__all__ = ["Runs"]

_OVER: Final = frozenset({Phase.JUDGE, Phase.ENDED, Phase.CRASHED})


class Runs:
    """Sides: 0 is the run that is shown, 1 the one beside it."""

    def __init__(self, following: Following, watching: Watching | None) -> None:
        self.watching = watching
        """The run that is shown, or will be."""
        self.child: RunChild | None = None
        """The run that this screen started last."""
        self.frames: list[Frame | None] = [None, None]
        self._following = following
        self._told_end = False
        self._told_crash = False

    # What is followed.

    def follow(self, path: Path, side: int) -> None:
        """Frames of this run from now on, on this side. Raises UsageError if there is no such run."""
        self.frames[side] = None
        self._following.follow(path, side)

    def show(self, watching: Watching) -> None:
        """From now on this is the run that is shown. Raises UsageError if there is no such run; then that of before is."""
        self.follow(watching.path, 0)
        self.watching = watching
        self._told_crash = False

    def look(self, look: Looks, side: int) -> None:
        """What the frames of a side are to show from now on."""
        self._following.look(look, side)

    def follows(self, side: int) -> bool:
        """Whether anybody is followed there."""
        return self._following.follows(side)

    def is_followed(self, side: int, turn: int) -> bool:
        """Whether a frame is of the run that is followed there now."""
        return self._following.is_followed(side, turn)

    def forget(self, side: int) -> None:
        """No more frames of that side."""
        self._following.forget(side)
        self.frames[side] = None

    def close(self) -> None:
        """No more frames at all."""
        self._following.close()

    def has_crashed(self, frame: Frame) -> bool:
        """Whether this frame is the first to say that somebody else's run has crashed."""
        if frame.newest.phase is not Phase.CRASHED or self._told_crash:
            return False
        self._told_crash = self.watching is not None and self.watching.mode is Mode.ATTACHED
        return self._told_crash

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
        if frame.newest.phase in _OVER:
            return "the run is over"
        if not frame.about.can_be_steered:
            return "this run takes no commands now"
        return ""

    # What was started here.

    def start(self, arguments: Sequence[str], title: str) -> Watching:
        """Starts a run, which is not shown yet. Raises UsageError if there is no place for its directory."""
        from dashboard.child import RunChild

        self.child = RunChild.start(arguments, title)
        self._told_end = False
        return Watching(self.child.path, Mode.OWN)

    @property
    def is_own_going(self) -> bool:
        """Whether a run goes on that was started here."""
        return self.child is not None and self.child.poll() is None

    @property
    def own_frame(self) -> Frame | None:
        """What is shown, if it is the run that this screen has started: another one may be looked at meanwhile."""
        watching, child = self.watching, self.child
        is_own = watching is not None and child is not None and watching.mode is Mode.OWN and watching.path == child.path
        return self.frames[0] if is_own else None

    def end_of_own(self) -> int | None:
        """The exit status of the run that was started here, once, when it has ended."""
        if self.child is None or self._told_end or (status := self.child.poll()) is None:
            return None
        self._told_end = True
        return status

    def stop_load(self) -> None:
        """The load of the run that was started here ends; what there is gets judged."""
        from harness.control import Stop, send

        child, frame = self.child, self.own_frame
        assert child is not None
        phase = child.phase() if frame is None else frame.newest.phase
        if phase is Phase.LOAD:
            try:
                send(child.path, Stop())
            except RunError:
                child.interrupt()
        elif phase in {Phase.START, Phase.DRAIN}:
            child.interrupt()
        # Later there is nothing left to stop, and a signal would only cost the summary.
