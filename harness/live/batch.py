"""What happened to requests and tasks between two instants, from the columns: once, for everything that counts it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.grouping import NEVER_NS
from harness.live.columns import FOREIGN, UNKNOWN, Renumbered, Requests, Works
from harness.live.drops import REMEMBERED_NS, Back, Drops
from harness.live.idle import Idle
from harness.rows import DropReason, Outcome

__all__ = ["Batch", "Changes", "Deaths"]

Positions = NDArray[np.int64]
Instants = NDArray[np.int64]
Deaths = Mapping[int, int]
"""When the process that wrote a file was dead, by the number of the file."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes in (from, until]. Positions are those of the columns, instants in ns."""

    from_ns: int
    until_ns: int
    sent: Positions  # requests
    answered: Positions  # or ended in another way
    waiting: Positions  # at `until`, whenever they were sent
    accepted: Positions  # tasks
    started: Positions
    finished: Positions
    failed: Positions
    cancelled: Positions  # of them: by the app itself
    skipped: Positions
    refused: Positions  # by admission, or because the endpoint raised
    denied: Positions  # the same, and their request was acknowledged: since the one or the other has happened
    ended_with_boot: Positions  # neither of these, and their boot is dead
    left: Positions  # neither queued nor running any more
    left_ns: Instants  # when
    left_lost: NDArray[np.bool_]  # by the death of their process, or given up
    open: Positions  # tasks that are queued or running at `until`, but for those that are idle
    open_started: NDArray[np.bool_]
    idle: Idle  # those that have waited all the time since `from`, and wait
    queue_ends: Instants  # when tasks were queued no more, of all that did
    busy_ends: Instants
    busy_ends_of: Positions
    back: Back  # dropped by `from_ns`, as had been told, and no more: open again
    anew_from_ns: int  # how the backlog changed since then may have to be told anew; NEVER_NS: it will not

    def still(self, requests: Renumbered, works: Renumbered) -> Batch:
        """Without what changed: what waits and what is open may be asked for again, when the columns have let others go."""
        none, nobody = np.empty(0, np.int64), np.empty(0, np.bool_)
        return Batch(
            from_ns=self.from_ns,
            until_ns=self.until_ns,
            sent=none,
            answered=none,
            waiting=requests.of(self.waiting),
            accepted=none,
            started=none,
            finished=none,
            failed=none,
            cancelled=none,
            skipped=none,
            refused=none,
            denied=none,
            ended_with_boot=none,
            left=none,
            left_ns=none,
            left_lost=nobody,
            open=works.of(self.open),
            open_started=self.open_started,
            idle=self.idle.kept(works),
            queue_ends=none,
            busy_ends=none,
            busy_ends_of=none,
            back=Back.none(),
            anew_from_ns=self.anew_from_ns,
        )


class Changes:
    """Which requests and tasks can still change, and what changed in them since the last time."""

    def __init__(self, requests: Requests, works: Works, deaths: Deaths, over: Collection[int]) -> None:
        """`over`: the numbers of the files whose boot is dead."""
        self._requests, self._works = requests, works
        self._over = np.zeros(max(len(works.files), 1), np.bool_)
        self._over[list(over)] = True
        self._deaths = np.full(max(len(works.files), 1), NEVER_NS)
        for number, dead_ns in deaths.items():
            self._deaths[number] = dead_ns
        self._from_ns = -1
        self._n_requests = self._n_works = 0
        self._later_requests, self._waiting = np.empty(0, np.int64), np.empty(0, np.int64)
        self._later_works, self._alive = np.empty(0, np.int64), np.empty(0, np.int64)
        self._idle = Idle.none()  # alive as well, and only that has been told of each; the others stand in `_alive`
        self._has_started = np.empty(0, np.bool_)  # of those alive: what has been told of each
        self._has_ended_queue = np.empty(0, np.bool_)
        self._has_ended_busy = np.empty(0, np.bool_)
        self._has_left = np.empty(0, np.bool_)
        self._has_ended = np.empty(0, np.bool_)
        self._aside = np.empty(0, np.int64)  # refused, and it is not known yet what their request was answered
        self._drops = Drops(requests, works)
        self._is_late = False

    @property
    def is_late(self) -> bool:
        """Something has been found to have happened earlier than what had been told, or not at all: all has to be told again."""
        return self._is_late or self._drops.are_taken_back

    def until(self, until_ns: int) -> Batch:
        """What changed since, up to an instant that is later than the last one."""
        since, self._from_ns = self._from_ns, until_ns
        sent, answered, waiting = self._of_requests(since, until_ns)
        accepted = self._accepted(since, until_ns)
        return self._of_works(since, until_ns, (sent, answered, waiting, accepted))

    def unsettled(self) -> tuple[Positions, Positions]:
        """Requests and tasks of which more is to be told."""
        new_requests, new_works = (
            np.arange(n, len(column)) for n, column in ((self._n_requests, self._requests.due), (self._n_works, self._works.key))
        )
        return (
            np.concatenate([self._waiting, self._later_requests, new_requests]),
            np.concatenate([self._alive, self._idle.positions, self._later_works, self._aside, new_works]),
        )

    def keep(self, requests: Renumbered, works: Renumbered) -> None:
        """The columns have let the others go, of which none was unsettled."""
        self._n_requests = int(np.count_nonzero(requests.is_kept[: self._n_requests]))
        self._n_works = int(np.count_nonzero(works.is_kept[: self._n_works]))
        self._waiting, self._later_requests = requests.of(self._waiting), requests.of(self._later_requests)
        self._alive, self._later_works = works.of(self._alive), works.of(self._later_works)
        self._aside = works.of(self._aside)
        self._idle = self._idle.kept(works)
        self._drops.keep(works)

    def _of_requests(self, since: int, until_ns: int) -> tuple[Positions, Positions, Positions]:
        of = self._requests
        candidates = np.concatenate([self._later_requests, np.arange(self._n_requests, len(of.due))])
        self._n_requests = len(of.due)
        sent_ns = of.sent.now[candidates]
        is_sent = sent_ns <= until_ns
        sent, self._later_requests = candidates[is_sent], candidates[~is_sent]
        self._notice(sent_ns[is_sent], since)
        open_ones = np.concatenate([self._waiting, sent])
        done_ns = of.done.now[open_ones]
        is_done = (done_ns != 0) & (done_ns <= until_ns)
        self._notice(done_ns[is_done], since)
        answered, self._waiting = open_ones[is_done], open_ones[~is_done]
        return sent, answered, self._waiting

    def _denied(self, refused: Positions, until_ns: int) -> Positions:
        """Of those that were refused, and of the earlier ones that had no answer yet, those whose request was acknowledged."""
        of, candidates = self._requests, np.concatenate([self._aside, refused])
        request = self._works.request.now[candidates]
        is_known = request >= 0
        done_ns = np.zeros(len(candidates), np.int64)
        done_ns[is_known] = of.done.now[request[is_known]]
        is_answered = (done_ns != 0) & (done_ns <= until_ns)
        self._aside = candidates[~is_answered & (request != FOREIGN)]
        answered = candidates[is_answered]
        acked: Positions = answered[of.outcome.now[request[is_answered]] == Outcome.ACK]
        return acked

    def _accepted(self, since: int, until_ns: int) -> Positions:
        of = self._works
        candidates = np.concatenate([self._later_works, np.arange(self._n_works, len(of.key))])
        self._n_works = len(of.key)
        accepted_ns = of.accepted.now[candidates]
        is_accepted = accepted_ns <= until_ns
        self._later_works = candidates[~is_accepted]
        self._notice(accepted_ns[is_accepted], since)
        accepted: Positions = candidates[is_accepted]
        return accepted

    def _of_works(self, since: int, until_ns: int, known: tuple[Positions, Positions, Positions, Positions]) -> Batch:
        of, (sent, answered, waiting, accepted) = self._works, known
        back = self._back(since)
        # Those that were given up are still here.
        stays = ~np.isin(self._alive, back.positions)
        woken, idle = self._idle.parted(of)
        alive = np.concatenate([self._alive[stays], back.positions, woken, accepted])
        flags = [
            np.concatenate([told[stays], np.zeros(len(back) + len(woken) + len(accepted), np.bool_)])
            for told in (self._has_started, self._has_ended_queue, self._has_ended_busy, self._has_left, self._has_ended)
        ]
        began, dead_ns = of.accepted.now[alive], self._deaths[of.file.now[alive]]

        def by_then(instants: Instants) -> Instants:
            return np.where((instants == 0) | (instants > until_ns), NEVER_NS, instants)

        started, finished, failed, dropped = (
            by_then(column.now[alive]) for column in (of.started, of.finished, of.failed, of.dropped)
        )
        ended = np.minimum(finished, failed)
        has_begun = started != NEVER_NS
        is_given_up = (dropped != NEVER_NS) & (of.reason.now[alive] == DropReason.ABANDONED)
        aside = np.where(is_given_up, NEVER_NS, dropped)
        # As harness/timeline.py and harness/live/figures.py have it.
        queue_left = np.maximum(np.minimum.reduce([started, dropped, ended, dead_ns]), began)
        busy_left = np.maximum(np.minimum.reduce([ended, aside, dead_ns]), np.where(has_begun, started, 0))
        gone = np.where(is_given_up & has_begun, NEVER_NS, dropped)
        before_death = np.minimum(ended, gone)
        left = np.maximum(np.where(before_death == NEVER_NS, dead_ns, before_death), began)
        is_lost = (ended == NEVER_NS) & ((is_given_up & ~has_begun) | (gone == NEVER_NS)) & (left != NEVER_NS)
        news = (
            (has_begun, started),
            (queue_left <= until_ns, queue_left),
            (has_begun & (busy_left <= until_ns), busy_left),
            (left <= until_ns, left),
            ((ended != NEVER_NS) | (aside != NEVER_NS), np.minimum(ended, aside)),
        )
        new = []
        for told, (is_so, at_ns) in zip(flags, news, strict=True):
            is_new = is_so & ~told
            self._notice(at_ns[is_new], since)
            new.append(is_new)
            told |= is_so
        has_started, queue_ended, busy_ended, has_left, has_ended = new
        # Whoever has left the queue and its thread, and whose end is known, does not change any more.
        stays = ~(flags[3] & (flags[4] | (dead_ns <= until_ns)) & (flags[2] | ~has_begun))
        is_idle = of.is_idle.now[alive] & (dead_ns == NEVER_NS) & (of.request.now[alive] != UNKNOWN)
        self._idle = idle + Idle.at(alive[is_idle], self._requests, of)
        stays &= ~is_idle
        self._alive = alive[stays]
        self._has_started, self._has_ended_queue, self._has_ended_busy, self._has_left, self._has_ended = (
            told[stays] for told in flags
        )
        is_open, is_aside = left > until_ns, has_ended & (ended == NEVER_NS)
        reason = of.reason.now[alive]
        is_skipped, is_cancelled = np.isin(reason, (DropReason.SKIPPED, DropReason.CANCELLED)), reason == DropReason.CANCELLED
        has_failed = has_ended & (finished == NEVER_NS) & (failed != NEVER_NS)
        refused = alive[is_aside & ~is_skipped]
        # Admission says no for good; and of a boot that is dead nobody takes anything back.
        may_return = has_left & (dropped != NEVER_NS) & (ended == NEVER_NS) & (reason != DropReason.REJECTED)
        may_return &= ~self._is_over(alive)
        self._drops.tell(alive[may_return], left[may_return])
        return Batch(
            from_ns=since,
            until_ns=until_ns,
            sent=sent,
            answered=answered,
            waiting=waiting,
            accepted=accepted,
            started=alive[has_started],
            finished=alive[has_ended & (finished != NEVER_NS)],
            failed=alive[has_failed],
            cancelled=alive[has_failed & is_cancelled],
            skipped=alive[is_aside & is_skipped],
            refused=refused,
            denied=self._denied(refused, until_ns),
            ended_with_boot=accepted[
                (ended == NEVER_NS)[-len(accepted) :] & (aside == NEVER_NS)[-len(accepted) :] & self._is_over(accepted)
            ]
            if len(accepted)
            else accepted,
            left=alive[has_left],
            left_ns=left[has_left],
            left_lost=is_lost[has_left],
            open=alive[is_open],
            open_started=has_begun[is_open],
            idle=idle,
            queue_ends=queue_left[queue_ended],
            busy_ends=busy_left[busy_ended],
            busy_ends_of=alive[busy_ended],
            back=back,
            anew_from_ns=self._drops.from_ns(until_ns),
        )

    def _back(self, since: int) -> Back:
        """Those whose drop has been taken back. If that cannot be told of one, everything has to be told again."""
        back = self._drops.take_back(self._aside)
        self._aside = self._aside[~np.isin(self._aside, back.positions)]
        is_dead = self._deaths[self._works.file.now[back.positions]] != NEVER_NS
        self._is_late |= bool((is_dead | (back.left_ns < since - REMEMBERED_NS)).any())
        return back

    def _is_over(self, positions: Positions) -> NDArray[np.bool_]:
        of_boot: NDArray[np.bool_] = self._over[self._works.file.now[positions]]
        return of_boot

    def _notice(self, instants_ns: Instants, since: int) -> None:
        if since >= 0 and bool((instants_ns <= since).any()):
            self._is_late = True
