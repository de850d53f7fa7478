"""Whether a run can be told of as it goes on; and what changes its past, when it becomes known. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from harness.live.columns import Requests, Works
from harness.model import Evidence
from harness.statistics import measured_from_ns
from harness.timeline import pool_sizes

__all__ = ["Standing", "is_plain", "standing_of"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What changes the past, when it changes."""

    load_start_ns: int
    base_ns: int  # nothing happened before
    measured_from_ns: int
    deaths: tuple[tuple[int, int], ...]  # number of a task file, and when its process was dead
    over: tuple[int, ...]  # numbers of task files whose boot is dead
    boot_of: tuple[int, ...]  # by number of the task file
    pools: tuple[tuple[int, int], ...]  # boot and the size of its pool
    is_resized: bool  # the pool, by hand: then its sizes are those that were sampled
    squeezed: tuple[tuple[int, int], ...]  # when each squeeze of a pool landed, and was taken back (0: not)
    nobody_waits: bool


def is_plain(evidence: Evidence, requests: Requests, works: Works) -> bool:
    """Whether a ledger can be kept: each operation was sent once, each task is there once, and its rows are all that there is."""
    is_inline = evidence.expectation.tasks_per_request == 0 and evidence.expectation.effects_per_request > 0
    is_rowless = bool(evidence.counted or evidence.lost_rows_of)
    has_begun = evidence.n_load_processes > 0  # before that there is next to nothing, and no beginning of the bins
    return has_begun and not (is_inline or is_rowless or requests.is_repeated or works.is_odd)


def standing_of(evidence: Evidence, works: Works, base_ns: int, *, is_over: bool) -> Standing:
    """Of evidence without rows. `is_over`: nobody waits for anything any more."""
    deaths = ((number, evidence.death_ns(tail.boot, tail.pid, tail.created_ns)) for number, tail in enumerate(works.files))
    reaped = {boot.boot for boot in evidence.boots if boot.reaped_ns is not None}
    return Standing(
        load_start_ns=evidence.load_start_ns,
        base_ns=min(base_ns, evidence.load_start_ns),
        measured_from_ns=measured_from_ns(evidence),
        deaths=tuple((number, dead_ns) for number, dead_ns in deaths if dead_ns is not None),
        over=tuple(number for number, tail in enumerate(works.files) if tail.boot in reaped),
        boot_of=tuple(tail.boot for tail in works.files),
        pools=tuple(sorted(pool_sizes(evidence).items())),
        is_resized=any(each.do == "pool" and each.landed_ns is not None for each in evidence.steered),
        squeezed=tuple((fault.landed_ns or 0, fault.ended_ns or 0) for fault in evidence.faults if fault.name == "squeeze"),
        nobody_waits=is_over or all(file.closed_ns for file in evidence.requests),
    )
