"""Two runs beside each other."""

from textual.screen import Screen

class CompareScreen(Screen[None]):
    pass
