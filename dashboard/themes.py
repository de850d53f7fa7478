"""The colours of the screen: four themes, one set of names for what is shown.

Okabe and Ito's colours, which colour-blind people can tell apart; every meaning is in a shape and a word besides.
"""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

__all__ = ["THEME_NAMES", "VARIABLES", "themes"]

THEME_NAMES: Final = {
    "dark": "afterload-dark",
    "light": "afterload-light",
    "ansi": "ansi-dark",
    "ansi-light": "ansi-light",
    "colour-blind": "afterload-colour-blind",
}
"""What is asked for, and the theme of Textual that it is: `ansi` takes the terminal's own sixteen colours."""

VARIABLES: Final = {
    "response": "#56B4E9",
    "done": "#E69F00",
    "bad": "#D55E00",
    "good": "#009E73",
    "muted-grid": "#4A5058",
}
"""What each theme says besides Textual's own variables; these stand in for a theme that is not ours."""


def themes() -> list[Theme]:
    """Ours, to be registered."""
    return [
        Theme(
            name="afterload-dark",
            primary="#56B4E9",
            secondary="#E69F00",
            warning="#F0B429",
            error="#E8702A",
            success="#2BBE8C",
            accent="#E69F00",
            foreground="#D8DEE4",
            background="#0F1317",
            surface="#161B21",
            panel="#222931",
            dark=True,
            variables={**VARIABLES, "bad": "#E8702A", "good": "#2BBE8C", "footer-key-foreground": "#56B4E9"},
        ),
        Theme(
            name="afterload-light",
            primary="#0A6CA3",
            secondary="#9A5B00",
            warning="#9A5B00",
            error="#B34400",
            success="#007353",
            accent="#9A5B00",
            foreground="#1B2126",
            background="#FBFBF9",
            surface="#F1F2EF",
            panel="#E1E4E0",
            dark=False,
            variables={
                "response": "#0A6CA3",
                "done": "#9A5B00",
                "bad": "#B34400",
                "good": "#007353",
                "muted-grid": "#B9BEB8",
                "footer-key-foreground": "#0A6CA3",
            },
        ),
        # Blue against orange and nothing else: safe for every kind of colour blindness, and with more contrast.
        Theme(
            name="afterload-colour-blind",
            primary="#7CC7FF",
            secondary="#FFB000",
            warning="#FFB000",
            error="#FF8C3A",
            success="#7CC7FF",
            accent="#FFB000",
            foreground="#FFFFFF",
            background="#000000",
            surface="#0C0E10",
            panel="#22272C",
            dark=True,
            variables={
                "response": "#7CC7FF",
                "done": "#FFB000",
                "bad": "#FF8C3A",
                "good": "#7CC7FF",
                "muted-grid": "#5B6066",
                "footer-key-foreground": "#FFB000",
            },
        ),
    ]
