"""`afterload capacity`: the highest rate at which an app holds its limits while its backlog stays bounded."""

from __future__ import annotations

import dataclasses
import datetime
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

import click

from harness.calibration import usable_cores
from harness.capacity.design import Asking, Design
from harness.capacity.driver import Driver
from harness.capacity.folder import Folder
from harness.capacity.schema import Capacity
from harness.capacity.search import Options
from harness.capacity.text import render
from harness.capacity.writing import collect, write
from harness.ceilings import ANY_MACHINE_PER_S, SAFE_SHARE, known_ceiling
from harness.commands.asking import Asked, tell_about
from harness.commands.params import Duration
from harness.commands.planopts import PlanCommand, plan_options
from harness.commands.showing import require_writable, shown_path
from harness.commands.vary import keys_of
from harness.compare.grid import Configuration, grid, parse_factor
from harness.errors import RunError, UsageError
from harness.load import ways
from harness.numbers import CountWithin, NumberWithin
from harness.plan import Plan, read_plan
from harness.target import require_own

__all__ = ["capacity"]

_STAGE_S = 9.0
_CONFIRM = 3.0
_NOT_VARIED = frozenset({"rate", "for_s", "stages", "replay", "users", "locustfile", "faults"})


class _Capacity(PlanCommand):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SCENARIO | -- COMMAND...]"]


@click.command(cls=_Capacity)
@click.argument("scenarios", nargs=-1)
@click.option(
    "--vary",
    "vary",
    multiple=True,
    metavar="KEY=A,B",
    help="Search in several configurations, one after another: a key of the plan or a setting, and its values; repeatable.",
)
@click.option("--target-rate", type=NumberWithin(0, min_open=True), metavar="N", help="Say how many threads that rate needs.")
@click.option("--within", type=NumberWithin(0.5, 50), metavar="PERCENT", default=5.0, help="How narrow the answer is to be.")
@click.option(
    "--confirm-for", "confirm_s", type=Duration(), metavar="TIME", help="How long the last stage lasts.  [default: 3 x --for]"
)
@click.option(
    "--most", type=NumberWithin(0, min_open=True), metavar="N", help="Try no higher rate.  [default: what can be sent here]"
)
@click.option(
    "--repeats", type=CountWithin(1, 20), metavar="N", default=2, help="Stages at one rate, at most, where chance decides."
)
@click.option("--max-stages", type=CountWithin(2, 200), metavar="N", default=40, help="Stages in all, at most.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a search that was interrupted.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="[default: capacities/SCENARIO-DATE-TIME]")
@click.option("--json", "json_to", metavar="FILE", help="Write the answer as JSON; - for standard output.")
@plan_options
@click.pass_context
def capacity(
    context: click.Context,
    /,
    scenarios: tuple[str, ...],
    vary: tuple[str, ...],
    plan_file: Path | None,
    resume: Path | None,
    out: Path | None,
    json_to: str | None,
    *,
    confirmed: tuple[str, ...],
    target_rate: float | None,
    within: float,
    confirm_s: float | None,
    most: float | None,
    repeats: int,
    max_stages: int,
    **options: Any,
) -> None:
    """Searches the highest rate at which SCENARIO, or an app of your own, holds its limits.

    afterload capacity email --slo 'p99<50ms' --slo 'done_p95<2s'

    The backlog has to stay bounded in any case. Every rate that is tried is a run of its own, on a fresh server. The options of
    afterload run are those of every stage: --rate is where the search begins, --for how long a stage lasts. A --fault is tried
    at the end, at the rate that was found and at half of it.

    Exit status: 0 found, 1 afterload failed, 2 usage, 4 not found, 130/143 interrupted.
    """
    if json_to is not None and json_to != "-":
        require_writable(Path(json_to))
    secrets: dict[str, str] = {}
    if resume is not None:
        _require_alone(context, resume)
        folder = Folder.existing(resume)
        for each in folder.design.configurations:
            require_own(str(each.plan.get("host", "127.0.0.1")), confirmed)
    else:
        asked = Asked.of(context, scenarios, plan_file, confirmed, options)
        # The rate is what is looked for.
        keys = {name: key for name, key in keys_of(context.command.params).items() if key.name not in _NOT_VARIED}
        cells = grid([parse_factor(text, keys, has_settings=asked.command is None) for text in vary]) if vary else [None]
        chosen = Options(start=1.0, within=within / 100, repeats=repeats, stages=max_stages, most=most or 0.0)
        plans = [_plan(asked, cell) for cell in cells]
        secrets = {name: value for plan in plans for name, value in plan.hidden.items()}
        askings = tuple(_asking(plan, cell, chosen, confirm_s) for plan, cell in zip(plans, cells, strict=True))
        title = plans[0].title
        began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        folder = Folder.new(out, Design(title=title, began=began, configurations=askings, target_rate=target_rate))
    interrupted_by, problem = _search(folder, secrets)
    found = collect(folder)
    if found.configurations:
        write(folder, found)
        _show(found, json_to)
    click.echo(f"directory: {shown_path(folder.path)}", err=json_to == "-")
    states = {each.answer.state for each in found.configurations}
    if "unfinished" in states or len(found.configurations) < len(folder.design.configurations):
        click.echo(f"not finished; go on with: afterload capacity --resume {shown_path(folder.path)}", err=True)
    if problem is not None:
        raise problem
    sys.exit(128 + interrupted_by if interrupted_by else 0 if states and states <= {"found", "at least"} else 4)


def _search(folder: Folder, secrets: dict[str, str]) -> tuple[int | None, RunError | None]:
    """All configurations, one after another. What was measured stays measured, whatever happens."""
    try:
        for place, asking in enumerate(folder.design.configurations, 1):
            if asking.label:
                _say(f"{asking.label} ({place} of {len(folder.design.configurations)})")
            if (interrupted_by := Driver(asking, folder, _say, secrets).run()) is not None:
                return interrupted_by, None
    except KeyboardInterrupt:
        return signal.SIGINT, None
    except RunError as error:
        return None, error
    return None, None


def _plan(asked: Asked, cell: Configuration | None) -> Plan:
    """That of a configuration."""
    given = {**(read_plan(asked.plan_file) if asked.plan_file is not None else {}), **asked.given}
    if others := [name for name in ways.given_ways(given) if name != "rate"]:
        message = f"capacity looks for a rate, and {' and '.join(others)} would say when requests are sent"
        raise UsageError(message, "leave it out: --rate says where the search begins")
    if given.get("expect_loads"):
        raise UsageError("--expect-loads cannot be given for a search", "load machines join one run; search from this one")
    try:
        # Of a load whose length was given the default faults are none.
        changes = {**(cell.changes if cell is not None else {}), "for_s": given.get("for_s", _STAGE_S)}
        plan = asked.prepared(changes).plan
    except UsageError as error:
        raise UsageError(f"{cell.label}: {error}" if cell is not None else str(error), error.hint) from None
    tell_about(plan.model_copy(update={"slos": ()}))
    return plan


def _asking(plan: Plan, cell: Configuration | None, chosen: Options, confirm_s: float | None) -> Asking:
    stage_s = plan.for_s - plan.warm_up_s
    search = dataclasses.replace(
        chosen,
        start=plan.rate or 1.0,
        stage_s=stage_s,
        confirm_s=confirm_s or stage_s * _CONFIRM,
        most=chosen.most or _sendable(plan),
    )
    return Asking(label=cell.label if cell is not None else "", plan=plan.plain(), options=search)


def _sendable(plan: Plan) -> float:
    """What the load generator can send here without being late."""
    known = known_ceiling(None, plan.load_processes, insist=True, say=_say) if plan.load_processes else None
    if known is not None:
        return known.ceiling_per_s * SAFE_SHARE
    return float(ANY_MACHINE_PER_S * max(min(plan.load_processes, usable_cores()), 1))


def _require_alone(context: click.Context, folder: Path) -> None:
    """What is searched, and how, was said when the search began."""
    for parameter in context.command.params:
        name = parameter.name or ""
        is_given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if is_given and name not in {"resume", "json_to", "confirmed"}:
            what = parameter.opts[0] if isinstance(parameter, click.Option) else "a scenario"
            message = f"--resume {folder} goes on with what was asked for then, and {what} asks for something else"
            raise UsageError(message, "leave it out")


def _show(found: Capacity, json_to: str | None) -> None:
    text = found.model_dump_json(indent=2)
    _print(found, sys.stderr if json_to == "-" else sys.stdout)
    if json_to == "-":
        click.echo(text)
    elif json_to is not None:
        Path(json_to).write_text(text + "\n", encoding="utf-8")


def _print(found: Capacity, stream: TextIO) -> None:
    is_terminal = stream.isatty()
    columns = os.get_terminal_size(stream.fileno()).columns if is_terminal else 80
    shown = render(
        found,
        width=min(100, columns),
        color=is_terminal and "NO_COLOR" not in os.environ,
        ascii_only=not (stream.encoding or "").lower().startswith("utf"),
    )
    print(f"\n{shown}", file=stream, flush=True)


def _say(text: str) -> None:
    click.echo(text, err=True)
