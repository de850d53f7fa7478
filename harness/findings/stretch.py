"""A stretch of a run: one boot, up and under load. Rates, run times, use of threads and CPU in it. Pure functions on arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.accounting import Account
from harness.findings.trend import Trend, trend_of
from harness.grouping import NEVER_NS
from harness.load.profile import Profile, Segment
from harness.model import Boot, Evidence
from harness.pending import growth_in, request_steps
from harness.rows import Gauge, Outcome
from harness.statistics import quantiles_ms
from harness.steered import changed_ns
from harness.usage import Flow, Usage

__all__ = ["LEAST_RISE", "Stretch", "Way", "lasting_of", "stretches_of"]

SHORTEST_S: Final = 1.0
_MOST_ANSWERS: Final = 200_000
"""Responses that are looked at for a percentile; of more, every nth."""


@dataclass(frozen=True, slots=True)
class Way:
    """Tasks of one kind in a stretch: those that threads run, or those on the event loop. Arrays have an entry for each bin."""

    accepted: int
    started: int
    left: int  # put aside without having been started
    ended: int
    run_s: (
        float  # mean: the time that tasks ran in the stretch, divided by those that ended in it (service demand); NaN: none did
    )
    wait_s: float  # mean of those that were started in it; NaN without any
    backlog: NDArray[np.float64]  # mean in the bin
    busy: NDArray[np.float64]
    run_by_bin_s: NDArray[np.float64]  # mean run time of tasks by the bin in which they started; NaN: none
    n_run: NDArray[np.int64]  # how many tasks that is
    ended_by_bin: NDArray[np.int64]

    @property
    def pending(self) -> NDArray[np.float64]:
        """Accepted and not ended."""
        return self.backlog + self.busy


@dataclass(frozen=True, slots=True)
class Stretch:
    """A boot while it was up and load was sent, without the warm-up."""

    boot: int
    from_s: float  # since load start
    until_s: float
    ramp: tuple[float, float] | None  # requests/s at its beginning and its end; None: planned at one rate, or not planned
    bin_s: float
    threads: int  # in the pool for `def` tasks, of all processes; 0: none is known
    processes: int  # that accepted tasks
    in_threads: Way | None  # None: there were no such tasks
    on_loop: Way | None
    growth: Trend  # of what is pending, per bin
    answers_ms: tuple[float, float, float]  # p95 of the response in the first, middle and last third; NaN: nothing was due then
    cpu_share: float | None  # of one core, by the server's processes; None: not sampled
    load_cpu_share: float | None
    fills_up: bool = False  # more and more is pending because tasks take long, and the server began with none

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.until_s - self.from_s

    @property
    def ways(self) -> tuple[Way, ...]:
        """Both, as far as there are tasks of them."""
        return tuple(way for way in (self.in_threads, self.on_loop) if way is not None)

    @property
    def pending(self) -> NDArray[np.float64]:
        """Accepted and not ended, mean in each bin."""
        return np.asarray(np.sum([way.pending for way in self.ways], axis=0)) if self.ways else np.zeros(0)

    @property
    def accepted_per_s(self) -> float:
        """Tasks that came in."""
        return sum(way.accepted for way in self.ways) / self.seconds

    @property
    def ended_per_s(self) -> float:
        """Tasks that were pending no more: done, failed, or put aside."""
        return sum(way.ended + way.left for way in self.ways) / self.seconds

    @property
    def grows_per_s(self) -> float:
        """By how much more is pending from second to second."""
        return self.accepted_per_s - self.ended_per_s

    @property
    def falls_behind(self) -> bool:
        """More and more is pending at one rate: not for a moment, not by chance, and not by a trifle."""
        if self.ramp is not None or self.fills_up or not self.growth.rises or self.pending[-1] - self.pending[0] < LEAST_RISE:
            return False
        # Where the slope and the difference of the rates do not agree, something happened once, and nothing goes on.
        slope, least = self.growth.per_step / self.bin_s, LEAST_GROWTH * self.accepted_per_s
        return min(slope, self.grows_per_s) >= least and max(slope, self.grows_per_s) <= 2 * min(slope, self.grows_per_s)


LEAST_GROWTH: Final = 0.03
"""Of the tasks that come in. Simulated queues that keep up (up to 90 % use) show more in 1 of 600 runs."""

LEAST_RISE: Final = 15

_SHORT: Final = 0.05
"""Of the stretch: what settles in less fills nothing up that anybody could take for growth."""

_RUNNING: Final = 0.2
"""Of the rise: where fewer of what is pending run, it is a queue, unless tasks take long on average."""


def stretches_of(evidence: Evidence, account: Account, usage: Usage, profile: Profile | None = None) -> tuple[Stretch, ...]:
    """Of each boot that was up for a second or more of the load, in order; cut where the rate changes, if it was planned."""
    found = []
    for boot in sorted(evidence.boots, key=lambda each: each.boot):
        if boot.ready_ns is None:
            continue
        began_ns = max(boot.ready_ns, evidence.load_start_ns + round(evidence.warm_up_s * 1e9))
        ended_ns = min(boot.frozen_ns or boot.signalled_ns or boot.reaped_ns or evidence.load_end_ns, evidence.load_end_ns)
        flows = [flow for flow in usage.flows if flow.boot == boot.boot]
        for from_ns, until_ns, ramp in _parts(profile, evidence):
            begin_ns, end_ns = max(began_ns, _recovered_ns(evidence, account, flows, from_ns)), min(ended_ns, until_ns)
            if (end_ns - begin_ns) / 1e9 >= SHORTEST_S and flows:
                found.append(_stretch(evidence, account, boot, flows, (begin_ns, end_ns), ramp))
    return tuple(found)


def _parts(profile: Profile | None, evidence: Evidence) -> Iterator[tuple[int, int, tuple[float, float] | None]]:
    """(from, until, rates of a ramp) of the parts of a profile in which the rate stays, or changes evenly."""
    start_ns = at_ns = evidence.load_start_ns
    if profile is None:
        yield from ((begin, end, None) for begin, end in _undisturbed(evidence, start_ns, evidence.load_end_ns))
        return
    until_s = 0.0
    for segments in (list(same) for _, same in groupby(profile.segments, key=_kind_of)):
        until_s += float(sum(each.for_s for each in segments))
        first, last = float(segments[0].start_per_s), float(segments[-1].end_per_s)
        until_ns = start_ns + round(until_s * 1e9)
        if first == last:
            yield from ((begin, end, None) for begin, end in _undisturbed(evidence, at_ns, until_ns))
        elif list(_undisturbed(evidence, at_ns, until_ns)) == [(at_ns, until_ns)]:
            yield at_ns, until_ns, (first, last)
        at_ns = until_ns


def _undisturbed(evidence: Evidence, from_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
    """What is left of a time without the faults that lasted: what happened then was meant to, and is told of with them.

    Cut where something was changed by hand.
    """
    cuts = [cut_ns for cut_ns in changed_ns(evidence.steered) if from_ns < cut_ns < until_ns]
    for begin_ns, end_ns in pairwise([from_ns, *cuts, until_ns]):
        yield from _between_faults(evidence, begin_ns, end_ns)


def _between_faults(evidence: Evidence, from_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
    at_ns = from_ns
    for began_ns, ended_ns in lasting_of(evidence):
        if at_ns < min(began_ns, until_ns):
            yield at_ns, min(began_ns, until_ns)
        at_ns = max(at_ns, ended_ns)
    if at_ns < until_ns:
        yield at_ns, until_ns


def _recovered_ns(evidence: Evidence, account: Account, flows: list[Flow], from_ns: int) -> int:
    """After a fault that lasted: when no more waited than in the second before it. What it left behind still belongs to it.

    Requests that have not been answered count: where endpoints wait for threads, what was held back is in them.
    """
    began_ns = min((began for began, ended in lasting_of(evidence) if ended == from_ns), default=None)
    if began_ns is None or not flows:
        return from_ns
    bin_ns = flows[0].bin_s * 1e9
    backlog = np.sum([flow.backlog for flow in flows], axis=0)
    ends_ns = evidence.load_start_ns + np.round((np.arange(len(backlog)) + 1) * bin_ns).astype(np.int64)
    backlog = backlog + request_steps(account).at(ends_ns)
    began, ended = (int((at - evidence.load_start_ns) / bin_ns) for at in (began_ns, from_ns))
    before = float(backlog[max(began - round(1e9 / bin_ns), 0) : began + 1].max(initial=0.0))
    back = np.flatnonzero(backlog[ended:] <= before + 0.5)
    return from_ns + int(back[0] * bin_ns) if len(back) else NEVER_NS


def lasting_of(evidence: Evidence) -> list[tuple[int, int]]:
    """(from, until) of the faults that lasted until they were taken back or processes were replaced, in order."""
    lasting = (fault for fault in evidence.faults if fault.effect in {"lasts", "replaces"} and fault.landed_ns is not None)
    return sorted((fault.landed_ns or 0, NEVER_NS if fault.ended_ns is None else fault.ended_ns) for fault in lasting)


def _kind_of(segment: Segment) -> tuple[Fraction, Fraction] | Segment:
    """Those of the same rate belong together; each ramp stands alone."""
    return (segment.start_per_s, segment.end_per_s) if segment.start_per_s == segment.end_per_s else segment


def _stretch(
    evidence: Evidence,
    account: Account,
    boot: Boot,
    flows: list[Flow],
    from_until_ns: tuple[int, int],
    ramp: tuple[float, float] | None,
) -> Stretch:
    began_ns, ended_ns = from_until_ns
    bin_s = flows[0].bin_s
    first = math.ceil((began_ns - evidence.load_start_ns) / 1e9 / bin_s)
    last = max(math.floor((ended_ns - evidence.load_start_ns) / 1e9 / bin_s + 1e-9), first + 1)
    ways = {flow.on_loop: _way(flow, first, last) for flow in flows}
    middle_ns = (began_ns + ended_ns) // 2
    files = [
        file
        for file in evidence.tasks.get(boot.boot, ())
        if file.created_ns <= middle_ns <= (boot.worker_death_ns(file.pid, file.created_ns) or middle_ns)
    ]
    pending = np.sum([way.pending for way in ways.values()], axis=0)
    cpu, load_cpu = _cpu_shares(evidence, boot, began_ns, ended_ns)
    growth = trend_of(pending)
    long = any(not way.run_s < _SHORT * (ended_ns - began_ns) / 1e9 for way in ways.values())
    return Stretch(
        boot=boot.boot,
        from_s=first * bin_s,
        until_s=last * bin_s,
        ramp=ramp,
        bin_s=bin_s,
        threads=_threads(evidence, boot, began_ns, ended_ns) or sum(file.gauges[Gauge.POOL_SIZE] for file in files),
        processes=sum(len(file.rows) > 0 for file in files),
        in_threads=ways.get(False),
        on_loop=ways.get(True),
        growth=growth,
        answers_ms=_answers_ms(account, began_ns, ended_ns, is_cut=any(ended_ns == began for began, _ in lasting_of(evidence))),
        cpu_share=cpu,
        load_cpu_share=load_cpu,
        fills_up=growth.rises
        and _may_fill_up(tuple(ways.values()), long)
        and _fills_up(evidence, account, boot, from_until_ns, long),
    )


def _may_fill_up(ways: tuple[Way, ...], long: bool) -> bool:
    """Whether it is worth a look at every request and task: more and more of them run, or they take `long`."""
    running, pending = (np.sum(each, axis=0) for each in ([way.busy for way in ways], [way.pending for way in ways]))
    if pending[-1] - pending[0] < LEAST_RISE:
        return False
    return long or _rise(running) >= _RUNNING * _rise(pending)


def _rise(counts: NDArray[np.float64]) -> float:
    """From the first half to the second one."""
    half = len(counts) // 2
    return float(counts[half:].mean() - counts[: max(half, 1)].mean())


def _fills_up(evidence: Evidence, account: Account, boot: Boot, from_until_ns: tuple[int, int], long: bool) -> bool:
    """Whether nothing shows that what is pending goes on to grow once it has filled up: the rule of `backlog bounded`.

    Where tasks do not take `long` and yet seem to grow on, it may be a queue of those that run, which is no filling: tasks on the
    event loop share what there is, and none of them waits.
    """
    from_ns, until_ns = from_until_ns
    seconds, due_ns = (until_ns - from_ns) / 1e9, account.tables.ops.due_ns
    due_per_s = int(np.count_nonzero((due_ns >= from_ns) & (due_ns < until_ns))) / seconds
    # The warm-up before it was load too.
    warm_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
    began_ns = max(boot.ready_ns or 0, evidence.load_start_ns) if from_ns <= max(boot.ready_ns or 0, warm_ns) else from_ns
    seen = growth_in(evidence, account, from_ns, until_ns, began_ns=began_ns)
    if seen.growth is None:
        return True
    is_filling = seen.settling_s > _SHORT * seconds and not seen.growth.grows
    return is_filling and (long or seen.growth.per_s < LEAST_GROWTH * due_per_s)


def _threads(evidence: Evidence, boot: Boot, began_ns: int, ended_ns: int) -> int:
    """As sampled in the middle, if the size of the pool was changed by hand: the page shows what it was at the end. Else 0."""
    if evidence.gauges is None or not any(each.do == "pool" and each.landed_ns is not None for each in evidence.steered):
        return 0
    rows = evidence.gauges.rows
    inside = rows[(rows["boot"] == boot.boot) & (rows["t_ns"] >= began_ns) & (rows["t_ns"] <= ended_ns)]
    return int(inside["pool_size"][len(inside) // 2]) if len(inside) else 0


def _way(flow: Flow, first: int, last: int) -> Way:
    inside = slice(first, last)
    started, ended = int(flow.started[inside].sum()), int(flow.ended[inside].sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        by_bin = flow.run_s[inside] / flow.started[inside]
    return Way(
        accepted=int(flow.accepted[inside].sum()),
        started=started,
        left=int(flow.left[inside].sum()),
        ended=ended,
        run_s=float(flow.busy[inside].sum()) * flow.bin_s / ended if ended else math.nan,
        wait_s=float(flow.wait_s[inside].sum()) / started if started else math.nan,
        backlog=flow.backlog[inside],
        busy=flow.busy[inside],
        run_by_bin_s=by_bin,
        n_run=flow.started[inside],
        ended_by_bin=flow.ended[inside],
    )


def _answers_ms(account: Account, began_ns: int, ended_ns: int, *, is_cut: bool) -> tuple[float, float, float]:
    """p95 of the response of requests that were due in each third and got one; where a fault ended it (`is_cut`), before that."""
    ops = account.tables.ops
    every = max(1, len(ops.op) // _MOST_ANSWERS)
    due, outcome, acked = ops.due_ns[::every], ops.outcome[::every], ops.ack_ns[::every]
    edges = np.linspace(began_ns, ended_ns, 4)
    thirds = []
    for begin, end in pairwise(edges):
        chosen = (due >= begin) & (due < end) & (outcome == Outcome.ACK)
        if is_cut:
            chosen &= acked <= ended_ns
        thirds.append(quantiles_ms(acked[chosen] - due[chosen], (0.95,))[0])
    return thirds[0], thirds[1], thirds[2]


def _cpu_shares(evidence: Evidence, boot: Boot, began_ns: int, ended_ns: int) -> tuple[float | None, float | None]:
    """CPU time of the server's processes and of the load's, each as a share of one core."""
    if evidence.gauges is None:
        return None, None
    rows = evidence.gauges.rows
    inside = rows[(rows["boot"] == boot.boot) & (rows["t_ns"] >= began_ns) & (rows["t_ns"] <= ended_ns)]
    if len(inside) < 2:
        return None, None
    lasted = float(inside["t_ns"][-1]) - float(inside["t_ns"][0])
    server, load = ((float(inside[name][-1]) - float(inside[name][0])) / lasted for name in ("server_cpu_ns", "load_cpu_ns"))
    return (server if inside["server_cpu_ns"][-1] else None), max(load, 0.0)
