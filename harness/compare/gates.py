"""`--fail-on 'done_p95>+10%'`: changes that a comparison must not show. Grammar and judgement; pure functions.

    gate := figure ("<" | "<=" | ">" | ">=") ("+" | "-") number ["%" | unit]

A change is a share of the baseline (`+10%`) or an amount in the figure's unit (`+5ms`, `+3`). A gate is broken if the change is
beyond it and is a difference (docs/compare.md), or if all of its interval is beyond; it holds if all of the interval is not, and
there are enough runs to know what another one would come to.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from harness.compare.effects import LEAST_PAIRS
from harness.compare.quantities import QUANTITIES, Quantity
from harness.compare.record import ContrastRecord, FigureRecord, GateRecord
from harness.slo import DURATIONS_S, SloError
from harness.wording import duration_ms, duration_s, figure

__all__ = ["Gate", "judge_gate", "parse_gate"]

_FIGURE: Final = re.compile(r"[A-Za-z_][\w.]*")
_OPERATOR: Final = re.compile(r"<=|>=|<|>|≤|≥")
_NUMBER: Final = re.compile(r"\d[\d_]*(?:\.\d+)?")
_UNIT: Final = re.compile(r"%|/s\b|[A-Za-zµ]+")
_SPACE: Final = re.compile(r"\s*")
_BYTES: Final = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "bytes": 1.0}
_ALSO: Final = {
    **{f"response_{name}": name for name in ("p50", "p95", "p99")},
    "backlog_max": "backlog",
    "throughput": "achieved",
    "cpu_s_per_1000": "cpu",
    "rss": "memory",
}


@dataclass(frozen=True, slots=True)
class Gate:
    """One change that must not be."""

    text: str
    quantity: str
    is_above: bool  # fails if the change is above the limit, not below
    limit: float  # a share (0.1), or an amount in the unit of the quantity
    is_share: bool


def parse_gate(text: str) -> Gate:
    """Reads one. Raises SloError, which points at the character."""
    text = text.strip()
    if not text:
        raise SloError("there is no expression; write, e.g., done_p95>+10%", "", 0)
    found = _FIGURE.match(text)
    if found is None:
        raise SloError("expected the name of a figure, e.g., done_p95 or p99", text, 0)
    name = _ALSO.get(found[0], found[0])
    if name not in QUANTITIES:
        near = next(iter(difflib.get_close_matches(found[0], [*QUANTITIES, *_ALSO], n=1)), None)
        meant = f"; did you mean {near!r}?" if near else f"; there are {', '.join(QUANTITIES)}"
        raise SloError(f"{found[0]!r} is not compared{meant}", text, 0)
    quantity = QUANTITIES[name]
    at = _skip(text, found.end())
    operator = _OPERATOR.match(text, at)
    if operator is None:
        raise SloError("expected a comparison: > for what must not grow, < for what must not shrink", text, at)
    at = _skip(text, operator.end())
    if text[at : at + 1] not in {"+", "-", "−"}:
        example = f"{found[0]}{operator[0]}{'+' if operator[0][0] == '>' else '-'}10%"
        raise SloError(
            f"a change has a sign, e.g., {example}; a limit for every run alone is given with --slo", text, min(at, len(text))
        )
    sign = 1.0 if text[at] == "+" else -1.0
    number = _NUMBER.match(text, at + 1)
    if number is None:
        raise SloError("expected a number after the sign, e.g., +10%", text, at + 1)
    unit_at = _skip(text, number.end())
    unit = _UNIT.match(text, unit_at)
    end = _skip(text, unit.end() if unit else unit_at)
    if end < len(text):
        raise SloError(
            "expected the end of the expression: one change each, give others with a --fail-on of their own", text, end
        )
    value = sign * float(number[0].replace("_", ""))
    is_share = unit is not None and unit[0] == "%"
    limit = value / 100 if is_share else _amount(value, unit[0] if unit else None, quantity, text, unit_at)
    return Gate(text, name, operator[0][0] in ">≥", limit, is_share)


def judge_gate(gate: Gate, contrast: ContrastRecord) -> GateRecord:
    """What it comes to for one configuration."""
    found = next((each for each in contrast.figures if each.id == gate.quantity), None)
    if found is None or found.scale == "none":
        return GateRecord(
            text=gate.text, configuration=contrast.configuration, holds=None, change=None, why="there is no such figure of both"
        )
    holds, change, why = _judged(gate, found)
    if holds and found.n < LEAST_PAIRS:
        holds, why = None, f"{why} in these runs, and fewer than {LEAST_PAIRS} of each tell nothing of what others would come to"
    return GateRecord(text=gate.text, configuration=contrast.configuration, holds=holds, change=change, why=why)


def _judged(gate: Gate, found: FigureRecord) -> tuple[bool | None, float | None, str]:
    if found.scale == "never":
        n_base, n_other = (found.n if n is None else n for n in (found.n_base, found.n_other))
        if found.never_base == n_base and found.never_other == n_other:
            return True, 0.0, "it never ends in either"
        is_more = found.never_other * n_base > found.never_base * n_other
        told = f"it never ended in {found.never_other} of {n_other} runs, and in {found.never_base} of {n_base} of the baseline"
        if found.decision in {"different", "seen"}:
            return not is_more if gate.is_above else is_more, None, told
        return None, None, told
    change, low, high = (_change(gate, found, value) for value in (found.estimate, found.low, found.high))
    assert change is not None
    sign = 1.0 if gate.is_above else -1.0
    is_beyond = sign * (change - gate.limit) > 0
    shown = f"{_shown(change, gate)}"
    if low is None or high is None:
        if found.decision == "equal" and not is_beyond:
            return True, change, shown
        is_seen = found.decision == "seen" and is_beyond
        return (False if is_seen else None), change, shown if is_seen else f"{shown}, and what chance does is not known"
    ends = f"{_shown(low, gate)} to {_shown(high, gate)}"
    near, far = (low, high) if gate.is_above else (high, low)
    if is_beyond and (found.decision in {"different", "seen"} or sign * (near - gate.limit) > 0):
        return False, change, f"{shown} ({ends})"
    if sign * (far - gate.limit) <= 0:
        return True, change, f"{shown} ({ends})"
    more = f"; about {found.needed:,} blocks would tell" if found.needed else ""
    return None, change, f"{shown}, and it may be {ends}{more}"


def _change(gate: Gate, found: FigureRecord, value: float | None) -> float | None:
    """As a share, or as an amount."""
    if value is None:
        return None
    base = found.base or 0.0
    if found.scale == "ratio":
        return value - 1 if gate.is_share else base * (value - 1)
    if not gate.is_share:
        return value
    # Of nothing any change is more than every share of it.
    return value / base if base else math.copysign(math.inf, value) if value else 0.0


def _amount(value: float, unit: str | None, quantity: Quantity, text: str, at: int) -> float:
    if quantity.unit in {"ms", "s"}:
        if unit is None or unit not in DURATIONS_S:
            raise SloError(f"{quantity.title} is a duration: write a share, e.g., +10%, or a time, e.g., +5ms", text, at)
        return value * DURATIONS_S[unit] * (1e3 if quantity.unit == "ms" else 1.0)
    if quantity.unit == "bytes":
        if unit is None or unit not in _BYTES:
            raise SloError(f"{quantity.title} is in bytes: write a share, e.g., +10%, or, e.g., +5MB", text, at)
        return value * _BYTES[unit]
    if quantity.unit == "/s":
        if unit not in {None, "/s"}:
            raise SloError(f"{quantity.title} is a rate: write a share, e.g., -5%, or, e.g., -2/s", text, at)
        return value
    if unit is not None:
        raise SloError(f"{quantity.title} is a count: write a share, e.g., +10%, or a number alone, e.g., +3", text, at)
    return value


def _shown(change: float, gate: Gate) -> str:
    if math.isinf(change):
        return "from none to some" if change > 0 else "to less than none"
    if gate.is_share:
        return f"{change * 100:+.1f} %"
    unit: Literal["ms", "s", "/s", "%", "bytes", ""] = QUANTITIES[gate.quantity].unit
    size = abs(change)
    words = {"ms": duration_ms, "s": duration_s}.get(unit)
    return ("+" if change >= 0 else "-") + (words(size) if words else figure(round(size, 2), unit))


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
