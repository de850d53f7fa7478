"""HTTP for the load process: sends a request exactly once, and says what is known of it afterwards. On geventhttpclient.

geventhttpclient 2.6.1 sends a request again, unseen, when the connection breaks before the answer begins: `HTTPClient.request`
loops up to `pool.size + 1` more times for every idempotent method, and for any method after `Expect: 100-continue`. At a restart
of the server that is work which nobody asked for. The loop reads `size` at one place: a pool that says -1 leaves one attempt.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import termios
from collections.abc import Sequence
from typing import Any

from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError, HTTPSocketPoolResponse
from geventhttpclient.url import URL

from harness.load.recorder import Answer
from harness.load.template import Request
from harness.rows import Outcome, RequestError

__all__ = [
    "NO_RESEND",
    "NotConnectedError",
    "OneSendClientPool",
    "can_reach",
    "connect",
    "exchange",
    "is_silent_and_open",
    "no_delay",
    "resolve",
    "tells_most",
    "why_broken",
    "why_not_connected",
]

NO_RESEND = -1
TCP_ESTABLISHED = 1
RECEIVE_BYTES = 16_384
OWN_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
# What geventhttpclient's parser says when the connection ends inside an answer. Pinned by tests: its exceptions do not tell.
ENDED_EARLY = ("connection closed", "Incomplete response", "Invalid EOF state")


class NotConnectedError(Exception):
    """No connection could be made: the request surely never reached the server. `__cause__` is the reason."""


class OneSendConnections(ConnectionPool):
    """Kept-alive connections to one address, of which none leads to a second send."""

    def __init__(self, host: str, port: int, addresses: list[Any], *, size: int, timeout_s: float) -> None:
        """`size`: connections at most. `addresses` as from `resolve`. `timeout_s`: to connect, and for each wait for bytes."""
        super().__init__(host, port, host, port, size=size, connection_timeout=timeout_s, network_timeout=timeout_s)
        self.size = NO_RESEND
        self._addresses = addresses

    def _resolve(self) -> list[Any]:
        # Once per run: a look-up for each new connection goes through a thread, and after a restart there are hundreds at once.
        return self._addresses

    def _create_socket(self) -> Any:
        try:
            return connect(self)
        except OSError as error:
            raise NotConnectedError(str(error)) from error

    def after_connect(self, sock: Any) -> None:
        """As `no_delay`."""
        no_delay(sock)

    def _is_socket_alive(self, sock: Any) -> bool:
        """As `is_silent_and_open`."""
        return is_silent_and_open(sock)


class OneSendClientPool(HTTPClientPool):
    """The clients of a Locust user, each with connections that never resend; also for what Locust's own session sends."""

    def __init__(self, addresses: list[Any], *, size: int, timeout_s: float) -> None:
        """`size`: connections at most. `timeout_s`: for connecting, and for each wait for bytes."""
        super().__init__(concurrency=size, connection_timeout=timeout_s, network_timeout=timeout_s, block_size=RECEIVE_BYTES)
        self._addresses = addresses
        self._size = size
        self._timeout_s = timeout_s

    def get_client(self, url: str | URL) -> HTTPClient:
        """The client for the host of `url`."""
        client = super().get_client(url)
        if not isinstance(client._connection_pool, OneSendConnections):  # noqa: SLF001 - there is no public way to hand one in
            client._connection_pool = OneSendConnections(  # noqa: SLF001
                client.host, client.port or 80, self._addresses, size=self._size, timeout_s=self._timeout_s
            )
        return client


def connect(pool: ConnectionPool) -> Any:
    """A new connection of a pool, to the first of its addresses that takes one. Raises OSError.

    The library's own way raises the error of the first address. `localhost` has two of them: one that refuses at once, because
    the server does not listen there, would hide that the other one let its client wait until the time was up.
    """
    errors: list[tuple[Any, OSError]] = []
    for each in pool._resolve():  # noqa: SLF001 - as the library's own way does
        family, kind, protocol, _, address = each
        try:
            sock = pool._create_tcp_socket(family, kind, protocol)  # noqa: SLF001
        except OSError as error:
            errors.append((each, error))
            continue
        try:
            sock.settimeout(pool.connection_timeout)
            sock = pool._connect_socket(sock, address)  # noqa: SLF001
            pool.after_connect(sock)
            sock.settimeout(pool.network_timeout)
        except OSError as error:
            sock.close()
            errors.append((each, error))
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise tells_most(errors)


def tells_most(errors: Sequence[tuple[Any, OSError]]) -> OSError:
    """Of the errors of several addresses, as from `resolve`, the one that says why there is no connection.

    Whoever waited waited for one of them. An address that was not asked because this machine had reached a limit may be the one
    at which the server listens: that another one refuses says nothing then. One that this machine never reaches tells least.
    """
    told = [RequestError.CONNECT_TIMED_OUT, RequestError.OWN_LIMIT, RequestError.REFUSED, RequestError.NOT_CONNECTED]

    def place(found: tuple[Any, OSError]) -> int:
        address, error = found
        is_out_of_reach = error.errno == errno.EADDRNOTAVAIL and not can_reach(address)
        return len(told) if is_out_of_reach else told.index(why_not_connected(error))

    return min(errors, key=place, default=(None, OSError("there is no address")))[1]


def can_reach(address: Any) -> bool:
    """Whether this machine has an address of its own from which to reach one of `resolve`. Sends nothing.

    Without IPv6 it has none for ::1, and connect() gives EADDRNOTAVAIL, as it does when no local port is left. UDP tells the two
    apart: it needs the same address, and has ports of its own.
    """
    family, *_, where = address
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.connect(where)
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def why_not_connected(error: BaseException | None) -> RequestError:
    """Why no connection could be made, from what `connect` raised."""
    if isinstance(error, TimeoutError):
        return RequestError.CONNECT_TIMED_OUT
    if isinstance(error, ConnectionRefusedError):
        return RequestError.REFUSED
    if isinstance(error, OSError) and error.errno in OWN_LIMITS:
        return RequestError.OWN_LIMIT
    return RequestError.NOT_CONNECTED


def no_delay(sock: Any) -> None:
    """Switches Nagle off: it would hold back the tail of a large body until the server's delayed acknowledgement."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def is_silent_and_open(sock: Any) -> bool:
    """True if an idle connection is still open and silent. The library's own check, select(), fails above descriptor 1023."""
    if sock is None or sock.fileno() < 0:
        return False
    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        unread_bytes = int.from_bytes(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)), "little")
    except OSError:
        return False
    return bool(state == TCP_ESTABLISHED and unread_bytes == 0)


def resolve(host: str, port: int) -> list[Any]:
    """The addresses of `host`, in the order in which they are tried. Raises OSError if it has none."""
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def exchange(client: HTTPClient, method: str, request: Request) -> Answer:
    """Sends the request once and reads the whole answer.

    ACK is a 2xx read to its end, REJ any other complete answer or a connection that could not be made, IND everything else. The
    end is where the answer's framing says; a body without any length ends, as in HTTP, when the server closes. The body is not
    decoded. Failures of the network are part of the answer; any other exception is raised.
    """
    response: HTTPSocketPoolResponse | None = None
    try:
        response = client.request(method, request.path, request.body, request.headers)
        size_bytes = len(response.read())
    except NotConnectedError as error:
        return Answer(Outcome.REJ, why_not_connected(error.__cause__), cause=error)
    except (OSError, HTTPParseError) as error:
        return Answer(Outcome.IND, why_broken(error), status=_status(response), cause=error)
    status = _status(response)
    if not response.message_complete:
        return Answer(Outcome.IND, RequestError.CLOSED_EARLY, status=status, size_bytes=size_bytes)
    return Answer(Outcome.ACK if 200 <= status <= 299 else Outcome.REJ, status=status, size_bytes=size_bytes)


def _status(response: HTTPSocketPoolResponse | None) -> int:
    return 0 if response is None else int(response.get_code())


def why_broken(error: Exception) -> RequestError:
    """What broke the connection, from what geventhttpclient raised."""
    if isinstance(error, TimeoutError):
        return RequestError.TIMED_OUT
    # geventhttpclient turns a reset before the first byte into HTTPConnectionClosed; the context still knows.
    if isinstance(error, ConnectionError) or isinstance(error.__context__, ConnectionResetError):
        return RequestError.RESET
    said = str(error.args[0]) if error.args else ""
    if isinstance(error, HTTPConnectionClosed) or said.startswith(ENDED_EARLY):
        return RequestError.CLOSED_EARLY
    return RequestError.OTHER
