"""What can't change any more is let go, so that a run which is watched for hours takes no more memory than one of a minute.

The rows stay on the disk. What is kept of them in memory is: what may still change and everything in the same bins of the charts;
what is young; and the few that lists show. Counts, bins, and durations in order are kept as they are: they need no rows.

Whatever comes later than expected, such as the answer to a request that was due minutes ago and was not sent until now, is
noticed (`Requests.is_missed`, `Binned.is_missed`), and so is a look at something that was let go: then everything is read again.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.live.columns import Renumbered
from harness.live.frame import MOST_LISTED, TaskStatus
from harness.live.ledger import Ledger
from harness.live.picking import ended_positions
from harness.live.shelf import Shelf
from harness.model import Evidence

__all__ = ["Folding"]

_YOUNG_NS: Final = 60_000_000_000
_OLDEST_NS: Final = 3_600_000_000_000
_ROWS: Final = 4_096


class Folding:
    """Lets go when enough has come since the last time."""

    def __init__(self, young_ns: int = _YOUNG_NS, rows: int = _ROWS, listed: int = MOST_LISTED) -> None:
        """`rows`: fewer than so many do not matter. `listed`: tasks that were done, and that failed, to be kept for lists."""
        self._young_ns, self._rows, self._listed = young_ns, rows, listed
        self._n_kept = 0

    def fold_if_due(self, shelf: Shelf, ledger: Ledger, evidence: Evidence) -> bool:
        """Of a run that goes on, when its ledger has just been told. `evidence` has the samples. Returns whether it was due."""
        if shelf.n_rows < 2 * self._n_kept + self._rows:
            return False
        since_ns = ledger.until_ns - self._young_ns
        samples_from_ns = ledger.keep_samples(evidence, since_ns)
        requests, works = self._kept(shelf, ledger, since_ns)
        key = shelf.works.key.now[works.is_kept]
        arrived = shelf.effects.arrived.now
        shelf.keep(
            requests,
            works,
            np.isin(shelf.effects.key.now, key) | (arrived >= since_ns),
            samples_from_ns=samples_from_ns,
            load_start_ns=evidence.load_start_ns,
            died_ns={boot.boot: boot.reaped_ns for boot in evidence.boots if boot.reaped_ns is not None},
        )
        ledger.keep(requests, works)
        self._n_kept = shelf.n_rows
        return True

    def be_careful(self) -> None:
        """Something that had been let go was needed: what is young is older from now on."""
        self._young_ns = min(self._young_ns * 2, _OLDEST_NS)
        self._n_kept = 0

    def _kept(self, shelf: Shelf, ledger: Ledger, since_ns: int) -> tuple[Renumbered, Renumbered]:
        """Requests and tasks."""
        requests, works = shelf.requests, shelf.works
        request = works.request.now
        asked, at_work = ledger.unsettled()
        of_request = np.zeros(len(requests.due), np.bool_)
        of_request[asked] = True
        of_request[request[at_work][request[at_work] >= 0]] = True
        for binned in ledger.all_binned():
            of_request |= binned.beside(of_request, since_ns)
        of_request[requests.open_ones()] = True
        of_task = np.zeros(len(works.key), np.bool_)
        for positions in (at_work, works.open_ones(), ledger.lost(), ledger.discarded(), *self._shown(shelf, ledger.until_ns)):
            of_task[positions] = True
        known = request >= 0
        of_task[known] |= of_request[request[known]]
        of_task[~known] |= works.accepted.now[~known] >= since_ns
        of_request[request[of_task & known]] = True
        return Renumbered(of_request), Renumbered(of_task)

    def _shown(self, shelf: Shelf, until_ns: int) -> tuple[NDArray[np.int64], ...]:
        return tuple(
            ended_positions(shelf.works, status, self._listed, until_ns) for status in (TaskStatus.DONE, TaskStatus.FAILED)
        )
