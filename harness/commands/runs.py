"""`afterload runs` and `afterload runs prune`."""

from __future__ import annotations

import functools
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from harness.commands.params import Duration
from harness.durations import parse_duration_s
from harness.errors import UsageError
from harness.numbers import CountWithin
from harness.runs import RunEntry, list_runs, make_latest, remove, to_remove
from harness.wording import bytes_of, counted, duration_ms, per_second

__all__ = ["runs"]

_FOLDER = Path("runs")
_COLUMNS = ("run", "when", "verdict", "broken", "p99 answer", "p95 done", "rate", "size")
_SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class _Size(click.ParamType[int]):
    """Bytes, written as 500MB, 1GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?B)\s*", str(value))
        if not found:
            self.fail(f"{value!r} is no size: write a number and a unit (B, kB, MB, GB), e.g., 500MB", param, ctx)
        return int(float(found[1]) * _SIZES[found[2]])


class _Days(Duration):
    """As durations are written, and in days: 14d."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails with what is allowed."""
        if isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*d\s*", value)):
            return float(found[1]) * 86_400
        try:
            return float(value) if isinstance(value, float) else parse_duration_s(str(value))
        except ValueError:
            self.fail(f"{value!r} is no duration: write a number and a unit (s, m, h, d), e.g., 12h or 7d", param, ctx)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which runs are meant. None: that does not matter."""

    folder: Path | None
    scenario: str | None
    verdict: str | None
    since_s: float | None
    match: str | None

    def entries(self) -> list[RunEntry]:
        """Those that are, the newest first; with what is no run where nothing forbids it."""
        return [each for each in list_runs(self.folder or _FOLDER) if self._has(each)]

    def within(self, outer: _Wanted) -> _Wanted:
        """The same, and where it says nothing what `outer` says."""
        return _Wanted(*(getattr(self if getattr(self, each.name) is not None else outer, each.name) for each in fields(self)))

    def _has(self, entry: RunEntry) -> bool:
        if self.scenario is not None and entry.title != self.scenario and self.scenario not in entry.title.split():
            return False
        if self.verdict is not None and entry.verdict != self.verdict:
            return False
        if self.since_s is not None and time.time() - entry.began_s > self.since_s:
            return False
        return self.match is None or self.match.lower() in f"{entry.name} {entry.title}".lower()


_WANTED = (
    click.option("--in", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where the runs are.  [default: runs]"),
    click.option("--scenario", metavar="NAME", help="Only runs of this scenario, or with this in their command."),
    click.option(
        "--verdict",
        type=click.Choice(["PASS", "FAIL", "INCONCLUSIVE"], case_sensitive=False),
        help="Only runs that came to it.",
    ),
    click.option(
        "--since", "since_s", type=_Days(), metavar="TIME", help="Only runs begun so long ago at most, e.g., 12h or 7d."
    ),
    click.option("--match", metavar="TEXT", help="Only runs with TEXT in their name, scenario or command."),
)


def _wanted(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say which runs are meant; the command gets them as one `wanted`."""

    @functools.wraps(command)
    def call(*args: Any, **options: Any) -> Any:
        wanted = _Wanted(**{each.name: options.pop(each.name) for each in fields(_Wanted)})
        return command(*args, wanted=wanted, **options)

    for option in reversed(_WANTED):
        call = option(call)
    return call


@click.group(invoke_without_command=True)
@_wanted
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.pass_context
def runs(context: click.Context, /, *, wanted: _Wanted, as_json: bool) -> None:
    """Lists the runs that there are, the newest first.

    p99 answer: what the slowest percent of clients waited for at least; p95 done: when 95 % of the work was done.
    """
    if context.invoked_subcommand is not None:
        context.obj = wanted
        return
    entries = wanted.entries()
    if as_json:
        click.echo(json.dumps([each.as_json() for each in entries], indent=1))
        return
    known = [each for each in entries if each.state != "no run"]
    rows = [_COLUMNS, *(_row(each) for each in known)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows if known else ():
        cells = [
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
    for each in entries:
        if each.problem:
            click.echo(f"{each.name}: {each.state if each.state != 'done' else 'note'}: {each.problem}")
    total = sum(each.size_bytes for each in entries)
    click.echo(
        f"{counted(len(known), 'run')} in {wanted.folder or _FOLDER}, {bytes_of(total)}; afterload runs prune removes old ones"
    )


@runs.command()
@click.option("--keep", type=CountWithin(min=0), metavar="N", help="Not the newest N.")
@click.option("--older", "older_s", type=_Days(), metavar="TIME", help="Only those begun longer ago, e.g., 14d.")
@click.option("--larger", "larger_bytes", type=_Size(), metavar="SIZE", help="Only those that take more, e.g., 100MB.")
@_wanted
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@click.pass_obj
def prune(
    listed: _Wanted, /, *, keep: int | None, older_s: float | None, larger_bytes: int | None, wanted: _Wanted, dry_run: bool
) -> None:
    """Removes runs. Where several conditions are given, all must hold; of those that are meant, --keep keeps the newest.

    Never one that goes on, never what is no run directory, never through a link.
    """
    if keep is None and older_s is None and larger_bytes is None:
        raise UsageError(
            "nothing says which runs to remove", "e.g., afterload runs prune --keep 20, or --older 14d, or --larger 1GB"
        )
    meant = wanted.within(listed)
    folder = meant.folder or _FOLDER
    if folder.is_symlink():
        raise UsageError(f"{folder} is a link: nothing is removed through it", f"name the folder itself: --in {folder.resolve()}")
    chosen = to_remove(meant.entries(), keep=keep, older_s=older_s, larger_bytes=larger_bytes)
    removed, failed = 0, 0
    for each in chosen:
        try:
            if not dry_run:
                remove(each)
        except (UsageError, OSError) as error:
            failed += 1
            click.echo(f"error: {each.name} stays: {error}", err=True)
            continue
        removed += each.size_bytes
        click.echo(f"{'would remove' if dry_run else 'removed'} {each.name} ({bytes_of(each.size_bytes)})")
    if not dry_run:
        make_latest(folder)
    what = counted(len(chosen) - failed, "run")
    click.echo(f"{what} {'would be ' if dry_run else ''}removed, {bytes_of(removed)}")
    sys.exit(1 if failed else 0)


def _row(entry: RunEntry) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.began_s))
    if entry.state != "done":
        return (entry.name, when, entry.state, "", "", "", "", bytes_of(entry.size_bytes))
    return (
        entry.name,
        when,
        entry.verdict or "",
        entry.broken_in_words,
        duration_ms(entry.response_p99_ms, none="never"),
        duration_ms(entry.done_p95_ms, none="none"),
        "" if entry.rate_per_s is None else per_second(entry.rate_per_s),
        bytes_of(entry.size_bytes),
    )
