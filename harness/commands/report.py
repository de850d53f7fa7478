"""`afterload report`: a run judged again, and its report in any format."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.objectives import given_limits, slo_options
from harness.commands.showing import EXIT_STATUS, shown_path, write_summary
from harness.errors import UsageError
from harness.evidence import judged_run
from harness.report.writing import FORMATS, Format, write_page
from harness.rundir import RunDir
from harness.summary import Judged

__all__ = ["report"]

_HELP = "; ".join(f"{name}: {each.help}" for name, each in FORMATS.items())


@click.command()
@click.argument("run_directory", type=click.Path(path_type=Path), default=Path("runs/latest"))
@slo_options
@click.option(
    "--format", "formats", type=click.Choice(list(FORMATS)), multiple=True, help=f"Write this instead; repeatable. {_HELP}."
)
@click.option(
    "--out",
    metavar="PATH",
    help="Where to: a file, a directory for several formats, - for standard output.  [default: the run directory]",
)
@click.option("--json", "json_to", metavar="FILE", help="Write the summary as JSON; - for standard output.")
def report(
    run_directory: Path,
    formats: tuple[str, ...],
    out: str | None,
    json_to: str | None,
    slos: tuple[str, ...],
    allow: tuple[str, ...],
) -> None:
    """Judges a run again from what its witnesses wrote, by its own limits or by others, and writes its report.

    RUN_DIRECTORY is one that `afterload run` made.  [default: runs/latest]

    Without --format: the summary as text, and report.html in the run directory.

    Exit status: that of the run's verdict.
    """
    if not run_directory.is_dir():
        raise UsageError(f"there is no run directory {run_directory}", "see runs/ for those that there are")
    limits = given_limits(slos, allow)
    rundir = RunDir(run_directory.resolve())
    if out is not None and not formats:
        raise UsageError(f"--out {out} needs a format to write there", f"name one with --format: {', '.join(FORMATS)}")
    targets = _targets([*dict.fromkeys(formats)], out, rundir)
    judged = judged_run(rundir, limits)
    for name, target in targets.items():
        _write(FORMATS[name], judged, rundir, target)
    if json_to is not None or not formats:
        write_summary(judged.summary, json_to)
    if not formats:
        click.echo(f"report: {shown_path(write_page(judged, rundir))}", err=json_to == "-")
    sys.exit(EXIT_STATUS[judged.summary.verdict])


def _targets(names: list[str], named: str | None, rundir: RunDir) -> dict[str, Path]:
    """Where each format goes. Raises UsageError where that cannot be."""
    out = rundir.path if named is None else Path(named)
    if named == "-":
        if len(names) > 1 or FORMATS[names[0]].text is None:
            what = "one format can go" if len(names) > 1 else f"{names[0]} is no text and cannot go"
            raise UsageError(f"{what} to standard output", "name a file or a directory with --out")
        return {names[0]: out}
    if named is not None and len(names) == 1 and not named.endswith("/") and not out.is_dir():
        return {names[0]: out}
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file, and several formats need a directory", "name a directory")
    return {name: out / FORMATS[name].file for name in names}


def _write(form: Format, judged: Judged, rundir: RunDir, target: Path) -> None:
    try:
        if form.text is not None:
            text = form.text(judged, rundir)
            if str(target) == "-":
                click.echo(text, nl=False)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        elif form.write is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            form.write(judged, target)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}", "name another place with --out") from None
    click.echo(f"wrote {shown_path(target)}", err=True)
