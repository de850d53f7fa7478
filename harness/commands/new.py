"""`afterload new`: a scenario to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from harness.scenario import new_scenario

__all__ = ["new"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def new(file: Path) -> None:
    """Writes FILE, e.g., my_scenario.py: a commented scenario that runs as it is.

    Then: afterload run ./my_scenario.py
    """
    new_scenario(file)
    shown = file if len(file.parts) > 1 else f"./{file}"
    click.echo(f"wrote {file}; run it with: afterload run {shown}")
