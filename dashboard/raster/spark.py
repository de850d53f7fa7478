"""A curve in one row, without axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.raster.glyphs import GlyphSet
from dashboard.raster.grid import Grid
from dashboard.raster.inks import Ink

__all__ = ["Spark", "draw_spark"]


@dataclass(frozen=True, slots=True, eq=False)
class Spark:
    """The newest value last. NaN: there is none."""

    values: NDArray[np.float64]
    ink: Ink = Ink.TEXT
    high: float | None = None  # None: the greatest of the values


def draw_spark(spark: Spark, width: int, height: int, glyphs: GlyphSet) -> Grid:
    """As levels; where there are more values than cells, each shows its greatest one."""
    grid = Grid(width, height, glyphs)
    if width < 1 or height < 1 or not len(spark.values):
        return grid
    per_cell = -(-len(spark.values) // width)
    values = np.full(width * per_cell, np.nan)
    values[len(values) - len(spark.values) :] = spark.values
    # fmax knows a value from a gap, and so has nothing to warn of where there are gaps alone.
    shown = np.fmax.reduce(values.reshape(width, per_cell), axis=1)
    finite = shown[np.isfinite(shown)]
    high = spark.high if spark.high is not None else float(finite.max(initial=0.0))
    levels = BLOCKS if not glyphs.is_ascii else glyphs.levels[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        places = np.ceil(np.nan_to_num(shown, nan=0.0, posinf=high) / (high or 1.0) * len(levels)) - 1
    codes = np.frombuffer(levels.encode("utf-32-le"), np.uint32)[np.clip(places, 0, len(levels) - 1).astype(np.intp)]
    there = ~np.isnan(shown)
    grid.codes[-1, there] = codes[there]
    grid.inks[-1, there] = spark.ink
    return grid


BLOCKS = "▁▂▃▄▅▆▇█"
