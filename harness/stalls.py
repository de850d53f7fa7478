"""Whether load processes that stood still spoiled what was measured. Pure: no clock, no files, no processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.model import Evidence
from harness.statistics import Statistics
from harness.wording import duration_ms, duration_s

__all__ = ["stall_reasons"]

STALLED_SHARE: Final = 0.2
"""Of the load. On a machine that it shares with the server and the work behind it a load process waits for its turn now and then;
one that stood still for a fifth of the time measured the machine. What is below is in the summary (`generator.stalled_s`)."""


def stall_reasons(evidence: Evidence, statistics: Statistics) -> Iterator[str]:
    """Why the figures cannot be trusted, in words.

    In the open model stalls are in the lag, request by request. Users are never late, because they are due when they send: there
    a stall counts where it is long beside what was measured, as lag does, and where it was no accident.
    """
    load_s = (evidence.load_end_ns - evidence.load_start_ns) / 1e9
    response = statistics.answered.p99_ms
    if not evidence.is_closed or load_s <= 0:
        return
    for each in evidence.generators:
        long = each.longest_stall_s * 1000
        if each.stalled_s / load_s > STALLED_SHARE and not long <= response / 2:
            yield (
                f"The generator stood still: load process {each.process} for {duration_s(each.stalled_s)} of"
                f" {duration_s(load_s)}, {duration_ms(long)} at a stretch, more than half of the response p99 of"
                f" {response:,.1f} ms. It got no processor, or had more to do than it can."
            )
