"""A server that can be in trouble: answer late for a while, or drop everybody and be gone, on the same port as before."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

__all__ = ["HOST", "Delay", "Listener", "Reserved"]

HOST: Final = "127.0.0.1"
_BACKLOG: Final = 1024
_REBIND_S: Final = 0.02


class Delay:
    """How much later than usual answers come, and how many did."""

    def __init__(self) -> None:
        self.late = 0
        self._delay_s = 0.0

    def slow(self, delay_s: float) -> None:
        """From now on; 0: as usual. Answers that are being waited for keep what they were told."""
        self._delay_s = delay_s

    def take_s(self) -> float:
        """What the next answer has to wait."""
        self.late += self._delay_s > 0
        return self._delay_s


class Reserved:
    """A loopback port that is ours also while nobody listens on it.

    A socket that is bound and never listens keeps it: connections are refused, and the kernel gives the port to nobody else.
    """

    def __init__(self) -> None:
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]

    async def listener(self) -> socket.socket:
        """A new socket on the port."""
        while True:
            try:
                return _bound(self.port)
            except OSError:
                # One of our own connections that is being closed, most likely.
                await asyncio.sleep(_REBIND_S)

    def close(self) -> None:
        """Gives it back."""
        self._holder.close()


class Listener(Delay):
    """An asyncio server. Its protocols tell of their connections: `opened` and `closed`."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        super().__init__()
        self._protocol = protocol
        self._reserved = Reserved()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.BaseTransport] = set()

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        return self._reserved.port

    @property
    def is_gone(self) -> bool:
        """Whether nobody listens."""
        return self._server is None

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """A connection was made."""
        self._open.add(transport)

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """It has ended."""
        if transport is not None:
            self._open.discard(transport)

    def listening(self) -> list[tuple[str, int]]:
        """Where."""
        return [(HOST, self.port)]

    async def come_back(self) -> None:
        """Listens, for the first time or again."""
        if self._server is None:
            listener = await self._reserved.listener()
            self._server = await asyncio.get_running_loop().create_server(self._protocol, sock=listener, backlog=_BACKLOG)

    async def leave(self) -> int:
        """Drops all connections, in the middle of whatever they do, and listens no more. How many there were."""
        self.stop_listening()
        dropped = list(self._open)
        for transport in dropped:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        self._open.clear()
        return len(dropped)

    def stop_listening(self) -> None:
        """Takes nobody any more; connections that there are go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Likewise, for good."""
        self.stop_listening()
        self._reserved.close()


def _bound(port: int) -> socket.socket:
    # TCP is named: asyncio sends at once (TCP_NODELAY) only where it sees that it is TCP. An answer in two parts would wait 40 ms
    # for the other side to acknowledge the first.
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
    except OSError:
        found.close()
        raise
    return found
