"""What it means that some of a run's requests were timed by another machine's clock. Pure: no clock, no files, no processes.

Response, service and lag of a request are differences on one clock, whichever it was. What compares the client with the server,
or with the world, is known only as well as the two clocks are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.model import Evidence
from harness.statistics import Statistics

__all__ = ["SMALL_SHARE", "clock_reasons", "tolerance_ns"]

SMALL_SHARE: Final = 0.1
"""Of the median time until done: an uncertainty up to this share of it changes nothing that is said."""


def tolerance_ns(evidence: Evidence, op: NDArray[np.uint32]) -> NDArray[np.int64]:
    """By how much an instant of each operation's client may be off against those of the server. `op`: local ops."""
    by_process = np.zeros(max(evidence.n_load_processes, 1), np.int64)
    for each in evidence.generators:
        if each.clock_uncertainty_ms is not None and each.process < len(by_process):
            by_process[each.process] = int(each.clock_uncertainty_ms * 1e6) + 1
    # Arrival k of the schedule has the local op k + 1, and is sent by process k modulo their number.
    off: NDArray[np.int64] = by_process[(op.astype(np.int64) - 1) % len(by_process)]
    return off


def clock_reasons(evidence: Evidence, statistics: Statistics) -> Iterator[str]:
    """Why figures that compare the load machines with this one cannot be trusted."""
    known = [each for each in evidence.generators if each.clock_uncertainty_ms is not None]
    if not known or not statistics.done.n:
        return
    worst = max(known, key=lambda each: each.clock_uncertainty_ms or 0.0)
    uncertainty_ms, median_ms = worst.clock_uncertainty_ms or 0.0, statistics.done.p50_ms
    if not uncertainty_ms <= SMALL_SHARE * median_ms:
        yield (
            f"The clock of load machine {worst.machine} is known to {uncertainty_ms:,.3f} ms only, which is much beside the "
            f"{median_ms:,.3f} ms after which half of the work was done: what was due there and done here can't be compared."
        )
