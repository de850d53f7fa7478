"""The options that say what a run does: those of every command that makes runs. Each is a key of the plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from harness.commands.objectives import slo_options
from harness.commands.params import Duration, Port, join_options
from harness.numbers import Count, Number
from harness.target import CONFIRM
from harness.traffic.options import TrafficCommand, traffic_options

__all__ = ["COMMAND", "PlanCommand", "plan_options"]

COMMAND: Final = "afterload.command"
"""Where the context keeps what came after `--`."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class PlanCommand(TrafficCommand):
    """What comes after `--` is a command of the user's, options and all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses what comes before `--`, and keeps what comes after it."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[COMMAND] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


def plan_options(command: Decorated) -> Decorated:
    """Adds the options, in the order in which --help shows them. What they were given goes to harness/commands/asking.py."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: Final = (
    click.option(
        "--engine", type=click.Choice(["rust", "uvicorn", "granian"]), help="What serves the scenario's app.  [default: rust]"
    ),
    click.option("--workers", type=Count(), metavar="N", help="Processes of that server.  [default: 1]"),
    click.option(
        "--loop", type=click.Choice(["auto", "asyncio", "uvloop"]), help="Event loop of uvicorn or granian.  [default: auto]"
    ),
    click.option("--cwd", metavar="DIR", help="Where COMMAND is started.  [default: here]"),
    click.option(
        "--ready", metavar="/PATH", help="COMMAND is ready when it answers 2xx there.  [default: any answer to OPTIONS *]"
    ),
    click.option("--ready-within", "ready_s", type=Duration(), metavar="TIME", help="How long a start may take.  [default: 30s]"),
    traffic_options,
    click.option(
        "--think", "think_s", type=Duration(), metavar="TIME", help="What a user waits after an answer.  [default: nothing]"
    ),
    click.option(
        "--think-spread",
        type=click.Choice(["constant", "exponential"]),
        help="How that is spread; exponential: --think is the mean.  [default: constant]",
    ),
    click.option("--rate", type=Number(), metavar="N", help="Requests to start per second, answered or not."),
    click.option(
        "--stages",
        metavar="STAGES",
        help="The same at a rate that changes over time: '50 for 10s, 50..200 for 20s, 500 for 2s'; also pause, 3x(...).",
    ),
    click.option("--replay", metavar="FILE", help="Start requests at the times in FILE: numbers, CSV, NDJSON, an access log."),
    click.option("--replay-field", metavar="NAME", help="Column or key of FILE that holds the time.  [default: the usual names]"),
    click.option("--replay-speed", type=Number(), metavar="X", help="2: twice as fast as FILE.  [default: 1]"),
    click.option(
        "--for",
        "for_s",
        type=Duration(),
        metavar="TIME",
        help="How long to send load, e.g., 30s; it follows from stages and replay.",
    ),
    click.option(
        "--warm-up",
        "warm_up_s",
        type=Duration(),
        metavar="TIME",
        help="Of that, left out of the figures.  [default: 1s, at most a fifth]",
    ),
    click.option(
        "--arrivals", type=click.Choice(["constant", "poisson"]), help="How requests are spread in time.  [default: constant]"
    ),
    click.option(
        "--send-within",
        "send_within_s",
        type=Duration(),
        metavar="TIME",
        help="Shed a request, and say so, that can't be sent so soon after it was due.  [default: 1s]",
    ),
    click.option(
        "--tasks",
        type=click.Choice(["sync", "async", "blocking", "inline"]),
        help="How the background work is written.  [default: sync]",
    ),
    click.option(
        "--pool", type=Count(), metavar="N", help="Threads for def tasks; of another server than the bundled one: anyio's tokens."
    ),
    click.option("--order", type=click.Choice(["sequential", "parallel"]), help="Of one request's tasks.  [default: sequential]"),
    click.option(
        "--on-error", type=click.Choice(["continue", "stop"]), help="After a task raised: the later ones.  [default: continue]"
    ),
    click.option("--queue-limit", type=Count(), metavar="N", help="Answer 503 while N tasks are pending.  [default: no limit]"),
    click.option(
        "--drain",
        "drain_s",
        type=Duration(),
        metavar="TIME",
        help="How long a stopping server may finish its tasks before it is killed.  [default: 30s]",
    ),
    click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="KIND@TIME",
        help="Something done to the server, e.g., kill@6s or stop@6s+2s; repeatable; 'none'; 'help' lists all that there are.",
    ),
    slo_options,
    click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the scenario, e.g., delay=200ms; repeatable."
    ),
    click.option(
        "--postgres", metavar="URL", help="The same as --set postgres=URL: a real database for scenarios that can use one."
    ),
    click.option("--redis", metavar="URL", help="The same as --set redis=URL."),
    click.option("--seed", type=Count(), metavar="N", help="Makes traffic and arrivals repeatable.  [default: 1]"),
    click.option(
        "--port",
        type=Port(0, 65_535),
        metavar="N",
        help="Port of the server; {port} in COMMAND becomes it.  [default: a free one]",
    ),
    click.option(
        "--host",
        metavar="ADDRESS",
        help="Address of the server, and of load; {host} in COMMAND becomes it.  [default: 127.0.0.1]",
    ),
    click.option(
        CONFIRM, "confirmed", multiple=True, metavar="HOST", help="Needed for a --host that is not loopback: others may reach it."
    ),
    click.option(
        "--processes",
        "--load-processes",
        "load_processes",
        type=Count(),
        metavar="N",
        help="Processes that send load.  [default: 1]",
    ),
    click.option("--above-ceiling", is_flag=True, default=None, help="Ask for more than the load generator can send here."),
    join_options,
    click.option(
        "--request-timeout",
        "request_timeout_s",
        type=Duration(),
        metavar="TIME",
        help="When to give an answer up.  [default: 10s]",
    ),
    click.option(
        "--horizon",
        "horizon_s",
        type=Duration(),
        metavar="TIME",
        help="How long to wait for the backlog after the load.  [default: 2m]",
    ),
    click.option(
        "--plan", "plan_file", type=click.Path(path_type=Path), metavar="FILE", help="A plan.toml; options win over it."
    ),
)
