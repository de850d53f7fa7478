"""The characters that charts are made of, as three sets: braille (the finest), block, and ASCII for what has neither."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["ASCII", "BLOCK", "BRAILLE", "GLYPHS", "RAMP", "GlyphSet"]

RAMP: Final = " .:-=+*#%@"
"""A heat map's levels without colour: none, then from few to many."""


@dataclass(frozen=True, slots=True)
class GlyphSet:
    """One set. A cell of a curve has `columns` x `rows` dots; its character is looked up by the sum of its dots' weights."""

    name: str
    columns: int
    rows: int
    thin: str  # by the sum of weights; dot (column, row from the top) weighs 2 ** (row * columns + column)
    thick: str  # the same for a thick curve
    levels: str  # of an area's uppermost cell, from nothing to full
    area_columns: int  # how many areas stand side by side in a cell
    stressed: str  # a full cell of an area where something is at its limit
    axis: str
    tick: str
    corner: str
    rest: str  # the line of the time axis
    dot: str  # of the grid; "": there is none
    shade: str
    outage: str
    over: str  # what is above the axis
    kill: str
    line: str  # any other event
    up: str  # a boot is ready
    load: str
    note: str
    lost: str  # before a fault's label
    good: str
    warn: str
    bad: str
    idle: str
    full: str
    empty: str
    box: str  # corners and sides: top left, top, top right, side, bottom left, bottom right
    heavy: str
    has_halves: bool  # half blocks are there
    is_ascii: bool = False

    def plain(self, text: str) -> str:
        """`text` with one cell a character, in characters that this set's terminals have."""
        return _plain(text, self.is_ascii)


# Dots in the order of their weights: from left to right, then down. Unicode numbers them down first.
_BRAILLE_BITS: Final = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
_BRAILLE: Final = " " + "".join(
    chr(0x2800 + sum(bit for place, bit in enumerate(_BRAILLE_BITS) if number >> place & 1)) for number in range(1, 256)
)
_QUADRANTS: Final = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
_ROUND, _HEAVY = "╭─╮│╰╯", "┏━┓┃┗┛"

BRAILLE: Final = GlyphSet(
    name="braille",
    columns=2,
    rows=4,
    thin=_BRAILLE,
    thick=_BRAILLE,
    levels=" ⣀⣤⣶⣿",
    area_columns=2,
    stressed="▓",
    axis="│",
    tick="┤",
    corner="└",
    rest="─",
    dot="·",
    shade="░",
    outage="╱",
    over="▲",
    kill="┃",
    line="┊",
    up="▲",
    load="⇡",
    note="◆",
    lost="✖",
    good="✔",
    warn="▲",
    bad="✖",
    idle="·",
    full="█",
    empty="░",
    box=_ROUND,
    heavy=_HEAVY,
    has_halves=True,
)
BLOCK: Final = GlyphSet(
    name="block",
    columns=2,
    rows=2,
    thin=_QUADRANTS,
    thick=_QUADRANTS,
    levels=" ▁▂▃▄▅▆▇█",
    area_columns=1,
    stressed="▓",
    axis="│",
    tick="┤",
    corner="└",
    rest="─",
    dot="·",
    shade="░",
    outage="╱",
    over="▲",
    kill="┃",
    line="┊",
    up="▲",
    load="↑",
    note="◆",
    lost="✖",
    good="✔",
    warn="▲",
    bad="✖",
    idle="·",
    full="█",
    empty="░",
    box=_ROUND,
    heavy=_HEAVY,
    has_halves=True,
)
ASCII: Final = GlyphSet(
    name="ascii",
    columns=1,
    rows=3,
    thin=" '-+_+++",
    thick=" #######",
    levels=" .=#",
    area_columns=1,
    stressed="X",
    axis="|",
    tick="+",
    corner="+",
    rest="-",
    dot="",
    shade=":",
    outage="/",
    over="^",
    kill="!",
    line="|",
    up="^",
    load=">",
    note="*",
    lost="X",
    good="+",
    warn="!",
    bad="X",
    idle="-",
    full="#",
    empty=".",
    box="+-+|++",
    heavy="######",
    has_halves=False,
    is_ascii=True,
)
GLYPHS: Final = {each.name: each for each in (BRAILLE, BLOCK, ASCII)}

_TO_ASCII: Final = {
    "→": ">",
    "←": "<",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "µ": "u",
    "…": "~",
    "·": "-",
    "✔": "+",
    "✖": "X",
    "▲": "^",
    "⇡": "^",
    "≥": ">",
    "≤": "<",
    "“": '"',
    "”": '"',
    "’": "'",
    "●": "*",
    "○": "o",
    "❚": "|",
    "━": "=",
    "─": "-",
    "┃": "!",
    "│": "|",
    "▶": ">",
    "◂": "<",
    "▸": ">",
    "█": "#",
    "░": ".",
    "↓": "v",
    "↑": "^",
}


@lru_cache(maxsize=512)
def _plain(text: str, is_ascii: bool) -> str:
    return "".join(_one(character, is_ascii) for character in text)


def _one(character: str, is_ascii: bool) -> str:
    """A control character would move the cursor, a wide or a combining one would shift all that follows it in its row."""
    if character.isascii():
        return character if character.isprintable() else " "
    if is_ascii:
        return _TO_ASCII.get(character, "?")
    if unicodedata.east_asian_width(character) in "WF" or unicodedata.combining(character) or not character.isprintable():
        return "?"
    return character
