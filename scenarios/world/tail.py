"""Watching a store that tasks write to without talking to us: what is new in it becomes effects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

__all__ = ["Tail"]

_PERIOD_S = 0.01


class Tail:
    """Calls `look` every 10 ms, off the event loop and never twice at once, and once more at the end."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """A last look. Raises what a look has raised: what was not seen must not pass for what did not happen."""
        self._stopped.set()
        await self._task
        await asyncio.to_thread(self._look)

    async def _watch(self) -> None:
        while not self._stopped.is_set():
            await asyncio.to_thread(self._look)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _PERIOD_S)
