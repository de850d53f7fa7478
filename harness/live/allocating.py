"""How this process gives memory back that it no longer needs."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["give_back", "give_back_at_once"]

_M_MMAP_THRESHOLD: Final = -3  # malloc.h of glibc
_M_ARENA_MAX: Final = -8
_BYTES: Final = 1 << 18


def give_back_at_once() -> None:
    """Large arrays are unmapped when they are freed, and threads have one heap together.

    The GNU allocator raises the size from which it maps memory of its own to that of the largest block which was freed, up to 32
    MiB (mallopt(3), M_MMAP_THRESHOLD), and what is smaller stays with the process: whoever makes an array of megabytes for each
    picture would keep most of them. And each thread has a heap of its own by default, in which as much lies free as in any other
    (M_ARENA_MAX); they take turns here anyway. With another allocator nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _BYTES)
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Gives back what lies free between small blocks, too (malloc_trim(3)). With another allocator nothing is done."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
