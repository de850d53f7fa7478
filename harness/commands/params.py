"""What options take beside numbers and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from harness.durations import parse_duration_s
from harness.numbers import Count, CountWithin
from harness.plan import PORT_PLACEHOLDER

__all__ = ["EXAMPLE", "Duration", "Port", "join_options"]

EXAMPLE = "afterload run --request 'POST /orders' -- uvicorn main:app --port {port}"
"""How an app of one's own is run."""


class Duration(click.ParamType[float]):
    """Seconds, written as 500ms, 30s, 2m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails with what is allowed."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration_s(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Port(CountWithin):
    """A port number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Fails for the placeholder, which belongs to the command."""
        if value == PORT_PLACEHOLDER:
            self.fail(f"{value} belongs to the command of your app; write -- before it: {EXAMPLE}", param, ctx)
        return int(super().convert(value, param, ctx))


def join_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `run` for load from other machines."""
    options = (
        click.option(
            "--expect-loads",
            type=Count(),
            metavar="N",
            help="Wait for N load machines (afterload load --join), which send their part of the load.  [default: 0]",
        ),
        click.option("--join-bind", metavar="HOST:PORT", help="Where they join; port 0 takes any.  [default: 127.0.0.1:5557]"),
        click.option(
            "--join-within", "join_s", type=Duration(), metavar="TIME", help="How long to wait for them.  [default: 2m]"
        ),
        click.option(
            "--join-rows",
            type=Count(),
            metavar="N",
            help="More requests of one of their processes come back as histograms only.  [default: 5000000]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
