"""`python -m scenarios`: how the harness, which imports nothing of this folder, learns about scenarios and starts their worlds.

`describe NAME` prints one JSON object. `world NAME` starts the servers that the tasks talk to, prints one JSON line with their
addresses, and ends when its standard input is closed (so also when whoever started it has died) or at SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import click

from scenarios.registry import SCENARIOS, UnknownScenario, find
from scenarios.scenario import BadSetting, Scenario, TaskKind
from server import EffectRows


@click.group()
def main() -> None:
    """Scenarios for afterload."""


@main.command("list")
def list_scenarios() -> None:
    """Names and summaries, as JSON."""
    click.echo(json.dumps([{"name": each.name, "summary": each.summary} for each in SCENARIOS.values()]))


@main.command()
@click.argument("name")
@click.option("--tasks", type=click.Choice([str(kind) for kind in TaskKind]), default="sync")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE")
@click.option("--seed", default=1)
def describe(name: str, tasks: str, settings: tuple[str, ...], seed: int) -> None:
    """Everything about one scenario, as JSON."""
    scenario = _find(name)
    try:
        described = scenario.describe(TaskKind(tasks), _given(settings), seed)
    except BadSetting as error:
        raise click.UsageError(str(error)) from None
    click.echo(json.dumps(described))


@main.command()
@click.argument("name")
@click.option("--rows", type=click.Path(path_type=Path), required=True, help="Where to write the effect rows.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE")
def world(name: str, rows: Path, settings: tuple[str, ...]) -> None:
    """Starts the world of one scenario."""
    scenario = _find(name)
    try:
        resolved = scenario.resolve(_given(settings))
    except BadSetting as error:
        raise click.UsageError(str(error)) from None
    asyncio.run(_world(scenario, rows, resolved))


async def _world(scenario: Scenario, path: Path, settings: dict[str, float]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    rows = EffectRows(path, scenario.name)
    servers = await scenario.world(rows, settings)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    click.echo(json.dumps({"ready": True, "addresses": servers.addresses()}))
    sys.stdout.flush()
    parent_gone = asyncio.create_task(reader.read())
    parent_gone.add_done_callback(lambda _: stopped.set())
    await stopped.wait()
    await servers.close()
    rows.close()
    parent_gone.cancel()


def _find(name: str) -> Scenario:
    try:
        return find(name)
    except UnknownScenario as error:
        raise click.UsageError(str(error)) from None


def _given(settings: tuple[str, ...]) -> dict[str, str]:
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
