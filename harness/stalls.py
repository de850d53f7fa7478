"""Whether load processes that stood still spoiled what was measured, and which of it. Pure: no clock, no files, no processes.

While a load process stands still, nothing is sent, and what is answered is not read: every time that touches it is the
generator's as much as the server's, and afterwards the server gets at once what it should have got one by one. As noise does,
that can only make times longer, so a limit that holds all the same holds, and one that is broken may be the generator's doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS, OpTable
from harness.load.pacing import LATE_NS
from harness.model import Evidence
from harness.noise import AFTER_NS
from harness.stretches import Stretches
from harness.wording import duration_ms, duration_s

__all__ = ["mostly_lag", "stall_reasons", "stalled"]

STALLED_SHARE: Final = 0.2
"""Of the load. On a machine that it shares with the server and the work behind it a load process waits for its turn now and then:
of ninety runs beside each other on two cores, 90 % stood still for less than 1.5 % of their load, and the worst one for 8 %. One
that stood still for a fifth of it measured the machine. What is below is in the summary (`generator.stalled_s`)."""

_NOTED_NS: Final = 5_000_000
"""A request with no more lag than this was on time, whatever its answer took (`LAG_NOTED_MS` of the verdict)."""


def stall_reasons(evidence: Evidence) -> Iterator[str]:
    """Why the figures cannot be trusted, in words.

    Lag alone does not tell. Users are never late, because they are due when they send. And who is sent late by one stall may be
    read late by the next ones: a response time can be many times its lag, and all of it the generator's.
    """
    load_s = (evidence.load_end_ns - evidence.load_start_ns) / 1e9
    for each in evidence.generators:
        if load_s > 0 and each.stalled_s / load_s > STALLED_SHARE:
            yield (
                f"The generator stood still: load process {each.process} for {duration_s(each.stalled_s)} of"
                f" {duration_s(load_s)}, up to {duration_ms(each.longest_stall_s * 1000)} at a stretch. It got no processor, or"
                " had more to do than it can."
            )


def stalled(evidence: Evidence, ops: OpTable) -> Stretches:
    """When a load process stood still or was late, with the aftermath: what was held back goes out at once.

    What they say of themselves, and what their rows show: a request that was sent more than 20 ms after it was due.
    """
    late = ops.sent_ns - ops.due_ns > LATE_NS
    said = np.array([pair for each in evidence.generators for pair in each.stalls], np.float64).reshape(-1, 2)
    said_ns = evidence.load_start_ns + np.rint(np.cumsum(said, axis=1) * 1e9).astype(np.int64)
    starts = np.concatenate([said_ns[:, 0], ops.due_ns[late]])
    ends = np.concatenate([said_ns[:, 1], ops.sent_ns[late]])
    return Stretches.joined(starts, ends + np.minimum(ends - starts, AFTER_NS))


def mostly_lag(value_ns: NDArray[np.int64], lag_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these times, each from when a request was due, were for the most part that it was sent late."""
    mostly: NDArray[np.bool_] = (value_ns != NEVER_NS) & (lag_ns > _NOTED_NS) & (lag_ns > value_ns - lag_ns)
    return mostly
