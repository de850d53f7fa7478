"""`afterload steer`: changes a run while it goes on, and says what became of each change."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.params import Duration
from harness.commands.showing import shown_path
from harness.control import Receipt, parse_command, send, wait_for
from harness.control.commands import HELP
from harness.errors import UsageError

__all__ = ["steer"]

REFUSED = 3
"""Exit status: at least one of them was not done."""

UNKNOWN = 4
"""At least one of them was not answered."""


_LIST = "\n".join(f"  {form:<14} {text}" for form, text in HELP.items())
_HELP = f"""Changes a run while it goes on.

RUN is its directory.  [default: runs/latest]

\b
{_LIST}

Several are done in the order in which they are given. See docs/steering.md.

Exit status: 0 all of them landed, 3 one was refused, 4 one was not answered in time, 2 wrong usage.
"""


@click.command(help=_HELP)
@click.argument("run_directory", metavar="[RUN]", type=click.Path(path_type=Path), required=False)
@click.argument("commands", nargs=-1, required=False)
@click.option("--no-wait", is_flag=True, help="Do not wait for what becomes of them.")
@click.option(
    "--within", "within_s", type=Duration(), default="60s", metavar="TIME", help="How long to wait for an answer to each of them."
)
@click.option("--who", default="afterload steer", metavar="TEXT", help="Who asks for it, for the run's events.")
def steer(run_directory: Path | None, commands: tuple[str, ...], *, no_wait: bool, within_s: float, who: str) -> None:
    """Says what is asked, and waits for what becomes of it."""
    given = [str(run_directory)] if run_directory is not None else []
    path = Path("runs/latest")
    if run_directory is not None and run_directory.is_dir():
        given, path = [], run_directory
    elif given and (len(given[0].split("=")[0].split("/")) > 1 or not _looks_like_one(given[0])):
        raise UsageError(f"there is no run directory {run_directory}", "see runs/ for those that there are")
    wanted = [parse_command(text) for text in (*given, *commands)]
    if not wanted:
        raise UsageError("nothing is asked of the run", "e.g., afterload steer runs/latest rate=200")
    is_clear = True
    status = 0
    for command in wanted:
        number = send(path, command, who)
        if no_wait:
            click.echo(f"{command}: asked of {shown_path(path)} ({number})")
            continue
        receipt = wait_for(path, number, within_s)
        _show(str(command), receipt)
        is_clear = is_clear and receipt.landed is True
        if not receipt.landed:
            status = max(status, UNKNOWN if receipt.landed is None else REFUSED)
    sys.exit(0 if is_clear else status)


def _looks_like_one(text: str) -> bool:
    return text == "stop" or "=" in text


def _show(command: str, receipt: Receipt) -> None:
    if receipt.landed:
        click.echo(f"{command}: {receipt.text}")
    elif receipt.landed is False:
        click.echo(f"error: {command} was not done: {receipt.text}", err=True)
    else:
        click.echo(f"error: {command}: {receipt.text}", err=True)
