"""A key is answered at once: nothing that the process does besides keeps it waiting for long."""

from __future__ import annotations

import gc
import sys

import pytest

from dashboard.alertness import Settling, take_short_turns


def test_threads_take_short_turns() -> None:
    before = sys.getswitchinterval()
    try:
        take_short_turns()
        assert sys.getswitchinterval() == pytest.approx(0.001)
    finally:
        sys.setswitchinterval(before)


def test_it_settles_once_after_the_first_pictures_and_garbage_is_not_kept() -> None:
    class Ring:
        """Garbage that only the search for it finds."""

        def __init__(self) -> None:
            self.ring = self

    settling = Settling(pictures=3)
    assert [settling.is_due() for _ in range(6)] == [False, False, True, False, False, False]
    kept = [[] for _ in range(5_000)]  # type: list[list[int]]
    was_enabled, n_before = gc.isenabled(), gc.get_freeze_count()
    gc.disable()
    try:
        ring = Ring()
        del ring
        settling.settle()
        assert gc.get_freeze_count() - n_before > len(kept)
        gc.unfreeze()
        assert not any(isinstance(each, Ring) for each in gc.get_objects())
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
