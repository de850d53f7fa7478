"""What commands print about a run, and the exit status that its verdict becomes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from harness.errors import UsageError
from harness.schema import Summary
from harness.text import render

if TYPE_CHECKING:
    from harness.session import Outcome

__all__ = ["EXIT_STATUS", "require_writable", "show_outcome", "shown_path", "write_summary"]

EXIT_STATUS = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}


def show_outcome(outcome: Outcome, json_to: str | None) -> None:
    """The summary of a run that is over, and where its directory is."""
    write_summary(outcome.summary, json_to)
    click.echo(f"run directory: {shown_path(outcome.rundir.path)}", err=json_to == "-")
    if outcome.rundir.report.exists():
        click.echo(f"report: {shown_path(outcome.rundir.report)}", err=json_to == "-")


def shown_path(path: Path) -> str:
    """A path as it is shortest: from here, or from the root."""
    return min(os.path.relpath(path), str(path.absolute()), key=len)


def write_summary(summary: Summary, json_to: str | None) -> None:
    """The summary as text, and as JSON to `json_to` (`-`: standard output, and the text to standard error)."""
    text = summary.model_dump_json(indent=2)
    try:
        _print(summary, sys.stderr if json_to == "-" else sys.stdout)
        if json_to == "-":
            print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        # Whoever read the output has enough of it; that changes nothing of the verdict.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if json_to is not None and json_to != "-":
        Path(json_to).write_text(text + "\n", encoding="utf-8")


def _print(summary: Summary, stream: TextIO) -> None:
    columns, lines = os.get_terminal_size(stream.fileno()) if stream.isatty() else (80, 0)
    can_draw = (stream.encoding or "").lower().startswith("utf")
    colour = stream.isatty() and "NO_COLOR" not in os.environ
    shown = render(summary, width=min(100, columns), color=colour, glyphs="blocks" if can_draw else "ascii").strip("\n")
    print(f"\n{shown}\n", file=stream, flush=True)
    if 0 < lines < shown.count("\n"):
        # What matters most has scrolled off the screen: say it again where the reader's eye is.
        print(shown.split("\n\n", 1)[0] + "\n", file=stream, flush=True)


def require_writable(path: Path) -> None:
    """Raises UsageError if the summary could not be written there at the end."""
    try:
        with path.open("a", encoding="utf-8"):
            return
    except OSError as error:
        raise UsageError(f"cannot write the summary to {path}: {error.strerror}") from None
