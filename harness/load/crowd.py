"""The closed model for templates: users, each of whom sends the next request when the one before has been answered."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass

import gevent
import gevent.event
from geventhttpclient.client import HTTPClient
from geventhttpclient.url import URL
from locust.env import Environment

from harness.load.connections import OneSendClientPool
from harness.load.job import Proposal
from harness.load.pacing import operation_id
from harness.load.traffic import NO_CONNECTION, REFUSED_PAUSE_S, CannotChange, Sender, Stage

__all__ = ["CrowdTraffic"]


@dataclass(slots=True)
class _User:
    """One user of all, as long as the load lasts; sent home and called back, it goes on where it was."""

    number: int
    client: HTTPClient
    choices: random.Random
    thoughts: random.Random  # of its own: how long somebody thinks must not change what is sent
    at_work: gevent.Greenlet | None = None


class CrowdTraffic:
    """The users of this process: of all, user k is in process k % processes."""

    planned = 0
    schedule: str | None = None

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        job = stage.job
        assert job.users is not None
        self._n_users = job.users  # of all processes
        self._n_most = job.users
        self._users: dict[int, _User] = {}
        self._add_users()
        self._sender = Sender(stage, Environment())
        self._weights = list(itertools.accumulate(template.weight for template in job.templates))
        # Numbers of this process alone: k-th request of process p is request k * processes + p of all.
        self._numbers = itertools.count(job.process, job.processes)
        self._until_ns = round(job.duration_s * 1e9)
        self._t0_ns = 0
        self._proposed: Proposal | None = None
        self._stop = gevent.event.Event()
        self._wake = gevent.event.Event()  # the end of the load is another one

    def prepare(self) -> None:
        """Nothing takes time."""

    def run(self, t0_ns: int) -> None:
        """Lets the users work until the time is up."""
        self._t0_ns = t0_ns
        if self._users:
            self._stage.recorder.first_due(t0_ns + self._start_ns(next(iter(self._users))))
        for user in self._users.values():
            user.at_work = gevent.spawn(self._user, user, t0_ns + self._start_ns(user.number))
        while not self._stop.is_set() and ((left_ns := t0_ns + self._until_ns - time.monotonic_ns()) > 0 or self._proposed):
            self._wake.clear()
            self._wake.wait(left_ns / 1e9 if self._proposed is None else None)
        self._stop.set()
        for user in self._users.values():
            # Of one that waits for an answer, the answer is waited for by whoever drains.
            if user.at_work is not None and user.at_work.ready():
                user.at_work.get()

    def stop(self) -> None:
        """No user sends anything more."""
        self._stop.set()
        self._wake.set()

    def prepare_change(self, proposal: Proposal) -> None:
        """Nothing is to be got ready; until it is settled, the load does not end. Raises CannotChange."""
        if proposal.rate_per_s is not None:
            raise CannotChange(
                "users send the next request when the last one was answered: there is no rate, but a number of users"
            )
        if self._stop.is_set():
            raise CannotChange("the load has ended", is_late=True)
        self._proposed = proposal

    def after_change(self) -> tuple[int, str | None]:
        """Users have no schedule."""
        return 0, None

    def settle(self, *, go: bool) -> None:
        """Lets it be so from the instant on that was proposed."""
        proposed, self._proposed = self._proposed, None
        if go and proposed is not None:
            # A later end at once: the one that there was may come before the change does.
            self._until_ns = max(self._until_ns, proposed.until_ns)
            at_ns = self._t0_ns + proposed.from_ns
            gevent.spawn_later(max(0.0, (at_ns - time.monotonic_ns()) / 1e9), self._change, proposed)
        self._wake.set()

    def report(self) -> dict[str, object]:
        """How many users there were in this process, at most."""
        job = self._stage.job
        return {"users": len(range(job.process, self._n_most, job.processes))}

    def close(self) -> None:
        """Nothing is left to end."""

    def _change(self, proposal: Proposal) -> None:
        self._until_ns = proposal.until_ns
        self._wake.set()
        if self._stop.is_set() or proposal.users is None:
            return
        self._n_users = proposal.users
        self._n_most = max(self._n_most, self._n_users)
        self._add_users()
        now_ns = time.monotonic_ns()
        for user in self._users.values():
            if user.number < self._n_users and (user.at_work is None or user.at_work.ready()):
                user.at_work = gevent.spawn(self._user, user, now_ns)

    def _add_users(self) -> None:
        stage, job = self._stage, self._stage.job
        new = [number for number in range(job.process, self._n_users, job.processes) if number not in self._users]
        # Connections for all of them: one that waited for a connection would be a user that nobody sees waiting.
        pool = OneSendClientPool(stage.addresses, size=max(1, len(new)), timeout_s=job.request_timeout_s)
        client = pool.get_client(URL(stage.base_url))
        for number in new:
            name = f"{job.seed}/{number}"
            self._users[number] = _User(number, client, random.Random(name), random.Random(f"{name}/think"))

    def _start_ns(self, user: int) -> int:
        rate = self._stage.job.spawn_rate_per_s
        return 0 if rate is None else int(user * 1e9 / rate)

    def _user(self, user: _User, start_ns: int) -> None:
        job, recorder, templates = self._stage.job, self._stage.recorder, self._stage.templates
        self._stop.wait(max(0.0, start_ns / 1e9 - time.monotonic()))
        while not self._stop.is_set() and user.number < self._n_users:
            (template,) = user.choices.choices(templates, cum_weights=self._weights)
            recorder.launched()
            answer = self._sender.send(user.client, template, operation_id(job.run_tag, next(self._numbers)), None)
            pause_s = REFUSED_PAUSE_S if answer.error in NO_CONNECTION else 0.0
            think_s = job.think_s
            if think_s and job.think_spread == "exponential":
                think_s = user.thoughts.expovariate(1 / think_s)
            # Who is sent home goes, and does not think about the next one first.
            if max(pause_s, think_s) and user.number < self._n_users:
                self._stop.wait(max(pause_s, think_s))
