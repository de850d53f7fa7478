"""Objectives as people write them: what is understood, and what they are told where it is not."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures import SHORT, check_slo, figure_of, figure_paths, limit_of
from harness.slo import DURATIONS_S, SloError, parse_slo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99<50ms", ("p99", "<", 50.0, "ms", None)),
        (" p99  <=  50 ms ", ("p99", "<=", 50.0, "ms", None)),
        ("p99.9<1.5s@5s", ("p99.9", "<", 1.5, "s", 5.0)),
        ("lost==0", ("lost", "==", 0.0, None, None)),
        ("backlog≤1_000", ("backlog", "<=", 1000.0, None, None)),
        ("backlog<1,000", ("backlog", "<", 1000.0, None, None)),
        ("error_rate<0.5%@10s", ("error_rate", "<", 0.5, "%", 10.0)),
        ("achieved>=95% of offered", ("achieved", ">=", 95.0, "%", None)),
        ("achieved>30/s", ("achieved", ">", 30.0, "/s", None)),
        ("requests.response_ms.p99<50", ("requests.response_ms.p99", "<", 50.0, None, None)),
        ("boots.1.recovery_s<3@500ms", ("boots.1.recovery_s", "<", 3.0, None, 0.5)),
        ('scenario.figures."half-written files".value<1', ("scenario.figures.half-written files.value", "<", 1.0, None, None)),
    ],
)
def test_an_objective_is_read(text: str, expected: tuple[Any, ...]) -> None:
    slo = parse_slo(text)
    assert expected == (".".join(part.name for part in slo.figure), slo.operator, slo.number, slo.unit, slo.window_s)


@pytest.mark.parametrize(
    ("text", "mark", "words"),
    [
        ("p99", 3, "expected a comparison (<, <=, >, >= or ==), found the end"),
        ("p99<", 4, "expected a number after <, found the end"),
        ("p99=50ms", 3, "'=' is no comparison; did you mean '=='?"),
        ("p99=<50ms", 3, "did you mean '<='?"),
        ("p99<>50ms", 3, "'<>' is no comparison"),
        ("p99 50ms", 4, "expected a comparison"),
        ("p99<-5ms", 4, "expected a number after <, found '-5ms'"),
        ("p99<50msec", 6, "'msec' is no unit; there are us, ms, s, m, h, %, /s; did you mean 'ms'?"),
        ("p99<50 seconds", 7, "did you mean 's'?"),
        ("50ms>p99", 0, "write the figure first"),
        ("10ms<p99<50ms", 0, "write the figure first"),
        ("p99<50ms and lost==0", 9, "one comparison each"),
        ("p99<50ms,lost==0", 8, "one comparison each"),
        ("p99<50ms<60ms", 8, "one comparison each"),
        ("p99<50ms@", 9, "expected the length of a window after @"),
        ("p99<50ms@5", 10, "a window is a duration"),
        ("p99<50ms@5%", 10, "a window is a duration"),
        ("p99<50ms@0s", 9, "a window of no length"),
        ("p99<50ms!", 8, "expected the end of the expression, found '!'"),
        ("lost<5 of accepted", 7, "'of' follows a share"),
        ("achieved>=95% of", 16, "expected the name of a figure after 'of'"),
        ("requests.<5", 9, "expected a name after the dot"),
        ("lots==0", 0, "there is no figure 'lots'; did you mean 'lost'"),
        ("reponse_p99<5ms", 0, "there is no figure 'reponse_p99'"),
        ("requests.aked>5", 9, "requests has no 'aked'; did you mean 'acked'?"),
        ("requests.response_ms<5", 9, "is a record: go on with one of n, n_never, p50"),
        ("requests.acked.x<5", 15, "requests.acked is a number and has no parts"),
        ("boots.recovery_s<5", 6, "boots is a list: say which one by its boot, e.g., boots.1.recovery_s"),
        ("boots.1<5", 6, "say which one by its boot"),
        ("boots<5", 0, "there is no figure 'boots'"),
        ("timeline.backlog_max<5", 9, "is no number"),
        ("boots.1.signal==1", 8, "boots.1.signal is no number"),
        ("n<5", 0, "'n' could be requests.response_ms.n"),
        ("p100<5ms", 0, "the largest is written as max"),
        ("p955<5ms", 0, "write p95.5"),
        ("p0<5ms", 0, "between p0 and p100"),
        ("p99<50", 4, "p99 is a duration: write 50ms or 50s"),
        ("p99<50%", 4, "p99 is a duration and % is none"),
        ("backlog<5s", 8, "backlog is a count and s is none: write 5"),
        ("lost<1%", 5, "or 1% of another count"),
        ("error_rate<1", 11, "error_rate is a share: write 1%"),
        ("achieved>5ms", 9, "achieved is a rate and ms is none: write 5/s"),
        ("lost<1% of p99", 5, "lost is a count, p99 is a duration"),
        ("lost==0@5s", 8, "has one value for the whole run"),
    ],
)
def test_a_mistake_is_pointed_at_and_explained(text: str, mark: int, words: str) -> None:
    """The expression stands below the sentence, and the mark under the character that is meant."""
    with pytest.raises(SloError) as raised:
        check_slo(text)

    sentence, shown, below = str(raised.value).split("\n")
    assert words in sentence
    assert shown == f"    {text}"
    assert below == f"    {' ' * mark}^"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("p99<50ms", 50.0),
        ("p99<0.05s", 50.0),
        ("p99<1m", 60_000.0),
        ("requests.response_ms.p99<50", 50.0),
        ("requests.response_ms.p99<50us", 0.05),
        ("drain<2m", 120.0),
        ("tasks.drain_s<500ms", 0.5),
        ("error_rate<1%", 1.0),
        ("achieved>=95%", 0.95),
        ("lost<1% of accepted", 0.01),
    ],
)
def test_limits_are_in_the_unit_of_their_figure(text: str, limit: float) -> None:
    slo = parse_slo(text)
    assert pytest.approx(limit) == limit_of(slo, figure_of(slo, slo.figure))[0]


@pytest.mark.parametrize(
    ("name", "share"),
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p999", 0.999), ("p9999", 0.9999), ("done_p5", 0.05), ("wait_max", 1.0)],
)
def test_any_percentile_can_be_asked_for(name: str, share: float) -> None:
    slo = parse_slo(f"{name}<5s")
    assert share == figure_of(slo, slo.figure).share


def test_every_number_of_the_summary_can_be_asked_for() -> None:
    """By its path, with a bare number, whatever its unit."""
    paths = list(figure_paths())
    for path in paths:
        slo = check_slo(".".join(path) + "<1") if figure_of_path(path) != "%" else check_slo(".".join(path) + "<1%")
        assert slo.number == 1
    assert len(paths) > 80


def figure_of_path(path: tuple[str, ...]) -> str:
    slo = parse_slo(".".join(path) + "<1")
    return figure_of(slo, slo.figure).unit


def test_every_short_name_is_understood() -> None:
    for name, (_, unit, _) in SHORT.items():
        check_slo(f"{name}<1{unit}")


@given(st.text(max_size=30))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    """It is read, or there is an SloError."""
    with contextlib.suppress(SloError):
        assert check_slo(text).text == text.strip()


@given(
    st.sampled_from(["p99", "p50", "done_p95.5", "lag_max"]),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.integers(0, 10**6),
    st.sampled_from(list(DURATIONS_S)),
    st.sampled_from(["", "@5s", "@250ms"]),
)
def test_what_is_written_is_what_is_read(name: str, operator: str, number: int, unit: str, window: str) -> None:
    slo = check_slo(f"{name} {operator} {number:,}{unit} {window}")
    assert (name, operator, number, unit) == (slo.figure[0].name, slo.operator, slo.number, slo.unit)
    assert re.sub(r"\s", "", slo.text) == f"{name}{operator}{number:,}{unit}{window}"
