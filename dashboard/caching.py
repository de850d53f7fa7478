"""What the libraries keep of places and texts that were on the screen, most of which will never be there again.

Their caches have limits, of thousands each. A screen that is left open would fill them in its first hour, and grow by megabytes.
"""

from __future__ import annotations

from typing import Final

from rich.cells import cached_cell_len
from textual.geometry import Region

__all__ = ["Caches"]

_PICTURES: Final = 256
_KEPT: Final = (Region.intersection, Region.overlaps, Region.translate, cached_cell_len)


class Caches:
    """Empties them once in a while."""

    def __init__(self, pictures: int = _PICTURES) -> None:
        """`pictures`: so many later they are emptied again."""
        self._pictures = pictures
        self._n = 0

    def count(self) -> None:
        """There is one picture more."""
        self._n += 1
        if self._n % self._pictures == 0:
            for cached in _KEPT:
                if (clear := getattr(cached, "cache_clear", None)) is not None:  # another version of theirs may keep nothing
                    clear()
