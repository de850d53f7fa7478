"""`afterload load`: this machine sends a part of the load of a run that is measured on another one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from harness.address import split_address
from harness.commands.params import Duration
from harness.errors import UsageError
from harness.joiner import Joiner
from harness.joining import TOKEN_VARIABLE
from harness.numbers import CountWithin
from harness.target import CONFIRM

__all__ = ["load"]

_JOIN_S = 60.0


@click.command()
@click.option("--join", "address", required=True, metavar="HOST:PORT", help="Where `afterload run --expect-loads` waits.")
@click.option("--token", metavar="TOKEN", help=f"What that shows, or --token of {TOKEN_VARIABLE} on both machines.")
@click.option(
    "--processes", type=CountWithin(1, 64), default=1, metavar="N", help="Processes that send load, one a core at most."
)
@click.option(
    CONFIRM,
    "confirmed",
    multiple=True,
    metavar="HOST",
    help="The server under test, if it is not on loopback: load goes there only if you say that it is yours.",
)
@click.option(
    "--locustfile", type=click.Path(path_type=Path), metavar="FILE", help="The same file as there, for a run of a locustfile."
)
@click.option(
    "--join-within",
    "join_s",
    type=Duration(),
    default=_JOIN_S,
    show_default="1m",
    metavar="TIME",
    help="How long to try to join.",
)
def load(
    *, address: str, token: str | None, processes: int, confirmed: tuple[str, ...], locustfile: Path | None, join_s: float
) -> None:
    """Sends a part of the load of a run that another machine measures, then hands back what was seen and ends.

    What is sent, when and where to is that machine's to say; see docs/load.md, "Several machines".

    Exit status: 0 its part was sent, 1 it could not be, or the run ended without it, 2 usage, 130/143 interrupted.
    """
    token = token or os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise UsageError(
            "no join token was given", f"give the one that the other machine shows with --token, or set {TOKEN_VARIABLE} on both"
        )
    try:
        where = split_address(address, "--join")
    except ValueError as error:
        raise UsageError(str(error)) from None
    joiner = Joiner(where, token, processes=processes, confirmed=confirmed, locustfile=locustfile, join_s=join_s)
    sys.exit(joiner.run())
