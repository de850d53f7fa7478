"""One send per request, and what is known of it afterwards: against servers that misbehave."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.response import HTTPConnectionClosed

from harness.load import connections
from harness.load.connections import OneSendClientPool, can_reach, exchange, resolve, tells_most
from harness.load.recorder import Answer
from harness.load.template import Request
from harness.rows import Outcome, RequestError

from .helpers import OK, RawServer, Reply, full_listener

Serve = Callable[[Callable[[int], Reply]], RawServer]
ClientOf = Callable[..., HTTPClient]
AnswerTo = Callable[..., Answer]

REQUEST = Request(path="/x", headers={"X-Op-Id": "0000000000000001"}, body=b"hello")


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """Makes clients of our pool; their connections end with the test."""
    with contextlib.ExitStack() as stack:

        def make(port: int, timeout_s: float = 1.0) -> HTTPClient:
            pool = stack.enter_context(
                contextlib.closing(OneSendClientPool(resolve("127.0.0.1", port), size=10, timeout_s=timeout_s))
            )
            return pool.get_client(f"http://127.0.0.1:{port}")

        yield make


@pytest.fixture
def answer_to(serve: Serve, client_of: ClientOf) -> AnswerTo:
    """What the client knows after one POST to a server with this reply."""
    return lambda reply, timeout_s=1.0: exchange(client_of(serve(lambda _: reply).port, timeout_s), "POST", REQUEST)


def answers_once_then_closes(number: int) -> Reply:
    return Reply() if number == 0 else Reply(b"", then="close")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD"])
def test_a_request_on_a_connection_that_breaks_is_sent_exactly_once(serve: Serve, client_of: ClientOf, method: str) -> None:
    """The server reads the second request on the kept-alive connection and closes: it must never see that request again."""
    server = serve(answers_once_then_closes)
    client = client_of(server.port)

    assert exchange(client, "GET", REQUEST).outcome is Outcome.ACK
    second = exchange(client, method, REQUEST)

    assert (second.outcome, second.error) == (Outcome.IND, RequestError.CLOSED_EARLY)
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_the_stock_pool_sends_again_so_the_test_above_can_fail(serve: Serve, method: str) -> None:
    """If this fails, geventhttpclient has stopped resending: the pool of our own may then go."""
    server = serve(answers_once_then_closes)
    with contextlib.closing(HTTPClientPool(concurrency=10)) as stock_pool:
        client = stock_pool.get_client(f"http://127.0.0.1:{server.port}")
        client.request("GET", "/x").read()
        with contextlib.suppress(HTTPConnectionClosed, ConnectionError):
            client.request(method, "/x", b"hello")

    assert len(server.requests) > 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(OK), Answer(Outcome.ACK, status=200, size_bytes=2)),
        (Reply(b"HTTP/1.1 204 No Content\r\n\r\n"), Answer(Outcome.ACK, status=204)),
        (
            Reply(b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            Answer(Outcome.ACK, status=202, size_bytes=3),
        ),
        (Reply(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), Answer(Outcome.ACK, status=200, size_bytes=2)),
        (Reply(b"HTTP/1.0 200 OK\r\n\r\nabc", then="close"), Answer(Outcome.ACK, status=200, size_bytes=3)),
        (Reply(b"HTTP/1.1 404 N\r\nContent-Length: 1\r\n\r\n\xff"), Answer(Outcome.REJ, status=404, size_bytes=1)),
        (Reply(b"HTTP/1.1 503 S\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"), Answer(Outcome.REJ, status=503)),
        (Reply(b"HTTP/1.1 307 T\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), Answer(Outcome.REJ, status=307)),
    ],
)
def test_a_complete_answer_is_acknowledged_or_rejected_by_its_status(answer_to: AnswerTo, reply: Reply, expected: Answer) -> None:
    """2xx is ACK, everything else REJ: no redirect is followed, no body is decoded."""
    assert expected == answer_to(reply)


def test_a_compressed_body_is_counted_as_it_came_and_not_decoded(answer_to: AnswerTo) -> None:
    """The size is that of the transfer; a body that is not what its header says is no failure of ours."""
    reply = Reply(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")

    assert Answer(Outcome.ACK, status=200, size_bytes=4) == answer_to(reply)


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nConte",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 503 S\r\nContent-Length: 50\r\n\r\nabc",
    ],
)
def test_an_answer_that_breaks_off_is_indeterminate(answer_to: AnswerTo, data: bytes, then: str) -> None:
    """Wherever the connection ends before the end of the answer, and however: never ACK, never REJ, and the reason is kept."""
    answer = answer_to(Reply(data, then="reset" if then == "reset" else "close"))

    assert answer.outcome is Outcome.IND
    assert answer.error is (RequestError.RESET if then == "reset" else RequestError.CLOSED_EARLY)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc"])
def test_an_answer_that_does_not_come_to_its_end_in_time_is_indeterminate(answer_to: AnswerTo, data: bytes) -> None:
    """A server that is silent, or falls silent in the middle of a 2xx, is IND with TIMED_OUT."""
    answer = answer_to(Reply(data, then="hold"), timeout_s=0.1)

    assert (answer.outcome, answer.error) == (Outcome.IND, RequestError.TIMED_OUT)


def test_what_is_not_http_is_indeterminate(answer_to: AnswerTo) -> None:
    """Something answered: that says nothing about what became of the request."""
    answer = answer_to(Reply(b"SSH-2.0 hello\r\n\r\n", then="close"))

    assert (answer.outcome, answer.error) == (Outcome.IND, RequestError.OTHER)


def test_a_refused_connection_surely_never_reached_the_server(client_of: ClientOf) -> None:
    """Nobody listens: REJ with REFUSED."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    answer = exchange(client_of(port), "POST", REQUEST)

    assert (answer.outcome, answer.error) == (Outcome.REJ, RequestError.REFUSED)


def test_a_connection_that_is_not_made_in_time_surely_never_reached_the_server(client_of: ClientOf) -> None:
    """The listener's backlog is full, so the kernel ignores us: REJ, told apart from a refusal and a time-out once connected."""
    with full_listener() as port:
        answer = exchange(client_of(port, timeout_s=0.2), "POST", REQUEST)

    assert (answer.outcome, answer.error) == (Outcome.REJ, RequestError.CONNECT_TIMED_OUT)


def test_an_address_that_refuses_at_once_does_not_hide_that_another_one_let_its_client_wait() -> None:
    """`localhost` has two addresses, of which many servers listen on one."""
    with full_listener() as port, socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()[1]
        listener.close()
        for addresses in ([nobody, port], [port, nobody]):
            both = [address for each in addresses for address in resolve("127.0.0.1", each)]
            with contextlib.closing(OneSendClientPool(both, size=2, timeout_s=0.2)) as pool:
                answer = exchange(pool.get_client(f"http://127.0.0.1:{port}"), "POST", REQUEST)
            assert (answer.outcome, answer.error) == (Outcome.REJ, RequestError.CONNECT_TIMED_OUT)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS])
def test_what_the_generator_itself_could_not_do_is_not_said_of_the_server(
    serve: Serve, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """No descriptor, or no local port, left: the server was never asked."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    client = client_of(serve(lambda _: Reply()).port)
    with monkeypatch.context() as patch:
        patch.setattr(ConnectionPool, "_create_tcp_socket" if number in {errno.EMFILE, errno.ENFILE} else "_connect_socket", fail)
        answer = exchange(client, "POST", REQUEST)

    assert (answer.outcome, answer.error) == (Outcome.REJ, RequestError.OWN_LIMIT)


V6 = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 8123, 0, 0))
V4 = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 8123))
UNAVAILABLE = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
LATE = TimeoutError("timed out")


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([(V6, UNAVAILABLE), (V4, REFUSED)], REFUSED),
        ([(V6, REFUSED), (V4, UNAVAILABLE)], UNAVAILABLE),
        ([(V6, OSError(errno.EAFNOSUPPORT, "no such family")), (V4, UNAVAILABLE)], UNAVAILABLE),
        ([(V6, UNAVAILABLE), (V4, LATE)], LATE),
    ],
)
def test_a_machine_without_ipv6_is_not_out_of_ports_and_one_that_is_blames_no_server(
    monkeypatch: pytest.MonkeyPatch, errors: list[tuple[Any, OSError]], told: OSError
) -> None:
    """The kernel gives one error for both: no address to come from, and no port left."""
    monkeypatch.setattr(connections, "can_reach", lambda address: address is V4)
    assert told is tells_most(errors)
    assert told is tells_most(errors[::-1])


def test_whether_an_address_can_be_reached_is_told_without_a_tcp_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there. Without an address of its own to come from the machine has none for UDP either."""
    kinds: list[int] = []

    class Nowhere(socket.socket):
        def connect(self, _: object) -> None:
            kinds.append(self.type)
            raise UNAVAILABLE

    assert can_reach(V4)
    monkeypatch.setattr(socket, "socket", Nowhere)
    assert not can_reach(V4)
    assert kinds == [socket.SOCK_DGRAM]


def test_what_a_server_is_not_asked_for_want_of_a_port_is_not_refused_by_its_other_address(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` has two addresses, of which the server listens on one: the other one refuses all along."""
    port = serve(lambda _: Reply()).port
    with socket.create_server(("127.0.0.2", 0)) as listener:
        nobody = listener.getsockname()
    both = [*resolve(*nobody), *resolve("127.0.0.1", port)]
    connect = ConnectionPool._connect_socket

    def without_a_port(pool: ConnectionPool, sock: Any, address: Any) -> Any:
        if address == nobody:
            return connect(pool, sock, address)
        raise UNAVAILABLE

    with contextlib.closing(OneSendClientPool(both, size=2, timeout_s=2.0)) as pool:
        client = pool.get_client(f"http://localhost:{port}")
        with monkeypatch.context() as patch:
            patch.setattr(ConnectionPool, "_connect_socket", without_a_port)
            answer = exchange(client, "POST", REQUEST)
        assert (answer.outcome, answer.error) == (Outcome.REJ, RequestError.OWN_LIMIT)
        assert exchange(client, "POST", REQUEST).outcome == Outcome.ACK


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again(serve: Serve, client_of: ClientOf) -> None:
    """The close is seen before the next send, so no request is spent on a dead connection."""
    server = serve(lambda _: Reply(then="close"))
    client = client_of(server.port)

    outcomes = []
    for _ in range(3):
        outcomes.append(exchange(client, "POST", REQUEST).outcome)
        time.sleep(0.05)

    assert outcomes == [Outcome.ACK] * 3
    assert len(server.requests) == 3
