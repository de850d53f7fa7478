"""Times of requests from a file: what is understood, and how what is not is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.replay import Recorded, ReplayError, read_times, replayed_times_ns


def due_s(recorded: Recorded, *, spread: str = "constant", speed: float = 1.0, for_s: float | None = None) -> list[float]:
    random = np.random.Generator(np.random.PCG64(1))
    times = replayed_times_ns(recorded, spread=spread, speed=speed, duration_s=for_s, random=random)
    return [round(each / 1e9, 9) for each in times.tolist()]


LOGGED = '127.0.0.1 - - [10/Oct/2026:13:55:{second} +0200] "GET / HTTP/1.1" 200 2'


@pytest.mark.parametrize(
    ("lines", "field", "expected"),
    [
        (["0.5", "2", "", "# a remark", "1.25"], None, [0.5, 1.25, 2]),
        (["1791640536.25", "1791640537.0"], None, [0, 0.75]),
        (["1791640536250", "1791640537001"], None, [0, 0.751]),
        (["1791640536250000", "1791640536250001"], None, [0, 1e-6]),
        (["1791640536250000000", "1791640536250000007"], None, [0, 7e-9]),
        (["2026-10-10T13:55:36.120Z", "2026-10-10T15:55:37+02:00"], None, [0, 0.88]),
        (["2026-10-10 13:55:36.5", "2026-10-10 13:55:36.75"], None, [0, 0.25]),
        ([LOGGED.format(second=36), LOGGED.format(second=38)], None, [0, 2]),
        (["time,path", "1.5,/a", '2.5,"/b,c"'], None, [1.5, 2.5]),
        (["path;Timestamp", "/a;1.5", "/b;2.5"], None, [1.5, 2.5]),
        (["path\tat", "/a\t1.5"], "at", [1.5]),
        (["1.5,/a", "2.5,/b"], None, [1.5, 2.5]),
        (["when", "1.5"], "when", [1.5]),
        (["time", "1.5"], None, [1.5]),
        (['{"ts": 1791640536.123456789, "x": 1}', '{"ts": 1791640536.123456790, "x": 2}'], None, [0, 1e-9]),
        (['{"at": "2026-10-10T13:55:36.5Z"}', '{"at": "2026-10-10T13:55:36.7Z"}'], "at", [0, 0.2]),
    ],
)
def test_times_are_read_from_what_people_have(lines: list[str], field: str | None, expected: list[float]) -> None:
    """Numbers, clocks in any unit, access logs, CSV, NDJSON; a clock's times count from the first one."""
    assert expected == due_s(read_times(lines, field))


@pytest.mark.parametrize(
    ("lines", "field", "message"),
    [
        ([], None, "there is no time in it"),
        (["# only a remark"], None, "there is no time in it"),
        (["1", "two"], None, "line 2: 'two' is no time; allowed are seconds"),
        (["soon"], None, "which of these holds the time is not clear (line 1): soon"),
        (["time,x", "1"], "x", "line 2 has 1 columns, and the time is in column 2"),
        (["a,b", "1,2"], None, "which of these holds the time is not clear (line 1): a, b; name it"),
        (["a,b", "1,2"], "c", "there is no column 'c'; line 1 names a, b"),
        (['{"a": 1}'], None, "which of these holds the time is not clear (line 1): a; name it"),
        (['{"ts": 1}', '{"tt": 1}'], None, "line 2 has no key 'ts'; it has tt"),
        (['{"ts": 1}', "2"], None, "line 2 is no JSON object"),
        (['{"ts": true}'], None, "line 1: True is no time"),
        (["-1"], None, "the first time is -1 s; allowed are times from 0 on"),
        (["nan"], "x", "there is no column 'x'"),
        (["0", "86400"], None, "they last 86,400 s; allowed are 86,400 s, a day"),
        ([LOGGED.format(second=36), "nonsense"], None, "line 2 has no time like [10/Oct/2026:13:55:36 +0000]"),
        ([LOGGED.format(second=61)], None, "is no time"),
        (
            ["12.5", "20000000000"],
            None,
            "line 2: '20000000000' is too far away; allowed are times until the year 2262, 9,223,372,036 s",
        ),
        (["9223372036.9"], None, "line 1: '9223372036.9' is too far away"),
        (["-20000000000"], None, "line 1: '-20000000000' is too far away"),
        (["2026-10-10T13:55:36Z", "9999-12-31T00:00:00Z"], None, "line 2: '9999-12-31T00:00:00Z' is too far away"),
        (["0001-01-01T00:00:00Z"], None, "line 1: '0001-01-01T00:00:00Z' is too far away"),
    ],
)
def test_what_is_no_time_is_named_with_its_line(lines: list[str], field: str | None, message: str) -> None:
    """The line, what is there, and what is allowed."""
    with pytest.raises(ReplayError) as caught:
        read_times(lines, field)

    assert message in str(caught.value)


def test_the_requests_of_one_second_of_a_log_are_spread_over_it() -> None:
    """A log without fractions does not mean that everybody came when the second began."""
    recorded = read_times([LOGGED.format(second=second) for second in (36, 36, 36, 36, 38, 38)])

    assert recorded.is_in_whole_seconds
    assert due_s(recorded) == [0, 0.25, 0.5, 0.75, 2, 2.5]
    at_random = due_s(recorded, spread="poisson")
    assert [int(each) for each in at_random] == [0, 0, 0, 0, 2, 2]
    assert sorted(at_random) == at_random
    assert len(set(at_random)) == 6


def test_a_fraction_anywhere_means_that_times_are_exact() -> None:
    """Two requests at one exact time are two requests at one time."""
    assert due_s(read_times(["1", "1", "2.5"])) == [1, 1, 2.5]


def test_a_replay_can_be_faster_or_slower_and_cut() -> None:
    """Twice as fast halves every time; what would come after the end of the load is left out."""
    recorded = read_times(["0.5", "1", "4"])

    assert due_s(recorded, speed=2) == [0.25, 0.5, 2]
    assert due_s(recorded, speed=0.5) == [1, 2, 8]
    assert due_s(recorded, speed=2, for_s=2) == [0.25, 0.5]


@given(st.lists(st.integers(0, 50_000_000_000), min_size=1, max_size=200), st.sampled_from(["constant", "poisson"]))
@settings(max_examples=80, deadline=None)
def test_a_replay_sends_what_is_in_the_file_no_more_and_no_less(times: list[int], spread: str) -> None:
    """Whatever order the file is in: every time once, sorted; exact ones to the nanosecond, whole seconds in their second."""
    recorded = read_times([f"{each / 1e9:.9f}" for each in times])
    random = np.random.Generator(np.random.PCG64(1))
    due = replayed_times_ns(recorded, spread=spread, speed=1.0, duration_s=None, random=random)

    assert bool((np.diff(due) >= 0).all())
    if recorded.is_in_whole_seconds:
        assert sorted(each // 1_000_000_000 for each in times) == (due // 1_000_000_000).tolist()
    else:
        assert sorted(times) == due.tolist()
