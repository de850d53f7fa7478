"""`afterload replay`: a run that is over, as it was at any instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dashboard.commands.shared import read_options, resolved_run, screen_options
from dashboard.watching import Mode, Watching

__all__ = ["replay"]


@click.command()
@click.argument("run_directory", type=click.Path(path_type=Path), default=Path("runs/latest"))
@screen_options
def replay(run_directory: Path, **options: Any) -> None:
    """Shows a run that is over as it was at any instant: step, jump from event to event, or play it.

    RUN_DIRECTORY is one that `afterload run` made.  [default: runs/latest]

    Without a terminal, or with --plain: what happened, one sentence a line.
    """
    from dashboard.showing import show

    sys.exit(show(read_options(**options, is_live=False), watching=Watching(resolved_run(run_directory), Mode.REPLAY)))
