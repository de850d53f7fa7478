"""What limits the tasks of a stretch: the number of threads, the interpreter's lock, the cores, or what they wait for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from harness.findings.stretch import Stretch, Way
from harness.wording import duration_s

__all__ = ["Limit", "contention_of", "limit_of"]

ONE_CORE: Final = 0.85
"""Of a core: one Python that uses as much computes without a pause."""

_CORES_FULL: Final = 0.9
_CONTENDED: Final = 1.5
_FEWEST: Final = 30


@dataclass(frozen=True, slots=True)
class Limit:
    """What there is not enough of."""

    kind: Literal["threads", "gil", "cores", "world"]
    advice: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Contention:
    few_busy: float
    few_run_s: float
    many_busy: float
    many_run_s: float


def limit_of(stretch: Stretch, cores: int) -> Limit:
    """Threads unless something else shows: more of them help only where tasks wait for something that takes more at a time."""
    cpu, load = stretch.cpu_share, stretch.load_cpu_share or 0.0
    numbers = {"cpu_share": None if cpu is None else round(cpu, 3), "cores": cores or None}
    if cpu is not None and cores and cpu + load >= _CORES_FULL * cores and cpu >= cores / 2:
        return Limit(
            "cores",
            f"More threads will not help: the tasks compute, and the {cores} cores of this machine are full (the server had"
            f" {cpu:.1f} of them, the load {load:.1f}). Compute less, or elsewhere: on a machine that does not answer requests.",
            numbers,
        )
    if cpu is not None and cpu >= ONE_CORE * max(stretch.processes, 1):
        of_all = f" of {cores}" if cores else ""
        return Limit(
            "gil",
            f"More threads will not help: the tasks compute, and the server used {cpu:.1f}{of_all} cores. What holds the"
            " interpreter's lock gets one core for each process, however many threads there are: more processes (--workers) help,"
            " or computing outside of them.",
            numbers,
        )
    if stretch.in_threads is not None and (found := contention_of(stretch.in_threads)):
        return Limit(
            "world",
            f"More threads may not help: with {found.few_busy:.0f} of them busy a task took {duration_s(found.few_run_s)}, with"
            f" {found.many_busy:.0f} it took {duration_s(found.many_run_s)}. What the tasks wait for (a lock, a connection, one"
            " writer at a time) does no more at once: look there first.",
            {
                **numbers,
                "few_busy": round(found.few_busy, 2),
                "few_run_ms": round(found.few_run_s * 1e3, 3),
                "many_busy": round(found.many_busy, 2),
                "many_run_ms": round(found.many_run_s * 1e3, 3),
            },
        )
    return Limit("threads", evidence=numbers)


def contention_of(way: Way) -> _Contention | None:
    """Whether tasks take longer while more of them run. None: they do not, or the number never changed enough to tell."""
    counted = way.n_run > 0
    busy, n, run = way.busy[counted], way.n_run[counted], way.run_by_bin_s[counted]
    if len(busy) < 6:
        return None
    order = np.argsort(busy, kind="stable")
    third = len(order) // 3
    few, many = order[:third], order[-third:]
    if min(n[few].sum(), n[many].sum()) < _FEWEST:
        return None
    found = _Contention(
        float(np.average(busy[few], weights=n[few])),
        float(np.median(np.repeat(run[few], n[few]))),
        float(np.average(busy[many], weights=n[many])),
        float(np.median(np.repeat(run[many], n[many]))),
    )
    if found.many_busy < 2 * max(found.few_busy, 0.5) or found.many_run_s < _CONTENDED * found.few_run_s:
        return None
    # Long tasks make threads busy: only where the product grows much faster than the number is it the tasks that got slower.
    return found
