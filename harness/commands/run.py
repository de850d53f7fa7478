"""`afterload run`: options, or a plan file, or both, into a plan; the session does the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.commands.objectives import doubts, slo_options
from harness.commands.params import EXAMPLE, Duration, Port, join_options
from harness.commands.showing import EXIT_STATUS, require_writable, show_outcome
from harness.errors import UsageError
from harness.faultsyntax import FAULT_HELP
from harness.load import ways
from harness.merging import merged
from harness.plan import Plan, read_plan
from harness.replays import read_replay
from harness.session import describe
from harness.session import run as run_session
from harness.target import CONFIRM, require_address_of_this_machine, require_own
from harness.traffic.options import TrafficCommand, traffic_options

__all__ = ["run"]

_WARM_UP_S = 1.0
_COMMAND = "afterload.command"
_OWN_APP: dict[str, Any] = {"rate_per_s": 50.0, "duration_s": 10.0, "pool": None, "faults": ()}
"""What is done to somebody's own app when nothing else is asked for."""


class _Run(TrafficCommand):
    """What comes after `--` is a command of the user's, options and all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_COMMAND] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SCENARIO | -- COMMAND...]"]


@click.command(cls=_Run)
@click.argument("scenarios", nargs=-1)
@click.option(
    "--engine", type=click.Choice(["rust", "uvicorn", "granian"]), help="What serves the scenario's app.  [default: rust]"
)
@click.option("--workers", type=int, metavar="N", help="Processes of that server.  [default: 1]")
@click.option(
    "--loop", type=click.Choice(["auto", "asyncio", "uvloop"]), help="Event loop of uvicorn or granian.  [default: auto]"
)
@click.option("--cwd", metavar="DIR", help="Where COMMAND is started.  [default: here]")
@click.option("--ready", metavar="/PATH", help="COMMAND is ready when it answers 2xx there.  [default: any answer to OPTIONS *]")
@click.option("--ready-within", "ready_s", type=Duration(), metavar="TIME", help="How long a start may take.  [default: 30s]")
@traffic_options
@click.option(
    "--think", "think_s", type=Duration(), metavar="TIME", help="What a user waits after an answer.  [default: nothing]"
)
@click.option(
    "--think-spread",
    type=click.Choice(["constant", "exponential"]),
    help="How that is spread; exponential: --think is the mean.  [default: constant]",
)
@click.option("--rate", type=float, metavar="N", help="Requests to start per second, answered or not.")
@click.option(
    "--stages",
    metavar="STAGES",
    help="The same at a rate that changes over time: '50 for 10s, 50..200 for 20s, 500 for 2s'; also pause, 3x(...).",
)
@click.option("--replay", metavar="FILE", help="Start requests at the times in FILE: numbers, CSV, NDJSON, an access log.")
@click.option("--replay-field", metavar="NAME", help="Column or key of FILE that holds the time.  [default: the usual names]")
@click.option("--replay-speed", type=float, metavar="X", help="2: twice as fast as FILE.  [default: 1]")
@click.option(
    "--for", "for_s", type=Duration(), metavar="TIME", help="How long to send load, e.g., 30s; it follows from stages and replay."
)
@click.option(
    "--warm-up",
    "warm_up_s",
    type=Duration(),
    metavar="TIME",
    help="Of that, left out of the figures.  [default: 1s, at most a fifth]",
)
@click.option(
    "--arrivals", type=click.Choice(["constant", "poisson"]), help="How requests are spread in time.  [default: constant]"
)
@click.option(
    "--send-within",
    "send_within_s",
    type=Duration(),
    metavar="TIME",
    help="Shed a request, and say so, that can't be sent so soon after it was due.  [default: 1s]",
)
@click.option(
    "--tasks",
    type=click.Choice(["sync", "async", "blocking", "inline"]),
    help="How the background work is written.  [default: sync]",
)
@click.option(
    "--pool", type=int, metavar="N", help="Threads for def tasks; of another server than the bundled one: anyio's tokens."
)
@click.option("--order", type=click.Choice(["sequential", "parallel"]), help="Of one request's tasks.  [default: sequential]")
@click.option(
    "--on-error", type=click.Choice(["continue", "stop"]), help="After a task raised: the later ones.  [default: continue]"
)
@click.option("--queue-limit", type=int, metavar="N", help="Answer 503 while N tasks are pending.  [default: no limit]")
@click.option(
    "--drain",
    "drain_s",
    type=Duration(),
    metavar="TIME",
    help="How long a stopping server may finish its tasks before it is killed.  [default: 30s]",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND@TIME",
    help="Something done to the server, e.g., kill@6s or stop@6s+2s; repeatable; 'none'; 'help' lists all that there are.",
)
@slo_options
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the scenario, e.g., delay=200ms; repeatable."
)
@click.option("--postgres", metavar="URL", help="The same as --set postgres=URL: a real database for scenarios that can use one.")
@click.option("--redis", metavar="URL", help="The same as --set redis=URL.")
@click.option("--seed", type=int, metavar="N", help="Makes traffic and arrivals repeatable.  [default: 1]")
@click.option(
    "--port", type=Port(0, 65_535), metavar="N", help="Port of the server; {port} in COMMAND becomes it.  [default: a free one]"
)
@click.option(
    "--host", metavar="ADDRESS", help="Address of the server, and of load; {host} in COMMAND becomes it.  [default: 127.0.0.1]"
)
@click.option(
    CONFIRM, "confirmed", multiple=True, metavar="HOST", help="Needed for a --host that is not loopback: others may reach it."
)
@click.option(
    "--processes", "--load-processes", "load_processes", type=int, metavar="N", help="Processes that send load.  [default: 1]"
)
@click.option("--above-ceiling", is_flag=True, default=None, help="Ask for more than the load generator can send here.")
@join_options
@click.option(
    "--request-timeout", "request_timeout_s", type=Duration(), metavar="TIME", help="When to give an answer up.  [default: 10s]"
)
@click.option(
    "--horizon",
    "horizon_s",
    type=Duration(),
    metavar="TIME",
    help="How long to wait for the backlog after the load.  [default: 2m]",
)
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), metavar="FILE", help="A plan.toml; options win over it.")
@click.option("--dry-run", is_flag=True, help="Print the whole plan as TOML, with every default, and run nothing.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Run directory.  [default: runs/SCENARIO-DATE-TIME]")
@click.option("--keep-world", is_flag=True, help="Keep what the scenario's world has written, also if it is more than 10 MB.")
@click.option("--json", "json_to", metavar="FILE", help="Write the summary as JSON; - for standard output.")
@click.pass_context
def run(
    context: click.Context,
    /,
    scenarios: tuple[str, ...],
    plan_file: Path | None,
    out: Path | None,
    json_to: str | None,
    *,
    dry_run: bool,
    keep_world: bool,
    confirmed: tuple[str, ...],
    **options: Any,
) -> None:
    """Runs SCENARIO, or an app of your own that COMMAND starts: load, faults, drain, verdict.

    SCENARIO is a name, or a file of your own (see afterload new).

    Nothing has to be changed in an app of your own; write {port} where its command takes the port:

    afterload run --request 'POST /orders' -- uvicorn main:app --port {port}

    Exit status: 0 pass, 1 afterload failed, 2 usage, 3 an SLO is broken, 4 inconclusive, 130/143 interrupted.
    """
    if "help" in options["faults"]:
        click.echo(FAULT_HELP, nl=False)
        return
    given = _given(options)
    command: tuple[str, ...] | None = context.meta.get(_COMMAND)
    if len(scenarios) > 1 or (scenarios and command is not None):
        raise click.UsageError(
            f"{' '.join(scenarios)!r} is more than the name of one scenario; write -- before a command: {EXAMPLE}"
        )
    values = ways.fill_in(merged(read_plan(plan_file) if plan_file is not None else {}, given))
    if scenarios:
        values["scenario"] = scenarios[0]
    if command is not None:
        if not command:
            raise click.UsageError(f"there is no command after --; write, e.g., {EXAMPLE}")
        values["command"] = command
    if "scenario" not in values and "command" not in values:
        raise click.UsageError(
            f"name a scenario, e.g., afterload run email, or a plan with --plan, or the command of your own app: {EXAMPLE}"
        )
    where = "options" if plan_file is None else f"plan {plan_file}" + (" with options" if given else "")
    is_own_app = "command" in values
    if is_own_app:
        # So that the plan can be run again from anywhere.
        values["cwd"] = str(Path(values.get("cwd") or ".").absolute())
        values.update({name: str(Path(values[name]).absolute()) for name in _files_in(values)})
    # Once with what any scenario would do, so that a wrong value is told before anything is started.
    rate = {} if ways.given_ways(values) else {"rate": 1.0}
    first = Plan.of({"pool": 10_000, "for_s": 3600.0, "warm_up_s": 0.0, **rate, **values}, where)
    if first.replay is not None:
        values["replay"] = str(Path(first.replay).absolute())
        values["for_s"] = read_replay({**dict(first), "for_s": values.get("for_s")}).length_s
    if json_to is not None and json_to != "-":
        require_writable(Path(json_to))
    if is_own_app and not (first.requests or first.locustfile or first.openapi):
        hint = "name a request, e.g., --request 'POST /orders', or let them be made: --from-openapi auto, or give a --locustfile"
        raise UsageError("nothing says what to send", hint)
    described = describe(first)
    plan = Plan.of({**_defaults(described, values), **values}, where)
    require_own(plan.host, confirmed)
    require_address_of_this_machine(plan.host)
    if plan.hidden:
        names = ", ".join(plan.hidden)
        click.echo(
            f"note: secret header values are not written to the run directory; to run its plan again, set {names}", err=True
        )
    for doubt in doubts(plan):
        click.echo(f"note: {doubt}", err=True)
    if dry_run:
        click.echo(plan.to_toml(), nl=False)
        return
    outcome = run_session(plan, described, out=out, keep_world=keep_world)
    show_outcome(outcome, json_to)
    sys.exit(128 + outcome.interrupted_by if outcome.interrupted_by else EXIT_STATUS[outcome.summary.verdict])


def _given(options: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    for name in ("faults", "slos", "allow"):
        if "none" in given.get(name, ()):
            given[name] = ()
    if "settings" in given:
        pairs = [setting.partition("=") for setting in given["settings"]]
        for name, equals, _ in pairs:
            if not equals:
                raise UsageError(f"--set {name} has no value", "write it as --set name=value, e.g., --set delay=200ms")
        given["settings"] = {name: value for name, _, value in pairs}
    for name in ("postgres", "redis"):
        if (url := given.pop(name, None)) is not None:
            given["settings"] = {**given.get("settings", {}), name: url}
    return given


def _files_in(values: dict[str, Any]) -> list[str]:
    names = [name for name in ("locustfile", "openapi") if isinstance(values.get(name), str)]
    return [name for name in names if values[name] != "auto" and "://" not in values[name]]


def _defaults(described: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    plan = described.get("plan", _OWN_APP)
    defaults = {"for_s": plan["duration_s"]}
    if not ways.given_ways(values):
        defaults["rate"] = plan["rate_per_s"]
    if plan["pool"] is not None:
        defaults["pool"] = plan["pool"]
    for_s = values.get("for_s", defaults["for_s"])
    if isinstance(for_s, (int, float)):
        defaults["warm_up_s"] = min(_WARM_UP_S, for_s / 5)
    # The default faults belong to the default length: a shorter load asked for by hand gets none that it did not ask for.
    if "for_s" not in values:
        defaults["faults"] = tuple(plan["faults"])
    return defaults
