"""An embedded cache server: cachetools behind the few commands of the Redis protocol that the app uses.

So that the app is written with an ordinary Redis client, needs nothing installed, and can be pointed at a real Redis instead.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import hiredis
from cachetools import TLRUCache

from scenarios.world.listener import Listener

__all__ = ["CacheBox", "start_cachebox"]

_MOST_ENTRIES: Final = 100_000
_FOREVER: Final = float("inf")
_APART_S: Final = 1e-6
"""Between two late answers: timers at the same instant have no order."""


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    lives_s: float


class CacheBox:
    """The entries, and the commands on them. `on_set(key, value)` is called before a SET is answered."""

    def __init__(self, on_set: Callable[[bytes, bytes], None]) -> None:
        self._on_set = on_set
        self._entries: TLRUCache[bytes, _Entry] = TLRUCache(
            maxsize=_MOST_ENTRIES, ttu=lambda _key, entry, now: now + entry.lives_s, timer=time.monotonic
        )

    def get(self, key: bytes) -> bytes | None:
        """The value; None if there is none any more."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def answer(self, command: list[bytes]) -> bytes:
        """The answer to one command, as bytes of the protocol."""
        match command:
            case [name] if name.upper() == b"PING":
                return b"+PONG\r\n"
            case [name, key] if name.upper() == b"GET":
                value = self.get(key)
                return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
            case [name, key, value] if name.upper() == b"SET":
                return self._set(key, value, _FOREVER)
            case [name, key, value, unit, life] if (name.upper(), unit.upper()) == (b"SET", b"EX") and re.fullmatch(
                rb"[1-9]\d{0,9}", life
            ):
                return self._set(key, value, float(life))
            case [name, *keys] if name.upper() == b"DEL" and keys:
                return b":%d\r\n" % sum(self._entries.pop(key, None) is not None for key in keys)
            case [name, *_] if name.upper() == b"CLIENT":  # who is calling: a courtesy of clients
                return b"+OK\r\n"
        shown = b" ".join(command[:1])[:40].decode(errors="replace")
        return f"-ERR this cache does not know {shown!r} or not with these arguments\r\n".encode()

    def _set(self, key: bytes, value: bytes, lives_s: float) -> bytes:
        self._entries[key] = _Entry(value, lives_s)
        self._on_set(key, value)
        return b"+OK\r\n"


class _Connection(asyncio.Protocol):
    """One client. Its commands are answered in their order, also when the server becomes slow or fast again."""

    def __init__(self, box: CacheBox, listener: Callable[[], Listener]) -> None:
        self._box = box
        self._listener = listener
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._late: deque[asyncio.TimerHandle] = deque()
        self._last_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._listener().opened(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._listener().closed(self._transport)
        for handle in self._late:
            handle.cancel()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            self._reader.feed(data)
            while (command := self._reader.gets()) is not False:
                if not isinstance(command, list) or not command or not all(isinstance(part, bytes) for part in command):
                    raise hiredis.ProtocolError("a command is a list of strings")
                self._obey(command)
        except hiredis.ProtocolError as error:
            self._transport.write(f"-ERR protocol error: {error}\r\n".encode())
            self._transport.close()

    def _obey(self, command: list[bytes]) -> None:
        delay_s = self._listener().take_s()
        if not delay_s and not self._late:
            self._answer(command)
            return
        loop = asyncio.get_running_loop()
        self._last_at = max(loop.time() + delay_s, self._last_at + _APART_S)
        self._late.append(loop.call_at(self._last_at, self._answer_late, command))

    def _answer_late(self, command: list[bytes]) -> None:
        self._late.popleft()
        self._answer(command)

    def _answer(self, command: list[bytes]) -> None:
        assert self._transport is not None
        self._transport.write(self._box.answer(command))


async def start_cachebox(box: CacheBox) -> Listener:
    """Serves it on a free loopback port."""
    listener = Listener(lambda: _Connection(box, lambda: listener))
    await listener.come_back()
    return listener
