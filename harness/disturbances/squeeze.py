"""The fault `squeeze`: the pool for def tasks gets fewer threads, and its own number again later."""

from __future__ import annotations

from typing import Final

from harness.disturbances.disturbance import DidNotLand, Disturbance, Receipt
from harness.rows import Gauge
from harness.servers import ServerUnderTest

__all__ = ["Squeeze"]

_POOL_SIZE: Final = 0
"""Number of the setting (docs/rows.md)."""


class Squeeze(Disturbance):
    """Writes the wanted size into the page of each process; that process says there what size its pool has."""

    def __init__(self, server: ServerUnderTest, size: int) -> None:
        self._server = server
        self._size = size
        self._before: dict[int, int] = {}

    def begin(self) -> str:
        """Asks every process."""
        pages = self._server.pages.living()
        self._before = {pid: page.gauge(Gauge.POOL_SIZE) for pid, page in pages.items() if page.gauge(Gauge.POOL_SIZE)}
        if not self._before:
            raise DidNotLand("no process of the server says that it has a pool of threads")
        if smaller := [size for size in self._before.values() if size <= self._size]:
            raise DidNotLand(f"the pool has {smaller[0]} threads: nothing to squeeze to {self._size}")
        self._ask()
        sizes = ", ".join(str(size) for size in self._before.values())
        return f"pool of {sizes} threads to {self._size}"

    def landed(self) -> Receipt | None:
        """Every one says that it has."""
        self._ask()
        sizes = self._sizes()
        if any(sizes.get(pid, self._size) != self._size for pid in self._before):
            return None
        return {"pool_size": {str(pid): size for pid, size in sizes.items()}, "pool_size_before": _keyed(self._before)}

    def end(self) -> None:
        """Asks for what there was; of a process that was born meanwhile: for what the others had."""
        if self._before:
            usual = max(self._before.values())
            for pid, page in self._server.pages.living().items():
                page.set(_POOL_SIZE, self._before.get(pid, usual))

    def ended(self) -> Receipt | None:
        """Every one says that it has it again."""
        self.end()
        sizes = self._sizes()
        usual = max(self._before.values(), default=0)
        if any(size != self._before.get(pid, usual) for pid, size in sizes.items()):
            return None
        return {"pool_size_after": _keyed(sizes)}

    def why_not_ended(self) -> str:
        """What the pages say."""
        return f"the pools say that they have {self._sizes()} threads, and had {self._before}"

    def _ask(self) -> None:
        # Again and again: a worker that was born meanwhile has the size that it was started with.
        for page in self._server.pages.living().values():
            page.set(_POOL_SIZE, self._size)

    def _sizes(self) -> dict[int, int]:
        pages = self._server.pages.living().items()
        return {pid: size for pid, page in pages if (size := page.gauge(Gauge.POOL_SIZE))}


def _keyed(sizes: dict[int, int]) -> dict[str, int]:
    return {str(pid): size for pid, size in sizes.items()}
