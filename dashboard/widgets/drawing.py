"""A widget that shows a grid of cells: drawn once per change of data, size or theme, and only cells that changed are sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual import events
from textual.app import App
from textual.geometry import Region, Size
from textual.message import Message
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from dashboard.raster.glyphs import BRAILLE, GLYPHS, GlyphSet
from dashboard.raster.window import Window, gutter_of
from dashboard.widgets.pencil import Pencil, pencil_for

if TYPE_CHECKING:
    from dashboard.raster.grid import Grid

__all__ = ["Drawing", "glyphs_of", "redraw"]

Data = TypeVar("Data")
_MOST_PARTS = 1024


class Drawing(Widget, Generic[Data]):
    """Shows one frozen value at a time; how it is drawn is the business of subclasses."""

    SHARES_CURSOR: ClassVar[bool] = False
    """Whether it need not be drawn anew for another cursor: nothing else of the window is seen but its stretch of time."""

    class Pointed(Message):
        """The mouse is over an instant, or has left (None)."""

        def __init__(self, drawing: Drawing[Any], at_s: float | None) -> None:
            super().__init__()
            self.drawing = drawing
            self.at_s = at_s

        @property
        def control(self) -> Drawing[Any]:
            """The widget under the mouse."""
            return self.drawing

        def can_replace(self, message: Message) -> bool:
            """Where the mouse was before does not matter any more."""
            return isinstance(message, Drawing.Pointed)

    class Picked(Message):
        """An instant was clicked."""

        def __init__(self, drawing: Drawing[Any], at_s: float) -> None:
            super().__init__()
            self.drawing = drawing
            self.at_s = at_s

        @property
        def control(self) -> Drawing[Any]:
            """The widget that was clicked."""
            return self.drawing

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - as all widgets have it
        super().__init__(id=id, classes=classes)
        self._data: Data | None = None
        self._grid: Grid | None = None
        self._pencil: Pencil | None = None
        self._strips: dict[int, Strip] = {}
        self._n_parts = 0
        self._has_room = False

    def draw(self, data: Data, width: int, height: int, glyphs: GlyphSet) -> Grid:
        """The picture of `data`."""
        raise NotImplementedError

    def window_of(self, data: Data) -> Window | None:
        """Which instants the columns stand for. None: they stand for none."""
        del data
        return None

    @property
    def data(self) -> Data | None:
        """What is shown."""
        return self._data

    @property
    def is_colored(self) -> bool:
        """Whether levels may be told by colour alone."""
        return not self.app.no_color and not self.app.native_ansi_color

    @property
    def plot_columns(self) -> int:
        """How many columns there are beside the labels; 1 before the widget has its size."""
        width = self.size.width
        return max(width - gutter_of(width), 1)

    def show(self, data: Data) -> None:
        """Shows `data` from now on. What looks the same is not sent again."""
        of_before, self._data = self._data, data
        if self._grid is None:
            self.refresh()
            return
        if not self._has_room:
            return
        before = self._grid
        if self.SHARES_CURSOR and _differ_in_cursor(of_before, data):
            after = self._grid = before.pointed(data.window)  # type: ignore[attr-defined]
        else:
            after = self._draw(data, self.size)
        if before.codes.shape != after.codes.shape:
            self.refresh()
            return
        changed = after.changed(before)
        for row, _, _ in changed:
            self._strips.pop(row, None)
        self._n_parts += len(changed)
        if self._n_parts > _MOST_PARTS:
            # Textual keeps each part that was ever drawn anew until the whole is.
            self._n_parts = 0
            self.refresh()
        elif changed:
            self.refresh(*(Region(first, row, last - first, 1) for row, first, last in changed))

    def redraw(self) -> None:
        """Draws all of it again: the characters or the colours are others now."""
        self._grid = self._pencil = None
        self._strips.clear()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row, drawn when it is wanted first."""
        size = self.size
        if self._data is None:
            return Strip.blank(size.width, self._pen.style(0))
        if self._grid is None or (self._grid.width, self._grid.height) != (size.width, size.height):
            self._strips.clear()
            self._draw(self._data, size)
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._strip(y, size.width)
        return strip

    @property
    def _pen(self) -> Pencil:
        if self._pencil is None:
            self._pencil = pencil_for(self)
        return self._pencil

    def _draw(self, data: Data, size: Size) -> Grid:
        self._grid = self.draw(data, size.width, size.height, glyphs_of(self.app))
        return self._grid

    def _strip(self, y: int, width: int) -> Strip:
        grid, style_of = self._grid, self._pen.style
        if grid is None or not 0 <= y < grid.height:
            return Strip.blank(width, style_of(0))
        # One cell a character: the raster saw to that, and Textual need not count again.
        return Strip([Segment(text, style_of(ink)) for text, ink in grid.row(y)], width)

    def notify_style_update(self) -> None:
        """A theme or a class of the widget changed: so may its colours, and whether there are any."""
        super().notify_style_update()
        self._grid = self._pencil = None
        self._strips.clear()

    def on_resize(self, event: events.Resize) -> None:
        """A size of its own wants a picture of its own."""
        self._has_room = event.size.width > 0 and event.size.height > 0
        self._grid = None
        self._strips.clear()
        self.refresh()

    def on_hide(self) -> None:
        """What is not seen is not drawn."""
        self._has_room = False

    def on_show(self) -> None:
        """Draws what has come meanwhile."""
        self._has_room = True
        self._grid = None
        self._strips.clear()
        self.refresh()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Tells the instant below the mouse."""
        if (at_s := self._instant(event.x)) is not None:
            self.post_message(self.Pointed(self, at_s))

    def on_leave(self, event: events.Leave) -> None:
        """Tells that there is none any more."""
        if event.node is self and self._data is not None and self.window_of(self._data) is not None:
            self.post_message(self.Pointed(self, None))

    def on_click(self, event: events.Click) -> None:
        """Tells the instant that was clicked."""
        if (at_s := self._instant(event.x)) is not None:
            self.post_message(self.Picked(self, at_s))

    def _instant(self, x: float) -> float | None:
        window = self.window_of(self._data) if self._data is not None else None
        column = math.floor(x) - gutter_of(self.size.width)
        return window.at_s(column, self.plot_columns) if window is not None and 0 <= column < self.plot_columns else None


def _differ_in_cursor(one: Any, other: Any) -> bool:
    """Whether all else is the very same."""
    if one is None or type(one) is not type(other):
        return False
    before, after = one.window, other.window
    if (before.from_s, before.until_s) != (after.from_s, after.until_s):
        return False
    return all(getattr(one, name) is getattr(other, name) for name in one.__dataclass_fields__ if name != "window")


def glyphs_of(app: App[Any]) -> GlyphSet:
    """The characters that this terminal has, as the app knows; braille unless it says."""
    found = getattr(app, "glyphs", BRAILLE)
    return found if isinstance(found, GlyphSet) else GLYPHS.get(str(found), BRAILLE)


def redraw(screen: Screen[Any]) -> None:
    """All drawings of a screen, after the app's characters were changed."""
    for drawing in screen.query(Drawing):
        drawing.redraw()
