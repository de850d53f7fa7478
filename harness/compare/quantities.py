"""The figures that are compared, and their values in one run. Pure functions: no clock, no files, no processes.

Durations count what never ended as infinite, as limits do (`done_p99` in docs/verdict.md): a percentile of the finished tasks
alone would be the better the more of the slow ones a crash has taken away. Broken promises are a figure only where they are known
exactly, and else an interval: an upper bound is no count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from harness.compare.curves import Curves, curves_of
from harness.figures import Unit
from harness.grouping import NEVER_NS, chunks, op_of
from harness.model import Boot, Evidence
from harness.noise import noise_of
from harness.samples import Sample, Samples, least_to_measure
from harness.schema import Durations, Summary, Tasks
from harness.spans import NONE_NS
from harness.statistics import measured_from_ns, quantiles_ms
from harness.summary import Judged
from harness.verdict import slowed_by

__all__ = ["QUANTITIES", "Measured", "Quantity", "bounds_of", "measured_of", "of_summary"]

_SHARES: Final = (0.50, 0.95, 0.99)
_TICK_S: Final = 0.01
"""The kernel tells a process's processor time in ticks of this length."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One figure that is compared."""

    id: str  # as limits and --fail-on write it
    title: str  # of a row in a table
    unit: Unit
    better: Literal["lower", "higher"]
    words: tuple[str, str]  # what a larger value is, and a smaller one, in a sentence
    subject: str  # of that sentence
    step: float = 0.0  # no value is finer than this
    least: float = 0.0  # a smaller difference matters to nobody, whatever its share
    is_of_all: bool = False  # of a configuration it is known only if it is in each run: see `values_of_all`


QUANTITIES: Final[Mapping[str, Quantity]] = {
    each.id: each
    for each in (
        Quantity("p50", "response p50", "ms", "lower", ("slower", "faster"), "the answer (p50)"),
        Quantity("p95", "response p95", "ms", "lower", ("slower", "faster"), "the answer (p95)"),
        Quantity("p99", "response p99", "ms", "lower", ("slower", "faster"), "the answer (p99)"),
        Quantity("done_p50", "done p50", "ms", "lower", ("later", "sooner"), "the work is done (p50)"),
        Quantity("done_p95", "done p95", "ms", "lower", ("later", "sooner"), "the work is done (p95)"),
        Quantity("done_p99", "done p99", "ms", "lower", ("later", "sooner"), "the work is done (p99)"),
        Quantity("backlog", "backlog", "", "lower", ("more", "less"), "backlog", step=1, least=1),
        Quantity("achieved", "answered", "/s", "higher", ("more", "fewer"), "answers while the load went on, per second"),
        Quantity("finished", "tasks done", "/s", "higher", ("more", "fewer"), "tasks done per second of load"),
        Quantity("cpu", "CPU s/1,000 tasks", "s", "lower", ("more", "less"), "processor time for each task"),
        Quantity("memory", "memory", "bytes", "lower", ("more", "less"), "memory", step=4096.0),
        Quantity(
            "broken_promises", "broken promises", "", "lower", ("more", "fewer"), "broken promises", 1, least=0.5, is_of_all=True
        ),
    )
}
"""In the order of the tables. A difference in one that is `least` or less is none, and variation below `step` is not seen."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run came to. inf: it never ended; NaN: there is no such figure in this run."""

    values: Mapping[str, float]  # by the id of the quantity
    steps: Mapping[str, float]  # how fine they are, where that depends on the run
    few: tuple[str, ...]  # percentiles that rest on fewer values than they need (docs/verdict.md)
    curves: Curves
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # between which others lie


def measured_of(judged: Judged) -> Measured:
    """All figures of a run that was judged."""
    evidence, account, summary = judged.evidence, judged.account, judged.summary
    samples = Samples(evidence, account, noise_of(evidence), slowed=bool(slowed_by(evidence)))
    values = dict.fromkeys(QUANTITIES, math.nan)
    few: list[str] = []
    for prefix, series in (("", "response"), ("done_", "done")):
        found = samples.of("response" if series == "response" else "done").value_ns
        for share, value in zip(_SHARES, quantiles_ms(found, _SHARES), strict=True):
            name = f"{prefix}p{share * 100:.0f}"
            values[name] = value
            if len(found) and len(found) < least_to_measure(share):
                few.append(name)
    tasks = summary.tasks
    if tasks.server_is_witness and not tasks.inline:
        values["backlog"] = tasks.backlog_max
    values["achieved"] = _or_nan(summary.requests.achieved_per_s)
    done = samples.of("done")
    from_ns, until_ns = measured_from_ns(evidence), evidence.load_end_ns
    if len(done.value_ns) and until_ns > from_ns:
        at_ns = _ended_ns(judged, done)
        values["finished"] = np.count_nonzero((at_ns >= from_ns) & (at_ns < until_ns)) / ((until_ns - from_ns) / 1e9)
    cpu_s, n_intervals = _cpu_s(evidence)
    n_tasks = tasks.finished + tasks.failed
    if tasks.inline:
        n_tasks = _n_done_inline(judged)
    steps = {name: each.step for name, each in QUANTITIES.items()}
    if n_tasks and cpu_s > 0:
        values["cpu"] = cpu_s / n_tasks * 1000
        steps["cpu"] = _TICK_S * n_intervals / n_tasks * 1000
    values["memory"] = _memory(evidence)
    values["broken_promises"] = _broken_promises(tasks)
    return Measured(values, steps, tuple(few), curves_of(judged), bounds_of(summary))


def _n_done_inline(judged: Judged) -> int:
    """How much work was done before the answers; in the warm-up too, whose processor time counts as well."""
    effects_per_request = judged.evidence.expectation.effects_per_request
    _, n_effects = np.unique(op_of(judged.account.tables.effects.key), return_counts=True)
    return int(np.count_nonzero(n_effects >= effects_per_request)) * effects_per_request


def _ended_ns(judged: Judged, measured: Sample) -> NDArray[np.int64]:
    """When tasks ended: all of them, for in the measured time the threads may still work off what the warm-up left."""
    spans = judged.spans
    if len(spans.due_ns):
        is_finished = spans.done_ns != NONE_NS
        ended_ns: NDArray[np.int64] = spans.due_ns[is_finished] + spans.done_ns[is_finished]
        return ended_ns
    # Done before the answer, or seen by the world alone: there is no backlog of the warm-up that anybody knows of.
    has_ended = measured.value_ns != NEVER_NS
    seen_ns: NDArray[np.int64] = measured.at_ns[has_ended] + measured.value_ns[has_ended]
    return seen_ns


def of_summary(summary: Summary) -> dict[str, float]:
    """The same as far as a summary alone tells it: of a run whose rows are gone."""
    tasks = summary.tasks
    values = dict.fromkeys(QUANTITIES, math.nan)
    never = _never_done(summary)
    for name in ("p50", "p95", "p99"):
        values[name] = _percentile(summary.requests.response_ms, name, (0, 0))
        values[f"done_{name}"] = _percentile(tasks.done_ms, name, never)
    if tasks.server_is_witness and not tasks.inline:
        values["backlog"] = tasks.backlog_max
    values["achieved"] = _or_nan(summary.requests.achieved_per_s)
    values["broken_promises"] = _broken_promises(tasks)
    return values


def _broken_promises(tasks: Tasks) -> float:
    """0 without a fault, if a witness says so. NaN: a witness was missing, and only an interval is known."""
    return tasks.broken_promises if tasks.broken_promises_low == tasks.broken_promises else math.nan


def bounds_of(summary: Summary) -> dict[str, tuple[float, float]]:
    """Of figures that are not known exactly. A server that told nothing of its tasks has no upper bound in tasks."""
    tasks = summary.tasks
    if tasks.broken_promises_low == tasks.broken_promises or not (tasks.server_is_witness or tasks.inline):
        return {}
    return {"broken_promises": (tasks.broken_promises_low, tasks.broken_promises)}


def _never_done(summary: Summary) -> tuple[int, int]:
    """At least, and at most, so many tasks of measured requests were never done: what is counted are those of the whole run."""
    tasks, requests = summary.tasks, summary.requests
    n_warm_up = max(requests.attempted - requests.lag_ms.n, 0)
    each = 1 if tasks.inline else max(math.ceil(tasks.accepted / max(requests.acked, 1)), 1)
    # All tasks of the warm-up, but for those that are known to have finished.
    of_warm_up = max(n_warm_up * each - max(tasks.finished - tasks.done_ms.n, 0), 0)
    return max(tasks.never_done_low - of_warm_up, 0), tasks.never_done


def _percentile(durations: Durations, name: str, n_never: tuple[int, int]) -> float:
    """`n_never`: at least and at most so many more never ended, which are not among them."""
    least, most = n_never
    if not durations.n:
        return math.inf if least else math.nan
    value, share = getattr(durations, name), float(name.removeprefix("p")) / 100
    if value is None or least > (1 - share) * (durations.n + least):
        return math.inf
    # With some that never ended among them the percentile is a later one of those that did, and which is not told.
    return math.nan if most else float(value)


def _cpu_s(evidence: Evidence) -> tuple[float, int]:
    """Processor time of the server's processes from load start on, while they worked; and the readings it rests on. Without what
    was used between the last sample (every 50 ms) and the end.
    """
    if evidence.gauges is None or not len(evidence.gauges.rows):
        return 0.0, 0
    rows = np.asarray(evidence.gauges.rows)
    t_ns, boots = rows["t_ns"].astype(np.int64), rows["boot"].astype(np.int64)
    total, n = 0.0, 0
    for boot in evidence.boots:
        if boot.ready_ns is None:
            continue
        from_ns, until_ns = max(boot.ready_ns, evidence.load_start_ns), _worked_until_ns(evidence, boot)
        used = rows["server_cpu_ns"][(boots == boot.boot) & (t_ns >= from_ns) & (t_ns <= until_ns)].astype(np.int64)
        # What a process that ended had used is no longer in the sum of those that are left.
        grown = np.diff(used)
        total += float(grown[grown > 0].sum()) / 1e9
        n += len(used) > 1
    return total, n


def _worked_until_ns(evidence: Evidence, boot: Boot) -> int:
    """Until its signal, or the end of the last task that it worked off after that: ending takes time too, which is no task's."""
    if boot.signalled_ns is None:
        return boot.reaped_ns or NEVER_NS
    ends = [
        int(rows[name].max(initial=0))
        for file in evidence.tasks.get(boot.boot, ())
        for rows in chunks(file)
        for name in ("finished_ns", "failed_ns")
    ]
    return max([boot.signalled_ns, *ends])


def _memory(evidence: Evidence) -> float:
    if evidence.gauges is None or not len(evidence.gauges.rows):
        return math.nan
    rows = np.asarray(evidence.gauges.rows)
    most = float(rows["server_rss_bytes"][rows["t_ns"] >= measured_from_ns(evidence)].max(initial=0))
    return most or math.nan


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
