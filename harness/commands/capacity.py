"""`afterload capacity`: the highest rate at which an app holds its limits while its backlog stays bounded."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path
from typing import Any

import click

from harness.calibration import usable_cores
from harness.capacity.driver import Driver, read_stages
from harness.capacity.folder import PLAN, Folder
from harness.capacity.search import Options, Search
from harness.capacity.text import render
from harness.ceilings import ANY_MACHINE_PER_S, SAFE_SHARE, known_ceiling
from harness.commands.asking import Asked
from harness.commands.params import Duration
from harness.commands.planopts import PlanCommand, plan_options
from harness.commands.showing import require_writable, shown_path
from harness.errors import RunError, UsageError
from harness.plan import Plan

__all__ = ["capacity"]

_STAGE_S = 9.0
_CONFIRM = 3.0


class _Capacity(PlanCommand):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SCENARIO | -- COMMAND...]"]


@click.command(cls=_Capacity)
@click.argument("scenarios", nargs=-1)
@plan_options
@click.option("--within", type=click.FloatRange(0.005, 0.5), default=0.05, help="How narrow the answer is to be, as a share.")
@click.option(
    "--confirm-for", "confirm_s", type=Duration(), metavar="TIME", help="Length of the last stage.  [default: 3 x --for]"
)
@click.option("--most", type=float, metavar="N", help="Try no higher rate.  [default: what the load generator can send here]")
@click.option("--repeats", type=click.IntRange(1, 20), default=2, help="Stages at one rate, at most, where chance decides.")
@click.option("--max-stages", type=click.IntRange(2, 200), default=40, help="Stages in all, at most.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a search that was interrupted.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to write.  [default: capacities/SCENARIO-DATE-TIME]"
)
@click.option("--json", "json_to", metavar="FILE", help="Write the answer as JSON; - for standard output.")
@click.pass_context
def capacity(
    context: click.Context,
    /,
    scenarios: tuple[str, ...],
    plan_file: Path | None,
    out: Path | None,
    json_to: str | None,
    *,
    confirmed: tuple[str, ...],
    within: float,
    confirm_s: float | None,
    most: float | None,
    repeats: int,
    max_stages: int,
    resume: Path | None,
    **options: Any,
) -> None:
    """Searches the highest rate at which SCENARIO, or an app of your own, holds its limits.

    The backlog has to stay bounded in any case; --slo adds limits. Every rate that is tried is a run of its own, on a fresh
    server. --rate is where the search begins, --for how long each stage lasts.

    Exit status: 0 an answer was found, 1 afterload failed, 2 usage, 4 none was found, 130/143 interrupted.
    """
    if json_to is not None and json_to != "-":
        require_writable(Path(json_to))
    if resume is not None:
        _require_alone(context, resume)
        folder, chosen = Folder.existing(resume)
        chosen = dataclasses.replace(chosen, stages=max(max_stages, chosen.stages))
        prepared = Asked(None, None, folder.path / PLAN, {}, confirmed).prepared()
        plan = prepared.plan
    else:
        prepared = Asked.of(context, scenarios, plan_file, confirmed, options).prepared({"for_s": options["for_s"] or _STAGE_S})
        plan = prepared.plan
        if plan.rate is None:
            raise UsageError("capacity looks for a rate: stages, replays and users have none of their own", "leave them out")
        stage_s = plan.for_s - plan.warm_up_s
        chosen = Options(
            start=plan.rate,
            within=within,
            stage_s=stage_s,
            confirm_s=confirm_s or stage_s * _CONFIRM,
            repeats=repeats,
            most=most or _sendable(plan),
            stages=max_stages,
        )
        folder = Folder.new(out, plan, chosen)
    search = Search(chosen, list(read_stages(folder.path)))
    driver = Driver(search, plan, prepared.described, folder.path, _say)
    problem: RunError | None = None
    try:
        interrupted_by = driver.run()
    except KeyboardInterrupt:
        interrupted_by = signal.SIGINT
    except RunError as error:
        if not search.told:
            raise
        interrupted_by, problem = None, error
    found = folder.write(plan, search)
    click.echo(render(found), nl=False, err=json_to == "-")
    if json_to == "-":
        click.echo(found.model_dump_json(indent=2))
    elif json_to is not None:
        Path(json_to).write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    click.echo(f"directory: {shown_path(folder.path)}", err=json_to == "-")
    if problem is not None:
        raise problem
    if found.answer.state == "unfinished":
        click.echo(f"to go on: afterload capacity --resume {shown_path(folder.path)}", err=True)
    sys.exit(128 + interrupted_by if interrupted_by else 0 if found.answer.state in {"found", "at least"} else 4)


def _sendable(plan: Plan) -> float:
    """What the load generator can send here without being late."""
    known = known_ceiling(None, plan.load_processes, insist=True, say=_say) if plan.load_processes else None
    if known is not None:
        return known.ceiling_per_s * SAFE_SHARE
    return float(ANY_MACHINE_PER_S * max(min(plan.load_processes, usable_cores()), 1))


def _require_alone(context: click.Context, folder: Path) -> None:
    """What is searched, and how, was said when the search began."""
    apart = {"resume", "json_to", "max_stages", "confirmed"}
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in apart and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            what = parameter.opts[0] if isinstance(parameter, click.Option) else "a scenario"
            raise UsageError(
                f"--resume {folder} goes on with the plan of that search, and {what} asks for another", "leave it out"
            )


def _say(text: str) -> None:
    click.echo(text, err=True)
