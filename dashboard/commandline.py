"""The command line as a whole: that of the harness, the commands that show something, and without any command the screen."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from dashboard.commands.shared import read_options, screen_options
from dashboard.options import has_screen
from harness.commands.lazy import Commands
from harness.commands.main import COMMANDS, CommandLine
from harness.commands.main import main as harness_main

__all__ = ["main"]

_OWN: Final = {
    "attach": "dashboard.commands.attach:attach",
    "replay": "dashboard.commands.replay:replay",
    "serve-ui": "dashboard.commands.serve_ui:serve_ui",
}
_ALL: Final = Commands({**COMMANDS.places, **_OWN})


@click.group(cls=CommandLine, commands=_ALL, invoke_without_command=True, context_settings=harness_main.context_settings)
@click.version_option(package_name="afterload")
@screen_options
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Load-test what happens after the response.

    Without a command: the dashboard. Without a terminal: runs the email scenario.
    """
    if context.invoked_subcommand is not None:
        _refuse_lost(context)
        return
    if not options["is_plain"] and not has_screen(sys.stdin, sys.stderr, os.environ):
        context.invoke(_ALL["run"], scenarios=("email",))
        return
    from dashboard.showing import show

    chosen = read_options(**options)
    sys.exit(show(chosen, arguments=["email"] if chosen.is_plain else None))


def _refuse_lost(context: click.Context) -> None:
    """Options of the screen before a command would be forgotten."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE:
            name, command = parameter.opts[0], context.invoked_subcommand or ""
            invoked = context.command.get_command(context, command) if isinstance(context.command, click.Group) else None
            if invoked is not None and any(name in each.opts for each in invoked.params):
                raise click.UsageError(f"{name} belongs behind the command: afterload {command} {name} ...", context)
            raise click.UsageError(f"{name} is of the screen, and afterload {command} has none: leave it out", context)
