"""Which panels a terminal of a size has room for, and how many rows each gets. A pure function: proven for every size.

The rows always add up to the height, so nothing is cut off and nothing scrolls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

__all__ = ["LEAST_HEIGHT", "LEAST_WIDTH", "Arrangement", "Layout", "Panel", "Wanted", "arrange"]

LEAST_WIDTH: Final = 60
LEAST_HEIGHT: Final = 18
WIDE: Final = 110  # from here on the side column and four tiles are there
WIDER: Final = 160
_CHART_LEAST: Final = 4  # a title and three rows


class Panel(StrEnum):
    """What can be shown, from top to bottom."""

    TILES = "tiles"
    HEADLINE = "headline"  # the worst finding, where no side column shows it
    SCISSORS = "scissors"
    BACKLOG = "backlog"
    POOL = "pool"
    HEAT = "heat"  # of responses
    DONE_HEAT = "done-heat"
    LANE = "lane"
    RULER = "ruler"
    SLIDER = "slider"
    EVENTS = "events"
    LOG = "log"


_CHARTS: Final = frozenset(
    {
        Panel.SCISSORS,
        Panel.BACKLOG,
        Panel.POOL,
        Panel.HEAT,
        Panel.DONE_HEAT,
        Panel.LANE,
        Panel.RULER,
        Panel.SLIDER,
    }
)


class Layout(StrEnum):
    """What the middle of the screen is about; `v` goes through them."""

    STORY = "story"  # durations, backlog and, where there is room, heat maps
    HEAT = "heat"  # heat maps
    WORK = "work"  # durations, backlog, pool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user chose."""

    layout: Layout = Layout.STORY
    heat_on_top: bool = False  # the heat map instead of the scissors
    log: bool = False
    drawer: bool | None = None  # the side column; None: where there is room
    only: Panel | None = None  # one panel, as large as it can be
    slider: bool = False


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What is shown."""

    is_tiny: bool  # nothing but a line of text for each figure
    rows: dict[Panel, int] = field(default_factory=dict)  # of what is shown
    aside_columns: int = 0  # 0: no side column
    n_tiles: int = 2

    @property
    def chart_rows(self) -> int:
        """Of all that is beside the side column; 0: there is nothing of it."""
        return sum(rows for panel, rows in self.rows.items() if panel in _CHARTS)


_MIDDLES: Final[dict[Layout, tuple[Panel, ...]]] = {
    Layout.STORY: (Panel.SCISSORS, Panel.BACKLOG, Panel.HEAT, Panel.DONE_HEAT, Panel.POOL),
    Layout.HEAT: (Panel.HEAT, Panel.DONE_HEAT, Panel.SCISSORS, Panel.BACKLOG),
    Layout.WORK: (Panel.SCISSORS, Panel.BACKLOG, Panel.POOL),
}
_WEIGHTS: Final[dict[Panel, float]] = {
    Panel.SCISSORS: 1.35,
    Panel.BACKLOG: 1.1,
    Panel.POOL: 0.7,
    Panel.HEAT: 1.0,
    Panel.DONE_HEAT: 1.0,
}
_GOOD_ROWS: Final = 7  # a further panel is shown once all have as many as this


def arrange(width: int, height: int, wanted: Wanted) -> Arrangement:
    """The status bar and the keys take a row each; they are not in the result."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Arrangement(is_tiny=True)
    aside = _aside_columns(width, wanted)
    rows: dict[Panel, int] = {Panel.TILES: 4, Panel.LANE: 1, Panel.RULER: 1}
    if not aside and height >= 20:
        rows[Panel.HEADLINE] = 1
    if wanted.slider:
        rows[Panel.SLIDER] = 1
    if height >= 32:
        rows[Panel.EVENTS] = 4 if height >= 50 else 3
    left = height - 2 - sum(rows.values())
    if wanted.only is Panel.LOG:
        rows = {Panel.TILES: rows[Panel.TILES], **({Panel.SLIDER: 1} if wanted.slider else {})}
        rows[Panel.LOG] = height - 2 - sum(rows.values())
        return Arrangement(False, rows, aside, _n_tiles(width))
    if wanted.log or height >= 54:
        rows[Panel.LOG] = min(8 if height >= 32 else 5, max(left - 2 * _CHART_LEAST, 3))
        left -= rows[Panel.LOG]
    if wanted.only is not None:
        rows[wanted.only] = left
    else:
        rows |= _middle(left, wanted)
    return Arrangement(False, rows, aside, _n_tiles(width))


def _n_tiles(width: int) -> int:
    return 4 if width >= WIDE else 2


def _aside_columns(width: int, wanted: Wanted) -> int:
    if wanted.drawer is False or (wanted.drawer is None and width < WIDE):
        return 0
    return 40 if width >= WIDER else 31 if width >= WIDE else 30


def _middle(left: int, wanted: Wanted) -> dict[Panel, int]:
    panels = list(_MIDDLES[wanted.layout])
    if wanted.heat_on_top:
        panels = [Panel.HEAT if panel is Panel.SCISSORS else panel for panel in panels if panel is not Panel.HEAT]
    most = max(1, min(len(panels), max(2, left // _GOOD_ROWS)))
    if left < 2 * _CHART_LEAST:
        most = 1
    shown = panels[:most]
    whole = sum(_WEIGHTS[panel] for panel in shown)
    rows = {panel: int(left * _WEIGHTS[panel] / whole) for panel in shown}
    for index in range(left - sum(rows.values())):
        rows[shown[index % len(shown)]] += 1
    return rows
