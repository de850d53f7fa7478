"""The whole seconds of a run, kept up to date: what harness/live/seconds.py makes of all rows, from what changed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.live.batch import Batch
from harness.live.columns import Requests, Works
from harness.live.figures import oldest_at
from harness.live.meters import Level
from harness.live.seconds import SECOND_NS, SHARE, Seconds
from harness.rows import DropReason, Outcome
from harness.series import quantiles_by_bin

__all__ = ["Ticking"]

_FOREIGN: Final = -2
_COUNTED: Final = ("acked", "rejected", "indeterminate", "accepted", "ended", "failed", "backlog", "lost")
_FIGURES: Final = ("response_ms", "waiting_ms", "done_ms", "oldest_ms")

Instants = NDArray[np.int64]


class Ticking:
    """Seconds from load start on."""

    def __init__(self, start_ns: int, requests: Requests, works: Works) -> None:
        self._start_ns = start_ns
        self._requests, self._works = requests, works
        self._n = 0  # that are over
        self._counts = {name: np.zeros(1, np.int64) for name in _COUNTED}
        self._figures = {name: np.full(1, np.nan) for name in _FIGURES}
        self._backlog = Level()
        self._until_ns = -1
        self._answers = (
            np.empty(0, np.int64),
            np.empty(0, np.int64),
        )  # when, and how long it took: of the second that is not over
        self._dones = (np.empty(0, np.int64), np.empty(0, np.int64))

    def apply(self, batch: Batch) -> None:
        """Counts what changed."""
        before, self._n = self._n, max((batch.until_ns - self._start_ns) // SECOND_NS, 0)
        more = self._n + 1 - len(self._counts["acked"])
        if more > 0:
            self._counts = {name: np.append(of, np.zeros(more, np.int64)) for name, of in self._counts.items()}
            self._figures = {name: np.append(of, np.full(more, np.nan)) for name, of in self._figures.items()}
        self._take_back(batch, before)
        edges = self._start_ns + SECOND_NS * np.arange(before + 1, self._n + 1, dtype=np.int64)
        self._of_requests(batch, edges)
        self._of_works(batch, edges)
        self._until_ns = batch.until_ns

    def seconds(self) -> Seconds:
        """Those that are over."""
        n = self._n
        known: dict[str, Any] = {name: of[:n] for name, of in (self._counts | self._figures).items()}
        return Seconds(**known)

    def _take_back(self, batch: Batch, n: int) -> None:
        """Of the first `n` seconds: tasks that were queued after all."""
        back = batch.back
        if not len(back):
            return
        request = self._works.request.now[back.positions]
        known = request >= 0
        self._add("lost", back.left_ns[known & back.is_lost], -1)
        self._add("lost", back.denied_ns, -1)
        self._backlog.reopen(back.left_ns)
        first = max(-((self._start_ns - int(back.left_ns.min())) // SECOND_NS), 1)
        edges = self._start_ns + SECOND_NS * np.arange(first, n + 1, dtype=np.int64)
        self._counts["backlog"][first - 1 : n] += np.searchsorted(np.sort(back.left_ns), edges, side="right")
        left, still = back.left_ns[known], np.full(int(np.count_nonzero(known)), NEVER_NS)
        oldest = self._figures["oldest_ms"][first - 1 : n]
        np.fmax(oldest, oldest_at(self._requests.due.now[request[known]], left, still, edges), out=oldest)

    def _of_requests(self, batch: Batch, edges: Instants) -> None:
        of = self._requests
        done, outcome = of.done.now[batch.answered], of.outcome.now[batch.answered]
        for name, code in (("acked", Outcome.ACK), ("rejected", Outcome.REJ), ("indeterminate", Outcome.IND)):
            self._add(name, done[outcome == code])
        acked = outcome == Outcome.ACK
        took = (done - of.due.now[batch.answered])[acked]
        self._answers = self._p95("response_ms", self._answers, done[acked], took, len(edges))
        if len(edges):
            positions = np.concatenate([batch.answered, batch.waiting])
            until = np.concatenate([done, np.full(len(batch.waiting), NEVER_NS)])
            self._figures["waiting_ms"][self._n - len(edges) : self._n] = oldest_at(
                of.due.now[positions], of.sent.now[positions], until, edges
            )

    def _of_works(self, batch: Batch, edges: Instants) -> None:
        of, request = self._works, self._works.request.now
        finished, failed = (each[request[each] != _FOREIGN] for each in (batch.finished, batch.failed))
        self._add("accepted", of.accepted.now[batch.accepted[request[batch.accepted] != _FOREIGN]])
        self._add("ended", of.finished.now[finished])
        self._add("ended", of.failed.now[failed])
        self._add("failed", of.failed.now[failed[of.reason.now[failed] != DropReason.CANCELLED]])
        known = request[batch.left] >= 0
        self._add("lost", batch.left_ns[known & batch.left_lost])
        acked_ns = self._requests.done.now[request[batch.denied]]
        self._add("lost", np.maximum(of.dropped.now[batch.denied], acked_ns))
        finished = finished[request[finished] >= 0]
        ended = of.finished.now[finished]
        self._dones = self._p95("done_ms", self._dones, ended, ended - self._requests.due.now[request[finished]], len(edges))
        stretches = self._backlog.advance(
            of.accepted.now[batch.accepted], batch.queue_ends, self._until_ns, batch.until_ns, edges
        )
        if not len(edges):
            return
        self._counts["backlog"][self._n - len(edges) : self._n] = stretches.count[np.searchsorted(stretches.begin_ns, edges)]
        positions = np.concatenate([batch.left, batch.open])
        until = np.concatenate([batch.left_ns, np.full(len(batch.open), NEVER_NS)])
        is_known = request[positions] >= 0
        positions, until = positions[is_known], until[is_known]
        found = oldest_at(self._requests.due.now[request[positions]], of.accepted.now[positions], until, edges)
        self._figures["oldest_ms"][self._n - len(edges) : self._n] = batch.idle.or_older(found, edges)

    def _add(self, name: str, at_ns: Instants, by: int = 1) -> None:
        seconds = (at_ns - self._start_ns) // SECOND_NS
        np.add.at(self._counts[name], seconds[seconds >= 0], by)

    def _p95(
        self, name: str, rest: tuple[Instants, Instants], at_ns: Instants, took_ns: Instants, n_over: int
    ) -> tuple[Instants, Instants]:
        """Of the seconds that are over; what belongs to the one that is not is kept for later."""
        at_ns, took_ns = np.concatenate([rest[0], at_ns]), np.concatenate([rest[1], took_ns])
        if not n_over:
            return at_ns, took_ns
        seconds = (at_ns - self._start_ns) // SECOND_NS
        is_over = seconds < self._n
        inside = is_over & (seconds >= self._n - n_over)
        places = (seconds[inside] - (self._n - n_over)).astype(np.int32)
        self._figures[name][self._n - n_over : self._n] = quantiles_by_bin(places, took_ns[inside], n_over, (SHARE,))[0]
        return at_ns[~is_over], took_ns[~is_over]
