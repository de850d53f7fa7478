"""The command line: `afterload run`, `afterload report`. Options in, exit status out; the work is elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, TextIO

import click

from harness.durations import parse_duration_s
from harness.errors import RunError, UsageError
from harness.evidence import judge_run
from harness.faults import KINDS
from harness.plan import Plan, read_plan
from harness.rundir import RunDir
from harness.scenario import describe_scenario, new_scenario
from harness.schema import Summary
from harness.session import Outcome
from harness.session import run as run_session
from harness.text import render

__all__ = ["main"]

_WARM_UP_S = 1.0
EXIT_STATUS = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration_s(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


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
        context.invoke(run, scenario="email")


_FAULTS = "; ".join(f"{name}: {kind.help}" for name, kind in KINDS.items())


@main.command()
@click.argument("scenario", required=False)
@click.option("--rate", type=float, metavar="N", help="Requests to start per second, answered or not.")
@click.option("--for", "for_s", type=_Duration(), metavar="TIME", help="How long to send load, e.g., 30s.")
@click.option(
    "--warm-up",
    "warm_up_s",
    type=_Duration(),
    metavar="TIME",
    help="Of that, left out of the figures.  [default: 1s, at most a fifth]",
)
@click.option(
    "--arrivals", type=click.Choice(["constant", "poisson"]), help="How requests are spread in time.  [default: constant]"
)
@click.option(
    "--tasks",
    type=click.Choice(["sync", "async", "blocking", "inline"]),
    help="How the background work is written.  [default: sync]",
)
@click.option("--pool", type=int, metavar="N", help="Threads for def tasks.")
@click.option("--order", type=click.Choice(["sequential", "parallel"]), help="Of one request's tasks.  [default: sequential]")
@click.option(
    "--on-error", type=click.Choice(["continue", "stop"]), help="After a task raised: the later ones.  [default: continue]"
)
@click.option("--queue-limit", type=int, metavar="N", help="Answer 503 while N tasks are pending.  [default: no limit]")
@click.option(
    "--drain", "drain_s", type=_Duration(), metavar="TIME", help="How long a stopping server lets tasks finish.  [default: 30s]"
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND@TIME",
    help=f"TIME after load start, e.g., kill@6s; repeatable; 'none' for no fault. {_FAULTS}.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the scenario, e.g., delay=200ms; repeatable."
)
@click.option("--postgres", metavar="URL", help="The same as --set postgres=URL: a real database for scenarios that can use one.")
@click.option("--redis", metavar="URL", help="The same as --set redis=URL.")
@click.option("--seed", type=int, metavar="N", help="Makes traffic and arrivals repeatable.  [default: 1]")
@click.option("--port", type=int, metavar="N", help="Port of the server.  [default: a free one]")
@click.option("--load-processes", type=int, metavar="N", help="Processes that send load.  [default: 1]")
@click.option(
    "--request-timeout", "request_timeout_s", type=_Duration(), metavar="TIME", help="When to give an answer up.  [default: 10s]"
)
@click.option(
    "--horizon",
    "horizon_s",
    type=_Duration(),
    metavar="TIME",
    help="How long to wait for the backlog after the load.  [default: 2m]",
)
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), metavar="FILE", help="A plan.toml; options override it.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Run directory.  [default: runs/SCENARIO-DATE-TIME]")
@click.option("--json", "json_to", metavar="FILE", help="Write the summary as JSON; - for standard output.")
def run(scenario: str | None, plan_file: Path | None, out: Path | None, json_to: str | None, **options: Any) -> None:
    """Runs SCENARIO once: load, faults, drain, verdict. It is a name, or a file of your own (see afterload new).

    Exit status: 0 pass, 1 afterload failed, 2 usage, 3 an SLO is broken, 4 inconclusive, 130/143 interrupted.
    """
    given = _given(options)
    values = read_plan(plan_file) if plan_file is not None else {}
    values.update(given)
    if scenario is not None:
        values["scenario"] = scenario
    if "scenario" not in values:
        raise click.UsageError("name a scenario, e.g., afterload run email, or a plan with --plan")
    where = f"plan {plan_file}" if plan_file is not None else "options"
    # Once with what any scenario would do, so that a wrong value is told before anything is started.
    first = Plan.of({"pool": 1, "rate": 1.0, "for_s": 3600.0, "warm_up_s": 0.0, **values}, where)
    if json_to is not None and json_to != "-":
        _require_writable(Path(json_to))
    described = describe_scenario(first.scenario, first.tasks, first.settings, first.seed)
    plan = Plan.of({**_defaults(described, values), **values}, where)
    outcome = run_session(plan, described, out=out)
    _show(outcome, json_to)
    sys.exit(128 + outcome.interrupted_by if outcome.interrupted_by else EXIT_STATUS[outcome.summary.verdict])


@main.command()
@click.argument("run_directory", type=click.Path(path_type=Path), default=Path("runs/latest"))
@click.option("--json", "json_to", metavar="FILE", help="Write the summary as JSON; - for standard output.")
def report(run_directory: Path, json_to: str | None) -> None:
    """Judges a run again from what its witnesses wrote.

    RUN_DIRECTORY is one that `afterload run` made.  [default: runs/latest]
    """
    if not run_directory.is_dir():
        raise UsageError(f"there is no run directory {run_directory}", "see runs/ for those that there are")
    summary = judge_run(RunDir(run_directory.resolve()))
    _write(summary, json_to)
    sys.exit(EXIT_STATUS[summary.verdict])


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def new(file: Path) -> None:
    """Writes FILE, e.g., my_scenario.py: a commented scenario that runs as it is.

    Then: afterload run ./my_scenario.py
    """
    new_scenario(file)
    shown = file if len(file.parts) > 1 else f"./{file}"
    click.echo(f"wrote {file}; run it with: afterload run {shown}")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    if "faults" in given and "none" in given["faults"]:
        given["faults"] = ()
    if "settings" in given:
        pairs = [setting.partition("=") for setting in given["settings"]]
        for name, equals, _ in pairs:
            if not equals:
                raise UsageError(f"--set {name} has no value", "write it as --set name=value, e.g., --set delay=200ms")
        given["settings"] = {name: value for name, _, value in pairs}
    for name in ("postgres", "redis"):
        if (url := given.pop(name, None)) is not None:
            given["settings"] = {**given.get("settings", {}), name: url}
    return given


def _defaults(described: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    plan = described["plan"]
    defaults = {"rate": plan["rate_per_s"], "for_s": plan["duration_s"], "pool": plan["pool"]}
    for_s = values.get("for_s", defaults["for_s"])
    if isinstance(for_s, (int, float)):
        defaults["warm_up_s"] = min(_WARM_UP_S, for_s / 5)
    # The default faults belong to the default length: a shorter load asked for by hand gets none that it did not ask for.
    if "for_s" not in values:
        defaults["faults"] = tuple(plan["faults"])
    return defaults


def _show(outcome: Outcome, json_to: str | None) -> None:
    _write(outcome.summary, json_to)
    shown = Path(os.path.relpath(outcome.rundir.path))
    click.echo(
        f"run directory: {shown if len(str(shown)) < len(str(outcome.rundir.path)) else outcome.rundir.path}",
        err=json_to == "-",
    )


def _write(summary: Summary, json_to: str | None) -> None:
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


def _require_writable(path: Path) -> None:
    try:
        with path.open("a", encoding="utf-8"):
            return
    except OSError as error:
        raise UsageError(f"cannot write the summary to {path}: {error.strerror}") from None


if __name__ == "__main__":
    main()
