"""When a stage is ended early: what grows and grows, and not what fills up."""

from __future__ import annotations

import pytest

from harness.capacity.watch import Hopeless, StageProgress
from harness.progress import Standing


def ended_s(*, settling_s: float = 0.0, tasks_s: float = 0.0, answers_s: float = 0.0, queue_per_s: float = 0.0) -> float | None:
    """When it is: 20 requests/s, answered after `answers_s`; their tasks take `tasks_s`, and some more wait every second."""
    progress = StageProgress(20.0, 1.0, 20.0, lambda text: None, settling_s=settling_s, may_end=True)
    for at_s in (tenth / 10 for tenth in range(200)):
        sent, answered, ended = (int(20 * max(at_s - later_s, 0.0)) for later_s in (0.0, answers_s, tasks_s))
        queued = int(queue_per_s * at_s)
        try:
            progress.standing(Standing(at_s, "load", sent, answered, queued, sent - ended, pool_busy=0, pool_size=400, up=True))
        except Hopeless:
            return at_s
    return None


def test_a_stage_is_not_ended_for_tasks_that_run_but_for_those_that_wait() -> None:
    assert ended_s(tasks_s=30.0) is None
    assert ended_s(tasks_s=30.0, queue_per_s=10.0) is not None


def test_answers_that_fill_up_are_not_ended_once_it_is_known_for_how_long() -> None:
    assert ended_s(answers_s=5.0, settling_s=4.0) is None
    assert ended_s(answers_s=5.0) is not None


def test_what_grows_after_it_has_filled_up_is_ended_early() -> None:
    assert ended_s(tasks_s=5.0, settling_s=4.0, queue_per_s=10.0) is not None


@pytest.mark.parametrize("settling_s", [0.0, 4.0, 8.0])
def test_a_stage_is_not_ended_before_it_is_long_enough_to_be_judged(settling_s: float) -> None:
    """What comes later than it has settled is a third of it at least, or nobody can tell whether it grows."""
    at_s = ended_s(settling_s=settling_s, queue_per_s=10.0)
    assert at_s is not None
    assert 1.5 * settling_s <= at_s - 1.0 < 1.5 * settling_s + 5.0
