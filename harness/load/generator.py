"""The load process at work: Locust runs one user that walks an absolute schedule. The only module that imports Locust."""

from __future__ import annotations

# Locust before everything else: importing it patches the process for gevent, and what is imported earlier keeps unpatched parts.
import locust  # isort: skip
import gc
import logging
import os
import resource
import signal
import sys
import time
from typing import ClassVar, NoReturn

import gevent
import gevent.event
import gevent.socket
from geventhttpclient.client import HTTPClient
from geventhttpclient.url import URL
from locust.env import Environment
from locust.exception import StopUser

from harness.load.connections import OneSendClientPool, exchange, resolve
from harness.load.job import JobError, LoadJob, parse_command, parse_job
from harness.load.pacing import operation_id, schedule_of_process
from harness.load.recorder import Answer, RequestRecorder
from harness.load.session import SessionGoneError, SessionTalk
from harness.load.template import ReadyTemplate
from harness.load.timer import AbsoluteTimer
from harness.rows import Kind, Outcome, RequestError, RowWriter

__all__ = ["run"]

NS_PER_MS = 1_000_000
DONE = 0
FAILED = 1
USAGE = 2
START_TIMEOUT_S = 10.0
GRACE_S = 1.0  # beyond the requests' own time-out, for a busy loop to notice it
CPU_PERIOD_S = 0.05
MIN_SHARE_NS = 100_000_000
MAX_COMPLAINTS = 20
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
    try:
        load = Load(parse_job(talk.read_line()))
        load.run(talk)
    except JobError as error:
        _complain(str(error))
        return USAGE
    except SessionGoneError as error:
        _complain(f"the session is gone: {error}")
        return FAILED
    return DONE


class Load:
    """One job being followed: the schedule, the account, and what is in flight."""

    def __init__(self, job: LoadJob) -> None:
        """Prepares all that takes time, and creates the rows file. Raises JobError if plan or machine forbid the job."""
        self._job = job
        try:
            self._schedule = schedule_of_process(
                job.arrivals,
                job.rate_per_s,
                job.duration_s,
                job.seed,
                [template.weight for template in job.templates],
                process=job.process,
                processes=job.processes,
            )
        except ValueError as error:
            raise JobError(f"job: {error}") from error
        _allow_files(job.max_in_flight + SPARE_FILES)
        try:
            addresses = resolve(job.host, job.port)
        except OSError as error:
            raise JobError(f"job.host: given {job.host!r}; allowed: a name or address that resolves ({error})") from error
        try:
            writer = RowWriter(job.rows, Kind.REQUESTS, label=f"load {job.process}/{job.processes}")
        except OSError as error:
            raise JobError(f"job.rows: given '{job.rows}'; allowed: a new file in a directory that exists ({error})") from error
        self._recorder = RequestRecorder(writer, [template.name for template in job.templates])
        self._templates = [ReadyTemplate(t, route) for t, route in zip(job.templates, self._recorder.routes, strict=True)]
        self._timer = AbsoluteTimer()
        self._go = gevent.event.AsyncResult()  # the t0, monotonic ns; or None: there is nothing to start any more
        self._is_at_start = gevent.event.Event()
        self._sent_all = gevent.event.Event()
        self._is_stopping = False
        self._is_done = False
        self._n_signals = 0
        self._n_unexplained = 0
        self._cpu_share = 0.0  # of one core, while sending
        self._error: BaseException | None = None
        Arrivals.load = self
        Arrivals.host = f"http://[{job.host}]:{job.port}" if ":" in job.host else f"http://{job.host}:{job.port}"
        Arrivals.client_pool = OneSendClientPool(addresses, size=job.max_in_flight, timeout_s=job.request_timeout_s)
        self._environment = Environment(user_classes=[Arrivals], catch_exceptions=False)
        self._requests = self._environment.events.request

    def run(self, talk: SessionTalk) -> None:
        """Says ready, sends the schedule from t0 on, waits for what is in flight, says done. Raises what went wrong."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._on_signal, number)
        runner = self._environment.create_local_runner()
        runner.start(1, spawn_rate=1)
        if not self._is_at_start.wait(START_TIMEOUT_S):
            msg = f"Locust did not start its user within {START_TIMEOUT_S:g} s"
            raise RuntimeError(msg)
        gevent.spawn(self._watch_cpu)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        planned = len(self._schedule.due_ns)
        talk.say({"ready": True, "planned": planned})
        gevent.spawn(self._listen, talk)
        self._go.wait()
        self._sent_all.wait()
        if self._error is not None:
            raise self._error  # The account stays unclosed: it did not end in good order.
        self._drain()
        if self._n_unexplained > MAX_COMPLAINTS:
            _complain(f"{self._n_unexplained - MAX_COMPLAINTS} more requests ended for reasons like these")
        self._recorder.cpu(time.process_time_ns())
        self._recorder.close()
        # From here on the session may hang up.
        self._is_done = True
        counts = {"planned": planned, "sent": self._recorder.n_sent, "shed": self._recorder.n_shed}
        talk.say({"done": True, **counts, "cpu_share": round(self._cpu_share, 4)})
        runner.quit()

    def walk(self, client: HTTPClient) -> None:
        """Sends every arrival when it is due, all due ones at each wake-up. Returns at the end of the schedule or at a stop."""
        self._is_at_start.set()
        try:
            t0_ns = self._go.get()
            if t0_ns is not None:
                self._walk(client, t0_ns)
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
        if n_arrivals:
            self._recorder.first_due(t0_ns + due_after_ns[0])
        hub = gevent.get_hub()
        watcher = hub.loop.io(self._timer.fileno(), 1)
        run_tag, max_in_flight, recorder = self._job.run_tag, self._job.max_in_flight, self._recorder
        began_ns, began_cpu_ns = max(t0_ns, time.monotonic_ns()), time.process_time_ns()
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
                template = self._templates[choices[position]]
                op = operation_id(run_tag, numbers[position])
                if recorder.in_flight >= max_in_flight:
                    recorder.shed(op, template.route, due_ns)
                else:
                    recorder.launched()
                    gevent.spawn(self._send, client, template, op, due_ns)
                position += 1
        # Of the time of sending alone, and never of less than would mean something: waiting at the end would dilute it.
        self._cpu_share = (time.process_time_ns() - began_cpu_ns) / max(time.monotonic_ns() - began_ns, MIN_SHARE_NS)

    def _send(self, client: HTTPClient, template: ReadyTemplate, op: int, due_ns: int) -> None:
        # The Locust user's HTTP client is called directly, not through the user's session (`client.request`): that would add its
        # own time to the measured one (40 us of 100), share cookies between requests, ask for compressed bodies and decode
        # them, and wrap errors so that a refused connection can't be told from a broken one. Locust's event gets our times.
        sent_ns = time.monotonic_ns()
        index = self._recorder.sent(op, template.route, due_ns, sent_ns)
        try:
            # The client's own time-outs are per wait for bytes; this one is for the whole request, against answers that trickle.
            with gevent.Timeout(self._job.request_timeout_s, TimeoutError):
                answer = exchange(client, template.method, template.fill(op))
        except Exception as error:  # noqa: BLE001 - whatever it is, the request has been sent: it is a row, and a line below
            answer = Answer(Outcome.IND, RequestError.OTHER, cause=error)
        done_ns = time.monotonic_ns()
        self._recorder.ended(index, template.route, done_ns, answer)
        if answer.error is RequestError.OTHER:
            self._unexplained(f"{template.name}, operation {op:016x}: {answer.cause!r}")
        self._requests.fire(  # type: ignore[no-untyped-call]
            request_type=template.method,
            name=template.name,
            response_time=(done_ns - sent_ns) / NS_PER_MS,
            response_length=answer.size_bytes,
            exception=None if answer.outcome is Outcome.ACK else _NotAcknowledgedError(answer),
            context={"op": op, "due_ns": due_ns, "sent_ns": sent_ns},
        )

    def _unexplained(self, text: str) -> None:
        # Only the first ones: a full pipe that nobody empties would stop the whole process in the middle of its measurement.
        self._n_unexplained += 1
        if self._n_unexplained <= MAX_COMPLAINTS:
            _complain(text)

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
                _leave(f"the session is gone: {error}", FAILED)
            except JobError as error:
                if not self._go.ready():
                    _leave(str(error), USAGE)
                _complain(str(error))
                continue
            if command.stop:
                self._stop()
            elif self._go.ready():
                _complain("command.t0_ns: given twice; the first one holds")
            else:
                self._go.set(command.t0_ns)

    def _stop(self) -> None:
        self._is_stopping = True
        if not self._go.ready():
            self._go.set(None)
        self._timer.arm(time.monotonic_ns())

    def _on_signal(self, number: int) -> None:
        self._n_signals += 1
        if self._n_signals > 1:
            _leave(f"{signal.Signals(number).name} a second time", 128 + number)
        self._stop()

    def _watch_cpu(self) -> None:
        while True:
            self._recorder.cpu(time.process_time_ns())
            gevent.sleep(CPU_PERIOD_S)


class Arrivals(locust.FastHttpUser):
    """The one user of the open model: not a person who waits for answers, but the stream of arrivals."""

    load: ClassVar[Load]

    @locust.task
    def walk(self) -> NoReturn:
        """Walks the whole schedule once."""
        assert self.client_pool is not None  # This and the host are set before Locust makes the user.
        assert self.host is not None
        self.load.walk(self.client_pool.get_client(URL(self.host)))
        raise StopUser


class _NotAcknowledgedError(Exception):
    """What Locust's statistics are told of a request that was not acknowledged."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}" if answer.error is RequestError.NONE else answer.error.name.lower())


def _allow_files(n_files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n_files:
        allowed = f"{hard - SPARE_FILES}, because this system allows {hard} open files"
        raise JobError(f"job.max_in_flight: given {n_files - SPARE_FILES}; allowed: at most {allowed}")
    if soft != resource.RLIM_INFINITY and soft < n_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, hard))


def _complain(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")
    sys.stderr.flush()


def _leave(text: str, status: int) -> NoReturn:
    # At once means at once: an orderly exit would run gevent's and Locust's, with requests still in flight.
    try:
        _complain(text)
    finally:
        os._exit(status)
