"""A load that is changed while it goes on: at every change no request is lost, none is sent twice, and all processes agree."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.load.course import Change, Course, changed
from harness.load.pacing import MAX_ARRIVALS, Arrivals, Schedule, arrival_times_ns, schedule_of_process, template_choices
from harness.load.profile import Profile, steady
from harness.load.stages import parse_stages
from harness.steered import stages_of

NS = 10**9
WEIGHTS = [3.0, 1.0, 0.5]

kinds = st.sampled_from(["constant", "poisson"])
rates = st.one_of(st.just(0.0), st.floats(0.05, 400).map(lambda rate: round(rate, 3)))
planned = st.one_of(
    st.tuples(st.floats(0.1, 300), st.floats(0.2, 3)).map(lambda each: steady(*each)),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(1, 1500)).map(
            lambda each: "{}..{} for {}ms".format(*each)
        ),
        min_size=1,
        max_size=4,
    ).map(lambda stages: parse_stages(", ".join([*stages, "7 for 1s"]))),
)
# Later and later, by shares of what is left; the end moves as well, sometimes.
asked = st.lists(st.tuples(st.floats(0, 1), rates, st.one_of(st.none(), st.floats(0, 2))), max_size=6)


def changes_of(profile: Profile, given: Sequence[tuple[float, float, float | None]]) -> list[Change]:
    """Changes one after another; each as a session would ask for it."""
    now, until, found = 0, round(profile.duration_s * NS), []
    for share, rate, longer in given:
        now += round(share * (until - now))
        if longer is not None:
            until = now + round(longer * NS)
        found.append(Change(now, until, rate))
    return found


def steered(
    arrivals: Arrivals, profile: Profile, changes: Sequence[Change], seed: int, processes: int
) -> tuple[list[Course], list[Schedule]]:
    """What each process ends up with."""
    due_ns = arrival_times_ns(arrivals, profile, seed)
    courses, parts = [], []
    for process in range(processes):
        part = schedule_of_process(due_ns, WEIGHTS, seed, process=process, processes=processes)
        course = Course(arrivals, seed, due_ns, profile, part.digest)
        for change in changes:
            before = part
            course, part = changed(course, part, change, WEIGHTS, process=process, processes=processes)
            kept = int(np.searchsorted(before.due_ns, change.from_ns))
            for name in ("due_ns", "number", "template"):
                assert np.array_equal(getattr(before, name)[:kept], getattr(part, name)[:kept]), name
        courses.append(course)
        parts.append(part)
    return courses, parts


def area(profile: Profile, changes: Sequence[Change], at_ns: int) -> Fraction:
    """Requests that should have been due by then: worked out anew, from the changes alone."""
    total, at = Fraction(0), at_ns
    for change in reversed(changes):
        if at > change.from_ns:
            total += Fraction(str(change.rate_per_s)) * Fraction(at - change.from_ns, NS)
            at = change.from_ns
    return total + profile.area_until(Fraction(at, NS))


@given(kinds, planned, asked, st.integers(0, 2**32))
@settings(max_examples=120, deadline=None)
def test_one_two_and_four_processes_send_the_same_and_each_number_once(
    arrivals: Arrivals, profile: Profile, given: list[tuple[float, float, float | None]], seed: int
) -> None:
    """Times, numbers and templates of all processes together do not depend on how many there are."""
    changes = changes_of(profile, given)
    until = changes[-1].until_ns if changes else round(profile.duration_s * NS)
    wholes = []
    for processes in (1, 2, 4):
        courses, parts = steered(arrivals, profile, changes, seed, processes)
        assert len({course.digest for course in courses}) == 1
        assert all(np.array_equal(course.due_ns, courses[0].due_ns) for course in courses)
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("number", "due_ns", "template")]
        order = np.argsort(columns[0])
        wholes.append([column[order] for column in columns])
        assert all(bool((np.diff(part.due_ns) >= 0).all()) for part in parts)

    number, due_ns, template = wholes[0]
    assert np.array_equal(number, np.arange(len(number)))
    assert bool((np.diff(due_ns) >= 0).all())
    assert not len(due_ns) or (due_ns[0] >= 0 and due_ns[-1] < until)
    assert np.array_equal(template, template_choices(WEIGHTS, len(number), seed))
    for other in wholes[1:]:
        assert all(np.array_equal(first, second) for first, second in zip(wholes[0], other, strict=True))


@given(planned, asked)
@settings(max_examples=100, deadline=None)
def test_constant_arrivals_follow_the_rate_through_every_change(
    profile: Profile, given: list[tuple[float, float, float | None]]
) -> None:
    """Between two arrivals one request becomes due, no more and no less, by the rates that there were; so at every seam too."""
    changes = changes_of(profile, given)
    (course,), _ = steered("constant", profile, changes, 0, 1)
    due_ns = course.due_ns.tolist()
    areas = [area(profile, changes, each) for each in due_ns]
    # A time is whole nanoseconds, and what falls into a pause belongs to its end.
    slack = Fraction(2000 * 3, NS)

    assert all(-slack <= number - reached <= 1 + slack for number, reached in enumerate(areas))
    assert all(after - before <= 1 + slack for before, after in pairwise(areas))
    end = area(profile, changes, changes[-1].until_ns) if changes else profile.expected
    assert -slack <= len(due_ns) - end < 1 + slack


def test_a_change_of_a_poisson_load_has_the_new_rate_and_no_memory() -> None:
    """The distances after it are exponential with the new mean, the first one included; and differ from those before it."""
    profile = steady(100, 30)
    (course,), _ = steered("poisson", profile, [Change(10 * NS, 30 * NS, 250.0)], 7, 1)
    after = course.due_ns[course.due_ns >= 10 * NS] / NS
    gaps = np.diff(after, prepend=10.0)

    assert abs(len(after) - 5000) < 5 * np.sqrt(5000)
    assert stats.kstest(gaps, "expon", args=(0, 1 / 250)).pvalue > 0.01
    planned_gaps = np.diff(course.due_ns[course.due_ns < 10 * NS])
    assert not np.allclose(planned_gaps[:500] * 100, gaps[:500] * NS * 250)


def test_the_second_change_does_not_draw_what_the_first_one_drew() -> None:
    """The same rate from two instants: two different processes."""
    profile = steady(100, 30)
    (course,), _ = steered("poisson", profile, [Change(5 * NS, 30 * NS, 100.0), Change(15 * NS, 30 * NS, 100.0)], 7, 1)
    first, second = (course.due_ns[(course.due_ns >= at * NS) & (course.due_ns < (at + 5) * NS)] - at * NS for at in (5, 15))

    assert not np.array_equal(first[:100], second[:100])


def test_many_quick_changes_do_not_send_more_than_the_rates_say() -> None:
    """Somebody who holds a key: each change goes on where the one before was, and does not begin with a request of its own."""
    changes = [Change(round(0.1 * number * NS), 20 * NS, 1.0 + number % 2) for number in range(1, 100)]
    (course,), _ = steered("constant", steady(1, 20), changes, 0, 1)

    assert 13 <= int((course.due_ns < 10 * NS).sum()) <= 16


def test_a_replay_goes_on_at_a_rate() -> None:
    """There is no plan that says what the next interval would be: it begins with the change."""
    due_ns = np.array([0, 10, 400, 800], np.int64) * 10**6
    part = schedule_of_process(due_ns, [1.0], 1, process=0, processes=1)
    course = Course("constant", 1, due_ns, None, part.digest)
    course, part = changed(course, part, Change(500 * 10**6, NS, 10.0), [1.0], process=0, processes=1)
    course, part = changed(course, part, Change(750 * 10**6, NS, 20.0), [1.0], process=0, processes=1)

    assert part.due_ns.tolist() == [each * 10**6 for each in (0, 10, 400, 500, 600, 700, 775, 825, 875, 925, 975)]


def test_more_than_anybody_can_mean_is_refused() -> None:
    """As for a plan."""
    due_ns = arrival_times_ns("constant", steady(10, 1), 1)
    course = Course("constant", 1, due_ns, steady(10, 1), "")

    with pytest.raises(ValueError, match=f"allowed: at most {MAX_ARRIVALS:,}"):
        course.after(Change(0, 86_400 * NS, 100_000.0))
    with pytest.raises(ValueError, match="between the start and the end"):
        Change(2, 1, 1.0)
    with pytest.raises(ValueError, match="between the start and the end"):
        Change(0, 1, float("nan"))


@given(planned, asked)
@settings(max_examples=60, deadline=None)
def test_what_was_done_by_hand_can_be_written_as_stages(profile: Profile, given: list[tuple[float, float, float | None]]) -> None:
    """The stages in the summary make the same load again, but for milliseconds."""
    changes = changes_of(profile, given)
    try:
        for change in changes:
            profile = profile.changed(
                Fraction(change.from_ns, NS), Fraction(change.until_ns, NS), Fraction(str(change.rate_per_s))
            )
    except ValueError:
        return  # Nothing would have been sent at all.
    text = stages_of(profile)
    if profile.duration_s < 0.05 or profile.expected < 1:
        return
    again = parse_stages(text)

    assert abs(again.duration_s - profile.duration_s) <= 0.001
    assert abs(float(again.expected - profile.expected)) <= 0.001 * (len(profile.segments) + 1) * (profile.peak_per_s + 1)
