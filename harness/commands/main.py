"""The command line as a whole. Options in, exit status out; the work is elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.commands.compare import compare
from harness.commands.doctor import doctor
from harness.commands.load import load
from harness.commands.new import new
from harness.commands.report import report
from harness.commands.run import run
from harness.commands.runs import runs
from harness.commands.steer import steer
from harness.errors import RunError

__all__ = ["main"]


class _Main(click.Group):
    """Without a command: the same as `run email` (the dashboard, once there is one)."""

    def main(self, *args: Any, **extra: Any) -> Any:
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
    cls=_Main, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(package_name="afterload")
@click.pass_context
def main(context: click.Context) -> None:
    """Load-test what happens after the response.

    Without a command: runs the email scenario.
    """
    if context.invoked_subcommand is None:
        context.invoke(run, scenarios=("email",))


for _command in (compare, doctor, load, new, report, run, runs, steer):
    main.add_command(_command)


if __name__ == "__main__":
    main()
