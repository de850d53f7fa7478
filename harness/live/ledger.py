"""The figures of a run while it goes on: kept up to date by what changed, instead of being worked out from all rows again.

They are those of harness/live/figures.py, which says what they are, and a test holds the two against each other. Where a run is
such that this cannot be done (harness/live/standing.py), they are taken from there.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.live.batch import Batch, Changes
from harness.live.binned import Binned
from harness.live.columns import Effects, Renumbered, Requests, Works
from harness.live.figures import RATE_NS, Figures, Left, Recent, edges_of
from harness.live.frame import Look, SideState, TaskStatus
from harness.live.meters import Level, Saturation, SortedValues
from harness.live.picking import ended_positions
from harness.live.seconds import SECOND_NS, Seconds
from harness.live.sides import client_states, work_states
from harness.live.standing import Standing
from harness.live.ticking import Ticking
from harness.load.pacing import LATE_NS
from harness.model import Evidence
from harness.rows import Outcome
from harness.statistics import Quantiles, quantiles_ms
from harness.timeline import sampled_saturation_ns, sizes_over_time

__all__ = ["Ledger"]

_MOST_BINNED: Final = 4
_FOREIGN: Final = -2
_SHARES: Final = (0.50, 0.90, 0.95, 0.99, 0.999, 1.0)  # as in Quantiles


class Ledger:
    """Everything up to an instant that only rises; for an earlier one another ledger is needed."""

    def __init__(self, standing: Standing, requests: Requests, works: Works, effects: Effects) -> None:
        self.standing = standing
        self.until_ns = -1
        self._requests, self._works, self._effects = requests, works, effects
        self._changes = self._new_changes()
        self._binned: OrderedDict[int, Binned] = OrderedDict()
        self._ticking = Ticking(standing.load_start_ns, requests, works)
        self._backlog = Level()
        self._backlog_max = 0
        self._response, self._done = SortedValues(), SortedValues()
        self._saturations = {boot: Saturation() for boot, _ in standing.pools}
        self._counts = dict.fromkeys(
            (
                *("attempted", "acked", "rejected", "indeterminate", "late"),
                *("accepted", "finished", "failed", "cancelled", "skipped", "refused"),
            ),
            0,
        )
        self._run_ns = self._n_run = 0
        self._last_ns = 0
        self._n_effects = 0
        self._client: list[SideState] = []
        self._work: list[SideState] = []
        self._lost: dict[str, NDArray[np.int64]] = {name: np.empty(0, np.int64) for name in ("queued", "running", "discarded")}
        self._recent: dict[str, NDArray[np.int64]] = {}
        self._recent_outcome = np.empty(0, np.uint8)
        self._left_queued, self._left_running = Counter[int](), Counter[int]()
        self._batch: Batch | None = None
        self._is_folded = False  # rows that it has told of have been let go

    @property
    def is_late(self) -> bool:
        """It has told something wrong: something happened before the instant up to which it had told."""
        return self._changes.is_late

    def advance(self, until_ns: int) -> None:
        """Takes in what happened until then."""
        batch = self._batch = self._changes.until(until_ns)
        waits = self.standing.nobody_waits
        for binned in self._binned.values():
            binned.apply(batch, nobody_waits=waits)
        self._ticking.apply(batch)
        self._count(batch)
        self._durations(batch)
        self._losses(batch)
        self._remember(batch)
        if len(batch.back):
            # Before it nothing has changed; from then on the backlog was another, and so may the state have been.
            del self._work[max((int(batch.back.left_ns.min()) - self.standing.load_start_ns - 1) // SECOND_NS, 0) :]
        self.until_ns = until_ns

    def seconds(self) -> Seconds:
        """The whole seconds that are over."""
        return self._ticking.seconds()

    def states(self, warm_up_s: float) -> tuple[SideState, SideState]:
        """How things look from the two sides, as of the last second that is over."""
        seconds = self.seconds()
        self._client = client_states(seconds, warm_up_s, self._client)
        self._work = work_states(seconds, self._work)
        return (self._client or [SideState.WAITING])[-1], (self._work or [SideState.WAITING])[-1]

    def figures(self, evidence: Evidence, look: Look) -> Figures:
        """At the instant up to which it has been told. `evidence` without rows but those of the gauges."""
        batch, works, counts, at_ns = self._batch, self._works, self._counts, self.until_ns
        assert batch is not None, "advance() comes first"
        edges = edges_of(self.standing.load_start_ns, look.from_s, look.until_s, look.bin_s, at_ns)
        binned, n = self.bins_of(int(edges[1] - edges[0])), len(edges) - 1
        first = int((edges[0] - binned.base_ns) // binned.bin_ns)
        request = works.request.now
        known = request[batch.open] >= 0
        is_open, has_started = batch.open[known], batch.open_started[known]
        due = self._requests.due.now[request[is_open]]
        waiting_due = self._requests.due.now[batch.waiting]
        nobody_waits = self.standing.nobody_waits
        n_waiting = 0 if nobody_waits else len(batch.waiting)
        boots = np.array(self.standing.boot_of or (0,))
        lost = Counter(boots[works.file.now[self.lost()]].tolist())
        heats = binned.heats(first, n) if look.heat else (None, None)
        return Figures(
            attempted=counts["attempted"],
            acked=counts["acked"],
            rejected=counts["rejected"],
            indeterminate=counts["indeterminate"] + len(batch.waiting) - n_waiting,
            waiting=n_waiting,
            unsent=int(np.count_nonzero(self._requests.unsent.now <= at_ns)),
            late=counts["late"],
            accepted=counts["accepted"],
            finished=counts["finished"],
            failed=counts["failed"],
            cancelled=counts["cancelled"],
            skipped=counts["skipped"],
            refused=counts["refused"],
            queued=int(np.count_nonzero(~has_started)) + batch.idle.n_own,
            running=int(np.count_nonzero(has_started)),
            lost_queued=len(self._lost["queued"]),
            lost_running=len(self._lost["running"]),
            lost_discarded=len(self._lost["discarded"]),
            left={
                boot.boot: Left(self._left_queued[boot.boot], self._left_running[boot.boot], lost[boot.boot])
                for boot in evidence.boots
                if boot.reaped_ns is not None
            },
            response=_quantiles(self._response, self._waited(batch)),
            done=_quantiles(self._done, np.empty(0, np.int64)),
            run_mean_ms=self._run_ns / self._n_run / 1e6 if self._n_run else math.nan,
            backlog_max=self._backlog_max,
            saturated_s=self._saturated_ns(evidence) / 1e9,
            oldest_queued_ns=_least(due[~has_started], batch.idle.oldest_ns),
            oldest_ns=_least(due, batch.idle.oldest_ns),
            oldest_waiting_ns=_least(waiting_due) if n_waiting else None,
            recent=self._recents(evidence),
            series=binned.series(first, n, binned.sampled(evidence, first, n)),
            oldest_ms=binned.oldest_ms(first, n),
            unsettled=binned.count("unsettled", first, n),
            lost=binned.count("lost", first, n),
            response_heat=heats[0],
            done_heat=heats[1],
        )

    def can_show(self, look: Look) -> bool:
        """Whether the bins of a look are there; those of rows that have been let go can't be made."""
        if not self._is_folded:
            return True
        edges = edges_of(self.standing.load_start_ns, look.from_s, look.until_s, look.bin_s, self.until_ns)
        binned = self._binned.get(int(edges[1] - edges[0]))
        return binned is not None and binned.has(int(edges[0]))

    @property
    def is_missed(self) -> bool:
        """It should have counted something in bins whose rows have been let go."""
        return any(binned.is_missed for binned in self._binned.values())

    def unsettled(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where requests and tasks stand that may still change."""
        return self._changes.unsettled()

    def lost(self) -> NDArray[np.int64]:
        """Where tasks stand that were lost with their process, and may yet turn out not to be."""
        return np.concatenate([self._lost["queued"], self._lost["running"]])

    def discarded(self) -> NDArray[np.int64]:
        """The same of those that were put aside although their request was acknowledged."""
        return self._lost["discarded"]

    def all_binned(self) -> Iterable[Binned]:
        """Of each length of bins that is kept up to date."""
        return self._binned.values()

    @property
    def lengths_ns(self) -> tuple[int, ...]:
        """Of the bins that are kept up to date, those that were asked for last at the end."""
        return tuple(self._binned)

    def bins_of(self, bin_ns: int) -> Binned:
        """Bins of a length, kept up to date from now on."""
        if bin_ns not in self._binned:
            before = (self.standing.base_ns - self.standing.load_start_ns) // bin_ns
            base_ns = self.standing.load_start_ns + before * bin_ns
            self._binned[bin_ns] = binned = Binned(base_ns, bin_ns, self._requests, self._works)
            binned.apply(self._new_changes().until(self.until_ns), nobody_waits=self.standing.nobody_waits)
            while len(self._binned) > _MOST_BINNED:
                self._binned.popitem(last=False)
        self._binned.move_to_end(bin_ns)
        return self._binned[bin_ns]

    def keep_samples(self, evidence: Evidence, until_ns: int) -> int:
        """Takes what the samples say of the bins that are over by then. Returns from when on samples are still needed."""
        return min((binned.keep_samples(evidence, until_ns) for binned in self._binned.values()), default=0)

    def keep(self, requests: Renumbered, works: Renumbered) -> None:
        """The columns have let the others go."""
        assert self._batch is not None, "advance() comes first"
        self._is_folded = True
        self._changes.keep(requests, works)
        self._lost = {name: works.of(positions) for name, positions in self._lost.items()}
        self._batch = self._batch.still(requests, works)
        for binned in self._binned.values():
            binned.keep(requests, works)

    def of_status(self, status: TaskStatus, most: int) -> NDArray[np.int64] | None:
        """Where the tasks stand that are to be listed: the oldest that are queued or running, else the newest; None: unknown."""
        batch, works = self._batch, self._works
        assert batch is not None, "advance() comes first"
        if status in {TaskStatus.DONE, TaskStatus.FAILED}:
            return ended_positions(works, status, most, self.until_ns)
        if status is TaskStatus.LOST:
            lost = self.lost()
            return lost[np.argsort(works.accepted.now[lost])[-most:]]
        if status is TaskStatus.OTHER:
            return None
        chosen: NDArray[np.int64] = batch.open[batch.open_started == (status is TaskStatus.RUNNING)]
        if status is TaskStatus.QUEUED:
            chosen = np.concatenate([chosen, batch.idle.positions])
        chosen = chosen[works.request.now[chosen] != _FOREIGN]
        if len(chosen) > most:
            chosen = chosen[np.argpartition(works.accepted.now[chosen], most)[:most]]
        return chosen[np.argsort(works.accepted.now[chosen])]

    def _new_changes(self) -> Changes:
        return Changes(self._requests, self._works, dict(self.standing.deaths), self.standing.over)

    def _count(self, batch: Batch) -> None:
        of, request, counts = self._requests, self._works.request.now, self._counts
        counts["attempted"] += len(batch.sent)
        counts["late"] += int(np.count_nonzero(of.sent.now[batch.sent] - of.due.now[batch.sent] > LATE_NS))
        outcome = of.outcome.now[batch.answered]
        for name, code in (("acked", Outcome.ACK), ("rejected", Outcome.REJ), ("indeterminate", Outcome.IND)):
            counts[name] += int(np.count_nonzero(outcome == code))
        for name, positions in (
            ("accepted", batch.accepted),
            ("finished", batch.finished),
            ("failed", batch.failed),
            ("cancelled", batch.cancelled),
            ("skipped", batch.skipped),
            ("refused", batch.refused),
        ):
            counts[name] += int(np.count_nonzero(request[positions] != _FOREIGN))
        starts = self._works.accepted.now[batch.accepted]
        for name, chosen in (("skipped", batch.back.is_skipped), ("refused", batch.back.is_refused)):
            counts[name] -= int(np.count_nonzero(request[batch.back.positions[chosen]] != _FOREIGN))
        _, reopened = self._backlog.reopen(batch.back.left_ns)
        found = self._backlog.advance(
            starts, batch.queue_ends, batch.from_ns, batch.until_ns, np.empty(0, np.int64), batch.anew_from_ns
        )
        self._backlog_max = max(self._backlog_max, found.highest(), int(reopened.max(initial=0)))
        boots = np.array(self.standing.boot_of or (0,))
        for boot, saturation in self._saturations.items():
            started, ended = (
                self._works.is_def.now[each] & (boots[self._works.file.now[each]] == boot)
                for each in (batch.started, batch.busy_ends_of)
            )
            saturation.add(self._works.started.now[batch.started[started]], batch.busy_ends[ended])

        left = batch.ended_with_boot
        started_ns, boot_of = self._works.started.now[left], boots[self._works.file.now[left]]
        has_started = (started_ns != 0) & (started_ns <= batch.until_ns)
        for of_boot, chosen in ((self._left_queued, ~has_started), (self._left_running, has_started)):
            of_boot.update(Counter(boot_of[chosen].tolist()))

    def _durations(self, batch: Batch) -> None:
        of, works, request = self._requests, self._works, self._works.request.now
        due, done, outcome = (column.now[batch.answered] for column in (of.due, of.done, of.outcome))
        measured = (due >= self.standing.measured_from_ns) & ~of.refused.now[batch.answered]
        self._response.add(np.where(outcome == Outcome.ACK, done - due, NEVER_NS)[measured])
        finished = batch.finished[request[batch.finished] >= 0]
        due, ended = of.due.now[request[finished]], works.finished.now[finished]
        measured = due >= self.standing.measured_from_ns
        self._done.add((ended - due)[measured])
        failed = batch.failed[request[batch.failed] >= 0]
        for positions, ends in ((finished, ended), (failed, works.failed.now[failed])):
            self._run_ns += int((ends - works.started.now[positions]).sum())
            self._n_run += len(positions)
        own = [each[request[each] != _FOREIGN] for each in (batch.accepted, batch.started, batch.finished, batch.failed)]
        instants = zip((works.accepted, works.started, works.finished, works.failed), own, strict=True)
        self._last_ns = max(
            self._last_ns, int(done.max(initial=0)), *(int(column.now[each].max(initial=0)) for column, each in instants)
        )

    def _losses(self, batch: Batch) -> None:
        works, effects = self._works, self._effects
        lost = batch.left[batch.left_lost & (works.request.now[batch.left] >= 0)]
        if not len(lost) + len(batch.denied) + sum(len(known) for known in self._lost.values()):
            return
        self._lost = {name: known[~np.isin(known, batch.back.positions)] for name, known in self._lost.items()}
        arrived = effects.arrived.now <= batch.until_ns
        new = effects.key.now[arrived & (effects.arrived.now > batch.from_ns)]
        self._lost = {name: known[~np.isin(works.key.now[known], new)] for name, known in self._lost.items()}
        if len(batch.denied):
            without = ~np.isin(works.key.now[batch.denied], effects.key.now[arrived])
            self._lost["discarded"] = np.concatenate([self._lost["discarded"], batch.denied[without]])
        if len(lost):
            key = works.key.now[lost]
            started = works.started.now[lost]
            has_started = (started != 0) & (started <= batch.until_ns)
            without = ~np.isin(key, effects.key.now[arrived])
            for name, chosen in (("queued", without & ~has_started), ("running", without & has_started)):
                self._lost[name] = np.concatenate([self._lost[name], lost[chosen]])

    def _remember(self, batch: Batch) -> None:
        """What a rate may still be made of."""
        of, works, request = self._requests, self._works, self._works.request.now
        finished = batch.finished[request[batch.finished] >= 0]
        new = {
            "due": of.due.now[batch.sent],
            "done": of.done.now[batch.answered],
            "took": of.done.now[batch.answered] - of.due.now[batch.answered],
            "accepted": works.accepted.now[batch.accepted[request[batch.accepted] != _FOREIGN]],
            "finished": works.finished.now[batch.finished[request[batch.finished] != _FOREIGN]],
            "failed": works.failed.now[batch.failed[request[batch.failed] != _FOREIGN]],
            "cancelled": works.failed.now[batch.cancelled[request[batch.cancelled] != _FOREIGN]],
            "ended": works.finished.now[finished],
            "took_done": works.finished.now[finished] - of.due.now[request[finished]],
        }
        known = {name: np.concatenate([self._recent.get(name, np.empty(0, np.int64)), values]) for name, values in new.items()}
        outcome = np.concatenate([self._recent_outcome, of.outcome.now[batch.answered]])
        from_ns = max(batch.until_ns - RATE_NS, self.standing.load_start_ns - 1)
        instants = ("due", "done", "accepted", "finished", "failed", "cancelled", "ended")
        is_recent = {name: known[name] > from_ns for name in instants}
        is_recent |= {"took": is_recent["done"], "took_done": is_recent["ended"]}
        self._recent = {name: values[is_recent[name]] for name, values in known.items()}
        self._recent_outcome = outcome[is_recent["done"]]

    def _recents(self, evidence: Evidence) -> Recent:
        from_ns = max(self.until_ns - RATE_NS, evidence.load_start_ns - 1)
        of, outcome = self._recent, self._recent_outcome
        acked = outcome == Outcome.ACK
        return Recent(
            over_s=max(self.until_ns - from_ns, 0) / 1e9,
            due=len(of["due"]),
            answered=int(np.count_nonzero(acked)),
            rejected=int(np.count_nonzero(outcome == Outcome.REJ)),
            indeterminate=int(np.count_nonzero(outcome == Outcome.IND)),
            accepted=len(of["accepted"]),
            finished=len(of["finished"]),
            failed=len(of["failed"]),
            cancelled=len(of["cancelled"]),
            response_p95_ms=_p95(of["took"][acked]),
            done_p95_ms=_p95(of["took_done"]),
        )

    def _waited(self, batch: Batch) -> NDArray[np.int64]:
        """What those took so far that are measured and not answered."""
        due = self._requests.due.now[batch.waiting]
        due = due[due >= self.standing.measured_from_ns]
        if self.standing.nobody_waits:
            return np.full(len(due), NEVER_NS)
        return np.maximum(batch.until_ns - due, 0)

    def _saturated_ns(self, evidence: Evidence) -> int:
        ended = [at for boot in evidence.boots if boot.fault for at in (boot.reaped_ns or 0, boot.signalled_ns or 0)]
        until = max([evidence.load_end_ns, evidence.load_start_ns, self._last_ns, *ended]) + 1
        boots = {boot.boot: boot for boot in evidence.boots}
        total = 0
        for number, size in self.standing.pools:
            rooms = sizes_over_time(evidence, boots[number], size, until)
            saturated_ns = self._saturations[number].until(until, rooms)
            total += max(saturated_ns, sampled_saturation_ns(evidence, boots[number], until))
        return total


def _quantiles(values: SortedValues, also_ns: NDArray[np.int64]) -> Quantiles:
    """As `harness.statistics.quantiles` has them."""
    p50, p90, p95, p99, p999, longest = values.quantiles_ms(_SHARES, also_ns)
    n_never = int(np.count_nonzero(also_ns == NEVER_NS)) + values.n_never
    return Quantiles(len(values) + len(also_ns), n_never, p50, p90, p95, p99, p999, longest)


def _p95(values_ns: NDArray[np.int64]) -> float | None:
    return quantiles_ms(values_ns, (0.95,))[0] if len(values_ns) else None


def _least(values_ns: NDArray[np.int64], or_ns: int | None = None) -> int | None:
    if not len(values_ns):
        return or_ns
    least = int(values_ns.min())
    return least if or_ns is None else min(least, or_ns)
