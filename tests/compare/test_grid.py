"""What --vary and --fail-on are read as, and what is said of what makes no sense."""

from __future__ import annotations

import pytest

from harness.commands.compare import compare
from harness.commands.vary import keys_of
from harness.compare.contrasts import contrasts_of
from harness.compare.effects import paired
from harness.compare.gates import judge_gate, parse_gate
from harness.compare.grid import chosen, grid, parse_factor
from harness.compare.judging import figure_record
from harness.compare.record import ContrastRecord
from harness.errors import UsageError

KEYS = keys_of(compare.params)


def configurations(*vary: str) -> list:
    return grid([parse_factor(text, KEYS, has_settings=True) for text in vary])


def test_a_grid_has_every_combination_the_first_key_slowest() -> None:
    found = configurations("tasks=sync,async", "pool=8,40")
    assert [each.label for each in found] == [
        *("tasks=sync pool=8", "tasks=sync pool=40", "tasks=async pool=8", "tasks=async pool=40"),
    ]
    assert found[3].changes == {"tasks": "async", "pool": 40}


@pytest.mark.parametrize(
    ("vary", "changes"),
    [
        ("for=5s,1m", [{"for_s": 5.0}, {"for_s": 60.0}]),
        ("on-error=continue,stop", [{"on_error": "continue"}, {"on_error": "stop"}]),
        ("fault=kill@3s,none", [{"faults": ("kill@3s",)}, {"faults": ()}]),
        ("delay=50ms,100ms", [{"settings": {"delay": "50ms"}}, {"settings": {"delay": "100ms"}}]),
        ("set.delay=50ms,100ms", [{"settings": {"delay": "50ms"}}, {"settings": {"delay": "100ms"}}]),
        ('stages="50 for 5s, 80 for 5s",100 for 10s', [{"stages": "50 for 5s, 80 for 5s"}, {"stages": "100 for 10s"}]),
        ("command=uvicorn a:app,gunicorn a:app", [{"command": ("uvicorn", "a:app")}, {"command": ("gunicorn", "a:app")}]),
    ],
)
def test_values_are_read_as_the_options_of_a_run_read_them(vary: str, changes: list) -> None:
    assert [each.changes for each in configurations(vary)] == changes


def test_settings_of_two_keys_come_together() -> None:
    found = configurations("delay=50ms,100ms", "fail=0%,5%")
    assert found[3].changes == {"settings": {"delay": "100ms", "fail": "5%"}}


def test_the_same_value_twice_is_a_configuration_against_itself() -> None:
    assert [each.label for each in configurations("tasks=sync,sync")] == ["tasks=sync", "tasks=sync#2"]


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ("tasks", "names no values"),
        ("tasks=", "has an empty value"),
        ("tasks=sync,", "has an empty value"),
        ("task=sync,async", "did you mean 'tasks'"),
        ("tasks=sync,sinc", "'sinc' is not one of"),
        ("pool=8,many", "'many' is no whole number"),
        ("for=5s,5", "'5'"),
        ('stages="50 for 5s', "quotation mark"),
    ],
)
def test_what_cannot_be_varied_is_told(vary: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        configurations(vary)


def test_a_key_that_is_varied_twice_and_a_grid_that_is_too_large_are_refused() -> None:
    with pytest.raises(UsageError, match="given twice"):
        configurations("tasks=sync,async", "tasks=sync,inline")
    with pytest.raises(UsageError, match="72 configurations"):
        configurations("pool=1,2,3,4,5,6,7,8,9", "tasks=sync,async,blocking,inline", "engine=rust,uvicorn")


def test_the_baseline_is_named_by_what_tells_it_apart() -> None:
    found = configurations("tasks=sync,async", "pool=8,40")
    assert chosen("tasks=async,pool=8", found) == 2
    with pytest.raises(UsageError, match="fits 2 configurations"):
        chosen("tasks=async", found)
    with pytest.raises(UsageError, match="fits no configuration"):
        chosen("tasks=inline", found)


@pytest.mark.parametrize(
    ("text", "quantity", "is_above", "limit", "is_share"),
    [
        ("done_p95>+10%", "done_p95", True, 0.10, True),
        ("p99 > +5ms", "p99", True, 5.0, False),
        ("done_p50>=+1s", "done_p50", True, 1000.0, False),
        ("achieved<-5%", "achieved", False, -0.05, True),
        ("broken_promises>+0", "broken_promises", True, 0.0, False),
        ("memory>+5MB", "memory", True, 5e6, False),
        ("cpu>+2.5%", "cpu", True, 0.025, True),
    ],
)
def test_a_change_is_a_figure_a_sign_and_an_amount(
    text: str, quantity: str, is_above: bool, limit: float, is_share: bool
) -> None:
    gate = parse_gate(text)
    assert (gate.quantity, gate.is_above, gate.is_share) == (quantity, is_above, is_share)
    assert gate.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("", "no expression", 0),
        ("donep95>+10%", "did you mean 'done_p95'", 0),
        ("done_p95+10%", "expected a comparison", 8),
        ("done_p95>10%", "a change has a sign", 9),
        ("done_p95>+x", "expected a number", 10),
        ("done_p95>+10", "is a duration", 12),
        ("broken_promises>+3ms", "is a count", 18),
        ("p99>+10% and p95>+10%", "expected the end", 9),
    ],
)
def test_an_error_points_at_the_character(text: str, words: str, at: int) -> None:
    with pytest.raises(ValueError, match=words) as found:
        parse_gate(text)
    if text:
        assert str(found.value).splitlines()[-1].index("^") - 4 == at


def contrast(quantity: str, base: list[float], other: list[float]) -> ContrastRecord:
    import numpy as np

    found = contrasts_of({(1, quantity): paired(np.array(base), np.array(other))}, 0.05)
    return ContrastRecord(configuration="b", sentence="", why=[], figures=[figure_record(each) for each in found])


INF = float("inf")


@pytest.mark.parametrize(
    ("text", "base", "other", "holds"),
    [
        ("done_p95>+10%", [100.0, 101, 99, 100], [120.0, 121, 119, 121], False),
        ("done_p95>+30%", [100.0, 101, 99, 100], [120.0, 121, 119, 121], True),
        ("done_p95>+10ms", [100.0, 101, 99, 100], [120.0, 121, 119, 121], False),
        ("done_p95>+10%", [100.0, 101, 99, 100], [80.0, 150, 90, 160], None),
        ("done_p95<-10%", [100.0, 101, 99, 100], [80.0, 81, 79, 80], False),
        ("done_p95>+10%", [100.0, 101, 99, 100], [80.0, 81, 79, 80], True),
        ("done_p95>+10%", [100.0, 101, 99, 100], [INF, INF, INF, INF], False),
        ("done_p95>+10%", [INF, INF, INF, INF], [INF, INF, INF, INF], True),
        ("done_p95>+10%", [INF, INF, INF, INF], [100.0, 101, 99, 100], True),
        ("broken_promises>+0", [0.0, 0, 0, 0], [0.0, 0, 0, 0], True),
        ("broken_promises>+0", [0.0, 0, 0, 0], [9.0, 11, 10, 12], False),
        ("broken_promises>+10%", [0.0, 0, 0, 0], [9.0, 11, 10, 12], False),
        ("p50>+10%", [100.0, 101], [200.0, 201], None),
        ("broken_promises>+0", [0.0], [0.0], None),
    ],
)
def test_a_change_is_broken_held_or_not_known(text: str, base: list[float], other: list[float], holds: bool | None) -> None:
    gate = parse_gate(text)
    assert judge_gate(gate, contrast(gate.quantity, base, other)).holds is holds


def test_a_figure_that_no_run_has_cannot_be_told() -> None:
    found = judge_gate(parse_gate("memory>+1%"), contrast("p50", [1.0, 1, 1], [1.0, 1, 1]))
    assert found.holds is None
    assert "no such figure" in found.why
