"""`afterload run`: options, or a plan file, or both, into a plan; the session does the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from harness.commands.asking import Asked, tell_about
from harness.commands.planopts import PlanCommand, plan_options
from harness.commands.showing import EXIT_STATUS, require_writable, show_outcome
from harness.faultsyntax import FAULT_HELP
from harness.session import run as run_session

__all__ = ["run"]


class _Run(PlanCommand):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SCENARIO | -- COMMAND...]"]


@click.command(cls=_Run)
@click.argument("scenarios", nargs=-1)
@plan_options
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
    asked = Asked.of(context, scenarios, plan_file, confirmed, options)
    if json_to is not None and json_to != "-":
        require_writable(Path(json_to))
    prepared = asked.prepared()
    tell_about(prepared.plan)
    if dry_run:
        click.echo(prepared.plan.to_toml(), nl=False)
        return
    outcome = run_session(prepared.plan, prepared.described, out=out, keep_world=keep_world)
    show_outcome(outcome, json_to)
    sys.exit(128 + outcome.interrupted_by if outcome.interrupted_by else EXIT_STATUS[outcome.summary.verdict])
