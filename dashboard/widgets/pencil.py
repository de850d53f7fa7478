"""From inks to the styles of a terminal, for one background: made once, then looked up."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.style import Style
from textual.color import Color
from textual.widget import Widget

from dashboard.raster.inks import CURSOR, HEAT, Ink, heat_levels_of
from dashboard.raster.palette import ANSI, RGB, heat_colors, mixed, palette

__all__ = ["Pencil", "pencil_for"]

_CURSOR_SHARE = 0.16  # of the text's colour, in the background of the lit column


class Pencil:
    """The styles of all inks on one background."""

    def __init__(self, background: RGB | None, foreground: RGB, *, is_plain: bool) -> None:
        self._background = background  # None: the terminal's own
        self._foreground = foreground
        self._is_plain = is_plain  # no colour will be seen
        self._styles: dict[int, Style] = {}

    def style(self, ink: int) -> Style:
        """How to draw with an ink."""
        found = self._styles.get(ink)
        if found is None:
            found = self._styles[ink] = self._made(ink)
        return found

    def _made(self, ink: int) -> Style:
        is_lit, ink = bool(ink & CURSOR), ink & ~CURSOR
        if self._background is None:
            name, is_bold = ANSI[Ink(ink)] if ink < HEAT else ("default", False)
            return Style(color=name, bgcolor="default", bold=is_bold, reverse=is_lit)
        if ink >= HEAT:
            colors = heat_colors(self._background)
            upper, lower = (colors[level] for level in heat_levels_of(ink))
            if is_lit:
                upper, lower = (mixed(color, self._foreground, _CURSOR_SHARE) for color in (upper, lower))
            return Style(color=_rich(upper), bgcolor=_rich(lower))
        paint = palette(self._background, self._foreground)[Ink(ink)]
        back = mixed(self._background, self._foreground, _CURSOR_SHARE) if is_lit else self._background
        # Without colour a slightly lighter column may not be seen.
        return Style(color=_rich(paint.color), bgcolor=_rich(back), bold=paint.bold, reverse=is_lit and self._is_plain)


def pencil_for(widget: Widget) -> Pencil:
    """What suits a widget's background and theme; widgets that have the same share it."""
    app = widget.app
    if app.native_ansi_color:
        return _pencil(None, (0, 0, 0), app.no_color)
    _, background = widget.background_colors
    foreground = Color.parse(app.theme_variables.get("foreground", "#ffffff"))
    return _pencil(background.rgb, foreground.rgb, app.no_color)


@lru_cache(maxsize=16)
def _pencil(background: RGB | None, foreground: RGB, is_plain: bool) -> Pencil:
    return Pencil(background, foreground, is_plain=is_plain)


def _rich(color: RGB) -> RichColor:
    red, green, blue = color
    return RichColor(f"#{red:02x}{green:02x}{blue:02x}", ColorType.TRUECOLOR, triplet=Color(red, green, blue).rich_color.triplet)
