"""Several servers as one world."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from scenarios.scenario import Troubled, World

__all__ = ["Together"]


class Together:
    """Its parts, each with addresses of its own."""

    def __init__(self, *parts: World) -> None:
        self._parts = parts

    def addresses(self) -> dict[str, str]:
        """Those of all parts."""
        return {name: address for part in self._parts for name, address in part.addresses().items()}

    @property
    def troubled(self) -> Sequence[Troubled]:
        """Those of all parts."""
        return [server for part in self._parts for server in getattr(part, "troubled", ())]

    async def close(self) -> None:
        """Closes every part, the last one first, whatever becomes of the others."""
        async with contextlib.AsyncExitStack() as stack:
            for part in self._parts:
                stack.push_async_callback(part.close)
