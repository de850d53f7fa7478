"""The command line as a whole. Options in, exit status out; the work is elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from harness.commands.lazy import Commands
from harness.errors import RunError

__all__ = ["COMMANDS", "CommandLine", "main"]

COMMANDS: Final = Commands(
    {
        name: f"harness.commands.{name}:{name}"
        for name in ("capacity", "compare", "doctor", "load", "new", "report", "run", "runs", "steer")
    }
)


class CommandLine(click.Group):
    """Errors in words, and the exit status that each has."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """As click's, and never with a traceback for what is known to go wrong."""
        try:
            return super().main(*args, **{**extra, "standalone_mode": False})
        except click.UsageError as error:
            error.show()
            sys.exit(2)
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except click.Abort:
            sys.exit(130)
        except OSError as error:
            click.echo(f"error: {error.filename or 'afterload'}: {error.strerror or error}", err=True)
            sys.exit(1)
        except RunError as error:
            click.echo(f"error: {error}", err=True)
            if error.hint:
                click.echo(f"\nhint: {error.hint}", err=True)
            sys.exit(error.exit_status)


@click.group(
    cls=CommandLine,
    commands=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="afterload")
@click.pass_context
def main(context: click.Context) -> None:
    """Load-test what happens after the response.

    Without a command: runs the email scenario.
    """
    if context.invoked_subcommand is None:
        context.invoke(COMMANDS["run"], scenarios=("email",))


if __name__ == "__main__":
    main()
