"""`afterload report`: a run judged again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.objectives import given_limits, slo_options
from harness.commands.showing import EXIT_STATUS, write_summary
from harness.errors import UsageError
from harness.evidence import judge_run
from harness.rundir import RunDir

__all__ = ["report"]


@click.command()
@click.argument("run_directory", type=click.Path(path_type=Path), default=Path("runs/latest"))
@slo_options
@click.option("--json", "json_to", metavar="FILE", help="Write the summary as JSON; - for standard output.")
def report(run_directory: Path, json_to: str | None, slos: tuple[str, ...], allow: tuple[str, ...]) -> None:
    """Judges a run again from what its witnesses wrote, by its own limits or by others.

    RUN_DIRECTORY is one that `afterload run` made.  [default: runs/latest]
    """
    if not run_directory.is_dir():
        raise UsageError(f"there is no run directory {run_directory}", "see runs/ for those that there are")
    limits = given_limits(slos, allow)
    summary = judge_run(RunDir(run_directory.resolve()), limits)
    write_summary(summary, json_to)
    sys.exit(EXIT_STATUS[summary.verdict])
