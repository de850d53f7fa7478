"""What `afterload compare` prints and writes of a comparison."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TextIO

import click

from harness.commands.showing import shown_path
from harness.compare.campaign import AROUND_S
from harness.compare.designs import order_of
from harness.compare.folder import ComparisonFolder
from harness.compare.markdown import markdown
from harness.compare.record import Comparison, Design
from harness.compare.text import render
from harness.wording import counted, roughly_s

__all__ = ["outlook", "show"]


def show(comparison: Comparison, folder: ComparisonFolder | None, json_to: str | None, markdown_to: str | None) -> None:
    """The table, the files that were asked for, and where the rest is."""
    if folder is not None:
        folder.write(comparison)
        # Not before it is needed: a comparison that is read by a program needs no templates.
        from harness.compare.html import page

        folder.page.write_text(page(comparison, version=metadata.version("afterload")), encoding="utf-8")
    is_piped = "-" in {json_to, markdown_to}
    _print(comparison, sys.stderr if is_piped else sys.stdout)
    if json_to is not None:
        _write(comparison.model_dump_json(indent=2) + "\n", json_to)
    if markdown_to is not None:
        _write(markdown(comparison), markdown_to)
    if folder is not None:
        click.echo(f"page: {shown_path(folder.page)}", err=is_piped)
        click.echo(f"directory: {shown_path(folder.path)}", err=is_piped)


def outlook(design: Design) -> str:
    """What will be run, in which order, and about how long it takes."""
    labels = [each.label for each in design.configurations]
    lines = [
        f"{number}  {label}{'  (baseline)' if number - 1 == design.baseline else ''}" for number, label in enumerate(labels, 1)
    ]
    rows = [order_of(block, len(labels)) for block in range(design.blocks)]
    lines += ["", *(f"block {block:>2}: {' '.join(str(place + 1) for place in row)}" for block, row in enumerate(rows, 1)), ""]
    each_s = [float(configuration.plan["for_s"]) + AROUND_S + design.settle_s for configuration in design.configurations]
    left = roughly_s(design.blocks * sum(each_s))
    lines.append(
        f"{counted(design.blocks * len(labels), 'run')}, about {left} or more: what is left over after the load has to drain"
    )
    return "\n".join(lines) + "\n"


def _write(text: str, target: str) -> None:
    if target == "-":
        click.echo(text, nl=False)
    else:
        Path(target).write_text(text, encoding="utf-8")


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
