"""Whether somebody else used the processors while a run was measured, and when. Pure functions: no clock, no files, no processes.

Noise is what makes the figures those of another machine: time that the hypervisor stole, or work of other programs in an
interval in which there was too little left for all. Other work beside idle processors costs next to nothing and is no noise.

Noise can only make things slower. So a limit that holds in a noisy run holds, and one that is broken may be the noise's doing:
of values in noisy intervals nobody knows how small they would have been (harness/gates.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.model import Evidence
from harness.rows import Rows
from harness.stretches import Stretches
from harness.wording import share

__all__ = ["AFTER_NS", "NOISY_SHARE", "Noise", "noise_of"]

STEAL_SHARE: Final = 0.05
"""Of the machine's processors, stolen. It is counted only while somebody here wanted to run: each part of it is a delay."""

OTHER_SHARE: Final = 0.10
"""Of the machine's processors, used by other programs. Below it lies what any machine does, and the error of ticks."""

STALLED_SHARE: Final = 0.10
"""Of the time, in which somebody waited for a processor (pressure stall information)."""

IDLE_SHARE: Final = 0.10
"""Where the kernel does not tell of stalls: less idle time than this means that somebody had to wait."""

WORTH_TELLING: Final = 0.01

AFTER_NS: Final = 500_000_000
"""What piled up during noise has to be worked off: so much longer it counts as noisy."""

NOISY_SHARE: Final = 0.10
"""Of the measured time: from here on figures of the whole run (a backlog, a drain) count as measured in noise."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What others did, in the intervals between samples, from the end of the warm-up on."""

    edges_ns: NDArray[np.int64]  # shape (n + 1,)
    other: NDArray[np.float64]  # shape (n,): of the processors, used by programs that are not of the run
    steal: NDArray[np.float64]
    noisy: NDArray[np.bool_]
    other_share: float  # over all of it; NaN: nobody looked
    steal_share: float
    stalled_share: float | None  # None: the kernel does not tell
    noisy_s: float
    seen_s: float

    @property
    def noisy_share(self) -> float:
        """Of the time that was looked at; 0 if nobody looked."""
        return self.noisy_s / self.seen_s if self.seen_s else 0.0

    @property
    def is_noisy(self) -> bool:
        """Whether figures of the whole run were measured in noise."""
        return self.noisy_share >= NOISY_SHARE

    def words(self) -> str:
        """Who took the processors, over all of the measured time."""
        others = f"others used {share(self.other_share)} of the processors"
        stolen = f"{share(self.steal_share)} of the processors' time was stolen"
        is_stolen, is_used = self.steal_share >= WORTH_TELLING, self.other_share >= self.steal_share
        return " and ".join([*([others] if is_used else []), *([stolen] if is_stolen or not is_used else [])])

    def covers(self, instants_ns: NDArray[np.int64], lengths_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these times, each from an instant and so long, touch a noisy interval."""
        if not self.noisy.any():
            return np.zeros(len(instants_ns), np.bool_)
        stretches = Stretches.joined(self.edges_ns[:-1][self.noisy], self.edges_ns[1:][self.noisy] + AFTER_NS)
        return stretches.touch(instants_ns, lengths_ns)


def noise_of(evidence: Evidence) -> Noise:
    """From the samples of the machine; without any, a Noise of no intervals."""
    rows = None if evidence.machine is None else np.asarray(evidence.machine.rows)
    if rows is not None:
        from_ns = evidence.load_start_ns + round(evidence.warm_up_s * 1e9)
        t_ns = rows["t_ns"].astype(np.int64)
        # With the sample before, so that the first interval is whole.
        rows = rows[max(int(np.searchsorted(t_ns, from_ns, side="right")) - 1, 0) :]
    if rows is None or len(rows) < 2:
        nothing = np.empty(0)
        return Noise(np.empty(0, np.int64), nothing, nothing, np.empty(0, np.bool_), math.nan, math.nan, None, 0.0, 0.0)
    return _of_rows(rows)


def _of_rows(rows: Rows) -> Noise:
    t_ns = rows["t_ns"].astype(np.int64)
    lengths = np.maximum(np.diff(t_ns), 1)
    idle, steal, own, stalled = (
        np.maximum(np.diff(rows[name].astype(np.int64)), 0) for name in ("idle_ns", "steal_ns", "own_ns", "stalled_ns")
    )
    # Not what the kernel says is busy: that is counted by whoever runs at a tick, and idle time (without ticks) exactly.
    whole = lengths * np.maximum(rows["cpus"][1:].astype(np.int64), 1)
    busy = whole - idle - steal
    # What is left of ticks: the difference may come out below zero.
    other = np.maximum(busy - own, 0)
    tells_stalls = bool(rows["stalled_ns"][-1])
    scarce = stalled / lengths >= STALLED_SHARE if tells_stalls else idle / whole < IDLE_SHARE
    noisy = (steal / whole >= STEAL_SHARE) | ((other / whole >= OTHER_SHARE) & scarce)
    return Noise(
        edges_ns=t_ns,
        other=other / whole,
        steal=steal / whole,
        noisy=noisy,
        other_share=max(float(busy.sum() - own.sum()), 0.0) / float(whole.sum()),
        steal_share=float(steal.sum() / whole.sum()),
        stalled_share=float(stalled.sum() / lengths.sum()) if tells_stalls else None,
        noisy_s=float(lengths[noisy].sum()) / 1e9,
        seen_s=float(lengths.sum()) / 1e9,
    )
