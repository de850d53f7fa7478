"""`afterload doctor`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import click

from harness.ceilings import calibrate_now
from harness.doctor import examine

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--calibrate", is_flag=True, help="First measure what the load generator can send here; about 3 s for each line.")
def doctor(*, as_json: bool, calibrate: bool) -> None:
    """Says what this machine has for runs, and what to do about what it has not.

    Exit status: 0 runs are possible, 1 something is missing that all of them need.
    """
    if calibrate:
        # With one process, and with as many as there are cores: what lies between them is measured when a run needs it.
        for processes in dict.fromkeys((1, len(os.sched_getaffinity(0)))):
            calibrate_now(processes, lambda text: click.echo(text, err=True))
    checks = examine(Path())
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=1))
    else:
        can_draw = (sys.stdout.encoding or "").lower().startswith("utf")
        marks = dict(zip(("ok", "warning", "absent", "missing"), "✔▲·✖" if can_draw else "+!-x", strict=True))
        for check in checks:
            click.echo(f"{marks[check.state]} {check.name:<18} {check.text}")
            if check.advice:
                click.echo(f"  {'':<18} {check.advice}")
    sys.exit(1 if any(check.state == "missing" for check in checks) else 0)
