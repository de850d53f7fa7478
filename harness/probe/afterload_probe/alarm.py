"""Wakes a thread when something has not happened in time: without waking it as long as it does.

A second thread that wakes twenty times a second takes the interpreter's lock, and the processor's caches, away from the event
loop each time: on a loaded app that cost as much as all hooks together. A timer of the kernel is put off by every beat instead,
and goes off only when one is missing.
"""

from __future__ import annotations

import os
import time

__all__ = ["Alarm", "Sleeper", "make_alarm"]

_CLOCK_MONOTONIC = 1
_CLOEXEC = os.O_CLOEXEC


class Alarm:
    """A timerfd (Linux). The standard library has it from 3.13 on; ctypes has it everywhere."""

    def __init__(self) -> None:
        """Raises ImportError, AttributeError or OSError where there is none."""
        import ctypes

        self._ctypes = ctypes
        # With the interpreter's lock held, for it takes less than giving that away and getting it back.
        library = ctypes.PyDLL(None, use_errno=True)
        self._set, self._times = library.timerfd_settime, ctypes.c_long * 4
        self._fd = library.timerfd_create(_CLOCK_MONOTONIC, _CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._value = self._times(0, 0, 0, 0)  # interval (none), then s and ns until it goes off
        self._pointer = ctypes.byref(self._value)

    def put_off(self, ns: int) -> None:
        """It goes off that long from now, and no sooner."""
        value = self._value
        value[2], value[3] = divmod(ns, 1_000_000_000)
        self._set(self._fd, 0, self._pointer, None)

    def ring(self) -> None:
        """It goes off now."""
        self.put_off(1)

    def wait(self) -> None:
        """Until it goes off."""
        os.read(self._fd, 8)


class Sleeper:
    """Where there is no such timer: looks again and again."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s

    def put_off(self, ns: int) -> None:
        """Has no effect."""

    def ring(self) -> None:
        """Has no effect: it will look soon enough."""

    def wait(self) -> None:
        """Until the next look."""
        time.sleep(self._every_s)


def make_alarm(every_s: float) -> Alarm | Sleeper:
    """The better one of the two."""
    try:
        return Alarm()
    except (ImportError, AttributeError, OSError):
        return Sleeper(every_s)
