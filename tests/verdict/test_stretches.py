"""Stretches of time, against looking at each instant."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stretches import Stretches

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)), max_size=12)


def made(pairs: list[tuple[int, int]]) -> Stretches:
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return Stretches.joined(found[:, 0], found.sum(axis=1))


def covered(pairs: list[tuple[int, int]]) -> set[float]:
    """Instants, in halves, from the first to the last of each."""
    return {at / 2 for begin, length in pairs for at in range(2 * begin, 2 * (begin + length) + 1)}


@settings(max_examples=200, deadline=None)
@given(spans, spans)
def test_a_time_touches_a_stretch_if_it_has_an_instant_of_it(pairs: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    """One that begins at the very end of a stretch does not, for what held it is over."""
    known, times = covered(pairs), np.array(asked, np.int64).reshape(-1, 2)
    ends = {begin + length for begin, length in pairs}
    inside = {at for at in known if at not in ends or at + 0.5 in known}
    found = made(pairs).touch(times[:, 0], times[:, 1])
    assert [
        bool(({begin} & inside) or (covered([(begin, length)]) - {begin}) & known) for begin, length in asked
    ] == found.tolist()


@settings(max_examples=100, deadline=None)
@given(spans, st.integers(0, 40), st.integers(1, 20))
def test_how_much_of_a_time_lies_in_them_is_counted_once(pairs: list[tuple[int, int]], begin: int, length: int) -> None:
    seconds = {at for first, long in pairs for at in range(first, first + long)}
    expected = len(seconds & set(range(begin, begin + length))) / length
    assert abs(made(pairs).share_of(begin, begin + length) - expected) < 1e-9
