"""The colours of inks on a background: Okabe and Ito's, which colour-blind people can tell apart, made to stand out from it.

https://jfly.uni-koeln.de/color/ has the colours, WCAG 2 (1.4.3, 1.4.11) the contrasts: 4.5 for text, 3 for what is drawn.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dashboard.raster.inks import HEAT_LEVELS, Ink

__all__ = ["ANSI", "RGB", "Paint", "contrast", "heat_colors", "luminance", "mixed", "palette", "readable"]

RGB = tuple[int, int, int]

SKY: Final = (0x56, 0xB4, 0xE9)
ORANGE: Final = (0xE6, 0x9F, 0x00)
VERMILLION: Final = (0xD5, 0x5E, 0x00)
GREEN: Final = (0x00, 0x9E, 0x73)
BLUE: Final = (0x00, 0x72, 0xB2)
PURPLE: Final = (0xCC, 0x79, 0xA7)

_DRAWN, _READ = 3.0, 4.5


@dataclass(frozen=True, slots=True)
class Paint:
    """How an ink looks."""

    color: RGB
    bold: bool = False


ANSI: Final[dict[Ink, tuple[str, bool]]] = {
    Ink.TEXT: ("default", False),
    Ink.MUTED: ("default", False),
    Ink.GRID: ("bright_black", False),
    Ink.TITLE: ("default", True),
    Ink.RESPONSE: ("cyan", False),
    Ink.DONE: ("yellow", False),
    Ink.BAD: ("red", True),
    Ink.GOOD: ("green", False),
    Ink.WARN: ("yellow", True),
    Ink.SHADE: ("bright_black", False),
    Ink.OUTAGE: ("red", False),
    Ink.OTHER: ("magenta", False),
}
"""Where the terminal's own sixteen colours are wanted: name and whether it is bold. Its theme is responsible for the contrast."""


@lru_cache(maxsize=16)
def palette(background: RGB, foreground: RGB) -> dict[Ink, Paint]:
    """The inks on a background. Labels and words can be read, curves and marks can be seen; the grid stays in the background."""
    return {
        Ink.TEXT: Paint(readable(foreground, background, _READ)),
        Ink.MUTED: Paint(readable(mixed(foreground, background, 0.35), background, _READ)),
        Ink.GRID: Paint(readable(mixed(foreground, background, 0.7), background, 1.4)),
        Ink.TITLE: Paint(readable(foreground, background, _READ), bold=True),
        Ink.RESPONSE: Paint(readable(SKY, background, _DRAWN)),
        Ink.DONE: Paint(readable(ORANGE, background, _DRAWN)),
        Ink.BAD: Paint(readable(VERMILLION, background, _READ), bold=True),
        Ink.GOOD: Paint(readable(GREEN, background, _READ)),
        Ink.WARN: Paint(readable(ORANGE, background, _READ), bold=True),
        Ink.SHADE: Paint(readable(mixed(ORANGE, background, 0.55), background, 1.6)),
        Ink.OUTAGE: Paint(readable(mixed(VERMILLION, background, 0.3), background, _DRAWN)),
        Ink.OTHER: Paint(readable(PURPLE, background, _DRAWN)),
    }


@lru_cache(maxsize=16)
def heat_colors(background: RGB) -> tuple[RGB, ...]:
    """Level 0, which is the background, to the uppermost: away from it in brightness, so that it is seen in grey too."""
    stops: tuple[RGB, ...] = (
        (background, BLUE, ORANGE, (0xFF, 0xF6, 0xC8))
        if luminance(background) < 0.3
        else (background, ORANGE, BLUE, (0x12, 0x06, 0x30))
    )
    found: list[RGB] = [background]
    for level in range(1, HEAT_LEVELS):
        # The first level is well above nothing: a single request has to be seen.
        share = (level + 0.8) / (HEAT_LEVELS - 0.2) * (len(stops) - 1)
        place = min(int(share), len(stops) - 2)
        found.append(mixed(stops[place], stops[place + 1], share - place))
    return tuple(found)


def readable(color: RGB, background: RGB, least: float) -> RGB:
    """The colour nearest to `color` of its own hue that has at least this contrast; black or white if there is none."""
    if contrast(color, background) >= least:
        return color
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in color))
    goes_up = luminance(background) < 0.18
    for step in range(1, 101):
        moved = lightness + (step / 100) * ((1 - lightness) if goes_up else -lightness)
        red, green, blue = colorsys.hls_to_rgb(hue, moved, saturation)
        found = (round(red * 255), round(green * 255), round(blue * 255))
        if contrast(found, background) >= least:
            return found
    return (255, 255, 255) if goes_up else (0, 0, 0)


def mixed(one: RGB, other: RGB, share: float) -> RGB:
    """So much of the other."""
    red, green, blue = (round(left + (right - left) * share) for left, right in zip(one, other, strict=True))
    return red, green, blue


def luminance(color: RGB) -> float:
    """Relative luminance as WCAG has it: 0 black, 1 white."""
    parts = [part / 255 for part in color]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: RGB, other: RGB) -> float:
    """As WCAG has it: 1 for the same, 21 for black and white."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
