"""Whether load processes that stood still spoiled what was measured. Pure: no clock, no files, no processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.model import Evidence
from harness.wording import duration_ms, duration_s

__all__ = ["stall_reasons"]

STALLED_SHARE: Final = 0.2
"""Of the load. On a machine that it shares with the server and the work behind it a load process waits for its turn now and then:
of ninety runs beside each other on two cores, 90 % stood still for less than 1.5 % of their load, and the worst one for 8 %. One
that stood still for a fifth of it measured the machine. What is below is in the summary (`generator.stalled_s`)."""


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
