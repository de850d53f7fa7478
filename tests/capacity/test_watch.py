"""When a stage is ended early: what grows and grows, and not what fills up."""

from __future__ import annotations

import pytest

from harness.capacity.watch import Hopeless, StageProgress
from harness.progress import Standing


def watched(*, settling_s: float, queue_per_s: float = 0.0) -> None:
    """20 requests/s, answered at once; their tasks take 5 s, and some more of them wait every second. Raises Hopeless."""
    progress = StageProgress(20.0, 1.0, 20.0, lambda text: None, settling_s=settling_s, may_end=True)
    for at_s in (tenth / 10 for tenth in range(200)):
        sent, queued = int(20 * at_s), int(queue_per_s * at_s)
        progress.standing(Standing(at_s, "load", sent, sent, queued, running=min(sent, 100), pool_busy=0, pool_size=400, up=True))


def test_what_fills_up_is_not_ended_once_it_is_known_for_how_long() -> None:
    watched(settling_s=4.0)
    with pytest.raises(Hopeless):
        watched(settling_s=0.0)


def test_what_grows_after_it_has_filled_up_is_ended_early() -> None:
    with pytest.raises(Hopeless):
        watched(settling_s=4.0, queue_per_s=10.0)
