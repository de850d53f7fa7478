"""Imports that somebody waits for at a screen."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["undisturbed"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """While modules are imported there is next to no garbage, and looking for it takes a sixth of the time.

    What was imported stays: to go through all of it again and again would stop the screen for 100 ms at a time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
