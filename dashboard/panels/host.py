"""What the screens need of the app; the app has more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from textual.app import App

from dashboard.options import Glyphs
from dashboard.watching import Watching

if TYPE_CHECKING:
    from harness.control import Command
    from harness.live.frame import Frame, Look

__all__ = ["Host", "host_of"]


class Host(Protocol):
    """Owns the followers, and sends commands to the run."""

    frames: list[Frame | None]  # the newest of each side
    glyphs: Glyphs
    watching: Watching | None

    @property
    def why_not_steer(self) -> str:
        """A sentence; empty if the run can be steered."""
        ...

    def look(self, look: Look | Callable[[Frame], Look], side: int = 0) -> None:
        """From now on frames are of this look."""
        ...

    def steer(self, command: Command) -> None:
        """Sends it, or says why it cannot."""
        ...


def host_of(app: App[object]) -> Host:
    """The app, as that."""
    return cast("Host", app)
