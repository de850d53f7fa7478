"""Whether the terminal takes what is written for it: where it does not, a newer picture would only wait behind older ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.driver import Driver

__all__ = ["is_choked"]


def is_choked(driver: Driver | None) -> bool:
    """Whether something still waits behind what is being written.

    Textual queues 30 writes; after them its event loop waits, and with it every key. What the kernel and a connection hold on
    their way (64 KiB of a terminal of Linux) nobody can see. False where nothing is queued: in a browser, in tests.
    """
    writer = getattr(driver, "_writer_thread", None)
    return writer is not None and writer._queue.qsize() > 0  # noqa: SLF001  # there is no other way to know
