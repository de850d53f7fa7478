"""When a stage is ended early: what grows and grows, and not what fills up."""

from __future__ import annotations

from harness.capacity.watch import Hopeless, StageProgress
from harness.progress import Standing


def is_ended(*, settling_s: float = 0.0, tasks_s: float = 0.0, answers_s: float = 0.0, queue_per_s: float = 0.0) -> bool:
    """20 requests/s, answered after `answers_s`; their tasks take `tasks_s`, and some more wait every second."""
    progress = StageProgress(20.0, 1.0, 20.0, lambda text: None, settling_s=settling_s, may_end=True)
    for at_s in (tenth / 10 for tenth in range(200)):
        sent, answered, ended = (int(20 * max(at_s - later_s, 0.0)) for later_s in (0.0, answers_s, tasks_s))
        queued = int(queue_per_s * at_s)
        try:
            progress.standing(Standing(at_s, "load", sent, answered, queued, sent - ended, pool_busy=0, pool_size=400, up=True))
        except Hopeless:
            return True
    return False


def test_a_stage_is_not_ended_for_tasks_that_run_but_for_those_that_wait() -> None:
    assert not is_ended(tasks_s=30.0)
    assert is_ended(tasks_s=30.0, queue_per_s=10.0)


def test_answers_that_fill_up_are_not_ended_once_it_is_known_for_how_long() -> None:
    assert not is_ended(answers_s=5.0, settling_s=4.0)
    assert is_ended(answers_s=5.0)


def test_what_grows_after_it_has_filled_up_is_ended_early() -> None:
    assert is_ended(tasks_s=5.0, settling_s=4.0, queue_per_s=10.0)
