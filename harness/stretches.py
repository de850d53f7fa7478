"""Stretches of time, and what of a run touches one of them. Pure: no clock, no files, no processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stretches"]


@dataclass(frozen=True, slots=True)
class Stretches:
    """In order, and none touches the next one."""

    starts_ns: NDArray[np.int64]
    ends_ns: NDArray[np.int64]

    @classmethod
    def joined(cls, starts_ns: NDArray[np.int64], ends_ns: NDArray[np.int64]) -> Stretches:
        """Of any, in any order: those that meet become one."""
        order = np.argsort(starts_ns, kind="stable")
        starts, ends = starts_ns[order], np.maximum.accumulate(ends_ns[order]) if len(order) else ends_ns
        first = np.ones(len(starts), np.bool_)
        first[1:] = starts[1:] > ends[:-1]
        last = np.append(np.flatnonzero(first)[1:] - 1, len(starts) - 1) if len(starts) else np.empty(0, np.int64)
        return cls(starts[first], ends[last])

    def share_of(self, from_ns: int, until_ns: int) -> float:
        """How much of a time lies in them, between 0 and 1."""
        covered = np.minimum(self.ends_ns, until_ns) - np.maximum(self.starts_ns, from_ns)
        return float(np.maximum(covered, 0).sum()) / (until_ns - from_ns)

    def touch(self, instants_ns: NDArray[np.int64], lengths_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these times, each from an instant and so long, touch one."""
        if not len(self.starts_ns):
            return np.zeros(len(instants_ns), np.bool_)
        # The first one that ends after the instant: it is touched, or none is.
        first = np.searchsorted(self.ends_ns, instants_ns, side="right")
        last_ns = instants_ns + np.minimum(lengths_ns, np.iinfo(np.int64).max - instants_ns)
        touched: NDArray[np.bool_] = (first < len(self.ends_ns)) & (
            self.starts_ns[np.minimum(first, len(self.ends_ns) - 1)] <= last_ns
        )
        return touched
