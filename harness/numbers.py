"""Options that take a number: what is wrong with one is told with what is allowed."""

from __future__ import annotations

import math
from typing import Any

import click
from click.types import FloatParamType, IntParamType

__all__ = ["Count", "CountWithin", "Number", "NumberWithin"]


class Number(FloatParamType):
    """A finite number, of which whoever takes it says how large it may be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails with an example."""
        found = _read_number(value)
        if found is None:
            self.fail(f"{value!r} is no number; write one, as 20 or 0.5", param, ctx)
        return found


class NumberWithin(click.FloatRange):
    """A finite number within bounds: a lower one, or two that are allowed themselves."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails with what is allowed."""
        found, allowed = _read_number(value), _allowed(self)
        if found is None:
            self.fail(f"{value!r} is no number; allowed is {allowed}", param, ctx)
        if not _is_within(found, self):
            self.fail(f"{value} is not allowed; allowed is {allowed}", param, ctx)
        return found


class Count(IntParamType):
    """A whole number, of which whoever takes it says how large it may be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Fails with an example."""
        found = _read_count(value)
        if found is None:
            self.fail(f"{value!r} is no whole number; write one, as 8", param, ctx)
        return found


class CountWithin(click.IntRange):
    """A whole number within bounds: a lower one, or two that are allowed themselves."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Fails with what is allowed."""
        found, allowed = _read_count(value), _allowed(self)
        if found is None:
            self.fail(f"{value!r} is no whole number; allowed is {allowed}", param, ctx)
        if not _is_within(found, self):
            self.fail(f"{value} is not allowed; allowed is {allowed}", param, ctx)
        return found


def _read_number(value: Any) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _read_count(value: Any) -> int | None:
    try:
        return int(value)
    except ValueError:
        return None


def _is_within(value: float, bounds: click.IntRange | click.FloatRange) -> bool:
    is_enough = bounds.min is None or (value > bounds.min if bounds.min_open else value >= bounds.min)
    return is_enough and (bounds.max is None or value <= bounds.max)


def _allowed(bounds: click.IntRange | click.FloatRange) -> str:
    if bounds.max is not None:
        return f"{bounds.min:,} to {bounds.max:,}"
    return f"more than {bounds.min:g}" if bounds.min_open else f"{bounds.min:g} or more"
