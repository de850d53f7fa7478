"""A server that does nothing: whatever is asked, it answers 200 with two bytes. What is slow in front of it is the generator.

Started as a program (`python -I -S null.py`), with nothing imported but what it needs: it says its port on standard output, and
ends with its standard input. It looks for the end of each request's head and for nothing else, so it is no HTTP server for
anybody but afterload's own generator. Loopback only.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys

__all__ = ["serve"]

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END_OF_HEAD = b"\r\n\r\n"
RECEIVE_BYTES = 65_536
STDIN = 0


class _Connection:
    __slots__ = ("_rest", "socket")

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(True)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self._rest = b""  # the beginning of an end that was cut in two

    def answer(self) -> bool:
        """Answers what there is to read. False: the other side is gone."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
            if not data:
                return False
            data = self._rest + data
            if n_requests := data.count(END_OF_HEAD):
                data = data[data.rindex(END_OF_HEAD) + len(END_OF_HEAD) :]
                self.socket.sendall(ANSWER * n_requests)
            self._rest = data[-len(END_OF_HEAD) + 1 :]
        except OSError:
            return False
        return True


def serve() -> None:
    """Answers until standard input ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, select.epoll() as ready:
        connections: dict[int, _Connection] = {}
        ready.register(listener, select.EPOLLIN)
        ready.register(STDIN, select.EPOLLIN | select.EPOLLHUP)
        sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
        sys.stdout.flush()
        while True:
            for number, _ in ready.poll():
                if number == listener.fileno():
                    connected, _ = listener.accept()
                    connections[connected.fileno()] = _Connection(connected)
                    ready.register(connected, select.EPOLLIN)
                elif number == STDIN:
                    return
                elif not connections[number].answer():
                    with contextlib.suppress(OSError):
                        ready.unregister(number)
                    connections.pop(number).socket.close()


if __name__ == "__main__":
    serve()
