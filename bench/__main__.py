"""`python -m bench` (`make bench`): measures, prints one table; targets are shown, not judged.

Exit status: 0 everything was measured, 1 something could not be (or does not count), 2 usage, 130/143 interrupted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import click

from bench import executor, fastrapi, limit, pending, probe, report, rows, schedule, screen, spin
from bench.duel import Settings
from bench.instrument import Workshop, require_wrk
from bench.markdown import renew
from bench.peers import peer_versions
from bench.table import WIDTH
from harness.environment import describe_environment
from harness.errors import Interrupted, RunError, UsageError

COMPARISONS: dict[str, ModuleType] = {
    module.NAME: module for module in (schedule, fastrapi, limit, spin, rows, probe, executor, pending, report, screen)
}
_PACKAGES = ("fastapi", "starlette", "uvloop", "pydantic")


@click.command(context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="A smoke test of about 40 s: one short round; its figures mean little.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Rounds of fresh servers per comparison.  [default: 5]")
@click.option("--seconds", type=click.FloatRange(0.3, 60), help="Length of one slice of load, e.g., 2.  [default: 0.5]")
@click.option("--tasks", "n_burst", type=click.IntRange(100, 60_000), default=20_000, help="Tasks per burst of `executor`.")
@click.option("--only", type=click.Choice(list(COMPARISONS)), multiple=True, help="This comparison alone.  (repeatable)")
@click.option("--pending", "n_pending", type=click.IntRange(10_000, 5_000_000), help="Tasks that wait.  [default: 1000000]")
@click.option(
    "--markdown",
    "document",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="Renew the table in this document.  (repeatable)",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write every slice to this file.")
def main(
    *,
    quick: bool,
    rounds: int | None,
    seconds: float | None,
    n_burst: int,
    n_pending: int | None,
    only: tuple[str, ...],
    document: tuple[Path, ...],
    json_path: Path | None,
) -> None:
    """Compares the bundled server with named peers on this machine, in about seven minutes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if document and only:
        raise click.UsageError("--markdown wants the whole table, and --only measures a part of it")
    settings = Settings(
        rounds=rounds or (1 if quick else 5),
        slice_s=seconds or (0.3 if quick else 0.5),
        n_burst=n_burst,
        n_pending=n_pending or (30_000 if quick else 1_000_000),
        log=_progress,
    )
    try:
        status = _bench(settings, [name for name in COMPARISONS if not only or name in only], json_path, document)
    except RunError as error:
        _progress("")
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"\nhint: {error.hint}", err=True)
        status = error.exit_status
    sys.exit(status)


def _bench(settings: Settings, names: list[str], json_path: Path | None, documents: Sequence[Path]) -> int:
    wrk = require_wrk()
    environment = describe_environment()
    try:
        versions = {name: metadata.version(name) for name in _PACKAGES}
        peers = peer_versions()
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            f"the bench needs {error.name}, which is not installed", "install the development group with `make install`"
        ) from None
    compiled = _digest()
    begun = time.monotonic()
    for line in _head(environment, versions, peers, wrk, compiled):
        _print(line)
    results: dict[str, dict[str, Any]] = {}
    with Workshop() as workshop:
        for name in names:
            results[name] = {"findings": []}
            for line in COMPARISONS[name].run(workshop, settings, results[name]):
                _print(line)
    findings = [found for result in results.values() for found in result.pop("findings") if found is not None]
    problems = [problem for found in results.values() for problem in _problems(found)]
    others = [slice_["others_share"] for found in results.values() for slice_ in _slices(found)]
    disturbed = compiled != _digest()
    notes = [f"{settings.rounds} rounds, slices of {settings.slice_s:g} s, {time.monotonic() - begun:.0f} s in all."]
    if others:
        share, most = 100 * statistics.median(others), 100 * max(others)
        notes.append(f"Other processes took {share:.0f} % of the cores in the median slice, {most:.0f} % in the worst.")
    if disturbed:
        notes.append("server._native was built anew while the bench ran: these figures mix two servers.")
    _print("")
    for note in notes:
        _print(note)
    head = f"{environment['cpu']}, {environment['cpus']} cores, {environment['system']}, {environment['python']}; " + ", ".join(
        f"{name} {version}" for name, version in {**peers, "wrk": wrk}.items()
    )
    for path in documents:
        renew(path, findings, "\n".join([f"{head}.", *notes]) + "\n")
    if json_path is not None:
        plan = {key: value for key, value in dataclasses.asdict(settings).items() if key != "log"}
        document = {
            "environment": environment,
            "versions": {**versions, "wrk": wrk},
            "peers": peers,
            "native_sha256": compiled,
            "rebuilt_meanwhile": disturbed,
            "plan": plan,
            "findings": [dataclasses.asdict(found) for found in findings],
            "results": results,
        }
        json_path.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if problems or disturbed else 0


def _head(environment: dict[str, Any], versions: dict[str, str], peers: dict[str, str], wrk: str, compiled: str) -> list[str]:
    load = ", ".join(f"{value:.2f}" for value in environment["load_average"])
    words = [
        f"wrk {wrk}",
        f"server {metadata.version('afterload')} ({compiled[:8]})",
        *(f"{name} {version}" for name, version in versions.items()),
        *(f"{name} {version}" for name, version in peers.items() if versions.get(name) != version),
    ]
    lines = [
        f"{environment['cpu']}, {environment['cpus']} cores, {environment['system']}",
        f"{environment['python']}, load average {load}",
    ]
    line = ""
    for word in words:
        if len(line) + len(word) + 2 > WIDTH:
            lines.append(line + ",")
            line = ""
        line += f", {word}" if line else word
    return [
        *lines,
        line,
        "",
        "Medians of rounds, with least and most. wrk shares the cores with the server.",
        "p99: wrk's, of a closed loop, median of slices. CPU s: the server's CPU seconds",
        "per 100,000 requests, tasks included. ctx: its context switches per request.",
        "wrk %: of its one core; near 100 wrk is the limit.",
    ]


def _digest() -> str:
    found = importlib.util.find_spec("server._native")
    if found is None or found.origin is None:
        raise RunError("server._native is not built", "build it with `make .make/built`")
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()


def _slices(found: dict[str, Any]) -> list[dict[str, Any]]:
    duels = [duel for duel in found.values() if isinstance(duel, dict) and "problems" in duel]
    return [slice_ for duel in duels for round_ in duel["rounds"] for side in ("a", "b") for slice_ in round_[side]]


def _problems(found: dict[str, Any]) -> list[str]:
    return [problem for duel in found.values() if isinstance(duel, dict) for problem in duel.get("problems", ())]


def _print(line: str) -> None:
    _progress("")
    print(line, flush=True)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[: WIDTH - 1]}")
        sys.stderr.flush()


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once: a second signal must not break off the killing of what was started.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


if __name__ == "__main__":
    main(prog_name="python -m bench")
