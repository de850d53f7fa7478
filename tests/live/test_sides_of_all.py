"""The two tiles of a run that is over speak of all of it, and never against their own figures."""

from __future__ import annotations

import dataclasses
import math

import pytest

from harness.live.frame import SideState
from harness.live.sides import Glance, client_side, client_state_over_all, work_side, work_state_over_all

OVER = Glance(
    is_up=True,
    has_begun=True,
    attempted=400,
    response_ms=12.0,
    bad=0,
    answers=400,
    waited_ms=None,
    has_tasks=True,
    is_seen=True,
    is_inline=False,
    done_ms=90.0,
    oldest_s=None,
    backlog=0,
    accepted_per_s=11.0,
    finished_per_s=13.0,
    failed=0,
    lost=0,
    is_over=True,
)


@pytest.mark.parametrize(("bad", "said"), [(14, "14 of 400 requests were"), (400, "400 of 400 requests were")])
def test_what_was_refused_is_of_all_requests_and_not_of_the_last(bad: int, said: str) -> None:
    at = dataclasses.replace(OVER, bad=bad)
    side = client_side(client_state_over_all(at), at)

    assert side.state is SideState.FAILING
    assert side.why.startswith(said)
    going_on = dataclasses.replace(at, is_over=False)
    assert "of the last" in client_side(SideState.FAILING, going_on).why


def test_answers_whose_p95_never_came_are_not_called_answered() -> None:
    """One of ten is too few to be failing by its share, and too many for a p95."""
    at = dataclasses.replace(OVER, attempted=10, answers=10, bad=1, response_ms=math.inf)
    side = client_side(client_state_over_all(at), at)

    assert side.state is SideState.FAILING
    assert side.why == "1 of 10 requests was refused or had no answer."


def test_work_that_took_as_long_as_its_answers_is_not_called_soon() -> None:
    """Rates of the last seconds say nothing of a run that is over."""
    at = dataclasses.replace(OVER, response_ms=2600.0, done_ms=2710.0)
    side = work_side(work_state_over_all(at, 400), at)

    assert side.state is SideState.OK
    assert side.why == "Work got done: p95 2.71 s after it was asked for."


def test_work_that_was_discarded_although_it_was_acknowledged_is_not_called_done() -> None:
    """While the run goes on, and when it is over; nobody's server has died."""
    at = dataclasses.replace(OVER, discarded=60)
    over = work_side(work_state_over_all(at, 400), at)
    going_on = work_side(SideState.FAILING, dataclasses.replace(at, is_over=False))

    assert over.state is SideState.FAILING
    assert over.headline == going_on.headline == "LOST"
    assert over.why == going_on.why == "60 acknowledged tasks were discarded."
