"""Who makes the frames: a follower for the run that is shown, and one for the run beside it."""

from __future__ import annotations

import importlib
import sys
import threading
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
    """The followers by side: 0 is the run that is shown, 1 the one beside it.

    `tell` is called in their threads, with a frame, its side, and a number that nobody else who is followed there has had.
    """

    def __init__(self, make: MakeFollower, tell: Callable[[Frame, int, int], None], every_s: float) -> None:
        self._make = make
        self._tell = tell
        self._every_s = every_s
        self._followers: dict[int, Follows] = {}
        self._turns: dict[int, int] = {}
        self._looks: dict[int, Looks] = {}  # asked for before there was a follower

    def follow(self, path: Path, side: int) -> None:
        """Begins, instead of what was followed there before. Raises UsageError if there is no such run."""
        asked = self._looks.pop(side, None)
        self.forget(side)
        turn = self._turns[side] = self._turns.get(side, 0) + 1
        follower = self._make(path, tell=lambda frame: self._tell(frame, side, turn), every_s=self._every_s)
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

    def is_followed(self, side: int, turn: int) -> bool:
        """Whether that is who is followed there now: what was told before may arrive later."""
        return side in self._followers and self._turns[side] == turn

    def forget(self, side: int) -> None:
        """No frames of that side count any more."""
        self._looks.pop(side, None)
        if (follower := self._followers.pop(side, None)) is not None:
            # It may be in the middle of a long run, and whoever looks on would wait for it.
            threading.Thread(target=follower.close, name="closing a follower", daemon=True).start()

    def close(self) -> None:
        """No more frames at all."""
        for side in list(self._followers):
            self._followers.pop(side).close()
