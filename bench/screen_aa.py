"""Whether the screen disturbs what it shows: the same run with and without it, in turn: `python -m bench.screen_aa`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from bench.peers import ROOT
from bench.screen import LIVE_TEXT, screen_over
from dashboard.options import options_for
from harness.compare.effects import paired
from harness.errors import RunError

_PLAN: Final = ("run", "email", "--pool", "20", "--for", "8s", "--warm-up", "2s", "--fault", "none")
_RUNS: Final = ("without", "again", "with")
_FIGURES: Final = {
    "response p50": ("requests", "response_ms", "p50"),
    "response p95": ("requests", "response_ms", "p95"),
    "response p99": ("requests", "response_ms", "p99"),
    "done p50": ("tasks", "done_ms", "p50"),
    "done p95": ("tasks", "done_ms", "p95"),
}


def _one(path: Path, rate: float, seed: int, *, fps: float | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "harness", *_PLAN, "--rate", str(rate), "--seed", str(seed), "--out", str(path)]
    with ExitStack() as stack:
        child = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        if fps is not None:
            while not (path / "events.jsonl").exists():
                if child.poll() is not None:
                    raise RunError(f"the run in {path} did not begin")
                time.sleep(0.02)
            screen = stack.enter_context(screen_over(path, 120, 36, options=("--fps", str(fps))))
            # Within the warm-up: what a start costs is not what watching costs.
            screen.wait_for(LIVE_TEXT)
        child.wait(120)
        if fps is not None:
            screen.end("q")
    found: dict[str, Any] = json.loads((path / "summary.json").read_text())
    return found


@click.command()
@click.option(
    "--blocks", type=click.IntRange(3), default=8, show_default=True, help="Of three runs each: without, without, with."
)
@click.option("--rate", default=100.0, show_default=True, help="Requests per second.")
@click.option("--fps", type=float, help="Pictures a second.  [default: as many as the screen makes here]")
def main(*, blocks: int, rate: float, fps: float | None) -> None:
    """Compares the two by pairs, as `afterload compare` does, and runs without it with one another: what chance alone does."""
    fps = fps or options_for(fps=None, glyphs=None, theme=None, is_plain=False, env={}).fps
    seen: dict[str, dict[str, list[float]]] = {name: {which: [] for which in _RUNS} for name in _FIGURES}
    with tempfile.TemporaryDirectory() as folder:
        for block in range(blocks):
            first = block % len(_RUNS)
            for which in _RUNS[first:] + _RUNS[:first]:
                summary = _one(Path(folder) / f"{block}-{which}", rate, block + 1, fps=fps if which == "with" else None)
                for name, (group, key, share) in _FIGURES.items():
                    seen[name][which].append(float(summary[group][key][share]))
    print(f"{blocks} times three runs, {rate:g} requests/s, the screen at 120x36 and {fps:g} pictures/s")
    print(f"  {'':<14}{'without':>12}{'with it':>26}{'once more without':>26}")
    for name, values in seen.items():
        base = np.array(values["without"])
        ratios = "".join(f"{_ratio(base, np.array(values[which])):>26}" for which in ("with", "again"))
        print(f"  {name:<14}{math.exp(float(np.log(base).mean())):>9.3f} ms{ratios}")


def _ratio(base: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    effect = paired(base, other)
    return f"x{effect.estimate:.3f} ({effect.low:.3f} to {effect.high:.3f})"


if __name__ == "__main__":
    main()
