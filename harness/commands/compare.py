"""`afterload compare`: configurations side by side, or runs that were made before."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any, Final

import click

from harness.commands.asking import Asked, tell_about
from harness.commands.comparing import outlook, show
from harness.commands.params import Duration
from harness.commands.planopts import PlanCommand, plan_options
from harness.commands.showing import require_writable, shown_path
from harness.commands.vary import keys_of
from harness.compare.alike import unlike
from harness.compare.campaign import Campaign
from harness.compare.folder import ComparisonFolder
from harness.compare.gates import Gate, judge_gate, parse_gate
from harness.compare.grid import Configuration, chosen, grid, parse_factor
from harness.compare.judging import compare_blocks
from harness.compare.loading import is_comparison, is_run, read_comparison, read_run
from harness.compare.pairing import compare_runs
from harness.compare.progress import ComparisonProgress
from harness.compare.record import Comparison, ConfigurationRecord, Design, FactorRecord, GateRecord
from harness.compare.stored import against_stored
from harness.errors import UsageError
from harness.numbers import CountWithin, NumberWithin
from harness.plan import Plan

__all__ = ["BLOCKS", "compare"]

BLOCKS: Final = 8
SETTLE_S: Final = 1.0
MIN_EFFECT: Final = 0.05
RETRIES: Final = 1
RUNS: Final = Path("runs")


class _Compare(PlanCommand):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[OPTIONS]", "[SCENARIO | RUN RUN... | -- COMMAND...]"]


@click.command(cls=_Compare)
@click.argument("what", nargs=-1)
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=A,B",
    help="What is compared: a key of the plan or a setting, and its values, e.g., tasks=sync,async; repeatable for a grid.",
)
@click.option("--against", metavar="KEY=A", help="The baseline.  [default: the first value of each]")
@click.option("--blocks", type=CountWithin(1, 1000), metavar="N", help=f"Runs of each configuration.  [default: {BLOCKS}]")
@click.option(
    "--matters",
    type=NumberWithin(0.1, 100),
    metavar="PERCENT",
    help=f"The smallest difference that matters.  [default: {MIN_EFFECT * 100:g}]",
)
@click.option("--settle", "settle_s", type=Duration(), metavar="TIME", help=f"Between two runs.  [default: {SETTLE_S:g}s]")
@click.option(
    "--retries",
    type=CountWithin(0, 10),
    metavar="N",
    help=f"Times a run is done again that can't be used.  [default: {RETRIES}]",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Go on with a comparison that was interrupted, or with more --blocks.",
)
@click.option("--keep-runs", is_flag=True, help="Keep the rows of every run, not only its summary and report.")
@click.option(
    "--baseline", type=click.Path(path_type=Path), metavar="FILE", help="A comparison.json of before to compare with as well."
)
@click.option(
    "--fail-on",
    multiple=True,
    metavar="CHANGE",
    help="Exit with 3 if a figure has changed so much, e.g., 'done_p95>+10%' or 'broken_promises>+0'; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Show the configurations, the order of runs and the time, and run nothing.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="[default: comparisons/SCENARIO-DATE-TIME]")
@click.option("--json", "json_to", metavar="FILE", help="Write the comparison as JSON; - for standard output.")
@click.option(
    "--markdown", "markdown_to", metavar="FILE", help="Write it as Markdown, for a pull request; - for standard output."
)
@plan_options
@click.pass_context
def compare(
    context: click.Context,
    /,
    what: tuple[str, ...],
    resume: Path | None,
    plan_file: Path | None,
    out: Path | None,
    baseline: Path | None,
    fail_on: tuple[str, ...],
    json_to: str | None,
    markdown_to: str | None,
    *,
    dry_run: bool,
    confirmed: tuple[str, ...],
    **options: Any,
) -> None:
    """Runs SCENARIO in several configurations, side by side, and says which differ, by how much, and whether that is chance.

    afterload compare email --vary tasks=sync,async

    Options of afterload run are those of every run. A comparison that was interrupted goes on with --resume. RUN is the directory
    of a run that was made before, or of a comparison that is to be shown again.

    Exit status: 0 compared, 1 afterload failed, 2 usage, 3 a --fail-on is broken, 4 it cannot be told, 130/143 interrupted.
    """
    own = {name: options.pop(name) for name in ("vary", "against", "blocks", "matters", "settle_s", "retries", "keep_runs")}
    gates = _gates(fail_on)
    before = read_comparison(baseline) if baseline is not None else None
    for target in (json_to, markdown_to):
        if target is not None and target != "-":
            require_writable(Path(target))
    given = {name: value for name, value in {**own, **options}.items() if value not in (None, (), False)}
    interrupted_by: int | None = None
    folder: ComparisonFolder | None = None
    secrets: dict[str, str] = {}
    before_runs = _runs_in(what) if resume is None else []
    if before_runs and not is_comparison(before_runs[0]):
        _require_none({name: value for name, value in given.items() if name != "matters"}, "runs that were made before")
        comparison = _of_runs(before_runs, own["matters"])
    else:
        if resume is not None:
            folder = _resumed(resume, given, what)
            _require_two(folder.design(), gates, before)
        elif before_runs:
            _require_none(given, "a comparison that is shown again")
            folder = _of_before(before_runs)
            _require_two(folder.design(), gates, before)
        else:
            asked = Asked.of(context, what, plan_file, confirmed, options)
            design, secrets = _design(asked, context, own, confirmed, may_be_one=before is not None or json_to is not None)
            _require_two(design, gates, before)
            if dry_run:
                click.echo(outlook(design), nl=False)
                return
            folder = ComparisonFolder.create(design.title, out, design)
        if not before_runs:
            interrupted_by = Campaign(folder.design(), folder, ComparisonProgress(folder.log), secrets).run()
            folder.make_latest()
        comparison = compare_blocks(folder.design(), folder.runs(), folder.environment())
    if before is not None:
        comparison = against_stored(comparison, before, str(baseline))
    comparison = _gated(comparison, gates)
    show(comparison, folder, json_to, markdown_to)
    if interrupted_by is not None and folder is not None:
        click.echo(f"interrupted; go on with: afterload compare --resume {shown_path(folder.path)}", err=True)
        sys.exit(128 + interrupted_by)
    sys.exit(_status(comparison))


def _status(comparison: Comparison) -> int:
    if any(gate.holds is False for gate in comparison.gates):
        return 3
    told = comparison.kind != "blocks" or comparison.complete > 0
    return 0 if told and all(gate.holds for gate in comparison.gates) else 4


def _gates(texts: tuple[str, ...]) -> list[Gate]:
    try:
        return [parse_gate(text) for text in texts]
    except ValueError as error:
        raise UsageError(f"--fail-on: {error}") from None


def _gated(comparison: Comparison, gates: list[Gate]) -> Comparison:
    # With a baseline of before, that is what must not have changed; else the one beside it.
    if comparison.stored is None:
        judged = [judge_gate(gate, contrast) for gate in gates for contrast in comparison.contrasts]
        return comparison.model_copy(update={"gates": judged})
    held = {contrast.configuration: contrast for contrast in comparison.stored.contrasts}
    why = f"there is no such configuration in the baseline {comparison.stored.name}"
    judged = [
        judge_gate(gate, held[label])
        if (label := each.label) in held
        else GateRecord(text=gate.text, configuration=label, holds=None, change=None, why=why)
        for gate in gates
        for each in comparison.configurations
    ]
    return comparison.model_copy(update={"gates": judged})


def _require_two(design: Design, gates: list[Gate], before: Comparison | None) -> None:
    """A limit that nothing is held against would hold whatever happens."""
    if gates and before is None and len(design.configurations) < 2:
        raise UsageError(
            "--fail-on has nothing to compare with", "vary something (--vary), or give what was measured before (--baseline)"
        )


def _runs_in(what: tuple[str, ...]) -> list[Path]:
    """The runs that were made before, if that is what was named."""
    paths = [Path(each) if Path(each).exists() else RUNS / each for each in what]
    found = [path for path in paths if is_run(path) or is_comparison(path)]
    if found and len(found) < len(what):
        others = ", ".join(each for each, path in zip(what, paths, strict=True) if path not in found)
        raise UsageError(f"{others} is no run directory, and the others are", "name runs, or one scenario with --vary")
    if not found and any("/" in each and not each.endswith(".py") for each in what):
        missing = next(each for each in what if "/" in each)
        raise UsageError(f"there is no run {missing}", "see runs/ for those that there are")
    return found


def _of_before(paths: list[Path]) -> ComparisonFolder:
    if len(paths) > 1:
        raise UsageError("a comparison is shown on its own", "to hold one against another: afterload compare A --baseline B")
    return ComparisonFolder.open(paths[0])


def _of_runs(paths: list[Path], matters: float | None) -> Comparison:
    if len(paths) < 2:
        raise UsageError(f"{paths[0]} is one run, and there is none to compare it with", "name two: afterload compare RUN RUN")
    runs = [read_run(path) for path in paths]
    if why := unlike([run.summary for run in runs]):
        raise UsageError(f"these runs cannot be compared: {why}")
    return compare_runs(runs, min_effect=MIN_EFFECT if matters is None else matters / 100)


def _require_none(given: dict[str, Any], of_what: str) -> None:
    if given:
        names = ", ".join("--" + name.removesuffix("_s").replace("_", "-") for name in given)
        raise UsageError(f"{names} cannot be given for {of_what}", "leave it out")


def _resumed(path: Path, given: dict[str, Any], what: tuple[str, ...]) -> ComparisonFolder:
    if what:
        raise UsageError(f"--resume goes on with what is in {path}: leave {' '.join(what)} out")
    _require_none({name: value for name, value in given.items() if name != "blocks"}, "a comparison that goes on")
    folder = ComparisonFolder.open(path)
    folder.claim()
    design = folder.design()
    if (blocks := given.get("blocks")) is not None:
        if blocks < max((run.block for run in folder.runs()), default=0):
            raise UsageError(f"--blocks {blocks}: there are more already", "more can be added, none taken away")
        folder.write_design(design.model_copy(update={"blocks": blocks}))
    return folder


def _design(
    asked: Asked, context: click.Context, own: dict[str, Any], confirmed: tuple[str, ...], *, may_be_one: bool
) -> tuple[Design, dict[str, str]]:
    """What is asked for, and what may not be written of it."""
    keys = keys_of(context.command.params)
    factors = [parse_factor(text, keys, has_settings=asked.command is None) for text in own["vary"]]
    configurations = grid(factors)
    if len(configurations) < 2 and not may_be_one:
        hint = "say what is compared: --vary tasks=sync,async; or measure it alone, for later: --json main.json"
        raise UsageError("nothing is varied", hint)
    plans = [_plan(asked, each) for each in configurations]
    first = plans[0]
    if first.expect_loads:
        raise UsageError("--expect-loads cannot be given for a comparison", "load machines join one run; compare from this one")
    tell_about(first)
    design = Design(
        title=first.title,
        began=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        factors=[FactorRecord(key=each.key, values=list(each.texts)) for each in factors],
        configurations=[
            ConfigurationRecord(label=each.label, values=dict(each.values), plan=plan.plain())
            for each, plan in zip(configurations, plans, strict=True)
        ],
        baseline=chosen(own["against"], configurations) if own["against"] is not None else 0,
        blocks=own["blocks"] or BLOCKS,
        seed=first.seed,
        settle_s=SETTLE_S if own["settle_s"] is None else own["settle_s"],
        retries=RETRIES if own["retries"] is None else own["retries"],
        min_effect=MIN_EFFECT if own["matters"] is None else own["matters"] / 100,
        keep_runs=own["keep_runs"],
        confirmed=list(confirmed),
    )
    return design, {name: value for plan in plans for name, value in plan.hidden.items()}


def _plan(asked: Asked, configuration: Configuration) -> Plan:
    try:
        return asked.prepared(configuration.changes).plan
    except UsageError as error:
        raise UsageError(f"{configuration.label}: {error}" if configuration.values else str(error), error.hint) from None
