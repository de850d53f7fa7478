"""The load process at work: takes a job, gets ready, sends from the start that it is told, and keeps the account."""

from __future__ import annotations

# Locust before everything else: importing it patches the process for gevent, and what is imported earlier keeps unpatched parts.
import locust  # noqa: F401  # isort: skip
import gc
import logging
import os
import resource
import signal
import sys
import time
from typing import NoReturn

import gevent
import gevent.event
import gevent.socket

from harness.load.arrivals import ScheduledTraffic
from harness.load.connections import resolve
from harness.load.crowd import CrowdTraffic
from harness.load.job import JobError, LoadJob, Proposal, Settlement, parse_command, parse_job
from harness.load.locustfile import LocustfileTraffic
from harness.load.pulse import Pulse
from harness.load.recorder import RequestRecorder
from harness.load.session import SessionGoneError, SessionTalk
from harness.load.template import ReadyTemplate
from harness.load.traffic import CannotChange, Complaints, Stage, Traffic
from harness.rows import Kind, RowWriter

__all__ = ["run"]

DONE = 0
FAILED = 1
USAGE = 2
GRACE_S = 1.0  # beyond the requests' own time-out, for a busy loop to notice it
BEAT_S = 0.02
MIN_SHARE_NS = 100_000_000
DRAIN_POLL_S = 0.005
SPARE_FILES = 64  # descriptors beside those of the connections
# Where thousands of requests are alive, frequent collections of the young ones cost pauses and find next to nothing.
GC_THRESHOLDS = (20_000, 20, 100)


def run(input_fd: int, output_fd: int) -> int:
    """Follows one job from `input_fd` and answers on `output_fd`; returns the exit status.

    0: the load was sent, or its part until a stop. 1: the load process failed, or the session went away. 2: the job can't be
    followed.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    talk = SessionTalk(input_fd, output_fd, gevent.socket.wait_read)
    complaints = Complaints()
    try:
        load = Load(parse_job(talk.read_line()), complaints)
        load.run(talk)
    except JobError as error:
        complaints.say(str(error))
        return USAGE
    except SessionGoneError as error:
        complaints.say(f"the session is gone: {error}")
        return FAILED
    return DONE


class Load:
    """One job being followed: its traffic, the account, and what is in flight."""

    def __init__(self, job: LoadJob, complaints: Complaints) -> None:
        """Creates the rows file. Raises JobError if plan or machine forbid the job."""
        self._job = job
        self._complaints = complaints
        _allow_files(job)
        try:
            addresses = resolve(job.host, job.port)
        except OSError as error:
            raise JobError(f"job.host: given {job.host!r}; allowed: a name or address that resolves ({error})") from error
        label = f"load {job.process}/{job.processes}{', closed model' if job.is_closed else ''}"
        try:
            writer = RowWriter(job.rows, Kind.REQUESTS, label=label)
        except OSError as error:
            raise JobError(f"job.rows: given '{job.rows}'; allowed: a new file in a directory that exists ({error})") from error
        self._recorder = RequestRecorder(writer, [template.name for template in job.templates])
        stage = Stage(
            job=job,
            base_url=f"http://[{job.host}]:{job.port}" if ":" in job.host else f"http://{job.host}:{job.port}",
            addresses=addresses,
            recorder=self._recorder,
            templates=[ReadyTemplate(t, route) for t, route in zip(job.templates, self._recorder.routes, strict=True)],
            complaints=complaints,
        )
        self._traffic = _traffic(stage)
        self._go = gevent.event.AsyncResult()  # the t0, monotonic ns; or None: there is nothing to start any more
        self._is_done = False
        self._n_signals = 0
        self._cpu_share = 0.0  # of one core, while sending
        self._pulse = Pulse()
        self._t0_ns = 0
        self._proposed: Proposal | None = None
        self._in_hand = ""  # the proposal that is being worked out, or waits to be settled
        self._is_free = gevent.event.Event()
        self._is_free.set()
        self._called_off: set[str] = set()
        self._has_sent_all = False

    def run(self, talk: SessionTalk) -> None:
        """Says ready, sends from t0 on, waits for what is in flight, says done. Raises what went wrong."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._on_signal, number)
        self._traffic.prepare()
        gevent.spawn(self._beat)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        schedule = {} if self._traffic.schedule is None else {"schedule": self._traffic.schedule}
        talk.say({"ready": True, "planned": self._traffic.planned, **schedule})
        gevent.spawn(self._listen, talk)
        t0_ns = self._go.get()
        if t0_ns is not None:
            self._t0_ns = t0_ns
            self._send_all(t0_ns)  # If it raises, the account stays unclosed: it did not end in good order.
        self._drain()
        self._complaints.close()
        self._recorder.cpu(time.process_time_ns())
        self._recorder.close()
        # From here on the session may hang up.
        self._is_done = True
        # Of the closed model nobody can say beforehand how many there will be: planned is what was sent.
        planned = self._recorder.n_sent if self._job.is_closed else self._traffic.planned
        recorder = self._recorder
        counts = {"planned": planned, "sent": recorder.n_sent, "shed": recorder.n_shed, "overdue": recorder.n_overdue}
        health = {"late": recorder.n_late, "cpu_share": round(self._cpu_share, 4), "ceiling_per_s": self._job.ceiling_per_s}
        talk.say({"done": True, **counts, **health, **self._pulse.report(), **self._traffic.report()})
        self._traffic.close()

    def _send_all(self, t0_ns: int) -> None:
        began_ns, began_cpu_ns = max(t0_ns, time.monotonic_ns()), time.process_time_ns()
        self._pulse.begin(t0_ns, began_ns)
        self._traffic.run(t0_ns)
        self._has_sent_all = True
        self._pulse.sent_all()
        # Of the time of sending alone, and never of less than would mean something: waiting at the end would dilute it.
        self._cpu_share = (time.process_time_ns() - began_cpu_ns) / max(time.monotonic_ns() - began_ns, MIN_SHARE_NS)

    def _drain(self) -> None:
        """Waits for what is in flight, as long as its time-out allows. What has not ended then stays in the file as open rows."""
        deadline_s = time.monotonic() + self._job.request_timeout_s + GRACE_S
        while self._recorder.in_flight and time.monotonic() < deadline_s:
            gevent.sleep(DRAIN_POLL_S)

    def _listen(self, talk: SessionTalk) -> None:
        while True:
            try:
                command = parse_command(talk.read_line())
            except SessionGoneError as error:
                if self._is_done:
                    return
                # Nobody is left to load anything for. What is in flight stays open in the file, and the file stays unclosed.
                self._leave(f"the session is gone: {error}", FAILED)
            except JobError as error:
                if not self._go.ready():
                    self._leave(str(error), USAGE)
                self._complaints.say(str(error))
                continue
            if command.stop:
                self._stop()
            elif command.propose is not None:
                gevent.spawn(self._propose, talk, command.propose)
            elif command.settle is not None:
                self._settle(talk, command.settle)
            elif self._go.ready():
                self._complaints.say("command.t0_ns: given twice; the first one holds")
            else:
                self._go.set(command.t0_ns)

    def _propose(self, talk: SessionTalk, proposal: Proposal) -> None:
        """Answers whether a change can be made, and what the schedule would be."""
        while self._in_hand:
            # One that was called off while it was worked out: what it holds must not be taken for this one's.
            self._is_free.wait()
        if proposal.id in self._called_off:
            return
        self._take_in_hand(proposal.id)
        try:
            if self._has_sent_all or not self._go.ready():
                raise CannotChange("it sends nothing " + ("any more" if self._has_sent_all else "yet"))
            self._traffic.prepare_change(proposal)
        except CannotChange as why:
            self._take_in_hand("")
            talk.say({"proposed": proposal.id, "why": str(why), "is_late": why.is_late})
            return
        except Exception as error:  # noqa: BLE001 - the load goes on as it was, and whoever asked is told
            self._traffic.settle(go=False)
            self._take_in_hand("")
            talk.say({"proposed": proposal.id, "why": f"{type(error).__name__}: {error}", "is_late": False})
            return
        if proposal.id in self._called_off:
            self._traffic.settle(go=False)
            self._take_in_hand("")
            return
        self._proposed = proposal
        planned, schedule = self._traffic.after_change()
        talk.say({"proposed": proposal.id, "planned": planned, "schedule": schedule})

    def _settle(self, talk: SessionTalk, settlement: Settlement) -> None:
        proposed = self._proposed
        if proposed is None or proposed.id != settlement.id:
            # It was refused here, or is still being got ready; and is called off everywhere.
            self._called_off.add(settlement.id)
            return
        self._proposed = None
        self._traffic.settle(go=settlement.go)
        self._take_in_hand("")
        if settlement.go:
            talk.say({"settled": proposed.id, "at_ns": max(time.monotonic_ns(), self._t0_ns + proposed.from_ns)})

    def _take_in_hand(self, proposal_id: str) -> None:
        """Empty: nothing any more."""
        self._in_hand = proposal_id
        if proposal_id:
            self._is_free.clear()
        else:
            self._is_free.set()

    def _stop(self) -> None:
        if not self._go.ready():
            self._go.set(None)
        self._traffic.stop()

    def _on_signal(self, number: int) -> None:
        self._n_signals += 1
        if self._n_signals > 1:
            self._leave(f"{signal.Signals(number).name} a second time", 128 + number)
        self._stop()

    def _beat(self) -> None:
        while True:
            before_ns = time.monotonic_ns()
            gevent.sleep(BEAT_S)
            now_ns = time.monotonic_ns()
            self._pulse.beat(now_ns, now_ns - before_ns - int(BEAT_S * 1e9))
            self._recorder.cpu(time.process_time_ns())

    def _leave(self, text: str, status: int) -> NoReturn:
        # At once means at once: an orderly exit would run gevent's and Locust's, with requests still in flight.
        try:
            self._complaints.say(text)
        finally:
            os._exit(status)


def _traffic(stage: Stage) -> Traffic:
    if stage.job.locustfile is not None:
        return LocustfileTraffic(stage)
    return CrowdTraffic(stage) if stage.job.is_closed else ScheduledTraffic(stage)


def _allow_files(job: LoadJob) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if job.is_closed:
        # What a locustfile opens is its own affair: it gets all that there is.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return
    n_files = job.max_in_flight + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < n_files:
        allowed = f"{hard - SPARE_FILES}, because this system allows {hard} open files"
        raise JobError(f"job.max_in_flight: given {job.max_in_flight}; allowed: at most {allowed}")
    if soft != resource.RLIM_INFINITY and soft < n_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, hard))
