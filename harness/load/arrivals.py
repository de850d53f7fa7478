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
from harness.load.course import Change, Course, changed, first_after
from harness.load.job import JobError, LoadJob, Proposal
from harness.load.pacing import Arrivals as ArrivalKind
from harness.load.pacing import Schedule, arrival_times_ns, operation_id, schedule_of_process
from harness.load.profile import Profile, steady
from harness.load.replay import unpacked_times_ns
from harness.load.stages import parse_stages
from harness.load.timer import AbsoluteTimer
from harness.load.traffic import CannotChange, Sender, Stage
from harness.rows import RequestError

__all__ = ["ScheduledTraffic"]

START_TIMEOUT_S = 10.0
NS_PER_S = 1_000_000_000
_LONG_NS = 86_400 * NS_PER_S


class ScheduledTraffic:
    """Every arrival of the schedule is sent when it is due, or within `send_within_s` after; or it is shed."""

    def __init__(self, stage: Stage) -> None:
        """Computes the schedule. Raises JobError if there can't be one."""
        job = stage.job
        assert job.arrivals is not None
        try:
            profile = _profile(job)
            due_ns = _due_ns(job, job.arrivals, profile)
            self._schedule = schedule_of_process(
                due_ns,
                [template.weight for template in job.templates],
                job.seed,
                process=job.process,
                processes=job.processes,
            )
        except ValueError as error:
            raise JobError(f"job: {error}") from error
        self._course = Course(job.arrivals, job.seed, due_ns, profile, self._schedule.digest)
        self._until_ns = round(job.duration_s * NS_PER_S)
        self._position = 0  # of the next one in the schedule
        self._held_at: int | None = None  # the position that is not passed until a change has been settled
        self._prepared: tuple[Course, Schedule, int] | None = None
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

    @property
    def planned(self) -> int:
        """Arrivals in its part of the schedule."""
        return len(self._schedule.due_ns)

    @property
    def schedule(self) -> str | None:
        """The digest of the whole one."""
        return self._schedule.digest

    def prepare_change(self, proposal: Proposal) -> None:
        """Works out the schedule after the change, beside the sending. Raises CannotChange."""
        job, part = self._stage.job, self._schedule
        if proposal.rate_per_s is None or proposal.users is not None:
            raise CannotChange("requests are sent at a rate, and not by users who wait for answers")
        position = first_after(part.due_ns, proposal.from_ns)
        if self._position > position or self._is_stopping:
            raise CannotChange("it had already sent what is due after the change", is_late=True)
        self._held_at = position
        try:
            change = Change(proposal.from_ns, proposal.until_ns, proposal.rate_per_s)
            weights = [template.weight for template in job.templates]
            # In a thread of its own: what is due meanwhile has to leave in time.
            course, after = gevent.get_hub().threadpool.apply(
                changed, (self._course, part, change, weights), {"process": job.process, "processes": job.processes}
            )
        except ValueError as error:
            self.settle(go=False)
            raise CannotChange(str(error)) from None
        self._prepared = course, after, proposal.until_ns

    def after_change(self) -> tuple[int, str | None]:
        """Of the schedule that is ready."""
        assert self._prepared is not None
        _, after, _ = self._prepared
        return len(after.due_ns), after.digest

    def settle(self, *, go: bool) -> None:
        """Goes on by the schedule that is ready, or by the one that there was."""
        if go:
            assert self._prepared is not None
            self._course, self._schedule, self._until_ns = self._prepared
        self._prepared = self._held_at = None
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
        recorder, templates, send = self._stage.recorder, self._stage.templates, self._sender.send
        if self.planned:
            recorder.first_due(t0_ns + int(self._schedule.due_ns[0]))
        hub = gevent.get_hub()
        watcher = hub.loop.io(self._timer.fileno(), 1)
        run_tag, max_in_flight = self._stage.job.run_tag, self._stage.job.max_in_flight
        patience_ns = round(self._stage.job.send_within_s * NS_PER_S)
        schedule: Schedule | None = None
        while not self._is_stopping:
            if schedule is not self._schedule:
                schedule = self._schedule
                # Memoryviews give plain integers; an element of an array would be a numpy scalar, ten times as dear.
                due_after_ns, numbers, choices = schedule.due_ns.data, schedule.number.data, schedule.template.data
            n_arrivals = len(due_after_ns) if self._held_at is None else self._held_at
            position = self._position
            if position < n_arrivals:
                # Also when the next one is overdue: the loop has to run once for the batch before it to leave.
                self._timer.arm(t0_ns + due_after_ns[position])
            elif self._held_at is not None:
                self._timer.arm(time.monotonic_ns() + _LONG_NS)
            else:
                # A pause at the end belongs to the load as one in the middle does.
                self._timer.arm(t0_ns + self._until_ns)
            hub.wait(watcher)
            if schedule is not self._schedule:
                continue
            now_ns = time.monotonic_ns()
            # What was changed during the wait is seen after it; nothing is during this loop, in which nobody else runs.
            n_arrivals = len(due_after_ns) if self._held_at is None else self._held_at
            if position >= n_arrivals and self._held_at is None and now_ns >= t0_ns + self._until_ns:
                return
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
            self._position = position


def _profile(job: LoadJob) -> Profile | None:
    """The rate over time, of all processes; None for a replay. Raises ValueError."""
    if job.replay is not None:
        return None
    if job.stages is not None:
        return parse_stages(job.stages)
    assert job.rate_per_s is not None
    return steady(job.rate_per_s, job.duration_s)


def _due_ns(job: LoadJob, arrivals: ArrivalKind, profile: Profile | None) -> NDArray[np.int64]:
    """When the requests of all processes are due. Raises ValueError."""
    if profile is not None:
        return arrival_times_ns(arrivals, profile, job.seed)
    assert job.replay is not None
    return unpacked_times_ns(job.replay)


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
