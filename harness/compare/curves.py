"""A run over time in bins that runs share: what a comparison lays over each other. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.bins import nice_bin_s
from harness.series import done_or_never, series
from harness.summary import Judged

__all__ = ["LINES", "Curves", "curves_of", "median_of", "no_curves"]

MOST_BINS: Final = 120
LINES: Final = ("response_p95_ms", "done_p95_ms", "backlog", "busy")
"""The lines of a run, in the order of the charts."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Equal bins from load start to load end. None: there is no such value in the bin; inf: it never ended."""

    bin_s: float
    lines: Mapping[str, Sequence[float | None]]


def curves_of(judged: Judged) -> Curves:
    """The lines of a run. Bins depend on the length of the load alone, so runs of one plan have the same ones."""
    evidence = judged.evidence
    load_s = (evidence.load_end_ns - evidence.load_start_ns) / 1e9
    if load_s <= 0:
        return no_curves()
    bin_s = nice_bin_s(load_s, MOST_BINS, 0.1)
    n_bins = max(1, math.ceil(load_s / bin_s - 1e-9))
    edges = evidence.load_start_ns + round(bin_s * 1e9) * np.arange(n_bins + 1, dtype=np.int64)
    found = series(evidence, judged.account, edges, judged.spans, judged.steps)
    lines = (found.response_ms[1], done_or_never(found, judged.spans)[1], found.backlog_max.astype(np.float64), found.busy_mean)
    return Curves(bin_s, {name: _plain(line) for name, line in zip(LINES, lines, strict=True)})


def no_curves() -> Curves:
    """Of a run that has none."""
    return Curves(1.0, dict.fromkeys(LINES, ()))


def median_of(runs: Sequence[Curves]) -> Curves:
    """The median over runs in each bin, of those that have a value there; inf: it never ended in most of them. Runs in other bins
    than the first are left out.
    """
    if not runs:
        return no_curves()
    alike = [each for each in runs if each.bin_s == runs[0].bin_s]
    lines = {}
    for name in LINES:
        length = max(len(each.lines[name]) for each in alike)
        table = np.full((len(alike), length), math.nan)
        for row, each in enumerate(alike):
            values = each.lines[name]
            table[row, : len(values)] = [math.nan if value is None else value for value in values]
        filled = ~np.isnan(table).all(axis=0)
        middle = np.full(length, math.nan)
        middle[filled] = np.nanmedian(table[:, filled], axis=0)
        lines[name] = _plain(middle)
    return Curves(runs[0].bin_s, lines)


def _plain(line: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else float(f"{value:.5g}") for value in line.tolist())
