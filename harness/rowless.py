"""Requests without rows: of a load machine that was lost, or of which only histograms were kept. Pure: no clock, no files.

The schedule says which load process sends which operation: arrival k, whose local op is k + 1, is sent by process k modulo their
number. So what a server or a world tells of such an operation is of this run, and what the client saw of it is not known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.model import Evidence

__all__ = ["has_no_row", "process_of"]


def process_of(evidence: Evidence, local_op: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.int64]:
    """The load process that sends each operation: shape of `local_op`."""
    return (local_op.astype(np.int64) - 1) % max(evidence.n_load_processes, 1)


def has_no_row(evidence: Evidence, local_op: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.bool_]:
    """Which operations may have been sent although there is no row of them: shape of `local_op`."""
    without = {*evidence.lost_rows_of, *(each.process for each in evidence.counted)}
    if not without:
        return np.zeros(len(local_op), np.bool_)
    is_without = np.zeros(max(evidence.n_load_processes, 1), np.bool_)
    is_without[[number for number in without if number < len(is_without)]] = True
    found: NDArray[np.bool_] = is_without[process_of(evidence, local_op)]
    return found
