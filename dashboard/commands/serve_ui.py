"""`afterload serve-ui`: the screen of a run in a browser, to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dashboard.commands.shared import resolved_run, screen_options
from harness.numbers import CountWithin

__all__ = ["serve_ui"]


@click.command("serve-ui")
@click.argument("run_directory", type=click.Path(path_type=Path), default=Path("runs/latest"))
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Where to listen. Whoever reaches it sees the run.")
@click.option("--port", type=CountWithin(0, 65_535), default=8300, metavar="N", help="0 takes a free one.")
@click.option("--most", type=CountWithin(1, 100), default=8, metavar="N", help="Lookers-on at a time; each is a process here.")
@screen_options
def serve_ui(run_directory: Path, *, host: str, port: int, most: int, **options: Any) -> None:
    """Serves the screen over a run to browsers, read-only: nobody there can change, start or write anything.

    RUN_DIRECTORY is that of the run, going on or over.  [default: runs/latest]
    """
    resolved_run(run_directory)
    from dashboard.serving import serve

    # The link, not what it points to now: who comes later sees the newest run.
    serve(run_directory, host=host, port=port, most=most, options=options)
