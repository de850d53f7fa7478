"""How soon the screen is there: `python -m bench.screen_start`. Many starts, since a machine that does other things is no clock.


To the first picture over a run that is over, to the first picture and to the filled-in form of the start screen, and from the
Enter that starts a run to the first figures. With `--against` another checkout takes turns, start by start.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from bench.peers import ROOT
from bench.screen import FIRST_TEXT, SIZES, in_terminal

_START_TEXT: Final = "load-test what"
_FORM_TEXT: Final = "afterload run email"
_FIGURE: Final = re.compile(rb"p95 [\d.,]+ m?s")
_FROM_ENTER_S: Final = 3.0


@dataclass
class Starts:
    """Of one checkout."""

    root: Path
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)  # of the screen's own process

    def line(self, name: str) -> str:
        """One row of the table."""
        shown = "".join(f"{value:8.2f}" for value in (statistics.median(self.wall_s), min(self.wall_s), max(self.wall_s)))
        return f"  {name:<34}{shown}{statistics.median(self.cpu_s):12.2f}"


def _attached(path: Path, columns: int, rows: int) -> Callable[[Path], tuple[float, float]]:
    def start(root: Path) -> tuple[float, float]:
        with in_terminal(["-m", "dashboard", "attach", str(path)], columns, rows, root=root, cwd=root) as terminal:
            took_s, used_s = terminal.wait_for(FIRST_TEXT) - terminal.began_s, terminal.used_s()
            terminal.end("q")
        return took_s, used_s

    return start


def _to_choose(folder: Path, text: str) -> Callable[[Path], tuple[float, float]]:
    def start(root: Path) -> tuple[float, float]:
        with in_terminal(["-m", "dashboard"], 120, 36, root=root, cwd=folder) as terminal:
            took_s, used_s = terminal.wait_for(text) - terminal.began_s, terminal.used_s()
            terminal.end("q")
        return took_s, used_s

    return start


def _from_enter(folder: Path) -> Callable[[Path], tuple[float, float]]:
    """Each is a run of its own, which is stopped again."""

    def start(root: Path) -> tuple[float, float]:
        with in_terminal(["-m", "dashboard"], 120, 36, root=root, cwd=folder) as terminal:
            began_s = terminal.wait_for(_FORM_TEXT)
            used_s = terminal.used_s()
            terminal.press("\r")
            took_s = terminal.wait_for(_FIGURE) - began_s
            used_s = terminal.used_s() - used_s
            terminal.end("\x03", 90)
        return took_s, used_s

    return start


def _measure(name: str, start: Callable[[Path], tuple[float, float]], roots: Sequence[Path], n: int) -> list[Starts]:
    found = [Starts(root) for root in roots]
    for number in range(n + 1):
        for each in found:
            wall_s, cpu_s = start(each.root)
            if number:  # the first one compiles what was changed, and fills the cache of the disk
                each.wall_s.append(wall_s)
                each.cpu_s.append(cpu_s)
    for each in found:
        print(each.line(name if each is found[0] else f"  {each.root.name}"), flush=True)
    return found


@click.command()
@click.option("--starts", type=click.IntRange(3), default=9, show_default=True, help="Of each kind.")
@click.option("--runs", type=click.IntRange(0), default=3, show_default=True, help="Started by Enter, and stopped again.")
@click.option("--against", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Another checkout, built.")
def main(*, starts: int, runs: int, against: Path | None) -> None:
    """How soon the screen is there, in s."""
    roots = [ROOT] if against is None else [ROOT, against.resolve()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "over"
        words = ["run", "email", "--rate", "50", "--for", "3s", "--warm-up", "1s", "--fault", "none", "--out", str(path)]
        subprocess.run([sys.executable, "-m", "harness", *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        print(f"  {'s':<34}{'median':>8}{'least':>8}{'most':>8}{'processor':>12}")
        for columns, rows in SIZES:
            _measure(f"first picture of a run, {columns}x{rows}", _attached(path, columns, rows), roots, starts)
        _measure("first picture of the start screen", _to_choose(folder, _START_TEXT), roots, starts)
        _measure("the form of the first scenario", _to_choose(folder, _FORM_TEXT), roots, starts)
        if runs:
            found = _measure("from Enter to the first figures", _from_enter(folder), roots, runs)
            if max(found[0].wall_s) > _FROM_ENTER_S:
                print(f"  from Enter to the first figures it should take {_FROM_ENTER_S:g} s at most")


if __name__ == "__main__":
    main(prog_name="python -m bench.screen_start")
