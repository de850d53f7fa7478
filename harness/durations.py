"""Durations as people write them: `200ms`, `12s`, `1.5m`."""

from __future__ import annotations

import re

__all__ = ["parse_duration_s", "show_duration"]

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float:
    """Seconds. Raises ValueError saying how to write a duration."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h)\s*", text)
    if not found:
        msg = f"{text!r} is no duration: write a number and a unit (us, ms, s, m, h), e.g., 12s or 200ms"
        raise ValueError(msg)
    return float(found[1]) * _UNITS_S[found[2]]


def show_duration(seconds: float) -> str:
    """The shortest way to write it."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:.10g}ms"
    return f"{seconds:.10g}s"
