"""What each kind of traffic has in common: the stage it is given, and how it is driven. Needs a process patched for gevent."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
from geventhttpclient.client import HTTPClient
from locust.env import Environment

from harness.load.connections import exchange
from harness.load.job import LoadJob, Proposal
from harness.load.recorder import Answer, RequestRecorder
from harness.load.template import ReadyTemplate
from harness.rows import Outcome, RequestError

__all__ = ["NO_CONNECTION", "REFUSED_PAUSE_S", "CannotChange", "Complaints", "Sender", "Stage", "Traffic"]

NS_PER_MS = 1_000_000
_TOO_LATE = Answer(Outcome.REJ, RequestError.OVERDUE)
MAX_COMPLAINTS = 20
NO_CONNECTION = frozenset(
    {RequestError.REFUSED, RequestError.NOT_CONNECTED, RequestError.CONNECT_TIMED_OUT, RequestError.OWN_LIMIT}
)
REFUSED_PAUSE_S = 0.05
"""What a user waits after a connection that could not be made. Without it, a user who never pauses would make a thousand such
attempts a second at a server that restarts, and let nothing else run in this process."""


class Complaints:
    """Lines on standard error, but only the first ones: a full pipe that nobody empties would stop the whole process."""

    def __init__(self) -> None:
        self._n_unexplained = 0

    def say(self, text: str) -> None:
        """Writes one line."""
        sys.stderr.write(f"error: {text}\n")
        sys.stderr.flush()

    def unexplained(self, text: str) -> None:
        """Writes why a request ended as it did, unless there were many of the kind."""
        self._n_unexplained += 1
        if self._n_unexplained <= MAX_COMPLAINTS:
            self.say(text)

    def close(self) -> None:
        """Says how many were left out."""
        if self._n_unexplained > MAX_COMPLAINTS:
            self.say(f"{self._n_unexplained - MAX_COMPLAINTS} more requests ended for reasons like these")


@dataclass(frozen=True, slots=True)
class Stage:
    """What a kind of traffic works with."""

    job: LoadJob
    base_url: str
    addresses: list[Any]  # of the host, as from `resolve`
    recorder: RequestRecorder
    templates: list[ReadyTemplate]
    complaints: Complaints


class CannotChange(Exception):
    """A change of the load that cannot be made; why, in words."""

    def __init__(self, why: str, *, is_late: bool = False) -> None:
        super().__init__(why)
        self.is_late = is_late  # a later instant would do


class Traffic(Protocol):
    """One kind of traffic, from the job to the last request sent."""

    @property
    def planned(self) -> int:
        """Requests in the plan; 0 where their number depends on the answers."""

    @property
    def schedule(self) -> str | None:
        """Tells schedules apart: the same in all processes that send one together. None where there is none."""

    def prepare(self) -> None:
        """All that takes time, before the start."""

    def run(self, t0_ns: int) -> None:
        """Sends from `t0_ns` on. Returns when the last request has been sent. Raises what went wrong."""

    def stop(self) -> None:
        """Makes `run` return soon. It may not have begun."""

    def prepare_change(self, proposal: Proposal) -> None:
        """Gets a change ready, and sends nothing beyond it before it is settled. Raises CannotChange.

        `planned` and `schedule` of it are then those of `after_change`.
        """

    def after_change(self) -> tuple[int, str | None]:
        """Requests in the plan, and what tells its schedule apart, if the change that is ready is made."""

    def settle(self, *, go: bool) -> None:
        """Makes the change that is ready, or forgets it."""

    def report(self) -> dict[str, object]:
        """What there is to say beyond the counts, for the session."""

    def close(self) -> None:
        """Ends what it runs on."""


class Sender:
    """Sends requests made from templates; each is a row before it leaves."""

    def __init__(self, stage: Stage, environment: Environment) -> None:
        self._recorder = stage.recorder
        self._complaints = stage.complaints
        self._timeout_s = stage.job.request_timeout_s
        self._patience_ns = round(stage.job.send_within_s * 1e9)
        self._requests = environment.events.request

    def send(self, client: HTTPClient, template: ReadyTemplate, op: int, due_ns: int | None) -> Answer:
        """Sends one request and waits for what becomes of it. `due_ns`: when it should have left; None: when it does.

        What cannot be sent within the job's `send_within_s` after it was due is shed.
        """
        # The Locust user's HTTP client is called directly, not through the user's session (`client.request`): that would add its
        # own time to the measured one (40 us of 100), share cookies between requests, ask for compressed bodies and decode
        # them, and wrap errors so that a refused connection can't be told from a broken one. Locust's event gets our times.
        sent_ns = time.monotonic_ns()
        if due_ns is not None and sent_ns - due_ns > self._patience_ns:
            # Its turn came too late: this process had more to do than it can. Sent now, it would be another request.
            self._recorder.given_up(op, template.route, due_ns)
            return _TOO_LATE
        index = self._recorder.sent(op, template.route, sent_ns if due_ns is None else due_ns, sent_ns)
        try:
            # The client's own time-outs are per wait for bytes; this one is for the whole request, against answers that trickle.
            with gevent.Timeout(self._timeout_s, TimeoutError):
                answer = exchange(client, template.method, template.fill(op))
        except Exception as error:  # noqa: BLE001 - whatever it is, the request has been sent: it is a row, and a line below
            answer = Answer(Outcome.IND, RequestError.OTHER, cause=error)
        done_ns = time.monotonic_ns()
        self._recorder.ended(index, template.route, done_ns, answer)
        if answer.error is RequestError.OTHER:
            self._complaints.unexplained(f"{template.name}, operation {op:016x}: {answer.cause!r}")
        self._requests.fire(  # type: ignore[no-untyped-call]
            request_type=template.method,
            name=template.name,
            response_time=(done_ns - sent_ns) / NS_PER_MS,
            response_length=answer.size_bytes,
            exception=None if answer.outcome is Outcome.ACK else _NotAcknowledgedError(answer),
            context={"op": op, "due_ns": due_ns, "sent_ns": sent_ns},
        )
        return answer


class _NotAcknowledgedError(Exception):
    """What Locust's statistics are told of a request that was not acknowledged."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}" if answer.error is RequestError.NONE else answer.error.name.lower())
