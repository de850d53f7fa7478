"""`backlog bounded`: whether work piles up is told by how it grows, with an interval, and not by how much there is at the end."""

from __future__ import annotations

import numpy as np
import pytest

from harness.figures import check_slo
from harness.growth import growth_of, pooled
from harness.schema import SloSummary
from harness.slo import SloError
from harness.summary import build_summary
from tests.verdict.simulated import Setup, Simulated


def judged(allow: tuple[str, ...] = (), **setup: float) -> SloSummary:
    """Of a queue whose capacity is 4 threads / run_ms."""
    plan = {"slos": ["backlog bounded"], "allow": list(allow)}
    return build_summary(Simulated(Setup(**{"seed": 3, **setup})).evidence(), plan, {}).slos[0]  # type: ignore[arg-type]


def test_a_server_that_keeps_up_has_a_bounded_backlog() -> None:
    assert judged(rate=400.0, run_ms=5.0).holds is True


def test_a_backlog_that_grows_all_the_time_is_not_bounded_however_little_there_is_yet() -> None:
    slo = judged(rate=400.0, run_ms=11.0)
    assert slo.holds is False
    assert slo.low is not None
    assert slo.low > 0
    assert slo.value == pytest.approx(400 - 4 / 0.011, rel=0.4)
    assert slo.unit == "/s"


def test_tasks_of_few_requests_that_pile_up_are_not_bounded() -> None:
    """A fifth of all work is left, and every twentieth request leaves some: 4 tasks/s are little of 400 requests/s."""
    run = Simulated(Setup(seed=3, rate=400.0, run_ms=12.5, for_s=32.0))
    run.tasks[1] = run.tasks[1][::20]
    (slo,) = build_summary(run.evidence(), {"slos": ["backlog bounded"]}, {}).slos
    assert slo.holds is False
    assert slo.value == pytest.approx(80, rel=0.2)


def test_what_chance_could_have_done_is_not_decided() -> None:
    """At 97 % of what it can do, a queue wanders so far that a dozen seconds tell nothing."""
    slo = judged(rate=97.0, run_ms=40.0)
    assert slo.holds is None
    assert "load for longer" in slo.why
    assert judged(allow=("few-samples",), rate=97.0, run_ms=40.0).holds is not None


def test_few_queues_that_keep_up_are_called_growing() -> None:
    """At 95 % of what they can do, most of which is chance."""
    found = [judged(seed=seed, rate=380.0, run_ms=10.0).holds for seed in range(60)]
    assert sum(holds is False for holds in found) <= 2


def test_several_stages_together_say_more_than_one() -> None:
    random = np.random.default_rng(1)
    parts = [growth_of(100 + np.cumsum(random.normal(0, 1, 120)), 0.1) for _ in range(4)]
    known = [part for part in parts if part is not None]
    together = pooled(known)
    assert together.high - together.per_s < min(part.high - part.per_s for part in known)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99 bounded", "only the backlog can be bounded"),
        ("backlog bounded@5s", "leave the window out"),
        ("backlog bounded < 5", "one comparison each"),
        ("backlog bound", "expected a comparison"),
    ],
)
def test_what_cannot_be_bounded_is_told(text: str, message: str) -> None:
    with pytest.raises(SloError, match=message):
        check_slo(text)
