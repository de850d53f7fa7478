"""How faults are written, which can be combined, and what is said of those that cannot. Nothing runs here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.faults import GAUGES, KINDS, OPERATORS, FaultPlan, contradiction, occurrences
from harness.faultsyntax import FAULT_HELP, parse_fault
from harness.plan import Plan

times = st.integers(1, 900_000).map(lambda ms: f"{ms}ms") | st.integers(1, 900).map(lambda s: f"{s}s")
spaces = st.sampled_from(["", " ", "  "])
VALUES = {"threads": "3", "processes": "2", "duration": "250ms", "signal": "term", "whose": "all", None: ""}


@st.composite
def written(draw: st.DrawFn) -> str:
    """A fault as somebody could write it."""
    name = draw(st.sampled_from(list(KINDS)))
    kind = KINDS[name]
    space = draw(spaces)
    value = f"={VALUES[kind.value]}" if kind.value and draw(st.booleans()) else ""
    on_condition = draw(st.booleans())
    when = draw(times)
    if on_condition:
        gauge = draw(st.sampled_from(list(GAUGES)))
        limit = {"count": "1_200", "bytes": "2.5MB", "duration": "80ms"}[GAUGES[gauge][0]]
        when = f"{gauge}{space}{draw(st.sampled_from(OPERATORS))}{space}{limit}"
    has_length = kind.length == "required" or (kind.length == "optional" and draw(st.booleans()))
    length = f"{space}+{space}{draw(times)}" if has_length else ""
    rest = draw(st.sampled_from(["", f" after {draw(times)}"] if on_condition else ["", " every 7s", " every 7s x3"]))
    return f"{space}{name}{value}{space}@{space}{when}{length}{rest}{space}"


@given(written())
def test_what_is_shown_of_a_fault_is_read_as_the_same_fault(text: str) -> None:
    """However it was written: spaces, units, values that are the default."""
    fault = parse_fault(text)

    assert parse_fault(str(fault)) == fault
    assert " " not in str(fault).split(" every")[0].split(" after")[0]


@given(written(), st.data())
def test_a_fault_that_is_none_is_pointed_at_and_told_what_is_allowed(text: str, data: st.DataObject) -> None:
    """A character too many or too few somewhere: either it is another fault, or the mark is inside the text or at its end."""
    at = data.draw(st.integers(0, len(text)))
    changed = (
        text[:at]
        + data.draw(st.sampled_from(["", "?", "x", "9", "@", "+", "=", " "]))
        + text[at + data.draw(st.integers(0, 1)) :]
    )
    try:
        parse_fault(changed)
    except ValueError as error:
        _, shown, mark = str(error).split("\n")
        assert shown == f"    {changed}"
        assert 4 <= mark.index("^ allowed here: ") <= len(shown)


@given(st.text(max_size=30))
@settings(max_examples=300)
def test_no_text_makes_the_parser_fall(text: str) -> None:
    """Whatever it is, it is a fault that can be written again, or a ValueError that shows it."""
    said = ""
    try:
        said = str(parse_fault(text))
    except ValueError as error:
        assert "^ allowed here: " in str(error)  # noqa: PT017  # most of these texts are no fault, and some are
    assert not said or str(parse_fault(said)) == said


@pytest.mark.parametrize(
    ("text", "column", "said", "allowed"),
    [
        ("kil@5s", 0, "'kil' is not a kind of fault; did you mean 'kill'?", "one of kill, crash"),
        ("kill", 4, "it does not say when", "@ and a time or a condition"),
        ("kill@", 5, "it does not say when", "a time (6s, 200ms, 1.5m)"),
        ("@5s", 0, "a kind of fault is missing", "one of kill, crash"),
        ("kill@soon", 5, "'soon' is neither a time nor a gauge", "a time (6s, 200ms, 1.5m)"),
        ("kill@5s+2s", 7, "kill takes no length", "a kind that lasts: stop, squeeze"),
        ("stop@6s", 7, "stop lasts: say how long", "+ and a time, e.g., stop@6s+2s"),
        ("kill=3@4s", 4, "kill takes no value", "a kind that takes one: term=5s, int=5s, worker=term"),
        ("term=0s@4s", 5, "how long it may take cannot be nothing", "a time above zero"),
        ("squeeze=0@4s+1s", 8, "the number of threads is missing or out of range", "a whole number from 1 to 10,000"),
        ("kill@rss>200", 9, "rss is counted in bytes", "one of B, kB, MB"),
        ("kill@backlogg>5", 5, "did you mean 'backlog'?", "one of backlog, busy"),
        ("kill@backlog=5", 12, "backlog needs a limit", "one of < <= > >= and a number"),
        ("kill@5s after 3s", 8, "nothing more is understood here", "every TIME"),
        ("kill@backlog>5 every 3s", 15, "nothing more is understood here", "after TIME"),
    ],
)
def test_each_error_says_what_where_and_what_instead(text: str, column: int, said: str, allowed: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_fault(text)

    first, shown, mark = str(caught.value).split("\n")
    assert said in first
    assert shown == f"    {text}"
    assert mark.index("^") == 4 + column
    assert allowed in mark


def plan(*faults: str, **values: Any) -> Plan:
    return Plan.of({"scenario": "email", "rate": 10.0, "for_s": 20.0, "pool": 8, "faults": faults, **values}, "test")


def test_a_repeated_fault_is_as_many_faults() -> None:
    """Without a number: until the load ends; one that lasts has to fit in."""
    assert [str(each) for each in plan("kill@5s every 4s").fault_plans] == ["kill@5s", "kill@9s", "kill@13s", "kill@17s"]
    assert [str(each) for each in plan("stop@5s+4s every 5s").fault_plans] == ["stop@5s+4s", "stop@10s+4s", "stop@15s+4s"]
    assert [str(each) for each in plan("stop@5s+5s every 5s").fault_plans] == ["stop@5s+5s", "stop@10s+5s", "stop@15s+5s"]
    assert [str(each) for each in plan("kill@5s every 4s x2", "term@6s").fault_plans] == ["kill@5s", "term@6s", "kill@9s"]


OWN = {"scenario": None, "command": ("uvicorn", "main:app", "--port", "{port}"), "pool": None}


@pytest.mark.parametrize(
    ("faults", "values", "said"),
    [
        (("kill@20s",), {}, "fault kill@20s comes after the end of the load (20 s)"),
        (("stop@18s+3s",), {}, "fault stop@18s+3s ends after the end of the load (20 s)"),
        (("kill@5s every 6s x4",), {}, "fault kill@23s comes after the end of the load"),
        (("kill@backlog>5 after 30s",), {}, "counts only after the end of the load"),
        (("stop@5s+4s", "term@8s"), {}, "a server that is stopped cannot do what term asks of it"),
        (("stop@5s+4s", "stop@7s+1s"), {}, "two of stop at once are one"),
        (("squeeze@5s+4s", "kill@8s"), {}, "kill would end what squeeze is done to"),
        (("squeeze@5s+4s", "stop@8s+2s"), {}, "squeeze could not be taken back from a server that is stopped"),
        (("slow-world@5s+4s", "dead-world@8s+1s"), {}, "a world that is dead cannot be slow"),
        (("full-disk@5s", "kill@15s"), {}, "the first lasts until the end: kill would end what full-disk is done to"),
        (("worker@5s",), {}, "the server has one process: give it others with --workers 2"),
        (("rolling@5s",), {}, "engine rust replaces workers one by one only where there are several"),
        (("rolling@5s",), {"engine": "uvicorn"}, "engine uvicorn replaces workers one by one only where there are several"),
        (("squeeze=8@5s+1s",), {}, "the pool has 8 threads: squeeze it to fewer"),
        (("slow-world@5s+1s",), OWN, "an app of your own brings its own world"),
        (("rolling@5s",), {**OWN, "command": ("hypercorn", "main:app", "-b", "{port}")}, "hup sends SIGHUP to any server"),
        (("rolling@5s",), OWN, "it is of gunicorn, granian, uvicorn --workers N"),
        (("worker@5s",), {**OWN, "command": (*OWN["command"], "--workers=1")}, "the server has one process"),
    ],
)
def test_what_is_not_possible_is_refused_before_anything_runs(faults: tuple[str, ...], values: dict[str, Any], said: str) -> None:
    """Times that do not fit, faults that contradict each other, and servers that cannot take them."""
    with pytest.raises(UsageError) as caught:
        plan(*faults, **values)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("faults", "values"),
    [
        (("stop@5s+4s", "slow-world@5s+4s", "hog@6s+2s", "hog@7s+2s", "kill@8s", "dead-world@9s+1s"), {}),
        (("squeeze@5s+4s", "full-disk@6s", "hog@6s+2s"), {}),
        (("stop@5s+1s", "term@6s", "kill@backlog>5"), {}),
        (("rolling@5s", "worker=term@9s"), {"workers": 2}),
        (("rolling@5s",), {**OWN, "command": ("python", "-m", "uvicorn", "main:app", "--workers", "2", "--port", "{port}")}),
    ],
)
def test_what_does_not_contradict_each_other_may_overlap(faults: tuple[str, ...], values: dict[str, Any]) -> None:
    """Also a kill of a server that hangs, as a liveness probe does it. All are planned, in the order in which they land."""
    assert {str(each) for each in plan(*faults, **values).fault_plans} == {str(parse_fault(each)) for each in faults}


@given(st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(0, 17), st.integers(1, 3)), max_size=6))
def test_two_faults_that_do_not_touch_never_contradict_each_other(chosen: list[tuple[str, int, int]]) -> None:
    """Contradictions are about the same time, and about nothing else."""
    faults = [
        FaultPlan(name, float(at), length_s=float(length) if KINDS[name].length != "none" else None)
        for name, at, length in chosen
    ]
    ordered = occurrences(faults, 21.0)
    ends = [fault.at_s or 0.0 for fault in ordered]
    touching = any(
        fault.until_s is not None and fault.until_s > begin for place, fault in enumerate(ordered) for begin in ends[place + 1 :]
    )
    assert touching or contradiction(ordered) is None


def test_the_help_names_every_kind_and_every_gauge() -> None:
    for name in (*KINDS, *GAUGES):
        assert f"\n  {name} " in FAULT_HELP
