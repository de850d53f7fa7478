"""`afterload attach`: the screen over a run that somebody else started."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dashboard.commands.shared import read_options, resolved_run, screen_options
from dashboard.watching import Mode, Watching

__all__ = ["attach"]


@click.command()
@click.argument("run_directory", type=click.Path(path_type=Path), default=Path("runs/latest"))
@click.option("--read-only", is_flag=True, help="Look on: change nothing, start nothing, write nothing.")
@screen_options
def attach(run_directory: Path, *, read_only: bool, **options: Any) -> None:
    """Shows a run that goes on, and lets its load, pool and faults be changed while it does.

    RUN_DIRECTORY is that of the run.  [default: runs/latest]

    Leaving, or killing the screen, changes nothing of the run. Without a terminal: as --plain.

    Exit status: that of the run's verdict if it has ended meanwhile, otherwise 0.
    """
    from dashboard.showing import show

    path = resolved_run(run_directory)
    sys.exit(show(read_options(**options, read_only=read_only), watching=Watching(path, Mode.ATTACHED, is_read_only=read_only)))
