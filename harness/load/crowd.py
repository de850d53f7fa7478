"""The closed model for templates: users, each of whom sends the next request when the one before has been answered."""

from __future__ import annotations

import itertools
import random
import time

import gevent
import gevent.event
from geventhttpclient.url import URL
from locust.env import Environment

from harness.load.connections import OneSendClientPool
from harness.load.pacing import operation_id
from harness.load.traffic import REFUSED_PAUSE_S, Sender, Stage
from harness.rows import RequestError

__all__ = ["CrowdTraffic"]


class CrowdTraffic:
    """The users of this process: of all, user k is in process k % processes."""

    planned = 0
    schedule: str | None = None

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        job = stage.job
        assert job.users is not None
        self._users = range(job.process, job.users, job.processes)
        pool = OneSendClientPool(stage.addresses, size=max(1, len(self._users)), timeout_s=job.request_timeout_s)
        self._client = pool.get_client(URL(stage.base_url))
        self._sender = Sender(stage, Environment())
        self._weights = list(itertools.accumulate(template.weight for template in job.templates))
        # Numbers of this process alone: k-th request of process p is request k * processes + p of all.
        self._numbers = itertools.count(job.process, job.processes)
        self._stop = gevent.event.Event()

    def prepare(self) -> None:
        """Nothing takes time."""

    def run(self, t0_ns: int) -> None:
        """Lets the users work until the time is up."""
        job = self._stage.job
        if self._users:
            self._stage.recorder.first_due(t0_ns + self._start_ns(self._users[0]))
        users = [gevent.spawn(self._user, user, t0_ns) for user in self._users]
        self._stop.wait(max(0.0, t0_ns / 1e9 + job.duration_s - time.monotonic()))
        self._stop.set()
        for user in users:
            # Of one that waits for an answer, the answer is waited for by whoever drains.
            if user.ready():
                user.get()

    def stop(self) -> None:
        """No user sends anything more."""
        self._stop.set()

    def report(self) -> dict[str, object]:
        """How many users there were in this process."""
        return {"users": len(self._users)}

    def close(self) -> None:
        """Nothing is left to end."""

    def _start_ns(self, user: int) -> int:
        rate = self._stage.job.spawn_rate_per_s
        return 0 if rate is None else int(user * 1e9 / rate)

    def _user(self, user: int, t0_ns: int) -> None:
        job, recorder, templates = self._stage.job, self._stage.recorder, self._stage.templates
        choices = random.Random(f"{job.seed}/{user}")
        thoughts = random.Random(f"{job.seed}/{user}/think")  # of its own: how long somebody thinks must not change what is sent
        self._stop.wait(max(0.0, (t0_ns + self._start_ns(user)) / 1e9 - time.monotonic()))
        while not self._stop.is_set():
            (template,) = choices.choices(templates, cum_weights=self._weights)
            recorder.launched()
            answer = self._sender.send(self._client, template, operation_id(job.run_tag, next(self._numbers)), None)
            pause_s = REFUSED_PAUSE_S if answer.error in {RequestError.REFUSED, RequestError.NOT_CONNECTED} else 0.0
            think_s = job.think_s
            if think_s and job.think_spread == "exponential":
                think_s = thoughts.expovariate(1 / think_s)
            if max(pause_s, think_s):
                self._stop.wait(max(pause_s, think_s))
