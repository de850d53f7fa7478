"""What the app tells its screens."""

from __future__ import annotations

from textual.message import Message

from harness.live.frame import Frame

__all__ = ["FrameArrived"]


class FrameArrived(Message, bubble=False):
    """A newer view of a run; an older one that is still waiting to be handled may be dropped."""

    def __init__(self, frame: Frame, side: int = 0, turn: int = 0) -> None:
        super().__init__()
        self.frame = frame
        self.side = side  # 0; 1 the other run of a comparison
        self.turn = turn  # whose: as `Following` counts who is followed on a side

    def can_replace(self, message: Message) -> bool:
        """An older one of the same side, and of the same run."""
        return isinstance(message, FrameArrived) and (message.side, message.turn) == (self.side, self.turn)
