"""screen: what the screen costs while it follows a run of 1,000 requests/s, and how soon it answers. In real terminals.

`python -m bench.screen` does this alone; `python -m bench.screen --soak 3600` watches the memory of the screen for an hour.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.duel import Settings
from bench.instrument import Workshop
from bench.peers import ROOT
from bench.table import Finding, figure, title
from bench.terminal import Terminal
from harness.errors import RunError
from harness.processes import Child

NAME = "screen"
RATE_PER_S = 1000
SIZES = ((120, 36), (200, 60))
FIRST_TEXT = "Freeze"  # the row of keys: the screen is there
LIVE_TEXT = "CLIENT SEES"  # the first figures are there
HELD_TEXT, GOES_ON_TEXT = "Go on", "Freeze"  # what the key bar says of the space bar
HELP_TEXT = "what each figure is"

TARGET_CPU, TARGET_KIB, TARGET_LAG_MS, TARGET_KEY_MS, TARGET_PAINT_S = 0.10, 70.0, 20.0, 50.0, 0.6

_N_KEYS, _N_HELPS = 100, 15  # twice each: there and back


@dataclass(frozen=True, slots=True)
class Measured:
    """One size."""

    size: str
    cpu_share: float  # of one core
    kib_per_s: float
    pictures_per_s: float  # the least of those that came in any 5 s: where they cost much, fewer are made
    lag_p99_ms: float
    lag_max_ms: float
    key_p50_ms: float
    key_p99_ms: float
    help_p50_ms: float  # from a key to another screen
    first_paint_s: list[float]
    first_figures_s: list[float]
    rss_mib: float


def run(workshop: Workshop, settings: Settings, results: dict[str, Any]) -> Iterator[str]:
    """Attached to a run that goes on: fresh screens at each size."""
    seconds = 5.0 if settings.rounds == 1 else 20.0
    rounds, n_keys = (2, 10) if settings.rounds == 1 else (9, _N_KEYS)
    yield title(f"screen: attached to a run of {RATE_PER_S:,} requests/s, 4 pictures a second asked for")
    of_loop, of_keys = f"{'loop lag ms: p99, max':>23}", f"{'key to paint ms: p50, p99':>27}"
    yield f"  {'size':<9}{'pictures/s':>11}{'CPU %':>7}{'KiB/s':>7}{of_loop}{of_keys}{'MiB':>6}"
    needed_s = len(SIZES) * (2 * seconds + 4 * rounds + n_keys + 50)
    child, path = _begin(workshop, needed_s)
    try:
        for columns, rows in SIZES:
            settings.log(f"the screen at {columns}x{rows}")
            found = _measure(workshop.folder, path, columns, rows, seconds, rounds, n_keys)
            results[found.size] = {name: getattr(found, name) for name in found.__dataclass_fields__}
            lags, keys = f"{found.lag_p99_ms:.1f}, {found.lag_max_ms:.0f}", f"{found.key_p50_ms:.0f}, {found.key_p99_ms:.0f}"
            line = f"  {found.size:<9}{found.pictures_per_s:>11.1f}{100 * found.cpu_share:>7.1f}{found.kib_per_s:>7.0f}"
            yield f"{line}{lags:>23}{keys:>27}{found.rss_mib:>6.0f}"
            yield f"           from its start to the first picture {spread(found.first_paint_s)},"
            yield f"           to the first figures {spread(found.first_figures_s)} ({rounds} starts: median, range)"
            yield f"           from `?` to the help {found.help_p50_ms:.0f} ms"
            if settings.rounds > 1:
                results["findings"] += _findings(found)
    finally:
        child.stop(30)
    targets = f"{100 * TARGET_CPU:g} %, {TARGET_KIB:g} KiB/s, {TARGET_LAG_MS:g} ms, {TARGET_KEY_MS:g} ms, {TARGET_PAINT_S:g} s"
    yield f"  targets at 120x36: {targets}"


def _begin(workshop: Workshop, needed_s: float) -> tuple[Child, Path]:
    """A run that goes on for long enough, some seconds after its load has begun."""
    path = workshop.folder / "run"
    words = ["-m", "harness", "run", "email", "--rate", str(RATE_PER_S), "--for", f"{needed_s:.0f}s", "--out", str(path)]
    child = workshop.start("run", [sys.executable, *words], {"PYTHONPATH": str(ROOT)})
    until_s = time.monotonic() + 90
    while not _has_load(path):
        if child.exit is not None or child.poll() is not None or time.monotonic() > until_s:
            raise RunError(f"the run did not begin: {child.log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)
    time.sleep(5)
    return child, path


def _has_load(path: Path) -> bool:
    events = path / "events.jsonl"
    return events.exists() and '"load_started"' in events.read_text()


def _measure(folder: Path, path: Path, columns: int, rows: int, seconds: float, rounds: int, n_keys: int) -> Measured:
    paints, figures = [], []
    with screen_over(path, columns, rows) as terminal:  # the first start after a change compiles what was changed
        terminal.wait_for(LIVE_TEXT)
        terminal.end("q")
    for _ in range(rounds):
        with screen_over(path, columns, rows) as terminal:
            paints.append(terminal.wait_for(FIRST_TEXT) - terminal.began_s)
            figures.append(terminal.wait_for(LIVE_TEXT) - terminal.began_s)
            terminal.end("q")
    with screen_over(path, columns, rows) as terminal:
        terminal.wait_for(LIVE_TEXT)
        time.sleep(2)
        used = terminal.measure(seconds)
        rss_mib = terminal.rss_mib()
        keys_ms = _answers_ms(terminal, ((" ", HELD_TEXT), (" ", GOES_ON_TEXT)), n_keys)
        help_ms = _answers_ms(terminal, (("?", HELP_TEXT), ("\x1b", LIVE_TEXT)), _N_HELPS)[::2]
        terminal.end("q")
    lag_file = folder / f"lag-{columns}.json"
    with screen_over(path, columns, rows, "-m", "bench.screen_lag", str(lag_file)) as terminal:
        terminal.wait_for(LIVE_TEXT)
        time.sleep(seconds)
        terminal.end("q")
    watched = json.loads(lag_file.read_text())
    lags_ms = sorted(watched["lags_ms"][50:])  # the first second is that of the start
    return Measured(
        size=f"{columns}x{rows}",
        cpu_share=used.cpu_share,
        kib_per_s=used.kib_per_s,
        pictures_per_s=_least_per_s(watched["frames_s"]),
        lag_p99_ms=_share(lags_ms, 0.99),
        lag_max_ms=lags_ms[-1],
        key_p50_ms=_share(sorted(keys_ms), 0.5),
        key_p99_ms=_share(sorted(keys_ms), 0.99),
        help_p50_ms=statistics.median(help_ms),
        first_paint_s=paints,
        first_figures_s=figures,
        rss_mib=rss_mib,
    )


def _answers_ms(terminal: Terminal, keys: tuple[tuple[str, str], ...], n: int) -> list[float]:
    """From each key to the text that it brings, so many times, in the order of the keys pressed."""
    found = []
    for _ in range(n):
        for key, text in keys:
            terminal.forget()
            pressed_s = time.monotonic()
            terminal.press(key)
            found.append((terminal.wait_for(text) - pressed_s) * 1e3)
            # Not in step with the pictures, which are four a second.
            time.sleep(0.31)
    return found


def screen_over(path: Path, columns: int, rows: int, *program: str, options: Sequence[str] = ("--fps", "4")) -> Terminal:
    command = [*(program or ("-m", "dashboard")), "attach", str(path), *options]
    return in_terminal(command, columns, rows)


def in_terminal(arguments: Sequence[str], columns: int, rows: int, *, root: Path = ROOT, cwd: Path = ROOT) -> Terminal:
    """Python with these arguments, as of somebody who has set nothing; `root`: of which checkout."""
    # Compiled sources are kept, as they are where afterload is installed.
    left_out = ("SSH_", "TEXTUAL", "AFTERLOAD_", "NO_COLOR", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(root)}
    return Terminal([sys.executable, *arguments], columns, rows, env=env, cwd=cwd)


def spread(values_s: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values_s):.2f} s ({min(values_s):.2f} to {max(values_s):.2f})"


def _least_per_s(frames_s: list[float], over_s: float = 5.0) -> float:
    """After the first second, which is that of the start, and before the last stretch of which all has been seen."""
    begins_s = [at_s for at_s in frames_s if frames_s[0] + 1 <= at_s <= frames_s[-1] - over_s]
    return min((sum(begin_s < at_s <= begin_s + over_s for at_s in frames_s) / over_s for begin_s in begins_s), default=0.0)


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _findings(found: Measured) -> Iterator[Finding]:
    is_judged = found.size == "120x36"

    def one(what: str, value: float, unit: str, target: float) -> Finding:
        shown = f"{figure(value)} {unit}"
        return Finding(
            f"the screen at {found.size}: {what}",
            "",
            shown,
            "",
            f"<= {target:g} {unit}" if is_judged else "",
            value <= target if is_judged else None,
        )

    yield one(f"processor, 4 Hz, {RATE_PER_S:,} requests/s", 100 * found.cpu_share, "% of a core", 100 * TARGET_CPU)
    yield one("output", found.kib_per_s, "KiB/s", TARGET_KIB)
    yield one("event loop lag p99", found.lag_p99_ms, "ms", TARGET_LAG_MS)
    yield one("key to paint p99", found.key_p99_ms, "ms", TARGET_KEY_MS)
    yield one("first paint", statistics.median(found.first_paint_s), "s", TARGET_PAINT_S)


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--quick", is_flag=True, help="Shorter, to see whether it works.")
@click.option("--soak", "seconds", type=click.FloatRange(10), help="Memory and processor over so many s, instead.")
@click.option("--size", default="120x36", show_default=True, help="Columns and rows, for --soak.")
@click.option("--every", "every_s", type=click.FloatRange(1), default=30.0, show_default=True, help="Between two lines, in s.")
def main(*, path: Path | None, quick: bool, seconds: float | None, size: str, every_s: float) -> None:
    """What the screen costs. With --soak, that of the run in PATH or of one of its own."""
    if seconds is not None:
        _soak(path, seconds, size, every_s)
        return
    settings = Settings(rounds=1 if quick else 5, slice_s=0.5, n_burst=1, n_pending=1, log=lambda text: None)
    with Workshop() as workshop:
        for line in run(workshop, settings, {"findings": []}):
            print(line, flush=True)


def _soak(path: Path | None, seconds: float, size: str, every_s: float) -> None:
    """One line every so often."""
    columns, rows = (int(word) for word in size.split("x"))
    with Workshop() as workshop:
        child = None
        if path is None:
            child, path = _begin(workshop, seconds + 60)
        with screen_over(path, columns, rows) as terminal:
            terminal.wait_for(LIVE_TEXT)
            began_s = time.monotonic()
            print("      s    MiB  % of a core  KiB/s")
            while (passed_s := time.monotonic() - began_s) < seconds and terminal.is_running:
                used = terminal.measure(min(every_s, seconds - passed_s + 0.1))
                passed_s = time.monotonic() - began_s
                print(f"{passed_s:7.0f}{terminal.rss_mib():7.1f}{100 * used.cpu_share:13.1f}{used.kib_per_s:7.0f}", flush=True)
            terminal.end("q")
        if child is not None:
            child.stop(30)


if __name__ == "__main__":
    main(prog_name="python -m bench.screen")
