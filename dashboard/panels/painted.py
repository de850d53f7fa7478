"""What the panels of a picture show was made of: whoever points elsewhere, or freezes, need not have it made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.live.frame import Frame

__all__ = ["Painted"]


class Painted:
    """By panel, the frame and whatever else of it is seen."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Frame, tuple[Any, ...]]] = {}

    def is_new(self, name: str, frame: Frame, *more: Any) -> bool:
        """Whether a panel was made of something else until now. It is taken to be made of this from now on."""
        before = self._made.get(name)
        self._made[name] = frame, more
        return before is None or before[0] is not frame or before[1] != more
