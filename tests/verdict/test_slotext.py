"""Limits in the text of a run: in its first lines, each with its value, and what stands in the way where it cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from harness.rows import Outcome, RequestError
from harness.schema import Summary
from harness.summary import build_summary
from harness.text import render
from harness.wording import figure

from .simulated import START_NS, S, Setup, Simulated


def judged(*slos: str, broken: bool = False, **extra: object) -> Summary:
    run = Simulated(Setup(1, answer_ms=30.0 if broken else 4.0))
    run.extra.update(extra)
    return build_summary(run.evidence(), {"slos": slos}, {}, n_bins=10)


def head(summary: Summary, **more: object) -> list[str]:
    """The first section, wide enough that no sentence is broken."""
    return render(summary, width=120, **more).split("\n\n", 1)[0].splitlines()  # type: ignore[arg-type]


def test_limits_that_hold_are_listed_below_the_verdict() -> None:
    summary = judged("p99<1s", "lost==0", "achieved>=95%", "p50<1s@5s")
    assert head(summary)[1:] == [
        "✔ PASS: all 4 limits hold:",
        f"    ✔ p99<1s         {summary.requests.response_ms.p99:.1f} ms",
        "    ✔ lost==0        0",
        "    ✔ achieved>=95%  200.0/s (the limit is 190.0/s)",
        f"    ✔ p50<1s@5s      {summary.slos[3].value:.2f} ms in the 5.00 s from 7.0 s on, the worst of 2 windows",
    ]


def test_one_limit_is_told_in_the_singular() -> None:
    assert head(judged("lost==0"))[1:] == ["✔ PASS: the limit holds:", "    ✔ lost==0  0"]
    assert head(judged())[-1] == "✔ PASS: the figures can be trusted (no limits were set)."


def test_a_broken_limit_has_its_value_and_the_promise_is_still_told_as_kept() -> None:
    lines = head(judged("p99<50ms", "lost==0", "p99<50ms@10s", broken=True))
    assert lines[0].startswith("✔ No promise was broken")
    assert lines[1] == "✖ FAIL: 2 of 3 limits are broken:"
    assert lines[2].startswith("    ✖ p99<50ms      ")
    assert lines[3] == "    ✔ lost==0       0"
    assert lines[4].endswith("from 2.0 s on; broken in 1 of 1 window")


def test_what_cannot_be_told_says_why_and_what_to_do() -> None:
    lines = head(judged("p99.9<20s", "lost==0"))
    assert lines[0].startswith("✔ No promise was broken")
    assert lines[1] == "▲ INCONCLUSIVE: whether 1 of 2 limits holds cannot be told:"
    assert lines[2].startswith("    ▲ p99.9<20s  ")
    text = " ".join(" ".join(lines[2:]).split())
    assert "2,000 values are too few for p99.9, which needs 10,000 (or 2,995 that all hold)" in text
    assert "take it as it is with --allow few-samples" in text


def test_figures_that_cannot_be_trusted_come_before_the_limits() -> None:
    lines = head(judged("lost==0", problems=["The disk was full."]))
    assert lines[0].startswith("▲ Not proven: no promise was broken")
    assert lines[1:] == ["▲ INCONCLUSIVE: the figures cannot be trusted:", "    · The disk was full.", "    ✔ lost==0  0"]


def test_limits_of_an_interrupted_run_are_one_line() -> None:
    lines = head(judged("lost==0", "p99<1s", interrupted_by="SIGINT"))
    assert lines[-2:] == ["    · The run was interrupted by SIGINT.", "    ▲ 2 limits were not looked at"]


def test_what_never_ended_is_said_so() -> None:
    run = Simulated(Setup(1))
    silent = run.requests["due_ns"] >= START_NS + 11.5 * S
    run.requests["outcome"][silent], run.requests["error"][silent] = Outcome.IND, RequestError.CLOSED_EARLY
    summary = build_summary(run.evidence(), {"slos": ["p99<1h"]}, {}, n_bins=10)
    assert head(summary)[-1] == "    ✖ p99<1h  never ended"
    assert summary.reasons == ["p99<1h is broken: never ended."]


@pytest.mark.parametrize("width", [70, 80, 120])
@pytest.mark.parametrize("glyphs", ["blocks", "ascii"])
def test_lines_keep_to_their_width(width: int, glyphs: str) -> None:
    """Also with names that are longer than their column."""
    long = "scenario.figures.something_that_is_very_long_indeed.value<5"
    text = render(judged("p99.99<1s", long, "lost==0"), width=width, glyphs=glyphs)  # type: ignore[arg-type]
    assert max(map(len, text.splitlines())) <= width
    assert glyphs == "blocks" or text.isascii()


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (12.34, "ms", "12.3 ms"),
        (61_000.0, "ms", "61.0 s"),
        (0.5, "s", "500 ms"),
        (np.inf, "ms", "never ended"),
        (None, "ms", "none"),
        (0.0, "%", "0 %"),
        (0.4, "%", "0.40 %"),
        (100.0, "%", "100 %"),
        (38.05, "/s", "38.0/s"),
        (12_345.6, "/s", "12,346/s"),
        (1204.0, "", "1,204"),
        (2.5, "", "2.50"),
        (4096.0, "bytes", "4,096 bytes"),
    ],
)
def test_figures_are_shown_in_their_unit(value: float | None, unit: str, expected: str) -> None:
    assert expected == figure(value, unit)
