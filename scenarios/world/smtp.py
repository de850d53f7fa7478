"""An SMTP server that takes its time, refuses some mails, and writes down each one it accepts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from aiosmtpd.smtp import SMTP, Envelope, Session

from scenarios.scenario import Troubled
from scenarios.world.listener import HOST, Listener
from server import EffectRows

__all__ = ["SmtpWorld", "start_smtp"]

Refusal = Callable[[str, int], str | None]
"""Of an operation id and the number of its earlier attempts: how its mail is refused; None: it is not."""

_HEADER = b"x-op-id:"


class _Sink:
    """Accepts mails after a delay. The row is written just before the 250: what the client was promised has arrived."""

    def __init__(self, rows: EffectRows, delay_s: float, refusal: Refusal, index: int) -> None:
        self._rows = rows
        self._delay_s = delay_s
        self.extra_s: Callable[[], float] = lambda: 0.0
        self._refusal = refusal
        self._index = index
        self._attempts: Counter[int] = Counter()
        self.open = 0
        self.receiving = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # the name is aiosmtpd's
        content = envelope.content or b""
        data = content if isinstance(content, bytes) else content.encode()
        op = operation_of(data)
        if op is None:
            return "550 this server takes only mails with an X-Op-Id header of 16 hex digits"
        attempt = self._attempts[op]
        self._attempts[op] += 1
        self.receiving += 1
        try:
            await asyncio.sleep(self._delay_s + self.extra_s())
            if refusal := self._refusal(f"{op:016x}", attempt):
                return refusal
            self._rows.append(op, index=self._index, value=len(data))
        finally:
            self.receiving -= 1
        return "250 OK"


class _Counted(SMTP):
    """One connection."""

    def __init__(self, sink: _Sink, listener: Callable[[], Listener]) -> None:
        super().__init__(sink, hostname="localhost", ident="afterload", enable_SMTPUTF8=True)
        self._sink = sink
        self._listener = listener
        self._counted: asyncio.BaseTransport | None = None
        sink.open += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._counted = transport
        self._listener().opened(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sink.open -= 1
        self._listener().closed(self._counted)
        super().connection_lost(error)


class _OneTooMany(asyncio.Protocol):
    """A connection that is not taken."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"421 4.7.0 too many connections\r\n")
        transport.close()


class SmtpWorld:
    """The server and its address."""

    def __init__(self, listener: Listener, sink: _Sink, grace_s: float) -> None:
        self._listener = listener
        self._sink = sink
        self._grace_s = grace_s
        self.troubled: Sequence[Troubled] = (listener,)

    def addresses(self) -> dict[str, str]:
        """Where it listens."""
        return {"smtp": f"{HOST}:{self._listener.port}"}

    async def close(self) -> None:
        """Waits for mails that are being received, up to their delay and two seconds."""
        self._listener.close()
        end = asyncio.get_running_loop().time() + self._grace_s
        while self._sink.receiving and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  # a last look, not a protocol
            await asyncio.sleep(0.01)


async def start_smtp(
    rows: EffectRows,
    *,
    delay_s: float,
    connections: int = 0,
    refusal: Refusal = lambda op, attempt: None,
    index: int = 0,
) -> SmtpWorld:
    """Starts it on a free loopback port. It takes `connections` at once (0: any number). `index`: of the task that mails."""
    sink = _Sink(rows, delay_s, refusal, index)

    def protocol() -> asyncio.Protocol:
        return _OneTooMany() if connections and sink.open >= connections else _Counted(sink, lambda: listener)

    listener = Listener(protocol)
    sink.extra_s = listener.take_s
    await listener.come_back()
    return SmtpWorld(listener, sink, delay_s + 2.0)


def operation_of(mail: bytes) -> int | None:
    """The operation id in a mail's header; None if it has none that can be read."""
    for line in mail.split(b"\n\n", 1)[0].replace(b"\r\n", b"\n").split(b"\n"):
        if not line:
            return None
        if line.lower().startswith(_HEADER):
            try:
                return int(line[len(_HEADER) :].strip(), 16)
            except ValueError:
                return None
    return None
