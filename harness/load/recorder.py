"""The client's account: one row per arrival, and the gauges of the load process. Stores words; knows no network and no clock."""

from __future__ import annotations

from dataclasses import dataclass

from harness.load.naming import RouteNames
from harness.load.pacing import LATE_NS
from harness.rows import Gauge, Outcome, RequestError, RowWriter

__all__ = ["Answer", "RequestRecorder"]

# Words of a row in a requests file (docs/rows.md).
META = 1
DONE = 4
SIZE = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client knows of a request once it has ended."""

    outcome: Outcome
    error: RequestError = RequestError.NONE
    status: int = 0  # 0: no status line was read
    size_bytes: int = 0  # of the body, as transferred
    cause: BaseException | None = None


class RequestRecorder:
    """Writes the rows of one load process. One gevent hub, one writer.

    A row is published before its request leaves, and its instants are stored as they happen: a request without an answer stays in
    the file as an open row, whatever becomes of this process.
    """

    def __init__(self, writer: RowWriter, names: list[str]) -> None:
        """`names` are entered in the row file; `routes` are their ids. Those that find no room have one together."""
        self._writer = writer
        self.names = RouteNames(writer.name)
        """Also for what was not known in advance."""
        self.routes = [self.names.named(name) for name in names]
        self.n_sent = 0
        self.n_answered = 0
        self.n_late = 0  # of those sent
        self.n_shed = 0
        self.n_overdue = 0  # of those shed
        self.in_flight = 0
        self.is_closed = False

    def first_due(self, due_ns: int) -> None:
        """Says when the first arrival is due, monotonic ns."""
        self._writer.gauge(Gauge.READY, due_ns)

    def launched(self) -> None:
        """Counts an arrival that is on its way to be sent."""
        self.in_flight += 1
        self._writer.gauge(Gauge.REQUESTS_IN_FLIGHT, self.in_flight)

    def sent(self, op: int, route: int, due_ns: int, sent_ns: int) -> int:
        """Publishes the row of a request that is about to leave; returns its index for `ended`."""
        index = self._writer.append((op, _meta(Outcome.OPEN, RequestError.NONE, 0, 1, route), due_ns, sent_ns))
        self.n_sent += 1
        if sent_ns - due_ns > LATE_NS:
            self.n_late += 1
        self._writer.gauge(Gauge.ACCEPTED, self.n_sent)
        return index

    def ended(self, index: int, route: int, done_ns: int, answer: Answer) -> None:
        """Completes a row: size, then what became of it, then the instant, so that a row with `done` is a whole row."""
        self.in_flight -= 1
        if self.is_closed:
            return  # It came after the account was closed, and stays an open row.
        self._writer.store(index, SIZE, answer.size_bytes)
        self._writer.store(index, META, _meta(answer.outcome, answer.error, answer.status, 1, route))
        self._writer.store(index, DONE, done_ns)
        if answer.error is RequestError.NONE:
            self.n_answered += 1
            self._writer.gauge(Gauge.STARTED, self.n_answered)
        self._writer.gauge(Gauge.REQUESTS_IN_FLIGHT, self.in_flight)

    def left(self) -> None:
        """Says that nobody waits any more for an answer; its row stays open."""
        self.in_flight -= 1
        if not self.is_closed:
            self._writer.gauge(Gauge.REQUESTS_IN_FLIGHT, self.in_flight)

    def shed(self, op: int, route: int, due_ns: int, why: RequestError) -> None:
        """Records an arrival that was due and was not sent: SHED, too many were in flight; OVERDUE, its turn came too late.

        It has no attempt.
        """
        self._writer.append((op, _meta(Outcome.REJ, why, 0, 0, route), due_ns))
        self.n_shed += 1
        self.n_overdue += why is RequestError.OVERDUE
        self._writer.gauge(Gauge.REFUSED, self.n_shed)

    def given_up(self, op: int, route: int, due_ns: int) -> None:
        """Records one that was `launched`, and is overdue before it has left."""
        self.in_flight -= 1
        if not self.is_closed:
            self.shed(op, route, due_ns, RequestError.OVERDUE)
            self._writer.gauge(Gauge.REQUESTS_IN_FLIGHT, self.in_flight)

    def cpu(self, cpu_ns: int) -> None:
        """Says how much processor time this process has used, ns."""
        if not self.is_closed:
            self._writer.gauge(Gauge.CPU, cpu_ns)

    def close(self) -> None:
        """Closes the account in good order; what ends later is not recorded any more."""
        self.is_closed = True
        self._writer.close()


def _meta(outcome: Outcome, error: RequestError, status: int, attempt: int, route: int) -> int:
    return status | outcome << 16 | error << 24 | attempt << 32 | route << 40
