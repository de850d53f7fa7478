"""That a key is answered at once, in a process that has other things to do as well."""

from __future__ import annotations

import gc
import sys
from typing import Final

__all__ = ["Settling", "take_short_turns"]

_TURN_S: Final = 0.001
_PICTURES: Final = 4
"""By then everything that a picture needs has been imported and made."""


def take_short_turns() -> None:
    """The thread that follows the run gives way to a key after 1 ms, and not after the interpreter's 5.

    Between a key and what it changes there are some ten turns of the event loop, and each gives its turn away.
    """
    sys.setswitchinterval(_TURN_S)


class Settling:
    """After the first pictures what there is stays, and the search for garbage need not go through it: that takes 20 to 45 ms."""

    def __init__(self, pictures: int = _PICTURES) -> None:
        """`pictures`: how many are the first ones."""
        self._left = pictures

    def is_due(self) -> bool:
        """There is one picture more. True once."""
        self._left -= 1
        return self._left == 0

    def settle(self) -> None:
        """Not in the middle of a picture: this once it takes as long.

        The screen of now is never let go, whoever comes after it; of what is made later nothing is kept so.
        """
        gc.collect()
        gc.freeze()
