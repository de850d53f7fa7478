"""What a cell is drawn with: names of colours, given their colours by a palette. Each also has a shape or a word of its own."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["CURSOR", "HEAT", "HEAT_LEVELS", "Ink", "heat_ink", "heat_levels_of"]


class Ink(IntEnum):
    """One meaning each."""

    TEXT = 0
    MUTED = 1  # labels of axes
    GRID = 2
    TITLE = 3
    RESPONSE = 4  # what the client waits
    DONE = 5  # how long the work takes
    BAD = 6
    GOOD = 7
    WARN = 8
    SHADE = 9  # between two curves
    OUTAGE = 10
    OTHER = 11  # a curve beside those two


CURSOR: Final = 0x100
"""Added to an ink: the cell is under the cursor."""

HEAT: Final = 0x1000
HEAT_LEVELS: Final = 10
"""Of a heat map; level 0 is the background."""


def heat_ink(upper: int, lower: int) -> int:
    """The ink of a cell whose halves have two levels."""
    return HEAT + (upper << 4) + lower


def heat_levels_of(ink: int) -> tuple[int, int]:
    """The levels of a cell's upper and lower half."""
    return (ink >> 4) & 15, ink & 15
