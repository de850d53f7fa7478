"""Stages: how a rate profile is written, and how a mistake in it is shown."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.profile import Profile, Segment
from harness.load.stages import StagesError, parse_stages


def segments(text: str) -> list[tuple[float, float, float]]:
    return [(float(each.for_s), float(each.start_per_s), float(each.end_per_s)) for each in parse_stages(text).segments]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 for 10s", [(10, 50, 50)]),
        ("50 for 10s, 50..200 for 20s, 500 for 2s, 50 for 10s", [(10, 50, 50), (20, 50, 200), (2, 500, 500), (10, 50, 50)]),
        ("..100 for 1s, ..0 for 500ms", [(1, 0, 100), (0.5, 100, 0)]),
        ("1.5k for 1m", [(60, 1500, 1500)]),
        ("90/min for 1h, 10/s for 1min", [(3600, 1.5, 1.5), (60, 10, 10)]),
        ("10 for 1s,pause for 2s,10 for 1s", [(1, 10, 10), (2, 0, 0), (1, 10, 10)]),
        ("2x(10 for 1s, ..20 for 1s)", [(1, 10, 10), (1, 10, 20)] * 2),
        ("5 for 1s, 2x(..20 for 1s, 30 for 1s)", [(1, 5, 5), (1, 5, 20), (1, 30, 30), (1, 30, 20), (1, 30, 30)]),
        ("2 x ( 2x(1 for 1s), 3 for 1s )", [(1, 1, 1), (1, 1, 1), (1, 3, 3)] * 2),
        ("  0.5..7.25\n for  2.5s ", [(2.5, 0.5, 7.25)]),
    ],
)
def test_stages_are_read_as_they_are_written(text: str, expected: list[tuple[float, float, float]]) -> None:
    """Steady, ramp, step, spike, pause, repetition."""
    assert expected == segments(text)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "a stage is expected here", 0),
        ("50 for 10", "a unit of time is expected here: ms, s, m or h", 9),
        ("50 fro 10s", "'for' and a time are expected here", 3),
        ("50 10s", "'for' and a time are expected here", 3),
        ("50 for 10s 60 for 2s", "a comma before the next stage is expected here, or the end", 11),
        ("50..x for 1s", "a rate (a number of requests per second) is expected here", 4),
        ("50 for 1s,", "a stage is expected here", 10),
        ("50 for 0s", "a stage lasts more than 0 s", 7),
        ("50 for 1s, 200k for 1s", "this rate is above 100,000 requests per second", 11),
        ("pause for 1s", "no stage sends anything", 0),
        ("50/day for 1s", "after / comes s, min or h", 3),
        ("50 for 25h", "all stages together last 90000 s; allowed is 86,400 s", 0),
        ("3x 50 for 1s", "a ( is expected here", 3),
        ("2x(50 for 1s", "a comma or the ) of what is repeated is expected here", 12),
        ("1.5x(50 for 1s)", "how often is a whole number", 0),
        ("9000x(1 for 1s, 2 for 1s)", "repeated, these are more than 10,000 stages", 0),
        ("-5 for 1s", "a stage is expected here", 0),
        ("50 for -1s", "a time, e.g., 10s, is expected here", 7),
        ("1x(" * 50, "more than 10 brackets within each other", 33),
    ],
)
def test_a_mistake_is_pointed_at(text: str, message: str, column: int) -> None:
    """What was expected, the line, and a caret under the character."""
    with pytest.raises(StagesError) as caught:
        parse_stages(text)
    said, line, caret = str(caught.value).split("\n")

    assert message in said
    assert (caught.value.at, caret) == (column, f"    {' ' * column}^")
    assert line == f"    {text}"


@given(st.text(alphabet="0123456789.,x()kfors/pauemin h-", max_size=40))
@settings(max_examples=400, deadline=None)
def test_any_text_is_stages_or_a_mistake_that_is_pointed_at(text: str) -> None:
    """Nothing else is raised, the caret is within the text or at its end, and what is read can be sent."""
    try:
        profile = parse_stages(text)
        expected, duration_s, at = profile.expected, profile.duration_s, 0
    except StagesError as error:
        expected, duration_s, at = Fraction(1), 1.0, error.at

    assert expected > 0
    assert 0 < duration_s <= 86_400
    assert 0 <= at <= len(text)


def test_a_count_is_that_of_the_plan_and_not_that_of_a_rounding() -> None:
    """0.1 a second for 10 s is one request, ten times over; in floating point the sum would be one more or less."""
    assert parse_stages("2x(0.1 for 10s)").whole_times_ns().tolist() == [0, 10_000_000_000]
    assert len(parse_stages("100x(0.1 for 10s)").whole_times_ns()) == 100
    assert len(parse_stages("1000x(0.3 for 10s)").whole_times_ns()) == 3000


def test_where_nothing_is_sent_an_arrival_waits_for_the_end_of_the_pause() -> None:
    """The request that would fall onto the border belongs to what comes after it."""
    assert parse_stages("2 for 1s, pause for 1s, 2 for 1s").whole_times_ns().tolist() == [
        0,
        500_000_000,
        2_000_000_000,
        2_500_000_000,
    ]


@pytest.mark.parametrize("segment", [(0, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 0, 0)])
def test_a_profile_that_sends_nothing_or_runs_backwards_is_refused(segment: tuple[int, int, int]) -> None:
    """Whoever makes one without the text is told as well."""
    with pytest.raises(ValueError, match=r"a rate profile needs|a part of a rate profile lasts"):
        Profile([Segment(*map(Fraction, segment))])
