"""The task of the executor comparison, the same for every contender: one step of a counter; the last step notes the time."""

import itertools
import time

__all__ = ["arm", "async_task", "ended_ns", "task"]

_steps = itertools.count()
_last = -1
_ended_ns = 0


def arm(n: int) -> None:
    """Counts from nought again; the `n`th task from now is the last one."""
    global _steps, _last, _ended_ns
    _steps, _last, _ended_ns = itertools.count(), n - 1, 0


def ended_ns() -> int:
    """When the last task ran; 0: not yet."""
    return _ended_ns


def task() -> None:
    global _ended_ns
    if next(_steps) == _last:
        _ended_ns = time.monotonic_ns()


async def async_task() -> None:
    global _ended_ns
    if next(_steps) == _last:
        _ended_ns = time.monotonic_ns()
