"""Bins of time that people can read. A pure function."""

from __future__ import annotations

import math

__all__ = ["nice_bin_s"]


def nice_bin_s(whole_s: float, most: int, least_s: float = 0.05) -> float:
    """1, 2 or 5 times a power of ten: the smallest such bin that needs no more than `most` bins, and is at least `least_s`."""
    wanted = max(whole_s / max(most, 1), least_s)
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(round(factor * power, 9) for factor in (1, 2, 5, 10) if factor * power >= wanted * (1 - 1e-9))
