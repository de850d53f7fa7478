"""Commands to the server under test: another pool, a fault at once, another kind of tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from harness.control.action import Action, Landed, Refused
from harness.disturbances import DidNotLand
from harness.faulting import ByHand, Faulting
from harness.faults import FaultPlan
from harness.loads import Loads
from harness.rows import Gauge
from harness.servers import ServerUnderTest

__all__ = ["FaultAtOnce", "PoolChange", "TasksChange", "keep_pool"]

_POOL_SIZE: Final = 0
"""Number of the setting (docs/rows.md)."""

_POOL_NS: Final = 5_000_000_000


class PoolChange(Action):
    """Writes the size into the page of each process; that process says there what size its pool has."""

    def __init__(self, server: ServerUnderTest, size: int, is_squeezed: Callable[[], bool]) -> None:
        self._server = server
        self._size = size
        self._is_squeezed = is_squeezed
        self._before: dict[int, int] = {}
        self._pool_before: int | None = None
        self._give_up_ns = 0

    def begin(self) -> None:
        """Asks every process. Later boots are started with it."""
        if self._is_squeezed():
            raise Refused("the fault squeeze lasts, which will take the size back that there was")
        self._before = pool_sizes(self._server)
        if not self._before:
            down = "" if self._server.is_up else ": the server is down"
            raise Refused(f"no process of the server says that it has a pool of threads{down}")
        self._pool_before, self._server.pool = self._server.pool, self._size
        self._give_up_ns = time.monotonic_ns() + _POOL_NS
        keep_pool(self._server)

    def landed(self) -> Landed | None:
        """Whether all say that they have it."""
        sizes, now_ns = pool_sizes(self._server), time.monotonic_ns()
        if sizes and all(size == self._size for size in sizes.values()):
            before = ", ".join(str(size) for size in dict.fromkeys(self._before.values()))
            return Landed(now_ns, f"pool of {before} threads to {self._size}" + _in_each(len(sizes)))
        if self._is_squeezed():
            # Else the pools would get the size that was refused when the squeeze ends.
            self._server.pool = self._pool_before
            raise Refused("the fault squeeze came between")
        if now_ns > self._give_up_ns and self._server.is_up:
            self._server.pool = self._pool_before
            for pid, page in self._server.pages.living().items():
                if pid in self._before:
                    page.set(_POOL_SIZE, self._before[pid])
            raise Refused(f"{_POOL_NS // 10**9} s later the pools still said that they have {sizes} threads (by pid)")
        return None


class FaultAtOnce(Action):
    """A fault that happens as soon as it can."""

    def __init__(self, faulting: Faulting | None, loads: Loads, number: str, plan: FaultPlan) -> None:
        self._faulting = faulting
        self._loads = loads
        self._plan = plan
        self._by_hand = ByHand(number)

    def begin(self) -> None:
        """Lets it happen."""
        if self._faulting is None or not self._loads.start_ns:
            raise Refused("the load has not begun: faults happen while it goes on")
        if time.monotonic_ns() >= self._loads.end_ns:
            raise Refused("the load has ended: faults happen while it goes on")
        try:
            self._faulting.now(self._plan, self._by_hand, self._loads.end_ns)
        except DidNotLand as why:
            raise Refused(str(why)) from None

    def landed(self) -> Landed | None:
        """When the fault says so itself."""
        if self._by_hand.refused:
            raise Refused(self._by_hand.refused)
        landed_ns = self._by_hand.landed_ns
        return None if landed_ns is None else Landed(landed_ns, f"{self._plan.name}: boot {self._by_hand.boot}")


class TasksChange(FaultAtOnce):
    """A restart, of which the next boot has tasks of another kind."""

    def __init__(
        self, faulting: Faulting | None, loads: Loads, number: str, plan: FaultPlan, kind: str, change: Callable[[], None]
    ) -> None:
        """`change` tells the server what its next boot is to have."""
        super().__init__(faulting, loads, number, plan)
        self._kind = kind
        self._by_hand.before_start = change

    def landed(self) -> Landed | None:
        """When the next boot is ready."""
        super().landed()
        up_ns = self._by_hand.up_ns
        if up_ns is None:
            return None
        return Landed(up_ns, f"restarted with {self._kind} tasks: boot {(self._by_hand.boot or 0) + 1}")


def pool_sizes(server: ServerUnderTest) -> dict[int, int]:
    """What the processes of the server say, by pid."""
    server.pages.refresh()
    return {pid: size for pid, page in server.pages.living().items() if (size := page.gauge(Gauge.POOL_SIZE))}


def keep_pool(server: ServerUnderTest) -> None:
    """Asks every process for the size that was set: one that was born meanwhile has the size that it was started with."""
    if server.pool is not None:
        for page in server.pages.living().values():
            size = page.gauge(Gauge.POOL_SIZE)
            if size and size != server.pool:
                page.set(_POOL_SIZE, server.pool)


def _in_each(n: int) -> str:
    return f", in each of {n} processes" if n > 1 else ""
