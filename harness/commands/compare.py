"""`afterload compare`: configurations side by side, or runs that were made before."""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO

import click

from harness.commands.asking import Asked, tell_about
from harness.commands.params import Duration
from harness.commands.planopts import PlanCommand, plan_options
from harness.commands.showing import require_writable, shown_path
from harness.commands.vary import keys_of
from harness.compare.campaign import Campaign
from harness.compare.folder import ComparisonFolder
from harness.compare.grid import Configuration, chosen, grid, parse_factor
from harness.compare.judging import compare_blocks
from harness.compare.progress import ComparisonProgress
from harness.compare.record import Comparison, ConfigurationRecord, Design, FactorRecord
from harness.compare.text import render
from harness.errors import UsageError
from harness.plan import Plan

__all__ = ["compare"]

BLOCKS: Final = 8
SETTLE_S: Final = 1.0
MIN_EFFECT: Final = 5.0


class _Compare(PlanCommand):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SCENARIO | RUN RUN... | -- COMMAND...]"]


@click.command(cls=_Compare)
@click.argument("what", nargs=-1)
@click.option(
    "--vary",
    "vary",
    multiple=True,
    metavar="KEY=A,B",
    help="What is compared: a key of the plan or a setting, and its values, e.g., tasks=sync,async; repeatable for a grid.",
)
@click.option("--against", metavar="KEY=A", help="The baseline.  [default: the first value of each]")
@click.option("--blocks", type=click.IntRange(1, 1000), metavar="N", help="Runs of each configuration.  [default: 8]")
@click.option(
    "--matters",
    type=click.FloatRange(0.1, 100),
    metavar="PERCENT",
    help="The smallest difference that matters.  [default: 5]",
)
@click.option("--settle", "settle_s", type=Duration(), metavar="TIME", help="Between two runs.  [default: 1s]")
@click.option(
    "--retries",
    type=click.IntRange(0, 10),
    metavar="N",
    help="Do a run again that cannot be used, so often.  [default: 1]",
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a comparison that was interrupted.")
@click.option("--keep-runs", is_flag=True, help="Keep the rows of every run, not only its summary and report.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="[default: comparisons/SCENARIO-DATE-TIME]")
@click.option("--json", "json_to", metavar="FILE", help="Write the comparison as JSON; - for standard output.")
@plan_options
@click.pass_context
def compare(
    context: click.Context,
    /,
    what: tuple[str, ...],
    vary: tuple[str, ...],
    against: str | None,
    blocks: int | None,
    matters: float | None,
    settle_s: float | None,
    retries: int | None,
    resume: Path | None,
    plan_file: Path | None,
    out: Path | None,
    json_to: str | None,
    *,
    keep_runs: bool,
    confirmed: tuple[str, ...],
    **options: Any,
) -> None:
    """Runs SCENARIO in several configurations, side by side, and says which differ, by how much, and whether that is chance.

    afterload compare email --vary tasks=sync,async

    The options of afterload run are those of every run. Interrupted, it goes on with --resume.

    Exit status: 0 compared, 1 afterload failed, 2 usage, 3 a --fail-on is broken, 4 nothing could be compared, 130/143
    interrupted.
    """
    if json_to is not None and json_to != "-":
        require_writable(Path(json_to))
    asked = Asked.of(context, what, plan_file, confirmed, options)
    if resume is not None:
        folder = ComparisonFolder.open(resume)
        folder.claim()
        design = folder.design()
    else:
        design = _design(asked, context, vary, against, confirmed)
        update: dict[str, Any] = {"keep_runs": keep_runs}
        update |= {} if settle_s is None else {"settle_s": settle_s}
        update |= {} if retries is None else {"retries": retries}
        update |= {} if blocks is None else {"blocks": blocks}
        update |= {} if matters is None else {"min_effect": matters / 100}
        design = design.model_copy(update=update)
        folder = ComparisonFolder.create(design.title, out, design)
    interrupted_by = Campaign(design, folder, ComparisonProgress(folder.log)).run()
    comparison = compare_blocks(design, folder.runs(), folder.environment())
    folder.write(comparison)
    folder.make_latest()
    _show(comparison, json_to)
    click.echo(f"directory: {shown_path(folder.path)}", err=json_to == "-")
    if interrupted_by is not None:
        click.echo(f"interrupted; go on with: afterload compare --resume {shown_path(folder.path)}", err=True)
        sys.exit(128 + interrupted_by)
    sys.exit(0 if comparison.complete else 4)


def _design(
    asked: Asked, context: click.Context, vary: tuple[str, ...], against: str | None, confirmed: tuple[str, ...]
) -> Design:
    keys = keys_of(context.command.params)
    factors = [parse_factor(text, keys, has_settings=asked.command is None) for text in vary]
    configurations = grid(factors)
    if len(configurations) < 2:
        raise UsageError("nothing is varied", "say what is compared: --vary tasks=sync,async")
    records = [_configuration(asked, each) for each in configurations]
    first = Plan.of(records[0].plan, "options")
    tell_about(first)
    return Design(
        title=first.title,
        began=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        factors=[FactorRecord(key=each.key, values=list(each.texts)) for each in factors],
        configurations=records,
        baseline=chosen(against, configurations) if against is not None else 0,
        blocks=BLOCKS,
        seed=first.seed,
        settle_s=SETTLE_S,
        retries=1,
        min_effect=MIN_EFFECT / 100,
        keep_runs=False,
        confirmed=list(confirmed),
    )


def _configuration(asked: Asked, configuration: Configuration) -> ConfigurationRecord:
    try:
        prepared = asked.prepared(configuration.changes)
    except UsageError as error:
        raise UsageError(f"{configuration.label}: {error}", error.hint) from None
    return ConfigurationRecord(label=configuration.label, values=dict(configuration.values), plan=prepared.plan.plain())


def _show(comparison: Comparison, json_to: str | None) -> None:
    text = comparison.model_dump_json(indent=2)
    _print(comparison, sys.stderr if json_to == "-" else sys.stdout)
    if json_to == "-":
        click.echo(text)
    elif json_to is not None:
        Path(json_to).write_text(text + "\n", encoding="utf-8")


def _print(comparison: Comparison, stream: TextIO) -> None:
    is_terminal = stream.isatty()
    columns = os.get_terminal_size(stream.fileno()).columns if is_terminal else 80
    shown = render(
        comparison,
        width=min(100, columns),
        color=is_terminal and "NO_COLOR" not in os.environ,
        ascii_only=not (stream.encoding or "").lower().startswith("utf"),
    )
    print(f"\n{shown}", file=stream, flush=True)
