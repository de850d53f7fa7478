"""The open model: a Locust user that walks an absolute schedule, whatever becomes of the requests before."""

from __future__ import annotations

import time
from typing import ClassVar, NoReturn

import gevent
import gevent.event
import locust
import numpy as np
from geventhttpclient.client import HTTPClient
from geventhttpclient.url import URL
from locust.env import Environment
from locust.exception import StopUser
from numpy.typing import NDArray

from harness.load.connections import OneSendClientPool
from harness.load.job import JobError, LoadJob
from harness.load.pacing import arrival_times_ns, operation_id, schedule_of_process
from harness.load.profile import steady
from harness.load.replay import unpacked_times_ns
from harness.load.stages import parse_stages
from harness.load.timer import AbsoluteTimer
from harness.load.traffic import Sender, Stage
from harness.rows import RequestError

__all__ = ["ScheduledTraffic"]

START_TIMEOUT_S = 10.0
NS_PER_S = 1_000_000_000


class ScheduledTraffic:
    """Every arrival of the schedule is sent when it is due, or within `send_within_s` after; or it is shed."""

    def __init__(self, stage: Stage) -> None:
        """Computes the schedule. Raises JobError if there can't be one."""
        job = stage.job
        try:
            self._schedule = schedule_of_process(
                _due_ns(job),
                [template.weight for template in job.templates],
                job.seed,
                process=job.process,
                processes=job.processes,
            )
        except ValueError as error:
            raise JobError(f"job: {error}") from error
        self.planned = len(self._schedule.due_ns)
        self.schedule: str | None = self._schedule.digest
        self._stage = stage
        self._timer = AbsoluteTimer()
        self._go = gevent.event.AsyncResult()  # the t0, monotonic ns
        self._is_at_start = gevent.event.Event()
        self._sent_all = gevent.event.Event()
        self._is_stopping = False
        self._error: BaseException | None = None
        Arrivals.traffic = self
        Arrivals.host = stage.base_url
        Arrivals.client_pool = OneSendClientPool(stage.addresses, size=job.max_in_flight, timeout_s=job.request_timeout_s)
        self._environment = Environment(user_classes=[Arrivals], catch_exceptions=False)
        self._sender = Sender(stage, self._environment)
        self._runner = self._environment.create_local_runner()

    def prepare(self) -> None:
        """Brings the user to the start of its walk."""
        self._runner.start(1, spawn_rate=1)
        if not self._is_at_start.wait(START_TIMEOUT_S):
            msg = f"Locust did not start its user within {START_TIMEOUT_S:g} s"
            raise RuntimeError(msg)

    def run(self, t0_ns: int) -> None:
        """Walks the schedule."""
        self._go.set(t0_ns)
        self._sent_all.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Sends nothing more."""
        self._is_stopping = True
        self._timer.arm(time.monotonic_ns())

    def report(self) -> dict[str, object]:
        """Nothing: the counts say it all."""
        return {}

    def close(self) -> None:
        """Ends Locust."""
        self._runner.quit()

    def walk(self, client: HTTPClient) -> None:
        """The user's part: waits for the start, then sends every arrival when it is due, all due ones at each wake-up."""
        self._is_at_start.set()
        try:
            self._walk(client, self._go.get())
        except Exception as error:  # noqa: BLE001 - raised again at the end of the run
            # A Locust that caught it would begin the schedule anew.
            self._error = error
        finally:
            self._sent_all.set()

    def _walk(self, client: HTTPClient, t0_ns: int) -> None:
        # Memoryviews give plain integers; an element of an array would be a numpy scalar, ten times as dear.
        due_after_ns = self._schedule.due_ns.data
        numbers = self._schedule.number.data
        choices = self._schedule.template.data
        n_arrivals = len(due_after_ns)
        recorder, templates, send = self._stage.recorder, self._stage.templates, self._sender.send
        if n_arrivals:
            recorder.first_due(t0_ns + due_after_ns[0])
        hub = gevent.get_hub()
        watcher = hub.loop.io(self._timer.fileno(), 1)
        run_tag, max_in_flight = self._stage.job.run_tag, self._stage.job.max_in_flight
        patience_ns = round(self._stage.job.send_within_s * NS_PER_S)
        position = 0
        while position < n_arrivals and not self._is_stopping:
            # Also when the next one is overdue: the loop has to run once for the batch before it to leave.
            self._timer.arm(t0_ns + due_after_ns[position])
            hub.wait(watcher)
            now_ns = time.monotonic_ns()
            while position < n_arrivals and not self._is_stopping:
                due_ns = t0_ns + due_after_ns[position]
                if due_ns > now_ns:
                    break
                template = templates[choices[position]]
                op = operation_id(run_tag, numbers[position])
                if recorder.in_flight >= max_in_flight:
                    recorder.shed(op, template.route, due_ns, RequestError.SHED)
                elif now_ns - due_ns > patience_ns:
                    recorder.shed(op, template.route, due_ns, RequestError.OVERDUE)
                else:
                    recorder.launched()
                    gevent.spawn(send, client, template, op, due_ns)
                position += 1
        if not self._is_stopping:
            # A pause at the end belongs to the load as one in the middle does.
            self._timer.arm(t0_ns + round(self._stage.job.duration_s * NS_PER_S))
            hub.wait(watcher)


def _due_ns(job: LoadJob) -> NDArray[np.int64]:
    """When the requests of all processes are due. Raises ValueError."""
    if job.replay is not None:
        return unpacked_times_ns(job.replay)
    assert job.arrivals is not None
    if job.stages is not None:
        return arrival_times_ns(job.arrivals, parse_stages(job.stages), job.seed)
    assert job.rate_per_s is not None
    return arrival_times_ns(job.arrivals, steady(job.rate_per_s, job.duration_s), job.seed)


class Arrivals(locust.FastHttpUser):
    """The one user of the open model: not a person who waits for answers, but the stream of arrivals."""

    traffic: ClassVar[ScheduledTraffic]

    @locust.task
    def walk(self) -> NoReturn:
        """Walks the whole schedule once."""
        assert self.client_pool is not None  # This and the host are set before Locust makes the user.
        assert self.host is not None
        self.traffic.walk(self.client_pool.get_client(URL(self.host)))
        raise StopUser
