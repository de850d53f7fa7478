"""`python -m scenarios`: how the harness, which imports nothing of this folder, learns about scenarios and starts their worlds.

`describe NAME` prints one JSON object, with the requests unless their bodies are large: `traffic NAME` writes those into a folder
and prints the requests. `world NAME` starts the servers that the tasks talk to, prints one JSON line with their addresses,
obeys lines on its standard input that make them slow or dead for a while, and ends when that is closed (so also when whoever
started it has died) or at SIGTERM. `check NAME` says what is left when all has ended. NAME may be a file.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from scenarios import own
from scenarios.kinds import TaskKind
from scenarios.registry import NAMES, UnknownScenario, find
from scenarios.rows import Rows
from scenarios.scenario import CannotStart, Check, Scenario, Troubled
from scenarios.settings import BadSetting, Settings
from server import EffectRows

_KINDS = click.Choice([str(kind) for kind in TaskKind])
_FOLDER = click.Path(path_type=Path, file_okay=False)


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """NAME, --set and --seed, which every command but `list` takes."""
    for option in (
        click.option("--seed", default=1, help="Makes traffic and what goes wrong repeatable."),
        click.option("--set", "settings", multiple=True, metavar="NAME=VALUE"),
        click.argument("name"),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Scenarios for afterload."""


@main.command("list")
def list_scenarios() -> None:
    """What there is to choose from: names, what one will see, defaults and settings, as JSON."""
    click.echo(json.dumps([find(name).introduce() for name in NAMES]))


@main.command()
@_common
@click.option("--tasks", type=_KINDS, default="sync")
def describe(name: str, tasks: str, settings: tuple[str, ...], seed: int) -> None:
    """Everything about one scenario, as JSON; without its traffic if that has large bodies."""
    scenario, resolved = _resolved(name, settings, seed)
    kind = TaskKind(tasks)
    if kind not in scenario.kinds:
        msg = f"scenario {scenario.name!r} has no tasks of the kind {kind}; it has {', '.join(scenario.kinds)}"
        raise click.UsageError(msg)
    described = scenario.describe(kind, _given(settings))
    if not scenario.has_body_files:
        with _blaming(name, "traffic"), tempfile.TemporaryDirectory() as nowhere:
            described["traffic"] = scenario.requests(resolved, Path(nowhere))
    click.echo(json.dumps(described))


@main.command()
@_common
@click.option("--bodies", type=_FOLDER, required=True, help="Where to write bodies that are too big for JSON.")
def traffic(name: str, bodies: Path, settings: tuple[str, ...], seed: int) -> None:
    """What the client sends, as JSON."""
    scenario, resolved = _resolved(name, settings, seed)
    bodies.mkdir(parents=True, exist_ok=True)
    with _blaming(name, "traffic"):
        click.echo(json.dumps(scenario.requests(resolved, bodies.resolve())))


@main.command()
@_common
@click.option("--rows", type=click.Path(path_type=Path), required=True, help="Where to write the effect rows.")
@click.option("--folder", type=_FOLDER, required=True, help="The world's own, for what must outlive it.")
def world(name: str, rows: Path, folder: Path, settings: tuple[str, ...], seed: int) -> None:
    """Starts the world of one scenario."""
    scenario, resolved = _resolved(name, settings, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with _blaming(name, "world"):
        asyncio.run(_world(scenario, rows, resolved, folder.resolve()))


@main.command()
@_common
@click.option("--run", type=_FOLDER, required=True, help="The run directory.")
@click.option("--folder", type=_FOLDER, required=True, help="The world's, as it was left.")
def check(name: str, run: Path, folder: Path, settings: tuple[str, ...], seed: int) -> None:
    """What is left in the world when all has ended, as JSON."""
    scenario, resolved = _resolved(name, settings, seed)
    with _blaming(name, "check"):
        found = scenario.check(Rows(run), resolved, folder.resolve())
        if not isinstance(found, Check):
            msg = f"check must return a Check, not {found!r}"
            raise TypeError(msg)
    click.echo(json.dumps(dataclasses.asdict(found)))


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
def new(path: Path) -> None:
    """Writes a commented starting point for a scenario of your own."""
    if path.suffix != ".py" or not path.stem.isidentifier():
        msg = f"{path} is no name for a Python file: write, e.g., my_scenario.py"
        raise click.UsageError(msg)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(Path(__file__).with_name("starting_point.py").read_text(encoding="utf-8"))
    except FileExistsError:
        msg = f"{path} is there already and is left as it is"
        raise click.UsageError(msg) from None
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise click.UsageError(msg) from None


async def _world(scenario: Scenario, path: Path, settings: Settings, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    rows = EffectRows(path, scenario.name)
    servers = await scenario.world(rows, settings, folder)
    troubled = getattr(servers, "troubled", ())
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say({"ready": True, "addresses": servers.addresses(), "faults": ["slow-world", "dead-world"] if troubled else []})
    orders = asyncio.create_task(_obey(reader, troubled))
    orders.add_done_callback(lambda _: stopped.set())
    await stopped.wait()
    await servers.close()
    rows.close()
    orders.cancel()


async def _obey(reader: asyncio.StreamReader, troubled: Sequence[Troubled]) -> None:
    """Does to the servers what a line on standard input says, and says so; ends with the input."""
    late_before = 0
    while line := await reader.readline():
        order = json.loads(line)
        said = {"number": order["number"], "on": order["on"], "servers": [each for one in troubled for each in one.listening()]}
        late = sum(server.late for server in troubled)
        match order["fault"], order["on"]:
            case "slow-world", is_on:
                for server in troubled:
                    server.slow(order["delay_s"] if is_on else 0.0)
                said["late"] = late - late_before
                late_before = late
            case "dead-world", True:
                said["dropped"] = sum([await server.leave() for server in troubled])
            case "dead-world", False:
                for server in troubled:
                    await server.come_back()
        _say({**said, "at_ns": time.monotonic_ns()})


def _say(message: dict[str, Any]) -> None:
    click.echo(json.dumps(message))
    sys.stdout.flush()


def _find(name: str) -> Scenario:
    try:
        return find(name)
    except (UnknownScenario, own.BadScenarioFile) as error:
        raise click.UsageError(str(error)) from None


def _resolved(name: str, settings: tuple[str, ...], seed: int) -> tuple[Scenario, Settings]:
    scenario = _find(name)
    try:
        return scenario, scenario.resolve(_given(settings), seed)
    except BadSetting as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _blaming(name: str, part: str) -> Iterator[None]:
    """What somebody's own file raises becomes one line that names its line; ours are bugs and keep their traceback."""
    try:
        yield
    except CannotStart as error:
        raise click.ClickException(str(error)) from None
    except Exception as error:
        if not own.looks_like_a_file(name):
            raise
        msg = f"{own.blame(name, error)} (in its {part})"
        raise click.ClickException(msg) from None


def _given(settings: tuple[str, ...]) -> dict[str, Any]:
    given = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            msg = f"--set {setting} has no value: write it as --set name=value, e.g., --set delay=200ms"
            raise click.UsageError(msg)
        given[name] = value
    return given


if __name__ == "__main__":
    main(prog_name="python -m scenarios")
