"""What the run times that were measured at a rate that holds let expect at others, and of other pools. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.capacity.queueing import Arrivals, Waits, simulate, smallest
from harness.capacity.schema import PoolAdvice, Predicted, Prediction
from harness.findings.backlog import COMFORTABLE
from harness.findings.limits import ONE_CORE
from harness.grouping import chunks
from harness.model import Evidence
from harness.rows import Outcome, TaskKind
from harness.wording import counted, duration_ms, duration_s, per_second, share

__all__ = ["Demand", "demand_of", "pool_for", "predict"]

_MOST_RUNS: Final = 20_000
_FEWEST_RUNS: Final = 30
_SHARES: Final = (0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
_QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Demand:
    """What one request asks of the server behind its answer, measured at one rate."""

    rate: float
    run_s: NDArray[np.float64]  # of each request that left tasks for them: how long these held threads, together
    threads: int  # in all processes
    processes: int
    cpu_s: float  # of the server's processes, per request; NaN: not known
    share: float = 1.0  # of the requests: those that left such tasks

    @property
    def mean_s(self) -> float:
        """How long a request holds threads, on average of all."""
        return self.share * float(self.run_s.mean())

    @property
    def pool_per_s(self) -> float:
        """Requests that the threads can do: their number by the mean run time."""
        return self.threads / self.mean_s

    @property
    def cpu_per_s(self) -> float:
        """Requests that one core for each process can do; inf: they use no processor time, or it is not known."""
        return self.processes / self.cpu_s if self.cpu_s > 0 else math.inf

    @property
    def computes(self) -> bool:
        """The interpreter ends before the threads do: more of them would not help."""
        return self.cpu_per_s * ONE_CORE < self.pool_per_s


def demand_of(evidence: Evidence, rate: float, threads: int, processes: int, cpu_share: float | None) -> Demand | None:
    """From the rows of one stage. None: no tasks ran in threads, or too few."""
    from_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
    ops, runs = [], []
    for files in evidence.tasks.values():
        for rows in chunks(*files):
            ended = np.where(rows["finished_ns"] != 0, rows["finished_ns"], rows["failed_ns"])
            chosen = (rows["kind"] == TaskKind.DEF) & (rows["started_ns"] != 0) & (ended != 0) & (rows["accepted_ns"] >= from_ns)
            ops.append(rows["op"][chosen])
            runs.append((ended - rows["started_ns"])[chosen] / 1e9)
    if not ops or not threads:
        return None
    _, which = np.unique(np.concatenate(ops), return_inverse=True)
    run_s = np.bincount(which, np.concatenate(runs)).astype(np.float64)
    if len(run_s) < _FEWEST_RUNS or not run_s.any():
        return None
    requests = (file.rows[(file.rows["due_ns"] >= from_ns) & (file.rows["outcome"] == Outcome.ACK)] for file in evidence.requests)
    n_acked = sum(len(np.unique(rows["op"])) for rows in requests)
    every = math.ceil(len(run_s) / _MOST_RUNS)
    return Demand(
        rate=rate,
        run_s=run_s[::every],
        threads=threads,
        processes=max(processes, 1),
        cpu_s=math.nan if cpu_share is None else cpu_share / rate,
        share=min(len(run_s) / max(n_acked, 1), 1.0),
    )


def predict(demand: Demand, arrivals: Arrivals) -> Prediction:
    """A curve up to what can be done at most."""
    capacity = min(demand.pool_per_s, demand.cpu_per_s)
    curve = tuple(_predicted(capacity * part, at_rate(demand, capacity * part, arrivals)) for part in _SHARES)
    quantiles = np.quantile(demand.run_s, _QUANTILES) * 1e3
    of_cpu = (
        f"; they compute {duration_ms(demand.cpu_s * 1e3)} of it, and {counted(demand.processes, 'process', 'processes')} of"
        f" Python can do that {per_second(demand.cpu_per_s)}"
        if demand.computes
        else ""
    )
    return Prediction(
        capacity_per_s=capacity,
        pool_per_s=demand.pool_per_s,
        cpu_per_s=demand.cpu_per_s,
        computes=demand.computes,
        threads=demand.threads,
        measured_at=demand.rate,
        runs=len(demand.run_s),
        run_mean_ms=demand.mean_s * 1e3,
        run_ms={f"p{part * 100:g}": float(each) for part, each in zip(_QUANTILES, quantiles, strict=True)},
        arrivals=arrivals,
        curve=curve,
        text=(
            f"A request holds a thread for {duration_s(demand.mean_s)} on average (measured at"
            f" {per_second(demand.rate)}), so {counted(demand.threads, 'thread')} can do {per_second(demand.pool_per_s)}{of_cpu}."
        ),
    )


def at_rate(demand: Demand, rate: float, arrivals: Arrivals) -> Waits:
    """How long work waits and takes at a rate: at the threads, or at the interpreter where that ends first."""
    if not demand.computes:
        return simulate(demand.run_s, rate * demand.share, demand.threads, arrivals=arrivals)
    scale = demand.cpu_s / demand.mean_s
    return simulate(demand.run_s * scale, rate * demand.share, demand.processes, arrivals=arrivals)


def _predicted(rate: float, waits: Waits) -> Predicted:
    return Predicted(
        rate=rate,
        utilisation=waits.utilisation,
        wait_mean_ms=waits.wait_mean_s * 1e3,
        wait_p95_ms=waits.wait_p95_s * 1e3,
        done_p50_ms=waits.done_p50_s * 1e3,
        done_p95_ms=waits.done_p95_s * 1e3,
        pending=waits.pending,
    )


def pool_for(demand: Demand, rate: float, done_p95_s: float | None, arrivals: Arrivals) -> PoolAdvice:
    """How many threads a rate needs. `done_p95_s`: the limit; None: as long as running takes, and a quarter more."""
    limit = done_p95_s or 1.25 * float(np.quantile(demand.run_s, 0.95))
    at_least = math.ceil(rate * demand.mean_s / COMFORTABLE)
    if rate > ONE_CORE * demand.cpu_per_s:
        processes = math.ceil(rate * demand.cpu_s / ONE_CORE)
        text = (
            f"No number of threads does {per_second(rate)}: a request takes {duration_ms(demand.cpu_s * 1e3)} of processor time,"
            " and one process of Python gets one core, however many threads it has, so it ends at about"
            f" {per_second(ONE_CORE / demand.cpu_s)}. That takes {counted(processes, 'process', 'processes')}"
            f" (--workers {processes}) and as many cores, or less to compute."
        )
        return PoolAdvice(rate=rate, pool=None, processes=processes, done_p95_limit_ms=limit * 1e3, text=text)
    found = smallest(demand.run_s, rate * demand.share, limit, arrivals=arrivals)
    if found is None:
        longest = float(np.quantile(demand.run_s, 0.95))
        text = f"No pool holds done p95 < {duration_s(limit)}: running alone takes {duration_s(longest)} (p95)."
        return PoolAdvice(rate=rate, pool=None, processes=demand.processes, done_p95_limit_ms=limit * 1e3, text=text)
    # The option is that of each process.
    pool, comfortable = (math.ceil(threads / demand.processes) for threads in (found.servers, at_least))
    use = found.utilisation * found.servers / (pool * demand.processes)
    each = f" in each of {demand.processes} processes" if demand.processes > 1 else ""
    text = (
        f"--pool {pool}{each} for {per_second(rate)}: done p95 is then about {duration_s(found.done_p95_s)} (the limit"
        f" is {duration_s(limit)}), with the threads in use for {share(use)}; {comfortable} keep that below"
        f" {share(COMFORTABLE)}. If what the tasks wait for lets as many in at once."
    )
    return PoolAdvice(
        rate=rate,
        pool=pool,
        comfortable=comfortable,
        processes=demand.processes,
        done_p95_limit_ms=limit * 1e3,
        done_p95_ms=found.done_p95_s * 1e3,
        utilisation=use,
        text=text,
    )
