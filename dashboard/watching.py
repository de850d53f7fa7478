"""Which run the screen shows, and as what. A plain value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["Mode", "Watching"]


class Mode(StrEnum):
    """Whose run it is."""

    OWN = "own"  # started by this screen
    ATTACHED = "attached"  # started by somebody else
    REPLAY = "replay"  # over: looked at from its beginning


@dataclass(frozen=True, slots=True)
class Watching:
    """A run that is shown."""

    path: Path
    mode: Mode
    is_read_only: bool = False
