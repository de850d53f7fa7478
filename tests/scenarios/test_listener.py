"""The servers of the embedded worlds: what they add to an answer is what they are told to add."""

from __future__ import annotations

import asyncio
import socket

from scenarios.world.listener import HOST, Listener


def test_connections_send_at_once_also_after_the_server_was_gone() -> None:
    """Without TCP_NODELAY an answer in two parts waits 40 ms for an acknowledgement, and every figure of a run has them."""

    accepted: asyncio.Queue[asyncio.BaseTransport] = asyncio.Queue()

    class Note(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.put_nowait(transport)

    async def connect(listener: Listener) -> None:
        _, writer = await asyncio.open_connection(HOST, listener.port)
        transport = await accepted.get()
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        await writer.wait_closed()

    async def go() -> None:
        listener = Listener(Note)
        await listener.come_back()
        await connect(listener)
        listener.stop_listening()
        await listener.come_back()
        await connect(listener)
        listener.close()

    asyncio.run(go())
