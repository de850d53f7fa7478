"""Frames come as often as was asked for, less often where they cost much, and as often again when they do not."""

from __future__ import annotations

import pytest

from harness.live.pace import Pace


def told(pace: Pace, *costs_s: float) -> list[float]:
    return [pace.after(cost_s) for cost_s in costs_s]


def test_frames_that_cost_little_come_as_often_as_was_asked_for():
    assert told(Pace(0.25), *[0.012] * 50) == [0.25] * 50


def test_one_frame_in_many_that_costs_much_slows_nothing_down():
    assert told(Pace(0.25), *([0.012] * 9 + [0.2]) * 5) == [0.25] * 50


@pytest.mark.parametrize("cost_s", [0.018, 0.1, 0.24])
def test_frames_that_all_cost_much_come_less_often_until_they_take_less_than_a_fourteenth(cost_s: float):
    pace = Pace(0.25)
    told(pace, *[cost_s] * 50)
    assert cost_s / pace.every_s <= 0.07
    assert cost_s / (pace.every_s / 2) > 0.07


@pytest.mark.parametrize("cost_s", [0.012, 0.016, 0.0174])
def test_a_first_frame_that_reads_a_long_run_slows_nothing_down(cost_s: float):
    assert told(Pace(0.25), 2.0, *[cost_s] * 20) == [0.25] * 21


def test_frames_that_all_cost_very_much_do_not_keep_a_core_busy_for_long():
    assert told(Pace(0.25), *[2.0] * 3)[-1] == 8.0


def test_it_is_never_slower_than_every_eight_seconds_unless_that_was_asked_for():
    assert told(Pace(0.25), *[30.0] * 20)[-1] == 8.0
    assert told(Pace(20.0), *[30.0] * 20)[-1] == 20.0


def test_frames_come_as_often_again_when_they_cost_less():
    pace = Pace(0.25)
    told(pace, *[0.1] * 30)
    assert pace.every_s > 1
    assert told(pace, *[0.012] * 30)[-1] == 0.25


@pytest.mark.parametrize("share", [0.01, 0.031, 0.0339, 0.035, 0.04, 0.055, 0.069, 0.08, 0.5])
def test_it_settles_and_does_not_go_to_and_fro(share: float):
    """Whether a frame costs the same at any distance, or in proportion to it."""
    for cost in (lambda _: share * 0.25, lambda every_s: share * every_s):
        pace = Pace(0.25)
        for _ in range(60):
            pace.after(cost(pace.every_s))
        settled_s = pace.every_s
        assert {pace.after(cost(pace.every_s)) for _ in range(60)} == {settled_s}
