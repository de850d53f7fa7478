"""The run in equal bins, kept up to date: of each batch of changes only the bins that it touches are worked out again.

What comes out is what `harness.series.series` makes of all rows; a test holds the two against each other.

Rows may be let go (harness/live/folding.py): their bins stay as they are, and are sealed. Of old bins that
nobody looks at nothing is kept.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.heatmap import HeatMap, buckets_of, floors_of
from harness.live.batch import Batch
from harness.live.columns import Renumbered, Requests, Works
from harness.live.figures import oldest_at
from harness.live.meters import Level
from harness.model import Evidence
from harness.rows import Outcome
from harness.series import SHARES, Gauges, Series, gauges_by_bin, quantiles_by_bin

__all__ = ["TRIMMED", "UNTRIMMED", "Binned"]

_BUCKETS: Final = 256
_LEAST_MORE: Final = 64
UNTRIMMED: Final = 512
"""So many of the newest bins are always kept."""

TRIMMED: Final = 64
"""Fewer are not let go."""

_SAMPLED: Final = tuple(field.name for field in fields(Gauges))
_COUNTED: Final = (
    *("due", "acked", "rejected", "indeterminate", "accepted", "started", "finished", "failed", "undone", "of_done"),
    *("unsettled", "lost", "backlog_max", "backlog_end", "busy_max", "busy_area"),
)

Positions = NDArray[np.int64]


class Binned:
    """Bins of one length, from `base_ns` on; nothing happened before that."""

    def __init__(self, base_ns: int, bin_ns: int, requests: Requests, works: Works) -> None:
        self.base_ns, self.bin_ns = base_ns, bin_ns
        self._requests, self._works = requests, works
        self._counts = {name: np.zeros(0, np.int64) for name in _COUNTED}
        self._response = np.empty((len(SHARES), 0))
        self._done = np.empty((len(SHARES), 0))
        self._oldest = np.empty(0)
        self._response_heat, self._done_heat = (np.zeros((_BUCKETS, 0), np.int32) for _ in range(2))
        self._never = np.zeros(0, np.int64)
        self._backlog, self._busy = Level(), Level()
        self._until_ns = base_ns - 1
        self._first_request, self._first_work = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._request_bin, self._work_bin = np.empty(0, np.int32), np.empty(0, np.int32)
        self._sampled = np.empty((len(_SAMPLED), 0))
        self._n_sampled = 0
        self._is_sealed, self._is_held = np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        self._is_trimmed = False
        self._first_asked: int | None = None  # None: nobody has since rows were let go last
        self.is_missed = False
        """Something should have been counted in bins of which rows, or all, have been let go."""

    def apply(self, batch: Batch, *, nobody_waits: bool) -> None:
        """Counts what changed."""
        if self._is_trimmed and self._is_early(batch):
            self.is_missed = True
            return
        self._grow(int((batch.until_ns - self.base_ns) // self.bin_ns) + 1)
        self._count_requests(batch)
        self._count_works(batch)
        self._take_back(batch)
        self._levels(batch)
        self._quantiles(batch, nobody_waits=nobody_waits)
        self._until_ns = batch.until_ns

    def series(self, first: int, n: int, sampled: Gauges | None) -> Series:
        """`n` bins from a number of bins after the base on."""
        self._first_asked = first
        area, edges = self._slice(self._counts["busy_area"], first, n), self.edges(first, n)
        last = (self._until_ns - self.base_ns) // self.bin_ns
        if first <= last < first + n:
            # Of the last bin what there is now is taken to stay as it is.
            area[last - first] += self._busy.count * (self.base_ns + (last + 1) * self.bin_ns - self._until_ns)
        names = ("due", "acked", "rejected", "indeterminate", "accepted", "started", "finished", "failed", "undone", "of_done")
        counts = {name: self._slice(self._counts[name], first, n) for name in (*names, "backlog_max", "backlog_end", "busy_max")}
        return Series(
            edges_ns=edges,
            **counts,
            response_ms=self._slice(self._response, first, n, math.nan),
            done_ms=self._slice(self._done, first, n, math.nan),
            busy_mean=area / np.diff(edges),
            sampled=sampled,
        )

    def edges(self, first: int, n: int) -> NDArray[np.int64]:
        """Shape (n + 1,)."""
        return self.base_ns + self.bin_ns * np.arange(first, first + n + 1, dtype=np.int64)

    def has(self, begin_ns: int) -> bool:
        """Whether the bins from then on are there."""
        return not self._is_trimmed or begin_ns >= self.base_ns

    def sampled(self, evidence: Evidence, first: int, n: int) -> Gauges | None:
        """What the samples say: as it was kept, and for the later bins from those that there are. None: nobody looked."""
        n_kept = min(max(self._n_sampled - first, 0), n)
        if not n_kept or evidence.gauges is None or not len(evidence.gauges.rows):
            return gauges_by_bin(evidence, self.edges(first, n))
        parts = [self._slice(self._sampled, first, n_kept, math.nan)]
        if n_kept < n and (rest := gauges_by_bin(evidence, self.edges(first + n_kept, n - n_kept))) is not None:
            parts.append(_stacked(rest))
        return Gauges(*np.concatenate(parts, axis=1))

    def keep_samples(self, evidence: Evidence, until_ns: int) -> int:
        """Keeps what the samples say of bins that are over by then. Returns from when on they are still needed."""
        n = int((until_ns - self.base_ns) // self.bin_ns)
        if n > self._n_sampled:
            found = gauges_by_bin(evidence, self.edges(self._n_sampled, n - self._n_sampled))
            if found is not None:
                self._sampled[:, self._n_sampled : n] = _stacked(found)
            self._n_sampled = n
        return self.base_ns + self._n_sampled * self.bin_ns

    def beside(self, is_unsettled: NDArray[np.bool_], since_ns: int) -> NDArray[np.bool_]:
        """Of all requests those in the bins of these, and in bins that are not over by then: their rows are needed."""
        bins = self._known(self._request_bin, len(is_unsettled))
        self._is_held = np.zeros(len(self._oldest), np.bool_)
        self._is_held[bins[is_unsettled & (bins >= 0)]] = True
        self._is_held[max((since_ns - self.base_ns) // self.bin_ns, 0) :] = True
        return (bins >= 0) & self._is_held[bins]

    def keep(self, requests: Renumbered, works: Renumbered) -> None:
        """The columns have let the others go, of which none was in a bin that `beside` named."""
        for kept, bins in ((requests, self._request_bin), (works, self._work_bin)):
            gone = self._known(bins, len(kept.is_kept))[~kept.is_kept]
            self._is_sealed[gone[gone >= 0]] = True
        self._request_bin, self._work_bin = requests.shortened(self._request_bin, -1), works.shortened(self._work_bin, -1)
        last = (self._until_ns - self.base_ns) // self.bin_ns
        asked, self._first_asked = last if self._first_asked is None else self._first_asked, None
        first = min(asked, last - UNTRIMMED, int(np.argmax(self._is_held)), self._n_sampled)
        if first >= TRIMMED:
            self._trim(int(first))
        for first_ones, bins in ((self._first_request, self._request_bin), (self._first_work, self._work_bin)):
            first_ones[:] = NEVER_NS
            there = np.flatnonzero(bins >= 0)
            np.minimum.at(first_ones, bins[there], there)

    def _trim(self, n: int) -> None:
        """Lets the first bins go."""
        self._is_trimmed = True
        self.base_ns += n * self.bin_ns
        self._n_sampled -= n
        self._counts = {name: counts[n:].copy() for name, counts in self._counts.items()}
        for name, of in vars(self).items():
            if name in _PER_BIN:
                setattr(self, name, of[..., n:].copy())
        self._request_bin, self._work_bin = (
            np.where(bins >= n, bins - n, -1).astype(np.int32) for bins in (self._request_bin, self._work_bin)
        )

    def _is_early(self, batch: Batch) -> bool:
        request = self._works.request.now[batch.accepted]
        due = self._requests.due.now
        returned = self._works.request.now[batch.back.positions]
        of_tasks = np.concatenate([request[request >= 0], returned[returned >= 0]])
        return bool((due[batch.sent] < self.base_ns).any() or (due[of_tasks] < self.base_ns).any())

    def _known(self, bins: NDArray[np.int32], n: int) -> NDArray[np.int32]:
        """Of the first ones; -1 of those that have none yet."""
        return np.concatenate([bins[:n], np.full(max(n - len(bins), 0), -1, np.int32)])

    def count(self, name: str, first: int, n: int) -> NDArray[np.int64]:
        """`unsettled` or `lost` tasks."""
        return self._slice(self._counts[name], first, n)

    def oldest_ms(self, first: int, n: int) -> NDArray[np.float64]:
        """At the end of each bin, or now."""
        return self._slice(self._oldest, first, n, math.nan)

    def heats(self, first: int, n: int) -> tuple[HeatMap, HeatMap]:
        """Of responses and of to-done."""
        return self._heat(self._response_heat, first, n, self._never), self._heat(self._done_heat, first, n, None)

    def _heat(self, cells: NDArray[np.int32], first: int, n: int, never: NDArray[np.int64] | None) -> HeatMap:
        edges = self.edges(first, n)
        shown = self._slice(cells, first, n)
        used = np.flatnonzero(shown.any(axis=1))
        without = np.zeros(n, np.int64) if never is None else self._slice(never, first, n)
        if not len(used):
            return HeatMap(edges, np.empty(0, np.int64), np.zeros((0, n), np.int64), without)
        lowest, highest = int(used[0]), int(used[-1])
        floors = floors_of(lowest + _LOWEST, highest - lowest + 1)
        return HeatMap(edges, floors, shown[lowest : highest + 1].astype(np.int64), without)

    def _slice(self, of: NDArray[Any], first: int, n: int, empty: float = 0) -> NDArray[Any]:
        """Bins, also where there are none yet, or never were."""
        found = np.full((*of.shape[:-1], n), empty, of.dtype)
        begin, end = max(first, 0), min(first + n, of.shape[-1])
        if end > begin:
            found[..., begin - first : end - first] = of[..., begin:end]
        return found

    def _grow(self, n: int) -> None:
        more = n - len(self._oldest)
        if more <= 0:
            return
        # More than is needed now, which is empty: to copy all bins for each new one would cost more with every hour.
        more = max(more, _LEAST_MORE, len(self._oldest) // 8)
        self._counts = {name: np.append(counts, np.zeros(more, np.int64)) for name, counts in self._counts.items()}
        nothing = np.full((len(SHARES), more), math.nan)
        self._response, self._done = (np.concatenate([of, nothing], axis=1) for of in (self._response, self._done))
        self._oldest = np.append(self._oldest, np.full(more, math.nan))
        empty = np.zeros((_BUCKETS, more), np.int32)
        self._response_heat, self._done_heat = (
            np.concatenate([of, empty], axis=1) for of in (self._response_heat, self._done_heat)
        )
        self._never = np.append(self._never, np.zeros(more, np.int64))
        self._sampled = np.concatenate([self._sampled, np.full((len(_SAMPLED), more), math.nan)], axis=1)
        self._is_sealed = np.append(self._is_sealed, np.zeros(more, np.bool_))
        far = np.full(more, NEVER_NS)
        self._first_request, self._first_work = np.append(self._first_request, far), np.append(self._first_work, far)

    def _bin(self, at_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        return (at_ns - self.base_ns) // self.bin_ns

    def _add(self, name: str, bins: NDArray[np.int64], by: int = 1) -> None:
        np.add.at(self._counts[name], bins, by)

    def _count_requests(self, batch: Batch) -> None:
        of = self._requests
        bins = self._bin(of.due.now[batch.sent])
        self._request_bin = _set(self._request_bin, batch.sent, bins)
        self._add("due", bins)
        np.minimum.at(self._first_request, bins, batch.sent)
        bins, outcome = self._request_bin[batch.answered].astype(np.int64), of.outcome.now[batch.answered]
        took = of.done.now[batch.answered] - of.due.now[batch.answered]
        for name, code in (("acked", Outcome.ACK), ("rejected", Outcome.REJ), ("indeterminate", Outcome.IND)):
            self._add(name, bins[outcome == code])
        acked = outcome == Outcome.ACK
        np.add.at(self._response_heat, (buckets_of(took[acked]) - _LOWEST, bins[acked]), 1)
        np.add.at(self._never, bins[~acked & ~of.refused.now[batch.answered]], 1)

    def _count_works(self, batch: Batch) -> None:
        of = self._works
        request = of.request.now
        for name, positions, instants in (
            ("accepted", batch.accepted, of.accepted.now),
            ("started", batch.started, of.started.now),
            ("failed", batch.failed, of.failed.now),
        ):
            own = positions[request[positions] != _FOREIGN]
            self._add(name, self._bin(instants[own]))
        accepted = batch.accepted[request[batch.accepted] >= 0]
        bins = self._bin(self._requests.due.now[request[accepted]])
        self._work_bin = _set(self._work_bin, accepted, bins)
        np.minimum.at(self._first_work, bins, accepted)
        self._add("unsettled", bins)
        left = request[batch.left] >= 0
        self._add("unsettled", self._due_bin(batch.left[left]), -1)
        self._add("lost", self._due_bin(batch.left[left & batch.left_lost]))
        finished = batch.finished[request[batch.finished] >= 0]
        bins, ended = self._due_bin(finished), of.finished.now[finished]
        self._add("finished", self._bin(ended))
        self._add("of_done", bins)
        took = ended - self._requests.due.now[request[finished]]
        np.add.at(self._done_heat, (buckets_of(took) - _LOWEST, bins), 1)
        self._add("lost", self._due_bin(batch.denied))
        for positions in (batch.failed, batch.skipped, batch.denied, batch.ended_with_boot):
            self._add("undone", self._due_bin(positions[request[positions] >= 0]))

    def _due_bin(self, positions: Positions) -> NDArray[np.int64]:
        return self._work_bin[positions].astype(np.int64)

    def _levels(self, batch: Batch) -> None:
        of, since, until = self._works, self._until_ns, batch.until_ns
        first, last = max((since - self.base_ns) // self.bin_ns + 1, 0), (until - self.base_ns) // self.bin_ns
        edges = self.base_ns + self.bin_ns * np.arange(first, last + 1, dtype=np.int64)
        for name, level, starts, ends in (
            ("backlog", self._backlog, of.accepted.now[batch.accepted], batch.queue_ends),
            ("busy", self._busy, of.started.now[batch.started], batch.busy_ends),
        ):
            found = level.advance(starts, ends, since, until, edges, batch.anew_from_ns if name == "backlog" else NEVER_NS)
            bins = self._bin(found.begin_ns)
            inside = bins >= 0
            np.maximum.at(self._counts[f"{name}_max"], bins[inside], found.count[inside])
            if name == "backlog":
                # At an edge: what there is once everything that happened at it has.
                at_edges = found.count[np.searchsorted(found.begin_ns, edges)]
                self._counts["backlog_end"][np.maximum(first - 1, 0) : last] = at_edges[0 if first else 1 :]
                self._counts["backlog_end"][last] = level.count
            else:
                lengths = found.end_ns - found.begin_ns
                np.add.at(self._counts["busy_area"], bins[inside], (found.count * lengths)[inside])
        self._oldest_at(batch, np.append(edges[edges > self.base_ns], until))

    def _take_back(self, batch: Batch) -> None:
        """Tasks that were dropped, as had been counted, were queued after all."""
        back = batch.back
        if not len(back):
            return
        request = self._works.request.now[back.positions]
        known = request >= 0
        self._add("unsettled", self._due_bin(back.positions[known]))
        self._add("lost", self._due_bin(back.positions[known & (back.is_lost | back.is_denied)]), -1)
        self._add("undone", self._due_bin(back.positions[known & (back.is_skipped | back.is_denied)]), -1)
        begin_ns, count = self._backlog.reopen(back.left_ns)
        inside = begin_ns >= self.base_ns
        np.maximum.at(self._counts["backlog_max"], self._bin(begin_ns[inside]), count[inside])
        first = max((int(back.left_ns.min()) - self.base_ns - 1) // self.bin_ns, 0)
        last = (self._until_ns - self.base_ns) // self.bin_ns
        ends = self.edges(first, last - first)[1:] if last > first else np.empty(0, np.int64)
        self._counts["backlog_end"][first:last] += np.searchsorted(np.sort(back.left_ns), ends, side="right")
        left, still = back.left_ns[known], np.full(int(np.count_nonzero(known)), NEVER_NS)
        oldest = self._oldest[first:last]
        np.fmax(oldest, oldest_at(self._requests.due.now[request[known]], left, still, ends), out=oldest)

    def _oldest_at(self, batch: Batch, instants_ns: NDArray[np.int64]) -> None:
        positions = np.concatenate([batch.left, batch.open])
        left = np.concatenate([batch.left_ns, np.full(len(batch.open), NEVER_NS)])
        known = self._works.request.now[positions] >= 0
        positions, left = positions[known], left[known]
        due = self._requests.due.now[self._works.request.now[positions]]
        found = oldest_at(due, self._works.accepted.now[positions], left, instants_ns)
        found = batch.idle.or_older(found, instants_ns)
        # At an edge: of the bin that ends there.
        self._oldest[self._bin(instants_ns[:-1]) - 1] = found[:-1]
        self._oldest[self._bin(instants_ns[-1:])] = found[-1:]

    def _quantiles(self, batch: Batch, *, nobody_waits: bool) -> None:
        of = self._requests
        dirty = np.zeros(len(self._oldest), np.bool_)
        dirty[self._request_bin[batch.answered]] = True
        dirty[self._request_bin[batch.waiting]] = True
        self.is_missed |= bool((dirty & self._is_sealed).any())
        chosen = self._in_dirty(dirty, self._request_bin, self._first_request)
        if len(chosen):
            done, outcome, due = of.done.now[chosen], of.outcome.now[chosen], of.due.now[chosen]
            is_over = (done != 0) & (done <= batch.until_ns)
            values = np.where(outcome == Outcome.ACK, done - due, NEVER_NS)
            waited = np.int64(NEVER_NS) if nobody_waits else np.maximum(batch.until_ns - due, 0)
            values = np.where(is_over, values, waited)
            kept = ~(is_over & of.refused.now[chosen]) & (of.sent.now[chosen] <= batch.until_ns)
            self._response[:, dirty] = self._by_bin(dirty, self._request_bin[chosen][kept], values[kept])
        dirty = np.zeros(len(self._oldest), np.bool_)
        request = self._works.request.now
        left = batch.left[(request[batch.left] >= 0) & batch.left_lost]
        back = batch.back.positions[(batch.back.is_lost & (request[batch.back.positions] >= 0)) | batch.back.is_denied]
        for positions in (batch.finished[request[batch.finished] >= 0], left, batch.denied, back):
            dirty[self._work_bin[positions]] = True
        self.is_missed |= bool((dirty & self._is_sealed).any())
        chosen = self._in_dirty(dirty, self._work_bin, self._first_work)
        if len(chosen):
            ended = self._works.finished.now[chosen]
            is_done = (ended != 0) & (ended <= batch.until_ns) & (request[chosen] >= 0)
            chosen, ended = chosen[is_done], ended[is_done]
            # Lost ones take longer than any other, so that it is enough to know how many there are.
            never = np.repeat(np.arange(len(dirty), dtype=np.int32), np.where(dirty, self._counts["lost"], 0))
            values = np.concatenate([ended - self._requests.due.now[request[chosen]], np.full(len(never), NEVER_NS)])
            self._done[:, dirty] = self._by_bin(dirty, np.concatenate([self._work_bin[chosen], never]), values)

    def _in_dirty(self, dirty: NDArray[np.bool_], bins: NDArray[np.int32], first: NDArray[np.int64]) -> Positions:
        """What is in bins that have changed."""
        if not dirty.any():
            return np.empty(0, np.int64)
        begin = int(first[dirty].min())
        if begin >= len(bins):
            return np.empty(0, np.int64)
        later = bins[begin:]
        return begin + np.flatnonzero(dirty[later] & (later >= 0))

    def _by_bin(self, dirty: NDArray[np.bool_], bins: NDArray[np.int32], values_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        number = np.cumsum(dirty, dtype=np.int32) - 1
        return quantiles_by_bin(number[bins], values_ns, int(np.count_nonzero(dirty)), SHARES)


_PER_BIN: Final = frozenset(
    (
        "_response",
        "_done",
        "_oldest",
        "_response_heat",
        "_done_heat",
        "_never",
        "_first_request",
        "_first_work",
        "_sampled",
        "_is_sealed",
    )
)
_FOREIGN: Final = -2
_LOWEST: Final = int(buckets_of(np.array([1]))[0])


def _set(of: NDArray[np.int32], positions: Positions, values: NDArray[np.int64]) -> NDArray[np.int32]:
    """The bin of each, -1 for those that have none yet."""
    if len(positions) and (highest := int(positions.max())) >= len(of):
        grown = np.full(max(highest + 1, len(of) * 3 // 2), -1, np.int32)
        grown[: len(of)] = of
        of = grown
    of[positions] = values
    return of


def _stacked(gauges: Gauges) -> NDArray[np.float64]:
    return np.stack([getattr(gauges, name) for name in _SAMPLED])
