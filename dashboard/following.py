"""Who makes the frames: a follower for the run that is shown, and one for the run beside it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dashboard.importing import undisturbed
from harness.live.frame import Frame, Look

__all__ = ["Following", "Follows", "Looks", "MakeFollower", "followed"]

Looks = Look | Callable[[Frame], Look]


class Follows(Protocol):
    """What makes frames of a run: a `Follower`, or in tests something that needs no run."""

    def start(self) -> None:
        """Begins to tell frames."""

    def look(self, look: Looks) -> None:
        """What they are to show from now on."""

    def close(self) -> None:
        """Tells no more."""


class MakeFollower(Protocol):
    """How one is made."""

    def __call__(self, path: Path, *, tell: Callable[[Frame], None], every_s: float) -> Follows:
        """Raises UsageError if there is no such run."""


def followed(path: Path, *, tell: Callable[[Frame], None], every_s: float) -> Follows:
    """A `Follower`. Raises UsageError if there is no such run."""
    if "harness.live.follower" not in sys.modules:
        with undisturbed():
            importlib.import_module("harness.live.follower")
    from harness.live.follower import Follower  # when there is a picture

    return Follower(path, tell=tell, every_s=every_s)


class Following:
    """The followers by side: 0 is the run that is shown, 1 the one beside it. `tell` is called in their threads."""

    def __init__(self, make: MakeFollower, tell: Callable[[Frame, int], None], every_s: float) -> None:
        self._make = make
        self._tell = tell
        self._every_s = every_s
        self._followers: dict[int, Follows] = {}
        self._looks: dict[int, Looks] = {}  # asked for before there was a follower

    def follow(self, path: Path, side: int) -> None:
        """Begins, instead of what was followed there before. Raises UsageError if there is no such run."""
        asked = self._looks.pop(side, None)
        self.forget(side)
        follower = self._make(path, tell=lambda frame: self._tell(frame, side), every_s=self._every_s)
        self._followers[side] = follower
        if asked is not None:
            follower.look(asked)
        follower.start()

    def look(self, look: Looks, side: int) -> None:
        """What the frames of a side are to show from now on, or from their beginning on."""
        if side in self._followers:
            self._followers[side].look(look)
        else:
            self._looks[side] = look

    def follows(self, side: int) -> bool:
        """Whether anybody is followed there."""
        return side in self._followers

    def forget(self, side: int) -> None:
        """No more frames of that side."""
        self._looks.pop(side, None)
        if (follower := self._followers.pop(side, None)) is not None:
            follower.close()

    def close(self) -> None:
        """No more frames at all."""
        for side in list(self._followers):
            self.forget(side)
