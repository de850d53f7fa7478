"""The sentence of a tile is true of the instant, though its state is that of the last whole second."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.live.frame import SideState
from harness.live.sides import Glance, client_side, client_state_over_all, work_side
from tests.live.test_sides_of_all import OVER

NOW = replace(OVER, is_over=False)
BUSY = replace(NOW, backlog=12, oldest_s=3.1, accepted_per_s=50.0, finished_per_s=18.0)


def test_a_hung_server_is_slow_for_who_waits_and_not_for_the_answers_that_came():
    hung = client_side(SideState.SLOW, replace(NOW, response_ms=3.38, waited_ms=4_200.0))
    assert hung.why == "Somebody has waited for 4.20 s."
    assert hung.lines[0] == "p95 3.38 ms  waits 4.20 s"
    silent = client_side(SideState.SLOW, replace(NOW, response_ms=None, answers=0, waited_ms=12_300.0))
    assert silent.why == "Somebody has waited for 12.3 s."
    assert silent.lines[0] == "p95 -  waits 12.3 s"


def test_late_answers_are_compared_with_the_first_ones_and_both_are_told():
    late = client_side(SideState.SLOW, replace(NOW, response_ms=420.0, waited_ms=1_500.0))
    assert late.why == "p95 of the answers is 420 ms, far above what it was at first; somebody has waited for 1.50 s."


@pytest.mark.parametrize(
    ("state", "at", "said"),
    [
        (SideState.SLOW, replace(NOW, response_ms=4.0), "Until just now answers were late; their p95 is 4.00 ms."),
        (SideState.FAILING, replace(NOW, bad=0, answers=6), "Until just now requests were refused or had no answer."),
        (
            SideState.OK,
            replace(NOW, answers=0, response_ms=None),
            "Nothing was answered in the last 5 s, and nobody waits for long.",
        ),
    ],
)
def test_what_has_passed_on_the_clients_side_is_told_as_that(state: SideState, at: Glance, said: str):
    assert client_side(state, at).why == said


@pytest.mark.parametrize(
    ("state", "at", "said"),
    [
        (SideState.BEHIND, BUSY, "The work falls behind: 50 tasks/s come in, 18/s get done; the oldest has waited 3.10 s."),
        (
            SideState.BEHIND,
            replace(BUSY, backlog=0, oldest_s=None),
            "Until just now the work fell behind: 50 tasks/s come in, 18/s get done.",
        ),
        (SideState.SLOW, BUSY, "Work gets done, but late: p95 90.0 ms; the oldest has waited 3.10 s."),
        (
            SideState.SLOW,
            replace(BUSY, oldest_s=0.1),
            "Until just now work got done late; its p95 is 90.0 ms; the oldest has waited 100 ms.",
        ),
        (SideState.FAILING, BUSY, "Until just now tasks raised, or were left behind by their server."),
        (SideState.FAILING, replace(BUSY, lost=1), "1 task was lost with their server."),
        (SideState.FAILING, replace(BUSY, lost=2, failed=1), "2 tasks were lost with their server and 1 task raised."),
    ],
)
def test_what_has_passed_on_the_works_side_is_told_as_that(state: SideState, at: Glance, said: str):
    assert work_side(state, at).why == said


def test_of_a_run_that_is_over_nothing_is_said_to_go_on():
    assert client_side(SideState.OK, OVER).why == "Requests were answered: p95 12.0 ms."
    assert client_side(SideState.OK, NOW).why == "Requests are answered: p95 12.0 ms."
    assert client_side(SideState.WAITING, replace(OVER, answers=0)).why == "No request was answered."


def test_a_server_that_works_off_what_it_has_is_draining_and_not_down():
    at = replace(BUSY, is_up=False, is_draining=True)
    assert client_side(SideState.OK, at).headline == work_side(SideState.OK, at).headline == "DRAINING"
    assert work_side(SideState.OK, at).why == "The server takes nothing new, and works off what it has: 18 tasks/s get done."
    gone = replace(BUSY, is_up=False, lost=9, gone=5)
    assert work_side(SideState.OK, gone).why == "The server is not there: nothing gets done. 5 tasks went with it."


def test_a_run_all_of_whose_requests_were_refused_is_failing_however_few_they_were():
    assert client_state_over_all(replace(OVER, attempted=1, answers=1, bad=1)) is SideState.FAILING
    assert client_state_over_all(replace(OVER, bad=1)) is SideState.OK


@given(
    state=st.sampled_from(SideState),
    at=st.builds(
        Glance,
        response_ms=st.none() | st.floats(0.01, 1e6) | st.just(math.inf),
        waited_ms=st.none() | st.floats(0, 1e6),
        done_ms=st.none() | st.floats(0.01, 1e6) | st.just(math.inf),
        oldest_s=st.none() | st.floats(0, 1e4),
        bad=st.integers(0, 30),
        answers=st.integers(30, 60) | st.just(0),
        lost=st.integers(0, 3),
        gone=st.integers(0, 3),
        failed=st.integers(0, 3),
        backlog=st.integers(0, 3),
        attempted=st.integers(0, 3),
        accepted_per_s=st.floats(0, 1e4),
        finished_per_s=st.floats(0, 1e4),
        is_over=st.booleans(),
        is_draining=st.booleans(),
        **dict.fromkeys(("is_up", "has_begun", "has_tasks", "is_seen", "is_inline"), st.booleans()),
    ),
)
def test_no_tile_says_nothing_or_speaks_of_nobody(state: SideState, at: Glance):
    for side in (client_side(state, at), work_side(state, at)):
        assert re.fullmatch(r"([A-Z0-9]|p95 ).{10,}\.", side.why), side.why
        assert "waited never" not in side.why
        assert not re.match(r"(None|0) (of|tasks?) ", side.why), side.why
