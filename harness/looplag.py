"""Which samples of the event loop's beat say how late it was, and whether there was a loop at all. Pure: no clock, no files."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.model import Evidence
from harness.rows import Gauge

__all__ = ["has_loop", "known_lags"]

_FIRST_BEAT_NS: Final = 100_000_000
"""A process that goes on again has beaten by then."""


def known_lags(evidence: Evidence, newest: int | None = None) -> NDArray[np.bool_]:
    """Per gauge sample, or of so many of the newest, whether its `loop_lag_ns` says something of the loop.

    A process that is not ready yet, that was stopped, or frozen to be killed, or is dead, is neither late nor in time.
    """
    if evidence.gauges is None:
        return np.zeros(0, np.bool_)
    rows = evidence.gauges.rows if newest is None else evidence.gauges.rows[-newest:]
    t_ns, known = rows["t_ns"].astype(np.int64), np.zeros(len(rows), np.bool_)
    for boot in evidence.boots:
        if boot.ready_ns is not None:
            over_ns = boot.frozen_ns or boot.reaped_ns or np.iinfo(np.int64).max
            known |= (rows["boot"] == boot.boot) & (t_ns >= boot.ready_ns) & (t_ns < over_ns)
    for fault in evidence.faults:
        if fault.name == "stop" and fault.landed_ns is not None:
            outside = t_ns < fault.landed_ns if fault.ended_ns is None else _outside(t_ns, fault.landed_ns, fault.ended_ns)
            known &= outside | (rows["boot"] != fault.boot)
    return known


def has_loop(evidence: Evidence) -> bool:
    """Whether any process of the server told when its event loop was to beat."""
    return any(file.gauges[Gauge.LOOP_BEAT_PERIOD] for files in evidence.tasks.values() for file in files)


def _outside(t_ns: NDArray[np.int64], from_ns: int, until_ns: int) -> NDArray[np.bool_]:
    return (t_ns < from_ns) | (t_ns > until_ns + _FIRST_BEAT_NS)
